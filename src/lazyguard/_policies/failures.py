"""Which exceptions a policy means: by their type, by the name of a type, or by a predicate; a group by its leaves.

Invariants: no module is imported to look for a type in it; what a predicate raises is told in the log, once, and takes
the place of no failure.

Beside it is haste: an attempt ended since its caller had less time than what it called may take. It is judged after a
failure alone, so that an attempt that succeeds pays nothing. What an attempt may take is the breaker's
`slow_call_duration`, else the guard's own timeout, else what an integration has declared for the wait that failed, else
it is unknown. The earliest deadline of the context is the caller's, unless it is the guard's own.
"""

from __future__ import annotations

import sys

from lazyguard._base import TYPE_CHECKING, Any, Record, TypeVar, places, validation
from lazyguard._core import clock, deadlines
from lazyguard.errors import CircuitOpen, ResolutionError, ResolutionTimeout, ServiceUnavailable
from lazyguard.events import describe

if TYPE_CHECKING:
    from lazyguard._base.validation import Kinds
    from lazyguard._core.deadlines import Deadline

    R = TypeVar("R", bound=BaseException)

# What a predicate raised, and which: told already.
_told: set[tuple[str, str]] = set()


def leaves(error: BaseException, named: Kinds = ()) -> list[BaseException]:
    """Return the exceptions in a group, at any depth; of what is no group, or one that is `named`, that alone."""
    kind: Any = getattr(sys.modules["builtins"], "BaseExceptionGroup", None)  # since 3.11
    kind = kind or getattr(sys.modules.get("exceptiongroup"), "BaseExceptionGroup", None)
    if kind is None or not isinstance(error, kind):
        return [error]
    if isinstance(error, tuple(one for one in validation.loaded(named) if issubclass(one, kind))):
        return [error]
    group: Any = error
    return [leaf for one in group.exceptions for leaf in leaves(one, named)]


def matches(error: BaseException, kinds: Kinds, *, inner: bool = False) -> bool:
    """Return whether these mean the exception; of a group, whether they mean all its leaves.

    With `inner` they also mean what an inner service or guarded function raises because it is not there.
    """
    return all(_is_one(leaf, kinds) or (inner and _failed_inside(leaf, kinds)) for leaf in leaves(error, kinds))


def _failed_inside(error: BaseException, kinds: Kinds) -> bool:
    """Return whether it says that an inner service, or what a guarded function calls, is not there."""
    if isinstance(error, ServiceUnavailable | CircuitOpen | ResolutionTimeout):
        return True
    return isinstance(error, ResolutionError) and error.__cause__ is not None and matches(error.__cause__, kinds)


def _is_one(error: BaseException, kinds: Kinds) -> bool:
    if isinstance(error, validation.loaded(kinds)):
        return True
    for kind in kinds:
        if not isinstance(kind, str | type):
            try:
                if kind(error):
                    return True
            except Exception as raised:
                _tell(kind, raised)
    return False


def _tell(predicate: object, raised: Exception) -> None:
    said = places.name_of(predicate), describe(raised)
    if said not in _told and len(_told) < 1000:
        _told.add(said)
        import logging

        logging.getLogger("lazyguard").error("the predicate %s raised %s, and so it means nothing", *said)


# Parts of the names of the exceptions by which libraries tell a time-out; most have no common base class.
_TIMEOUTS = ("Timeout", "TimedOut", "DeadlineExceeded")
_MOST_CAUSES = 5  # how far a chain of causes is followed
_CROWD = 10  # how many waits that overlap count
_PRECISION = 0.001  # seconds: the timers of some loops ring that much too early


class Haste(Record):
    """One hasty attempt.

    Attributes:
        cause: What its caller is told, an Exception.
        limit: Seconds that an attempt may take; None if that is unknown.
        waited: Seconds that it has taken, of those that it was given.
    """

    cause: BaseException
    limit: float | None
    waited: float


