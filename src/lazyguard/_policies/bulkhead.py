"""Bulkheads: how many attempts, and so threads, all keys of a service have at a time; how many calls a function has.

Invariants: an attempt has its place until it ends, whatever thread ends it; `most` that are young, and as many again
beside those that hang, is all there is. The tries of recoveries begin one after the other, `most` of them in the time
of one first wait. The lock is held for a few statements and never while user code runs.
"""

from __future__ import annotations

from lazyguard._base import TYPE_CHECKING, Any
from lazyguard._base.interpreter import Lock, in_child
from lazyguard._core import declaration

if TYPE_CHECKING:
    from lazyguard._core.state import Attempt

# How many attempts the keys of a service have at a time, unless it says otherwise: few enough for a process, and more
# than an application has connections to one server.
DEFAULT = 32
# For all bulkheads. Reentrant, since a signal handler or a finaliser may run on its holder's thread.
_lock = Lock()


class Bulkhead:
    """Places for the attempts of all keys of one service.

    Attributes:
        most: How many attempts are under way at a time; as many again once those hang.
    """

    def __init__(self, most: Any) -> None:
        self.most: int = most  # or a function, until it is read
        self._attempts: set[Attempt] = set()
        self._next = 0.0

    def enter(self, attempt: Attempt) -> bool:
        """Give the attempt a place until it ends; return whether there is one."""
        with _lock:
            if self.full(attempt.started, attempt.cell.plan.abandon_after):
                return False
            self._attempts.add(attempt)
        attempt.on_done(lambda: self.leave(attempt))
        return True

    def leave(self, attempt: Attempt) -> None:
        """Take back the place of an attempt that does not begin."""
        self._attempts.discard(attempt)

    def of_fallback(self) -> Bulkhead:
        """Return the one of a fallback: with more places, since that is quick, and needed by all keys at a time."""
        return Bulkhead(4 * self.most)

    def full(self, now: float, patience: float | None) -> bool:
        """Return whether there is no place; an attempt older than `patience` hangs."""
        if len(self._attempts) < self.most:
            return False
        running = sum(attempt.outcome is None for attempt in self._attempts.copy())
        return running >= 2 * self.most or running - self.hanging(now, patience) >= self.most

    def hanging(self, now: float, patience: float | None) -> int:
        """Return how many attempts hang."""
        if patience is None:
            return 0
        return sum(now - attempt.started >= patience for attempt in self._attempts.copy() if attempt.outcome is None)

    def turn(self, now: float, wait: float) -> float:
        """Return when the next try of a recovery may begin, whose first wait is `wait` seconds; it is for one alone."""
        with _lock:
            at = max(now, min(self._next, now + 3600.0))
            self._next = at + wait / self.most
        return at


class Places:
    """Places for the calls of one function: who finds none is refused at once.

    A call is entered and taken out by one operation each, so that no interruption leaves a place taken.

    Attributes:
        most: How many there are.
        calls: The calls under way, and those that are about to be refused, in the order in which they came.
    """

    __slots__ = ("calls", "most")

    def __init__(self, most: Any) -> None:
        self.most: int = most  # or a function, until it is read
        self.calls: dict[object, None] = {}

    def has(self, call: object) -> bool:
        """Return whether a call that was entered has a place."""
        return len(self.calls) <= self.most or call in list(self.calls)[: self.most]


@in_child
def _in_child() -> None:
    """Let go of the calls of the parent's threads; a call that this thread is in has its place no more."""
    for guard in declaration.guards():
        if guard.places is not None:
            guard.places.calls.clear()
