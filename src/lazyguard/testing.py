"""What tests of a host application need: time that they move themselves, and no waits where they do not ask for any.

Invariant: what a test puts in place is gone when its `with` block ends.
"""

from __future__ import annotations

import _thread

from lazyguard._base import validation
from lazyguard._base.typing import final
from lazyguard._core import clock, mode, scheduler
from lazyguard._services.chaos import chaos
from lazyguard._services.conformity import assert_conforms
from lazyguard.errors import ConfigurationError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["FakeClock", "assert_conforms", "chaos", "set_testing"]

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
        ...     round(clock.now() - before, 6)
        60.0
    """

    __slots__ = ("_ahead", "_before", "_date", "_lock", "_start")

    def __init__(self) -> None:
        # Not 0.0: a wait that began before the block goes on in it. A whole number: no sum of seconds is rounded to a
        # little less than what is waited for.
        self._start = -(-clock.now() // 1)
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


def set_testing(testing: bool, *, attempts: int = 1) -> Testing:
    """Say whether this process is there to test, from now on or for a `with` block.

    While it is, there is one attempt (or so many as `attempts` says) and no wait before a retry, and objects of
    `unittest.mock` may be fallbacks. Under pytest the latter holds anyway, unless `set_testing(False)` says otherwise.

    Args:
        testing: Whether it is.
        attempts: How many attempts a `Retry` makes meanwhile, where it was declared with more.

    Returns:
        A context manager that brings back what was said before when its block ends. Who needs none ignores it.

    Raises:
        ConfigurationError: `testing` is no bool, or `attempts` no whole number of at least one.

    It holds for the whole process, all threads and loops, and for what is forked from it.

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
    if not isinstance(testing, bool):
        raise ConfigurationError(f"set_testing({testing!r}) is invalid: give True or False.")
    validation.whole("attempts", attempts)
    before, mode.said = mode.said, attempts if testing else 0
    return Testing(before)


@final
class Testing:
    """What `set_testing` returns: it has been said; leaving the block brings back what was said before."""

    __slots__ = ("_before",)

    def __init__(self, before: int | None) -> None:
        self._before = before

    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None:
        mode.said = self._before
