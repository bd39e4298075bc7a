"""What a generator of the core asks of its driver: run this, sleep so long, launch an attempt, wait for one.

Invariant: the logic yields effects and never performs one, so that it is written once for threads and for tasks.
"""

from __future__ import annotations

from lazyguard._core.state import READY, Attempt, Outcome, Snapshot

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lazyguard._base import Any, Callable, Generator, TypeAlias, TypeVar
    from lazyguard._core.cancellation import Cancellation
    from lazyguard._core.closing import PendingClose
    from lazyguard._core.deadlines import Deadline

    R = TypeVar("R")
    Effect: TypeAlias = "Call | Sleep | Join"
    Steps: TypeAlias = Generator[Effect, Any, R]

NEVER = float("inf")
# No argument by name.
NOTHING: dict[str, Any] = {}


class Call:
    """Run user code; answered with its Outcome. What it returns is awaited where `awaited` says so.

    What it returns is put into the PendingClose `made` in the step in which it is returned. It is watched
    whether it holds up the event loop of an `attempt`.
    """

    __slots__ = ("arguments", "attempt", "awaited", "function", "made", "named", "outcome")

    def __init__(
        self,
        function: Callable[..., Any],
        *arguments: Any,
        named: dict[str, Any] = NOTHING,
        awaited: bool = False,
        made: PendingClose | None = None,
        attempt: Attempt | None = None,
    ) -> None:
        self.attempt = attempt
        self.made = made
        self.function = function
        self.arguments = arguments
        self.named = named
        self.awaited = awaited
        self.outcome: Outcome | None = None


class Sleep:
    """Let `seconds` pass."""

    __slots__ = ("seconds",)

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds


class Join:
    """Wait for an attempt until a time by the clock (None: for ever); answered with whether there is news.

    One that is new begins before that: here, or on a daemon thread, or as a task, as its cell and the driver require.

    News is that it has ended; or that there is something to serve (a fallback too, unless the `real` object is wanted);
    or that since the cell was `seen` its generation has ended, or a place is free and the attempt out of date. It is no
    news that another attempt has failed: who waits would try again, which is the retry's business.
    """

    __slots__ = ("attempt", "launches", "real", "seen", "until")

    def __init__(
        self, attempt: Attempt, until: float | None, seen: Snapshot, *, real: bool = False, launches: bool = False
    ) -> None:
        self.attempt = attempt
        self.until: float = NEVER if until is None else until
        self.seen = seen
        self.real = real
        self.launches = launches

    @property
    def news(self) -> bool:
        """Whether there is something to look at."""
        if self.attempt.outcome is not None:
            return True
        now = self.attempt.cell.now
        if self.attempt not in now.running:
            return False  # out of its cell but without an outcome: it is about to end, wait for how
        if now.state == READY or (now.served and not self.real) or now.generation != self.seen.generation:
            return True
        return self.attempt.generation != now.generation and len(now.running) < len(self.seen.running)


def within(limit: Deadline, steps: Steps[Outcome], cancellation: Cancellation | None = None) -> Steps[Outcome]:
    """Do these steps in the block of a deadline; return their Outcome.

    Where there is a `cancellation`, it is that of the task that does them, which waits no longer than the deadline. On
    a thread nothing is interrupted.
    """
    try:
        with limit:
            outcome = yield from steps
    except BaseException as error:
        if cancellation is None or not cancellation.ended(error):
            raise
        return Outcome(error=limit.exceeded(error))  # no local has it: this frame is in the traceback of its cause
    if cancellation is not None:
        cancellation.ended(None)
    return outcome
