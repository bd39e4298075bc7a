"""What tests of a host application need: time that they move themselves.

Invariant: what a test puts in place is gone when its `with` block ends.
"""

from __future__ import annotations

import _thread

from lazyguard._core import clock, scheduler
from lazyguard.errors import ConfigurationError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["FakeClock"]

# How long a waiter sleeps, in real seconds, before it looks at the fake time again.
_LOOK = 0.002


class FakeClock(clock.Clock):
    """A clock that stands still until `advance`; inside a `with` block it is the clock of all cells.

    Timeouts, retries, abandonment, recovery and the grace of replaced targets follow it: whatever waits sees the new
    time within some 2 ms of real time, on whichever thread or event loop it waits. What is due at the new time runs
    on lazyguard's own threads, soon after `advance` has returned. Blocks nest. A fork inherits the clock.

    Example:
        >>> from lazyguard.testing import FakeClock
        >>> with FakeClock() as clock:
        ...     before = clock.now()
        ...     clock.advance(60.0)
        ...     clock.now() - before
        60.0
    """

    __slots__ = ("_ahead", "_before", "_date", "_lock", "_start")

    def __init__(self) -> None:
        self._start = clock.now()  # not 0.0: a wait that began before the block goes on in it
        self._date = clock.current.date()
        self._ahead = 0.0
        self._before: list[clock.Clock] = []
        self._lock = _thread.allocate_lock()

    def now(self) -> float:
        """Return the time in seconds, which only `advance` moves."""
        return self._start + self._ahead

    def date(self) -> float:
        """Return the date in seconds since the epoch, which moves along."""
        return self._date + self._ahead

    def real(self, seconds: float) -> float:
        """Return how many real seconds to wait before looking again."""
        return min(seconds, _LOOK)

    def advance(self, seconds: float) -> None:
        """Move the time on by `seconds`; what is due then runs now.

        Raises:
            ConfigurationError: `seconds` is negative or no number.
        """
        if not seconds >= 0.0:
            raise ConfigurationError(f"advance({seconds!r}): time goes forward; give the seconds to move it by")
        with self._lock:
            self._ahead += seconds
        scheduler.poke()

    def __enter__(self) -> FakeClock:
        self._before.append(clock.install(self))
        scheduler.poke()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        clock.install(self._before.pop())
        scheduler.poke()
