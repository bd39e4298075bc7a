"""Time as the core sees it: one clock for all cells, which tests replace.

Invariants: whatever waits asks this clock how long, so that a test with its own clock never has to sleep; what freezes
the date of a test (freezegun) holds up nothing.
"""

from __future__ import annotations

import time

from lazyguard._base import Callable, Iterator
from lazyguard._base.interpreter import monotonic


class Clock:
    """The machine's own time; a test's clock overrides all three methods."""

    __slots__ = ()

    def now(self) -> float:
        """Return seconds on a clock that never goes back."""
        return monotonic()

    def date(self) -> float:
        """Return seconds since the epoch, for reports to people."""
        return time.time()

    def real(self, seconds: float) -> float:
        """Return how many real seconds to wait before looking again, when `seconds` of this clock are left."""
        return seconds


MACHINE = Clock()
current = MACHINE


# Returns the current clock's time. The machine's is asked without a Python frame; so call it as `clock.now()`.
now: Callable[[], float] = monotonic


def install(clock: Clock) -> Clock:
    """Make `clock` the clock of all cells; return the one before. For tests."""
    global current, now
    before, current = current, clock
    now = monotonic if type(clock) is Clock else clock.now
    return before


def jittered(first: float, longest: float, times: int) -> float:
    """Return how long to wait after so many failures: the wait doubles each time, and its later half is by chance."""
    from random import uniform

    most = min(longest, first * 2.0 ** min(times, 60))
    return uniform(most / 2, most)


def pauses(over: Callable[[], object], until: float | None = None) -> Iterator[float]:
    """Yield real seconds from one look to the next, until it is over, or the time has come.

    For what ends seldom, and has too many ways to end to be told by each.
    """
    pause = 0.001
    while not over():
        left = None if until is None else until - now()
        if left is not None and left <= 0:
            return
        yield pause if left is None else min(pause, current.real(left))
        pause = min(2 * pause, _LONGEST_PAUSE)


_LONGEST_PAUSE = 0.05  # seconds
