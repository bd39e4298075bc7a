"""A call of a guarded function with all its policies: the fallback, the deadline, the retry, the breaker.

Invariant: the policies are written once, as generators of effects, for sync and async functions.
"""

from __future__ import annotations

from lazyguard._core import causes, clock, deadlines, loaded, observers
from lazyguard._core.effects import Call, Within
from lazyguard._core.state import Outcome
from lazyguard.errors import CircuitOpen, DeadlineExceeded

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lazyguard._core.deadlines import Deadline
    from lazyguard._core.effects import Steps
    from lazyguard._policies.circuit import Phase
    from lazyguard._services.guarded import Args, Guard, Named


def guarding(guard: Guard, args: Args, named: Named, error: Exception | None = None) -> Steps[Outcome]:
    """One call with all its policies; `error` is what its first attempt has raised, where there was one already."""
    failed = None if error is None else Outcome(error=error)
    limit, own = deadlines.current(), None
    if guard.timeout is not None:
        own = deadlines.Deadline(guard.timeout, guard.late)
        if limit is None or own.ends <= limit.ends:
            limit = own
    if own is None or limit is None:
        outcome = yield from _calling(guard, args, named, limit, None, None, failed)
    else:
        scope = Within(limit)
        scope.steps = _calling(guard, args, named, limit, own, scope, failed)
        outcome = yield scope
    if guard.fallback_function is None or not isinstance(outcome.error, Exception):
        return outcome
    return (yield from _falling_back(guard, outcome, args, named))


def _calling(
    guard: Guard,
    args: Args,
    named: Named,
    limit: Deadline | None,
    own: Deadline | None,
    scope: Within | None,
    outcome: Outcome | None,
) -> Steps[Outcome]:
    """Attempts, until one succeeds or the retry gives up."""
    retries = failure = None
    while True:
        if outcome is None:
            outcome = yield from _attempting(guard, args, named, limit, own, scope)
            late = outcome.error
            if isinstance(late, DeadlineExceeded) and late.__context__ is None and late is not failure:
                late.__context__ = failure  # it may be that no attempt was made
        if outcome.error is None or guard.retry is None:
            return outcome
        if guard.circuit is not None and guard.circuit.now.state == "open":
            return outcome  # it would not be let in
        if retries is None:
            retries = guard.retry.begin()
        ended: Outcome | None = yield from retries.again(outcome, None if limit is None else limit.ends)
        if ended is not None:
            return ended
        failure, outcome = outcome.error, None


def _attempting(
    guard: Guard, args: Args, named: Named, limit: Deadline | None, own: Deadline | None, scope: Within | None
) -> Steps[Outcome]:
    """One attempt, let in by the breaker, which is told how it ended."""
    began = clock.now()
    if limit is not None and guard.timeout is not None and began >= limit.ends:
        return Outcome(error=limit.exceeded())
    phase: Phase | None = None
    if guard.circuit is not None:
        try:
            phase = guard.circuit.admit()
        except CircuitOpen as refused:
            return Outcome(error=refused.with_traceback(None))  # no line of the user's is in it
    try:
        outcome: Outcome = yield Call(guard.function, *args, named=named, awaited=guard.awaited)
    except BaseException as interrupt:
        if phase is not None:
            # what its own timeout has cancelled took too long; what others cancel says nothing
            mine = own is not None and own is limit and scope is not None and scope.expired
            phase.ended(own.exceeded() if own is not None and mine else interrupt, own, began)
        raise
    if phase is not None:
        phase.ended(outcome.error, own, began)
    return outcome


def _falling_back(guard: Guard, failed: Outcome, args: Args, named: Named) -> Steps[Outcome]:
    """The fallback's answer, unless none may be served here."""
    policy = loaded("_policies.fallback", guard)
    function, cause = guard.fallback_function, failed.error
    if function is None or cause is None or policy.denied():
        return failed
    at = guard.cause_at
    if at is not None:
        if at < 0 or at > len(args):
            named = {**named, "cause": cause}
        else:
            args = (*args[:at], cause, *args[at:])
    kept = causes.keep(cause)  # the fallback may raise it again
    answer: Outcome = yield Call(function, *args, named=named, awaited=guard.awaited)
    if answer.error is not None and answer.error.__context__ is None and not kept.has(answer.error):
        causes.set_context(answer.error, cause)
    if answer.ok:
        observers.called(guard.name, "fallback")
    return answer
