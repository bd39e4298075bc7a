"""A time limit on what the main thread does, by the timer signal: it ends a blocking call and a loop alike.

Invariants: the host's handler, and what is left of the host's own timer, are there again afterwards; a timer of the
host's that falls due meanwhile rings for the host. Outside the main thread, and where there is no such signal,
nothing can be ended, and `Alarm.armed` says so. What holds on to the GIL is beyond its reach.
"""

from __future__ import annotations

import os

from lazyguard._base import final
from lazyguard._base.real_time import monotonic

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType
    from typing import Any

    Ring = Callable[[FrameType | None], object]

# A timer that is set to zero would never ring.
_AT_ONCE = 1e-6
# A signal that comes just before the main thread begins to wait is only noted: the next one ends the wait.
_AGAIN = 0.05


@final
class Alarm:
    """Calls `ring` with the running frame, `seconds` after `__enter__` and again after as many, until `__exit__`.

    What `ring` raises comes out of what the main thread is doing; if that swallows it, the next one comes.

    Attributes:
        armed: Whether it will ring.
    """

    __slots__ = ("_due", "_handler", "_host", "_process", "_ring", "_seconds", "armed")

    def __init__(self, seconds: float, ring: Ring) -> None:
        self._seconds = seconds
        self._ring = ring
        self._handler: Any = None
        # When the host's timer is due, and what its interval is; (0.0, 0.0): there is none.
        self._host = (0.0, 0.0)
        self._due = 0.0
        self._process = 0
        self.armed = False

    def __enter__(self) -> Alarm:
        import signal

        if not hasattr(signal, "setitimer"):
            return self
        handler = signal.getsignal(signal.SIGALRM)
        if handler is None:
            return self  # it was set by C code, and could not be put back
        try:
            signal.signal(signal.SIGALRM, handler)  # as it was: only the main thread may, and finds out so
        except ValueError:
            return self
        self._process = os.getpid()
        left, interval = signal.setitimer(signal.ITIMER_REAL, 0.0)
        now = monotonic()
        self._host = (now + left if left else 0.0, interval)
        self._handler = handler
        self._due = now + self._seconds
        signal.signal(signal.SIGALRM, self._rang)
        self.armed = True
        self._arm()
        return self

    def __exit__(self, *_: object) -> None:
        if not self.armed:
            return
        import signal

        self.armed = False
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, self._handler)
        due, interval = self._host
        if due and os.getpid() == self._process:  # a fork has no timer of its parent's
            signal.setitimer(signal.ITIMER_REAL, max(_AT_ONCE, due - monotonic()), interval)

    def again(self, seconds: float) -> None:
        """Ring the next time in so many seconds, whatever was planned."""
        if self.armed:
            self._due = monotonic() + seconds
            self._arm()

    def _arm(self) -> None:
        import signal

        due = min(self._due, self._host[0]) if self._host[0] else self._due
        signal.setitimer(signal.ITIMER_REAL, max(_AT_ONCE, due - monotonic()), _AGAIN)

    def _rang(self, number: int, frame: FrameType | None) -> None:
        if not self.armed:
            return
        now = monotonic()
        due, interval = self._host
        hosts = bool(due) and due <= now
        ours = self._due <= now
        if hosts:
            self._host = (now + interval if interval else 0.0, interval)
        if ours:
            self._due = now + self._seconds
        self._arm()
        if hosts:
            self._ring_for_host(number, frame)
        if ours:
            self._ring(frame)

    def _ring_for_host(self, number: int, frame: FrameType | None) -> None:
        import signal

        if self._handler == signal.SIG_DFL:  # the host wants to be ended: a watchdog
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        if not callable(self._handler):
            return
        left, interval = self._host
        signal.setitimer(signal.ITIMER_REAL, max(_AT_ONCE, left - monotonic()) if left else 0.0, interval)
        try:
            self._handler(number, frame)
        finally:
            # it may have set the timer anew, as an alarm around ours does
            left, interval = signal.setitimer(signal.ITIMER_REAL, 0.0)
            self._host = (monotonic() + left if left else 0.0, interval)
            self._arm()
