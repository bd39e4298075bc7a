"""What stands around one guarded function: its policies, the state that they have, and its fallback.

Invariant: the policies are written once, as generators of effects, for sync and async functions.
"""

from __future__ import annotations

from lazyguard._base import final, places
from lazyguard._base.places import misconfigured, misused
from lazyguard._core import declaration, loaded

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeAlias

    from lazyguard._core.state import Outcome
    from lazyguard._monitoring.health import Check
    from lazyguard._policies.breaker import Breaker
    from lazyguard._policies.circuit import Circuit
    from lazyguard._policies.retry import Retry

    Args: TypeAlias = tuple[Any, ...]
    Named: TypeAlias = dict[str, Any]


@final
class Guard:
    """The policies around one function, and their state."""

    __slots__ = (
        "__weakref__",
        "awaited",
        "cause_at",
        "circuit",
        "fallback_function",
        "function",
        "late",
        "name",
        "place",
        "retry",
        "timeout",
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
            raise misused(f"guarded ({place}) takes a function or a method, not {type(function).__name__}.")
        flags = _flags_of(function)
        if flags & _GENERATORS:
            raise misused(
                f"{name} ({place}) is a generator: its body runs after the call has returned, where nothing guards it. "
                "Guard the function that makes one step, or one that returns a list."
            )
        self.awaited = bool(flags & _COROUTINE)
        if retry is not None and retry.awaits and not self.awaited:
            raise misconfigured(
                f"retry= of {name} ({place}) is a tenacity.AsyncRetrying, and the function is not async: give a "
                "tenacity.Retrying."
            )
        self.function = function
        self.name = name
        self.place = place
        self.timeout = timeout
        self.late = f"{name}, declared at {place}, did not end within its timeout of {timeout} s."
        self.retry = retry
        self.fallback_function: Callable[..., Any] | None = None
        self.cause_at: int | None = None
        self.circuit: Circuit | None = None
        if breaker is not None:
            from lazyguard._policies.breaker import UnusedCircuit

            unused: Any = UnusedCircuit(breaker, name, place)
            self.circuit = unused
            declaration.register_guard(self)

    def run(self, args: Args, named: Named, failed: Exception | None = None) -> Outcome:
        """Make a call on this thread; the outcome is unwrapped by a frame that does not keep it.

        `failed` is what its first attempt has raised, where that has been made already.
        """
        outcome: Outcome = loaded("_core.threads", self).drive(loaded(CALLS, self).guarding(self, args, named, failed))
        return outcome

    async def arun(self, args: Args, named: Named, failed: Exception | None = None) -> Outcome:
        """Make a call in this task."""
        steps = loaded(CALLS, self).guarding(self, args, named, failed)
        outcome: Outcome = await loaded("_core.tasks", self).adrive(steps)
        return outcome

    # what the function has beside its own

    def fallback(self, fallback: Any, /) -> Any:
        """Declare what answers when the function fails in the end; used as a decorator."""
        wrapped: Any = fallback.__func__ if isinstance(fallback, classmethod | staticmethod) else fallback
        place = places.of_callable(wrapped, self.place)
        if self.fallback_function is not None:
            raise misconfigured(
                f"{self.name} ({self.place}) has a fallback already: this one ({place}) is one too many."
            )
        if not hasattr(wrapped, "__code__"):
            raise misconfigured(
                f"the fallback of {self.name} ({self.place}) must be a function, "
                f"not one of type {type(fallback).__name__}."
            )
        from lazyguard._base import signatures

        flags = signatures.flags_of(wrapped)
        if flags & (signatures.GENERATOR | signatures.ASYNC_GENERATOR):
            raise misconfigured(f"the fallback of {self.name} ({place}) is a generator: use `return`.")
        if bool(flags & signatures.COROUTINE) != self.awaited:
            raise misconfigured(
                f"of {self.name} ({self.place}) and its fallback ({place}) one is an `async def`: make both alike."
            )
        positional = signatures.positional_parameters(wrapped)
        self.cause_at = _position_of_cause(wrapped, positional)
        self._check_parameters(wrapped, [each for each in positional if each != "cause"], place)
        self.fallback_function = wrapped
        return fallback

    def _check_parameters(self, fallback: Any, positional: list[str], place: str) -> None:
        from lazyguard._base import signatures

        function = self.function
        if not hasattr(function, "__code__"):
            return
        takes, star = signatures.positional_parameters(function), function.__code__.co_flags & 0xC  # *args, **kwargs
        keywords = set(signatures.required_parameters(fallback)) - {"cause"} - set(positional)
        needed = [each for each in signatures.required_parameters(fallback) if each in positional]
        must = [each for each in signatures.required_parameters(function) if each in takes]
        open_ended = fallback.__code__.co_flags & 0x4
        if not star and (len(needed) > len(takes) or not keywords <= set(_names(function))):
            raise misconfigured(
                f"the fallback of {self.name} ({place}) needs arguments that the function does not take: it is called "
                "with the call's own, and with the exception where it has a parameter named cause."
            )
        if not open_ended and len(positional) < len(must):
            raise misconfigured(
                f"the fallback of {self.name} ({place}) takes fewer arguments than the function: it is called with the "
                "call's own, and with the exception where it has a parameter named cause."
            )

    def health(self) -> Check:
        """Return the state of the breaker, since when and why."""
        from lazyguard._core import clock
        from lazyguard._monitoring import health

        return health.check_guard(self, clock.now(), clock.current.date())

    def reset(self) -> None:
        """Close the breaker, with nothing counted."""
        if self.circuit is not None and self.circuit.used:
            self.circuit.reset()


# co_flags of a function: it is a generator, sync or async; it is an `async def`
_GENERATORS, _COROUTINE = 0x20 | 0x200, 0x80
FUNCTION = type(lambda: None)
# Where calls with all their policies are made, which is loaded by this name.
CALLS = "_services.calls"


def _flags_of(function: Any) -> int:
    if type(function) is FUNCTION:  # nearly all of them; the others need a closer look
        flags: int = function.__code__.co_flags
        return flags
    from lazyguard._base import signatures

    return signatures.flags_of(function)


def _names(function: Any) -> tuple[str, ...]:
    code = function.__code__
    names: tuple[str, ...] = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    return names


def _position_of_cause(function: Any, positional: tuple[str, ...]) -> int | None:
    """Return where a fallback takes the exception: a position, or -1 for by keyword."""
    if "cause" in positional[:2]:
        return positional.index("cause")
    return -1 if "cause" in _names(function) else None
