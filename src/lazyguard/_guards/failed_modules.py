"""What a package's modules failed with, so that a broken one is not executed a second time.

Invariants: kept is what a module's own execution raised, until its file changes or the import system's caches are
invalidated; what ended an import from outside, such as a guard's time limit or Control-C, is no failure of the module.
A failure is kept with its traceback.
"""

from __future__ import annotations

import os
import sys
from _thread import get_ident

from lazyguard import errors
from lazyguard._base import final
from lazyguard._guards import circular_imports

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType, TracebackType


@final
class Failure:
    """What one module failed with."""

    __slots__ = ("_error", "_stamp", "_trace", "file", "place")

    def __init__(self, error: Exception, file: str, place: str) -> None:
        self._error = error
        self._trace: TracebackType | None = error.__traceback__
        self._stamp = _stamp(file)
        self.file = file
        self.place = place

    def counts(self) -> bool:
        """Tell whether the file is still the one that failed, and nobody tries it again on purpose."""
        return _stamp(self.file) == self._stamp and not _within_attempt()

    def again(self, name: str) -> Exception:
        """Return what it failed with, as it was then, with a note on why it is the same."""
        error = self._error.with_traceback(self._trace)
        note = (
            f"{name} failed with this when it was first imported (at {self.place}), and is not executed a second time: "
            "importlib.invalidate_caches() lets it be tried again"
        )
        add_note = getattr(error, "add_note", None)
        if add_note is not None and note not in getattr(error, "__notes__", ()):
            add_note(note)
        return error


class Failures:
    """Those of one package."""

    __slots__ = ("_known", "_place_of")

    def __init__(self, place_of: Callable[[str], str]) -> None:
        self._known: dict[str, Failure] = {}
        self._place_of = place_of

    def of(self, name: str) -> Failure | None:
        """Return what a module failed with, if it is not to be tried again."""
        failure = self._known.get(name)
        if failure is None or failure.counts():
            return failure
        self._known.pop(name, None)
        return None

    def forget(self) -> None:
        """Let all be tried again."""
        self._known.clear()

    def executing(self, name: str, module: ModuleType, execute: Callable[[ModuleType], object]) -> None:
        """Execute a module, and keep what it raises."""
        try:
            execute(module)
        except Exception as error:
            circular_imports.explain(error)
            if not isinstance(error, errors.ImportActError | errors.ImportTimeout):
                file = getattr(module, "__file__", None) or ""
                self._known[name] = Failure(error, file, self._place_of(name))
            raise


def _stamp(file: str) -> tuple[int, int]:
    try:
        found = os.stat(file)
    except OSError:
        return 0, 0
    return found.st_mtime_ns, found.st_size


def _within_attempt() -> bool:
    """Tell whether an attempt of a service or a lazy object runs here: it may succeed where the last one failed."""
    ring = sys.modules.get("lazyguard._core.wait_cycles")
    if ring is None:
        return False
    begun_in = ring.within.get()
    attempt = None if begun_in is None else begun_in()
    return bool(ring.running.get(get_ident())) or (attempt is not None and attempt.outcome is None)
