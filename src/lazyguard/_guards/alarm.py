"""A time limit on the main thread, by the timer signal: it interrupts a blocking call and a loop alike.

Invariants: the host's handler, and what is left of the host's own timer, are restored afterwards; when a timer of the
host's is due meanwhile, the host's handler is called. Outside the main thread, and where there is no such signal,
nothing can be interrupted, and `Alarm.armed` is False. Code that keeps the GIL is out of reach.
"""

from __future__ import annotations

import os

from lazyguard._base import final
from lazyguard._base.interpreter import monotonic

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType
    from typing import Any

    OnAlarm = Callable[[FrameType | None], object]

# Zero would switch the timer off.
_SHORTEST = 1e-6
# A signal that comes just before the main thread begins to wait does not end that wait: the next one does.
_INTERVAL = 0.05


@final
class Alarm:
    """Call `on_alarm` with the running frame every `seconds`, from `__enter__` to `__exit__`.

    What `on_alarm` raises is raised in the code that the main thread runs. If that code swallows it, the next call
    follows.

    Attributes:
        armed: Whether the timer is set.
    """

    __slots__ = ("_due", "_handler", "_host", "_on_alarm", "_process", "_seconds", "armed")

    def __init__(self, seconds: float, on_alarm: OnAlarm) -> None:
        self._seconds = seconds
        self._on_alarm = on_alarm
        self._handler: Any = None
        # When the host's timer is due, and its interval; (0.0, 0.0) without one.
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
            return self  # C code has set it, and it could not be restored
        try:
            signal.signal(signal.SIGALRM, handler)  # changes nothing, and fails outside the main thread
        except ValueError:
            return self
        self._process = os.getpid()
        left, interval = signal.getitimer(signal.ITIMER_REAL)
        now = monotonic()
        self._host = (now + left if left else 0.0, interval)
        self._handler = handler  # from here on `__exit__` restores it, wherever this is interrupted
        if left and not signal.setitimer(signal.ITIMER_REAL, 0.0)[0]:
            self._host = (0.0, 0.0)  # it has fired meanwhile
        self._due = now + self._seconds
        signal.signal(signal.SIGALRM, self._on_signal)
        self.armed = True
        self._arm()
        return self

    def __exit__(self, *_: object) -> None:
        if self._handler is None:
            return
        import signal

        self.armed = False
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, self._handler)
        due, interval = self._host
        if due and os.getpid() == self._process:  # a forked child does not inherit the timer
            signal.setitimer(signal.ITIMER_REAL, max(_SHORTEST, due - monotonic()), interval)
        self._handler = None

    def rearm(self, seconds: float) -> None:
        """OnAlarm the next time in so many seconds, whatever was planned."""
        if self.armed:
            self._due = monotonic() + seconds
            self._arm()

    def _arm(self) -> None:
        import signal

        due = min(self._due, self._host[0]) if self._host[0] else self._due
        signal.setitimer(signal.ITIMER_REAL, max(_SHORTEST, due - monotonic()), _INTERVAL)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if not self.armed:
            return
        now = monotonic()
        due, interval = self._host
        hosts = bool(due) and due <= now
        ours = self._due <= now
        if hosts:
            self._host = (now + interval if interval else 0.0, interval)
        if ours:
            self._due = now + max(self._seconds, _INTERVAL)  # else one that is due at once comes in the midst of this
        self._arm()
        if hosts:
            self._call_host_handler(number, frame)
        if ours:
            self._on_alarm(frame)

    def _call_host_handler(self, number: int, frame: FrameType | None) -> None:
        import signal

        if self._handler == signal.SIG_DFL:  # a watchdog: the host wants the process to end
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        if not callable(self._handler):
            return
        left, interval = self._host
        signal.setitimer(signal.ITIMER_REAL, max(_SHORTEST, left - monotonic()) if left else 0.0, interval)
        try:
            self._handler(number, frame)
        finally:
            # the handler may have set the timer, as an alarm around ours does
            left, interval = signal.setitimer(signal.ITIMER_REAL, 0.0)
            self._host = (monotonic() + left if left else 0.0, interval)
            self._arm()
