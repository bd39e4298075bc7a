"""What an async factory, fallback or probe holds its event loop up with: an event with the line.

Invariants: a step of it that takes `BLOCKS` seconds is told once it has ended; the line was seen from the scheduler's
thread while it was blocking, and nothing of the user's is called for that.
"""

from __future__ import annotations

import sys

from lazyguard._base import final, places
from lazyguard._base.interpreter import monotonic
from lazyguard._core import clock, daemons, loaded

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from lazyguard._core.state import Attempt

# Seconds for which a step may hold the loop up.
BLOCKS = 0.25


class Stepped:
    """Awaits what another object does, and takes each step of it by `_step`."""

    __slots__ = ("_work",)

    def __init__(self, work: Any) -> None:
        self._work = work

    def __await__(self) -> Any:
        return self

    def __next__(self) -> Any:
        return self.send(None)

    def send(self, value: Any) -> Any:
        return self._step(self._work.send, value)

    def throw(self, *error: Any) -> Any:
        try:
            return self._step(self._work.throw, *error)
        finally:
            del error  # else a cycle: the error, its traceback, this frame

    def close(self) -> None:
        self._work.close()

    def _step(self, advance: Callable[..., Any], *given: Any) -> Any:
        raise NotImplementedError

    # for whoever looks where it stands

    @property
    def gi_frame(self) -> Any:
        return getattr(self._work, "cr_frame", None) or getattr(self._work, "gi_frame", None)

    @property
    def gi_yieldfrom(self) -> Any:
        return getattr(self._work, "cr_await", None) or getattr(self._work, "gi_yieldfrom", None)


@final
class Watched(Stepped):
    """Awaits what runs an attempt, and watches how long each of its steps takes."""

    __slots__ = ("_attempt", "_job", "_line", "_since")

    def __init__(self, work: Any, attempt: Attempt) -> None:
        super().__init__(work)
        self._attempt = attempt
        self._since = 0.0
        self._line = ""
        self._job: Any = None

    def __await__(self) -> Any:
        if daemons.allowed:
            self._look_later()
        return self

    def close(self) -> None:
        self._end()
        super().close()

    def _step(self, advance: Callable[..., Any], *given: Any) -> Any:
        self._since = begun = monotonic()
        try:
            return advance(*given)
        except BaseException:
            self._end()
            raise
        finally:
            del given
            self._since = 0.0
            took = monotonic() - begun
            if took >= BLOCKS:
                self._tell(took)

    def _end(self) -> None:
        if self._job is not None:
            self._job.cancel()

    def _look_later(self) -> None:
        self._job = loaded("_core.scheduler").at(clock.now() + BLOCKS / 2, self._look)

    def _look(self) -> None:
        since = self._since
        if since and monotonic() - since >= BLOCKS / 2:
            self._line = _line_of(self._attempt.thread)
        if self._attempt.outcome is None:
            self._look_later()

    def _tell(self, took: float) -> None:
        cell, now = self._attempt.cell, self._attempt.cell.now
        line, self._line = self._line or cell.place, ""
        cell.tell("blocked-loop", now, now, took, f"it held its event loop up at {line}")


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
