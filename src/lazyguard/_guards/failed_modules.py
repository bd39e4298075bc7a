"""The failures of a package's modules, so that a broken module is not executed a second time.

Invariants: what a module's own execution raised is kept, with its traceback, until the file changes or the import
system's caches are invalidated. What ended an import from outside, such as a guard's time limit or Control-C, is no
failure of the module.
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

    from lazyguard._base.places import Place


@final
class Failure:
    """The failure of one module."""

    __slots__ = ("_error", "_stamp", "_trace", "file", "place")

    def __init__(self, error: Exception, file: str, place: Place) -> None:
        self._error = error
        self._trace: TracebackType | None = error.__traceback__
        self._stamp = _stamp(file)
        self.file = file
        self.place = place

    def is_current(self) -> bool:
        """Return whether the file is unchanged since it failed, and no attempt of a cell tries it again."""
        return _stamp(self.file) == self._stamp and not _within_attempt()

    def reraised(self, name: str) -> Exception:
        """Return the first import's exception, with its first traceback and a note that says why."""
        error = self._error.with_traceback(self._trace)
        note = (
            f"{name} failed with this when it was first imported (at {self.place}), and is not executed a second time: "
            "call importlib.invalidate_caches() to try it again"
        )
        add_note = getattr(error, "add_note", None)
        if add_note is not None and note not in getattr(error, "__notes__", ()):
            add_note(note)
        return error


class Failures:
    """The failures of one package's modules."""

    __slots__ = ("_failures", "_place_of")

    def __init__(self, place_of: Callable[[str], Place]) -> None:
        self._failures: dict[str, Failure] = {}
        self._place_of = place_of

    def of(self, name: str) -> Failure | None:
        """Return the failure of a module that must not be executed again; None for any other."""
        failure = self._failures.get(name)
        if failure is None or failure.is_current():
            return failure
        self._failures.pop(name, None)
        return None

    def forget(self) -> None:
        """Let all modules be executed again."""
        self._failures.clear()

    def execute(self, name: str, module: ModuleType, run: Callable[[ModuleType], object]) -> None:
        """Execute a module, and keep its exception."""
        try:
            run(module)
        except Exception as error:
            circular_imports.explain(error)
            if not isinstance(error, errors.ImportSideEffectError | errors.ImportTimeout):
                file = getattr(module, "__file__", None) or ""
                self._failures[name] = Failure(error, file, self._place_of(name))
            raise


def _stamp(file: str) -> tuple[int, int]:
    try:
        found = os.stat(file)
    except OSError:
        return 0, 0
    return found.st_mtime_ns, found.st_size


def _within_attempt() -> bool:
    """Return whether an attempt of a cell runs here: it may succeed where the last one failed."""
    wait_cycles = sys.modules.get("lazyguard._core.wait_cycles")
    if wait_cycles is None:
        return False
    begun_in = wait_cycles.within.get()
    attempt = None if begun_in is None else begun_in()
    return bool(wait_cycles.running.get(get_ident())) or (attempt is not None and attempt.outcome is None)
