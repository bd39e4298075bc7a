"""A call of a guarded function with all its policies: the fallback, the deadline, the places, the retry, the breaker.

Invariants: the policies are written once, as generators of effects, for sync and async functions; a result that works
late, after the call that has returned it, is never taken for a call that ended well. What works late is told by its
type; nothing of the result is run or changed.
"""

from __future__ import annotations

from lazyguard._base import TYPE_CHECKING, Any, Callable
from lazyguard._base.places import misused
from lazyguard._core import causes, clock, deadlines, loaded, mode, observers, whole
from lazyguard._core.effects import Call, within
from lazyguard._core.state import Outcome
from lazyguard.errors import CircuitOpen, DeadlineExceeded, ServiceUnavailable

if TYPE_CHECKING:
    from lazyguard._core.cancellation import Cancellation
    from lazyguard._core.deadlines import Deadline
    from lazyguard._core.effects import Steps
    from lazyguard._policies.circuit import Circuit, Phase
    from lazyguard._services.guarded import Args, Guard, Named


def awaiting(function: Callable[..., Any], first: Any) -> Callable[..., Any]:
    """Return an async function in the place of a plain one that returns awaitables; its `first` was made already."""
    made = [] if first is None else [first]

    async def awaited(*args: Any, **named: Any) -> Any:
        result = made.pop() if made else function(*args, **named)
        return await result if hasattr(type(result), "__await__") else result

    return awaited


class GuardedCall:
    """One call."""

    __slots__ = ("_args", "_awaited", "_cancellation", "_circuit", "_function", "_guard", "_limit", "_named", "_own")

    def __init__(self, guard: Guard, args: Args, named: Named, later: Callable[..., Any] | None = None) -> None:
        self._guard = guard
        self._args = args
        self._named = named
        self._function = later or guard.function
        self._awaited = guard.awaited or later is not None
        self._circuit: Circuit | None = None
        self._limit = deadlines.current()
        self._own: Deadline | None = None
        self._cancellation: Cancellation | None = None

    def answered(self, error: Exception | None = None, entered: object = None) -> Steps[Outcome]:
        """Make it.

        Args:
            error: What its first attempt has raised, where that was made already.
            entered: What has a place among those of `max_concurrent=`, where its caller has one, and leaves it.
        """
        guard = self._guard
        failed = None if error is None else Outcome(error=error)
        if not mode.is_active():
            return failed or (yield self._call())
        if guard.looks:
            guard.read()
        if guard.timeout is not None:
            late = f"{guard.name}, declared at {guard.place}, did not end within its timeout of {guard.timeout} s."
            self._own = deadlines.Deadline(guard.timeout, late)
            if self._limit is None or self._own.ends <= self._limit.ends:
                self._limit = self._own
        if self._own is None or self._limit is None:
            outcome = yield from self._placed(failed, entered)
        else:
            if self._awaited:
                self._cancellation = loaded("_core.cancellation", guard).Cancellation(self._limit)
            outcome = yield from within(self._limit, self._placed(failed, entered), self._cancellation)
        if outcome.error is None:
            if guard.answers is not None and guard.answers.since is not None:
                guard.answers.ended(guard)
            return outcome
        return (yield from self._falling_back(outcome))

    def _call(self) -> Call:
        return Call(self._function, *self._args, named=self._named, awaited=self._awaited)

    def _placed(self, failed: Outcome | None, entered: object) -> Steps[Outcome]:
        """Attempts in a place of their own, if there is one."""
        guard, places = self._guard, self._guard.places
        if places is None or entered is not None:
            return (yield from self._calling(failed))
        call = object()
        try:
            places.calls[call] = None
            if not places.has(call):
                observers.called(guard.name, "refused")
                text = (
                    f"{guard.name}, declared at {guard.place}, is not called: {places.most} calls of it are under way "
                    "(max_concurrent=). Try again later, give it a fallback, or a higher max_concurrent=."
                )
                return Outcome(error=ServiceUnavailable(text))
            return (yield from self._calling(failed))
        finally:
            places.calls.pop(call, None)

    def _calling(self, outcome: Outcome | None) -> Steps[Outcome]:
        """Attempts, until one succeeds or the retry gives up."""
        guard, limit = self._guard, self._limit
        self._circuit = guard.circuit_of(self._args, self._named)
        retries = failure = None
        while True:
            if outcome is None:
                outcome = yield from self._attempting()
                late = outcome.error
                if isinstance(late, DeadlineExceeded) and late.__context__ is None and late is not failure:
                    late.__context__ = failure  # it may be that no attempt was made
            if outcome.error is None or guard.retry is None:
                return outcome
            if self._circuit is not None and self._circuit.now.state == "open":
                return outcome  # it would not be let in
            if retries is None:
                retries = guard.retry.begin(guard.function, self._args, self._named)
            ended: Outcome | None = yield from retries.again(outcome, None if limit is None else limit.ends)
            if ended is not None:
                return ended
            failure, outcome = outcome.error, None

    def _attempting(self) -> Steps[Outcome]:
        """One attempt, let in by the breaker, which is told how it ended."""
        guard, limit, own, cancellation = self._guard, self._limit, self._own, self._cancellation
        began = clock.now()
        if limit is not None and guard.timeout is not None and began >= limit.ends:
            return Outcome(error=limit.exceeded())
        phase: Phase | None = None
        if self._circuit is not None:
            try:
                phase = self._circuit.admit()
            except CircuitOpen as refused:
                return Outcome(error=refused.with_traceback(None))  # no line of the user's is in it
        try:
            outcome: Outcome = yield self._call()
        except BaseException as interrupt:
            if phase is not None:
                # what its own timeout has cancelled took too long; what others cancel says nothing
                mine = own is not None and own is limit and cancellation is not None and cancellation.rung
                phase.ended(own.exceeded() if own is not None and mine else interrupt, own, began)
            raise
        if outcome.ok and guard.looks:
            kind = late_kind_of(outcome.value)
            if kind is not None:
                if phase is not None:
                    phase.released()
                if kind is AWAITABLE and not self._awaited:
                    guard.found(awaited=True)
                    return outcome  # it is counted, and tried again, when it is awaited
                if kind is AWAITABLE and hasattr(outcome.value, "close"):
                    outcome.value.close()
                raise misused(late_refusal(guard.name, guard.place, kind))
            guard.found(awaited=False)
        if phase is not None:
            phase.ended(outcome.error, own, began)
        return outcome

    def _falling_back(self, failed: Outcome) -> Steps[Outcome]:
        """The answer of the first fallback that has one, unless none may be served here."""
        guard, cause = self._guard, failed.error
        if guard.answers is None or not isinstance(cause, Exception):
            return failed
        if loaded("_policies.fallback", guard).denied():
            return failed
        kept = causes.keep(cause)  # a fallback may raise it again
        for fallback in guard.answers.fallbacks:
            if not fallback.is_for(cause):
                continue
            args, named = fallback.arguments(cause, self._args, self._named)
            answer: Outcome = yield Call(fallback.function, *args, named=named, awaited=fallback.awaited)
            if answer.ok:
                guard.answers.answered(guard, fallback, cause)
                return answer
            if answer.error is not None and answer.error.__context__ is None and not kept.has(answer.error):
                causes.set_context(answer.error, cause)
            failed = answer
            if not isinstance(answer.error, Exception):
                break
        return failed


