"""A time limit on the main thread, by the timer signal: it interrupts a blocking call and a loop alike.

Invariants: the host's handler, and what is left of the host's own timer, are restored afterwards; when a timer of the
host's is due meanwhile, the host's handler is called. Outside the main thread, and where there is no such signal,
nothing can be interrupted, and `Alarm.armed` is False. Code that keeps the GIL is out of reach.
"""

from __future__ import annotations

import os

from lazyguard._base import TYPE_CHECKING, Any, Callable, FrameType
from lazyguard._base.interpreter import monotonic

if TYPE_CHECKING:
    import signal as _signal

    OnAlarm = Callable[[FrameType | None], object]
else:
    import _signal  # without the enums that signal makes of it

# Zero would switch the timer off.
_SHORTEST = 1e-6
# A signal that comes just before the main thread begins to wait does not end that wait: the next one does.
_INTERVAL = 0.05


class Alarm:
    """Call `on_alarm` with the running frame every `seconds`, from `__enter__` to `__exit__`.

    What `on_alarm` raises is raised in the code that the main thread runs. If that code swallows it, the next call
    follows. Alarms may end in any order, as those of tasks do.

    Attributes:
        due: When it comes next.
    """

    def __init__(self, seconds: float, on_alarm: OnAlarm) -> None:
        self.seconds = seconds
        self.on_alarm = on_alarm
        self.due = 0.0
        self._timer: _Timer | None = None

    def __enter__(self) -> Alarm:
        try:
            handler: Any = _signal.getsignal(_signal.SIGALRM)
            _signal.signal(_signal.SIGALRM, handler)  # changes nothing
        except (AttributeError, TypeError, ValueError):
            return self  # there is no such signal; C code has set its handler; or this is not the main thread
        timer = getattr(handler, "__self__", None)
        self._timer = timer if isinstance(timer, _Timer) else _Timer(handler)  # from here on `__exit__` restores all
        self.due = monotonic() + self.seconds
        self._timer.add(self)
        return self

    def __exit__(self, *_: object) -> None:
        if self._timer is not None:
            self._timer.remove(self)
            self._timer = None

    @property
    def armed(self) -> bool:
        """Whether the timer is set."""
        return self._timer is not None

    def rearm(self, seconds: float) -> None:
        """Let the next call come in so many seconds, whatever was planned."""
        if self._timer is not None:
            self.due = monotonic() + seconds
            self._timer.arm()


class _Timer:
    """The timer signal while there are alarms, and what the host had before: its handler and what is left of its timer.

    A forked child does not inherit the timer, so the alarms of its parent never come there.
    """

    def __init__(self, handler: Any) -> None:
        self._alarms: list[Alarm] = []
        self._handler: Any = handler
        # When the host's timer is due, and its interval; (0.0, 0.0) without one.
        self._host = _as_due(_signal.getitimer(_signal.ITIMER_REAL))
        self._process = os.getpid()

    def add(self, alarm: Alarm) -> None:
        """Arm the timer for one more alarm; the first takes over the host's."""
        if self._process != os.getpid():
            self._alarms.clear()
            self._host, self._process = _as_due(_signal.getitimer(_signal.ITIMER_REAL)), os.getpid()
        if not self._alarms:
            if self._host[0] and not _signal.setitimer(_signal.ITIMER_REAL, 0.0)[0]:
                self._host = (0.0, 0.0)  # it has fired meanwhile
            _signal.signal(_signal.SIGALRM, self._on_signal)
        self._alarms.append(alarm)
        self.arm()

    def remove(self, alarm: Alarm) -> None:
        """Leave out an alarm; with the last one, restore what the host had."""
        if alarm in self._alarms:
            self._alarms.remove(alarm)
        if self._alarms or self._handler is None:
            return
        _signal.setitimer(_signal.ITIMER_REAL, 0.0)
        _signal.signal(_signal.SIGALRM, self._handler)
        due, interval = self._host
        if due and os.getpid() == self._process:
            _signal.setitimer(_signal.ITIMER_REAL, max(_SHORTEST, due - monotonic()), interval)
        self._handler = None

    def arm(self) -> None:
        """Set the timer to what is due next."""
        dues = [alarm.due for alarm in self._alarms]
        due = min([*dues, self._host[0]] if self._host[0] else dues)
        _signal.setitimer(_signal.ITIMER_REAL, max(_SHORTEST, due - monotonic()), _INTERVAL)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if not self._alarms:
            return
        now = monotonic()
        due, interval = self._host
        hosts = bool(due) and due <= now
        ours = [alarm for alarm in self._alarms if alarm.due <= now]
        if hosts:
            self._host = (now + interval if interval else 0.0, interval)
        for alarm in ours:
            alarm.due = now + max(alarm.seconds, _INTERVAL)  # else one that is due at once comes in the midst of this
        self.arm()
        if hosts:
            self._call_host_handler(number, frame)
        for alarm in ours:  # the outermost first
            alarm.on_alarm(frame)

    def _call_host_handler(self, number: int, frame: FrameType | None) -> None:
        if self._handler == _signal.SIG_DFL:  # a watchdog: the host wants the process to end
            _signal.signal(_signal.SIGALRM, _signal.SIG_DFL)
            os.kill(os.getpid(), number)
        if not callable(self._handler):
            return
        left, interval = self._host
        _signal.setitimer(_signal.ITIMER_REAL, max(_SHORTEST, left - monotonic()) if left else 0.0, interval)
        try:
            self._handler(number, frame)
        finally:
            # the handler may have set the timer
            self._host = _as_due(_signal.setitimer(_signal.ITIMER_REAL, 0.0))
            self.arm()


def _as_due(timer: tuple[float, float]) -> tuple[float, float]:
    left, interval = timer
    return monotonic() + left if left else 0.0, interval