def haste(
    error: BaseException, failed: bool | None, limit: float | None, own: Deadline | None, began: float | None
) -> Haste | None:
    """Return the haste by which an attempt ended; None if it ended otherwise.

    Args:
        error: What it raised.
        failed: Whether the breaker counts that as a failure; None if as nothing.
        limit: The breaker's `slow_call_duration`.
        own: The guard's own deadline.
        began: When it began, by the clock; None if that is unknown.
    """
    given = deadlines.current()
    cancelled = type(error).__name__ == "CancelledError" and not isinstance(error, Exception)
    if given is None or given is own or (failed is None and not cancelled):
        return None
    moment = clock.now()
    left = given.ends - moment
    late = left <= _PRECISION and (failed or cancelled)
    if not late and (cancelled or not is_timeout(error)):
        return None
    declared, waiting = getattr(_marked(error), _MARK, (None, None))
    if limit is None:
        limit = declared if own is None else own.seconds
    began = waiting if began is None else began
    cause = given.exceeded() if cancelled else error
    if limit is None:
        # While most of the time is left, the limit that ended it is no caller's.
        return None if 2 * left > given.seconds else Haste(cause=cause, limit=None, waited=0.0)
    if began is None:
        began = given.ends - given.seconds
    left_it = given.ends - began
    # What it took beyond that is its own: a machine that is busy is no silence of the server's.
    if left_it >= limit and not cancelled:
        return None  # it counts as what it raised; a cancellation, which counts as nothing, by what it has waited
    return Haste(cause=cause, limit=limit, waited=max(0.0, min(left_it, moment - began)))


class Wait:
    """A `with` block in which an integration waits: what fails there says how long that may take, and since when."""

    __slots__ = ("_began", "_limit")

    def __init__(self, limit: float | None) -> None:
        self._limit = limit

    def __enter__(self) -> None:
        self._began = clock.now()

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if error is None or self._limit is None or deadlines.current() is None:
            return
        if _marked(error) is None:  # else an inner wait has said it
            setattr(error, _MARK, (self._limit, self._began))


_MARK = "_lazyguard_wait"


def told(error: R, limit: float, began: float) -> R:
    """Return an error of an integration's, which says how long its whole wait may take, and since when."""
    setattr(error, _MARK, (limit, began))
    return error


def is_told(error: BaseException) -> bool:
    """Return whether an integration has said that of the error itself."""
    return hasattr(error, _MARK)


def _marked(error: BaseException) -> BaseException | None:
    return next((cause for cause in _chain(error) if hasattr(cause, _MARK)), None)


def is_timeout(error: BaseException) -> bool:
    """Return whether an exception, or one of its causes, tells of a time-out."""
    for cause in _chain(error):
        for kind in type(cause).__mro__:
            if kind is TimeoutError or any(part in kind.__name__ for part in _TIMEOUTS):
                return True
    return False


def _chain(error: BaseException | None) -> list[BaseException]:
    """Return an exception and its causes, as far as they are followed."""
    chain: list[BaseException] = []
    while error is not None and len(chain) < _MOST_CAUSES:
        chain.append(error)
        error = error.__cause__ or error.__context__
    return chain


class Span:
    """A span in which all attempts were hasty: since when, and what they have waited in sum.

    Of waits that overlap twenty count at the most: a crowd makes no long silence of a short one. A statistic without a
    lock: of two attempts that end at the same moment one may be lost.
    """

    def __init__(self, since: float) -> None:
        self._since, self._waited = since, 0.0

    def has_failed(self, hasty: Haste, *, goes_on: bool) -> bool:
        """Add a hasty attempt; return whether the span counts as a failure by now, and begin another one then.

        `goes_on`: whether no attempt has ended otherwise since the last one.
        """
        if hasty.limit is None:
            return False
        moment = clock.now()
        if not goes_on:
            self._since, self._waited = moment - hasty.waited, 0.0
        self._waited += min(hasty.waited, moment - self._since)
        if min(self._waited, _CROWD * (moment - self._since)) < hasty.limit - _PRECISION:
            return False
        self._since, self._waited = moment, 0.0
        return True