# Nothing in these can fail later.
ENDED = frozenset((type(None), bool, int, float, str, bytes, list, tuple, dict, set))
# The methods of generators and coroutines; an object with others is one to be used, not work that waits.
OF_ITERATORS = frozenset(("send", "throw", "close", "asend", "athrow", "aclose", "from_iterable"))
AWAITABLE, FUTURE, BLOCK, ITERATOR = "an awaitable", "a future", "a context manager", "a generator or an iterator"
# How to write it so that it is guarded.
INSTEAD = {
    AWAITABLE: "Await it there, and return what comes of it.",
    FUTURE: "Guard the function that is submitted, or return the future's result.",
    BLOCK: "Guard the functions that are called in its block, or one that has the block in it and returns a value.",
    ITERATOR: "Guard the function that makes one step, or one that returns a list.",
}


def late_kind_of(result: object) -> str | None:
    """Return what a result is that works late; None for any other."""
    kind = type(result)
    if kind in ENDED or (kind.__module__ == "contextlib" and not kind.__name__.startswith("_")):
        return None  # such as closing(...): the work was done
    proxies = whole("_proxies.proxy")  # not loaded: there is none
    if proxies is not None and issubclass(kind, proxies.Proxy):
        return None
    if hasattr(kind, "add_done_callback"):
        return FUTURE
    if any(callable(getattr(kind, name, None)) for name in dir(kind) if name[0] != "_" and name not in OF_ITERATORS):
        return None
    if hasattr(kind, "__enter__") or hasattr(kind, "__aenter__"):
        return BLOCK
    if hasattr(kind, "__await__"):
        return AWAITABLE
    if kind.__module__ == "builtins" and kind.__name__.endswith("iterator"):
        return None  # of a list, or of another container
    return ITERATOR if hasattr(kind, "__next__") or hasattr(kind, "__aiter__") else None


def late_refusal(name: str, place: str, kind: str) -> str:
    """Return why such a result is refused, and how to write it."""
    return (
        f"{name} ({place}) returned {kind}: its work is done after the call has returned, where nothing guards it. "
        f"{INSTEAD[kind]}"
    )


# What to do where the factory of a service returns such a thing, which is of use but once.
_MAKE = {
    AWAITABLE: "make it an `async def`, and await it there.",
    FUTURE: "return the future's result.",
    BLOCK: "return the object that it is about, and give close= for what is to be done in the end.",
    ITERATOR: "use `return`, and give close= for what is to be done in the end.",
}


def late_made(result: object) -> str | None:
    """Return what a factory has returned that works late and is of use but once, and how to write it; else None."""
    if type(result).__module__ not in ("builtins", "contextlib") and not hasattr(result, "add_done_callback"):
        return None  # a class of the same name
    kind = late_kind_of(result)
    if kind == AWAITABLE:
        getattr(result, "close", bool)()  # else Python tells that nothing has awaited it
    return None if kind is None else f"{kind}, and not the object of the service: {_MAKE[kind]}"
