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
from lazyguard._base import Record, final
from lazyguard._guards import circular_imports

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType, TracebackType

    from lazyguard._base.places import Place


@final
class Failure(Record):
    """The failure of one module."""

    error: Exception
    trace: TracebackType | None
    file: str
    stamp: tuple[int, int]
    place: Place

    def reraised(self, name: str) -> Exception:
        """Return the first import's exception, with its first traceback and a note that says why."""
        error = self.error.with_traceback(self.trace)
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

    __slots__ = ("_failures", "forget")

    def __init__(self) -> None:
        self._failures: dict[str, Failure] = {}
        self.forget = self._failures.clear

    def of(self, name: str) -> Failure | None:
        """Return the failure of a module that must not be executed again; None for any other.

        It may be executed again if its file has changed, and in an attempt of a cell.
        """
        failure = self._failures.get(name)
        if failure is None or (_stamp(failure.file) == failure.stamp and not _within_attempt()):
            return failure
        self._failures.pop(name, None)
        return None

    def execute(self, name: str, module: ModuleType, run: Callable[[ModuleType], object], place: Place) -> None:
        """Execute a module that is imported at `place`, and keep its exception."""
        try:
            run(module)
        except Exception as error:
            circular_imports.explain(error)
            if not isinstance(error, errors.ImportSideEffectError | errors.ImportTimeout):
                file = getattr(module, "__file__", None) or ""
                self._failures[name] = Failure(
                    error=error, trace=error.__traceback__, file=file, stamp=_stamp(file), place=place
                )
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
