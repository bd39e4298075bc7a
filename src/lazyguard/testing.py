"""For tests of a host application: a clock that the test moves, retries without waits, injected faults.

Invariant: at the end of a `with` block the former clock, mode and factories are restored.
"""

from __future__ import annotations

from contextlib import ExitStack

from lazyguard._base import TYPE_CHECKING, validation
from lazyguard._base.interpreter import Lock
from lazyguard._core import clock, mode, scheduler
from lazyguard._services.chaos import chaos
from lazyguard._services.conformity import assert_conforms

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["FakeClock", "assert_conforms", "chaos", "set_testing"]

# How long a waiter sleeps, in real seconds, before it reads the fake time again.
_LOOK = 0.002


class FakeClock(clock.Clock):
    """A clock that stands still until `advance`; inside a `with` block it is the clock of all cells.

    Timeouts, retries, abandonment, recovery and the grace of replaced targets follow it. A waiter on any thread or
    event loop sees the new time within some 2 ms of real time. Jobs that are due at the new time run on lazyguard's own
    threads, soon after `advance` has returned. Blocks nest. A forked child inherits the clock.

    Example:
        >>> from lazyguard.testing import FakeClock
        >>> with FakeClock() as clock:
        ...     before = clock.now()
        ...     clock.advance(60.0)
        ...     round(clock.now() - before, 6)
        60.0
    """

    __slots__ = ("_ahead", "_before", "_date", "_lock", "_start")

    def __init__(self) -> None:
        # Not 0.0: a wait that began before the block goes on in it. A whole number, so that no sum of seconds is
        # rounded to a little less than the time that is waited for.
        self._start = -(-clock.now() // 1)
        self._date = clock.current.date()
        self._ahead = 0.0
        self._before: list[clock.Clock] = []
        self._lock = Lock()

    def now(self) -> float:
        """Return the time in seconds; only `advance` moves it."""
        return self._start + self._ahead

    def date(self) -> float:
        """Return the date in seconds since the epoch; it moves with the time."""
        return self._date + self._ahead

    def real(self, seconds: float) -> float:
        """Return the real seconds to wait before the fake time is read again."""
        return min(seconds, _LOOK)

    def advance(self, seconds: float) -> None:
        """Move the time forward by `seconds`, and start the jobs that are due then.

        Raises:
            ConfigurationError: `seconds` is negative or no number.
        """
        validation.seconds("seconds", seconds, zero=True)
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


def set_testing(testing: bool, *, attempts: int = 1) -> ExitStack:
    """Switch testing mode on or off, from now on or for a `with` block.

    In testing mode a `Retry` makes one attempt (or `attempts`) and does not wait, and objects of `unittest.mock` can be
    fallbacks. Under pytest the latter holds anyway, unless `set_testing(False)` forbids it.

    Args:
        testing: Whether testing mode is on.
        attempts: How many attempts a `Retry` makes in testing mode, if it was declared with more.

    Returns:
        A context manager that restores the former mode when its block ends. Ignore it to set the mode for good.

    Raises:
        ConfigurationError: `testing` is no bool, or `attempts` is no whole number of at least one.

    The mode holds for the whole process, all threads and loops, and for its forked children.

    Example:
        >>> import lazyguard, lazyguard.testing
        >>> tries = []
        >>> @lazyguard.service(retry=lazyguard.Retry(attempts=5, initial=10), recovery=None)
        ... def get_database() -> list[int]:
        ...     tries.append(1)
        ...     raise ConnectionError
        >>> with lazyguard.testing.set_testing(True):
        ...     len(get_database())
        Traceback (most recent call last):
        ...
        lazyguard.errors.ResolutionError: ...get_database, declared at ..., could not be built...
        >>> len(tries)
        1
    """
    validation.flag("testing", testing)
    validation.whole("attempts", attempts)
    restoring = ExitStack()
    restoring.callback(setattr, mode, "limit", mode.limit)
    mode.limit = attempts if testing else 0
    return restoring
