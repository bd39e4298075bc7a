"""User code that a task awaits; and what it holds the event loop up with: an event with the line.

Invariants: no frame is above that of user code while it waits. A step of an async factory, fallback or probe that takes
`BLOCKS` seconds is told once it has ended; the line was seen from the scheduler's thread while it was blocking, and
nothing of the user's is called for that.
"""

from __future__ import annotations

import sys

from lazyguard._base import TYPE_CHECKING, Any, Callable, places
from lazyguard._base.interpreter import monotonic
from lazyguard._core import clock, daemons, loaded

if TYPE_CHECKING:
    from lazyguard._core.effects import Call

# Seconds for which a step may hold the loop up.
BLOCKS = 0.25


class Apart:
    """Awaits user code by a runner, a generator that is there before and after, as that of `threads.call`."""

    __slots__ = ("_effect", "_job", "_line", "_runner", "_since")

    def __init__(self, effect: Call, runner: Any) -> None:
        self._effect = effect
        self._runner = runner
        self._since = 0.0
        self._line = ""
        self._job: Any = None

    def __await__(self) -> Any:
        if self._effect.attempt is not None and daemons.allowed:
            self._look_later()
        return self

    def __next__(self) -> Any:
        return self.send(self._effect)  # it waits for nothing before

    def send(self, value: Any) -> Any:
        return self._step(self._runner.send, value)

    def throw(self, *error: Any) -> Any:
        try:
            return self._step(self._runner.throw, *error)
        finally:
            del error  # else a cycle: the error, its traceback, this frame

    def close(self) -> None:
        self._end()
        self._runner.close()

    # for whoever looks where it stands

    @property
    def gi_frame(self) -> Any:
        return self._runner.gi_frame

    @property
    def gi_yieldfrom(self) -> Any:
        return self._runner.gi_yieldfrom

    def _step(self, advance: Callable[..., Any], *given: Any) -> Any:
        self._since = begun = monotonic()
        try:
            waits = advance(*given)
        except BaseException:
            self._end()
            raise
        finally:
            del given
            self._since = 0.0
            took = monotonic() - begun
            if took >= BLOCKS:
                self._tell(took)
        if self._effect.outcome is None:
            return waits
        self._end()
        raise StopIteration

    def _end(self) -> None:
        if self._job is not None:
            self._job.cancel()

    def _look_later(self) -> None:
        self._job = loaded("_core.scheduler").at(clock.now() + BLOCKS / 2, self._look)

    def _look(self) -> None:
        attempt, since = self._effect.attempt, self._since
        if attempt is None or attempt.outcome is not None:
            return
        if since and monotonic() - since >= BLOCKS / 2:
            self._line = _line_of(attempt.thread)
        self._look_later()

    def _tell(self, took: float) -> None:
        if self._effect.attempt is not None:
            cell = self._effect.attempt.cell
            line, self._line = self._line or cell.place, ""
            cell.tell("blocked-loop", cell.now, cell.now, took, f"it held its event loop up at {line}")


def _line_of(thread: int | None) -> str:
    """Return the innermost line of the program that a thread is at: of no library, and not of ours."""
    is_installed = loaded("_guards.frames").is_installed
    line = ""
    for frame in places.outwards(sys._current_frames().get(thread or 0)):
        if frame.f_globals.get("__name__") == "lazyguard._core.tasks":
            break
        line = places.of_frame(frame)
        if not is_installed(line.file):
            break
    return line
