"""What stands around one guarded function: its policies, the state that they have, and its fallback.

Invariant: the policies are written once, as generators of effects, for sync and async functions.
"""

from __future__ import annotations

from lazyguard._base import places, signatures
from lazyguard._base.typing import final
from lazyguard._core import clock, deadlines, declaration, observers
from lazyguard._core.effects import Call, Within
from lazyguard._core.loading import loaded
from lazyguard._core.state import Outcome
from lazyguard.errors import CircuitOpen, ConfigurationError, DeadlineExceeded, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeAlias

    from lazyguard._core.deadlines import Deadline
    from lazyguard._core.effects import Steps
    from lazyguard._monitoring.health import Check
    from lazyguard._policies.breaker import Breaker
    from lazyguard._policies.circuit import Circuit, Phase
    from lazyguard._policies.retry import Retry

    Args: TypeAlias = tuple[Any, ...]
    Named: TypeAlias = dict[str, Any]


@final
class Guard:
    """The policies around one function, and their state."""

    __slots__ = (
        "__weakref__",
        "_cause_at",
        "_late",
        "_retry",
        "_timeout",
        "awaited",
        "circuit",
        "fallback_function",
        "function",
        "name",
        "place",
    )

    def __init__(
        self,
        function: Callable[..., Any],
        name: str,
        place: str,
        timeout: float | None,
        retry: Retry | None,
        breaker: Breaker | None,
    ) -> None:
        if not callable(function):
            raise UsageError(f"guarded ({place}) takes a function or a method, not {type(function).__name__}.")
        flags = signatures.flags_of(function)
        if flags & (signatures.GENERATOR | signatures.ASYNC_GENERATOR):
            raise UsageError(
                f"{name} ({place}) is a generator: its body runs after the call has returned, where nothing guards it. "
                "Guard the function that makes one step, or one that returns a list."
            )
        self.awaited = bool(flags & signatures.COROUTINE)
        if retry is not None and retry.awaits and not self.awaited:
            raise ConfigurationError(
                f"retry= of {name} ({place}) is a tenacity.AsyncRetrying, and the function is not async: give a "
                "tenacity.Retrying."
            )
        self.function = function
        self.name = name
        self.place = place
        self._timeout = timeout
        self._late = f"{name}, declared at {place}, did not end within its timeout of {timeout} s."
        self._retry = retry
        self.fallback_function: Callable[..., Any] | None = None
        self._cause_at: int | None = None
        self.circuit: Circuit | None = None
        if breaker is not None:
            from lazyguard._policies.circuit import Circuit

            self.circuit = Circuit(breaker, name=name, place=place)
            declaration.register_guard(self)

    # the policies

    def guarding(self, args: Args, named: Named, failed: Outcome | None = None) -> Steps[Outcome]:
        """One call with all its policies; `failed` is its first attempt where that has been made already."""
        limit, own = deadlines.current(), None
        if self._timeout is not None:
            own = deadlines.Deadline(self._timeout, self._late)
            if limit is None or own.ends <= limit.ends:
                limit = own
        if own is None or limit is None:
            outcome = yield from self._calling(args, named, limit, None, failed)
        else:
            scope = Within(limit)
            scope.steps = self._calling(args, named, limit, scope if limit is own else None, failed)
            outcome = yield scope
        if self.fallback_function is None or not isinstance(outcome.error, Exception):
            return outcome
        return (yield from self._falling_back(outcome, args, named))

    def _calling(
        self, args: Args, named: Named, limit: Deadline | None, scope: Within | None, outcome: Outcome | None
    ) -> Steps[Outcome]:
        """Attempts, until one succeeds or the retry gives up."""
        retries = failure = None
        while True:
            if outcome is None:
                outcome = yield from self._attempting(args, named, limit, scope)
                late = outcome.error
                if isinstance(late, DeadlineExceeded) and late.__context__ is None and late is not failure:
                    late.__context__ = failure  # it may be that no attempt was made
            if outcome.error is None or self._retry is None:
                return outcome
            if self.circuit is not None and self.circuit.now.state == "open":
                return outcome  # it would not be let in
            if retries is None:
                retries = self._retry.begin()
            ended = yield from retries.again(outcome, None if limit is None else limit.ends)
            if ended is not None:
                return ended
            failure, outcome = outcome.error, None

    def _attempting(self, args: Args, named: Named, limit: Deadline | None, scope: Within | None) -> Steps[Outcome]:
        """One attempt, let in by the breaker, which is told how it ended."""
        if limit is not None and self._timeout is not None and clock.now() >= limit.ends:
            return Outcome(error=limit.exceeded())
        phase: Phase | None = None
        own = None if scope is None else scope.limit
        if self.circuit is not None:
            try:
                phase = self.circuit.admit()
            except CircuitOpen as refused:
                return Outcome(error=refused)
        try:
            outcome: Outcome = yield Call(lambda: self.function(*args, **named), awaited=self.awaited)
        except BaseException as interrupt:
            if phase is not None:
                # what its own timeout has cancelled took too long; what others cancel says nothing
                phase.ended(
                    own.exceeded() if own is not None and scope is not None and scope.expired else interrupt, own
                )
            raise
        if phase is not None:
            phase.ended(outcome.error, own)
        return outcome

    def _falling_back(self, failed: Outcome, args: Args, named: Named) -> Steps[Outcome]:
        """The fallback's answer, unless none may be served here."""
        policy = loaded("_policies.fallback", self)
        function, cause = self.fallback_function, failed.error
        if function is None or cause is None or policy.denied():
            return failed
        at = self._cause_at
        if at is not None:
            if at < 0 or at > len(args):
                named = {**named, "cause": cause}
            else:
                args = (*args[:at], cause, *args[at:])
        answer: Outcome = yield Call(lambda: function(*args, **named), awaited=self.awaited)
        if answer.error is not None and answer.error.__context__ is None and answer.error is not cause:
            answer.error.__context__ = cause
        if answer.ok:
            observers.called(self.name, "fallback")
        return answer

    def run(self, args: Args, named: Named, failed: Outcome | None = None) -> Outcome:
        """Make a call on this thread; the outcome is unwrapped by a frame that does not keep it."""
        outcome: Outcome = loaded("_core.threads", self).drive(self.guarding(args, named, failed))
        return outcome

    async def arun(self, args: Args, named: Named, failed: Outcome | None = None) -> Outcome:
        """Make a call in this task."""
        outcome: Outcome = await loaded("_core.tasks", self).adrive(self.guarding(args, named, failed))
        return outcome

    # what the function has beside its own

    def fallback(self, fallback: Any, /) -> Any:
        """Declare what answers when the function fails in the end; used as a decorator."""
        wrapped: Any = fallback.__func__ if isinstance(fallback, classmethod | staticmethod) else fallback
        place = places.of_callable(wrapped, self.place)
        if self.fallback_function is not None:
            raise ConfigurationError(
                f"{self.name} ({self.place}) has a fallback already: this one ({place}) is one too many."
            )
        if not hasattr(wrapped, "__code__"):
            raise ConfigurationError(
                f"the fallback of {self.name} ({self.place}) must be a function, "
                f"not one of type {type(fallback).__name__}."
            )
        flags = signatures.flags_of(wrapped)
        if flags & (signatures.GENERATOR | signatures.ASYNC_GENERATOR):
            raise ConfigurationError(f"the fallback of {self.name} ({place}) is a generator: use `return`.")
        if bool(flags & signatures.COROUTINE) != self.awaited:
            raise ConfigurationError(
                f"of {self.name} ({self.place}) and its fallback ({place}) one is an `async def`: make both alike."
            )
        positional = signatures.positional_parameters(wrapped)
        self._cause_at = _position_of_cause(wrapped, positional)
        self._check_parameters(wrapped, [each for each in positional if each != "cause"], place)
        self.fallback_function = wrapped
        return fallback

    def _check_parameters(self, fallback: Any, positional: list[str], place: str) -> None:
        function = self.function
        if not hasattr(function, "__code__"):
            return
        takes, star = signatures.positional_parameters(function), function.__code__.co_flags & 0xC  # *args, **kwargs
        keywords = set(signatures.required_parameters(fallback)) - {"cause"} - set(positional)
        needed = [each for each in signatures.required_parameters(fallback) if each in positional]
        must = [each for each in signatures.required_parameters(function) if each in takes]
        open_ended = fallback.__code__.co_flags & 0x4
        if not star and (len(needed) > len(takes) or not keywords <= set(_names(function))):
            raise ConfigurationError(
                f"the fallback of {self.name} ({place}) needs arguments that the function does not take: it is called "
                "with the call's own, and with the exception where it has a parameter named cause."
            )
        if not open_ended and len(positional) < len(must):
            raise ConfigurationError(
                f"the fallback of {self.name} ({place}) takes fewer arguments than the function: it is called with the "
                "call's own, and with the exception where it has a parameter named cause."
            )

    def health(self) -> Check:
        """Return the state of the breaker, since when and why."""
        from lazyguard._monitoring import health

        return health.check_guard(self, clock.now(), clock.current.date())

    def reset(self) -> None:
        """Close the breaker, with nothing counted."""
        if self.circuit is not None:
            self.circuit.reset()


def _names(function: Any) -> tuple[str, ...]:
    code = function.__code__
    names: tuple[str, ...] = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    return names


def _position_of_cause(function: Any, positional: tuple[str, ...]) -> int | None:
    """Return where a fallback takes the exception: a position, or -1 for by keyword."""
    if "cause" in positional[:2]:
        return positional.index("cause")
    return -1 if "cause" in _names(function) else None
