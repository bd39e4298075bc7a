"""The fallback of a guarded function: what it must be, so that it can be called where the function fails.

Invariant: what could not be called then is refused where it is declared.
"""

from __future__ import annotations

from lazyguard._base import places, signatures
from lazyguard._base.places import misconfigured

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from lazyguard._base.places import Place
    from lazyguard._services.guarded import Guard


def declare(guard: Guard, fallback: Any) -> Any:
    """Let a function answer where the guarded one fails in the end, and return it as it was given."""
    wrapped: Any = fallback.__func__ if isinstance(fallback, classmethod | staticmethod) else fallback
    place = places.of_callable(wrapped, guard.place)
    if guard.fallback_function is not None:
        raise misconfigured(f"{guard.name} ({guard.place}) has a fallback already: this one ({place}) is one too many.")
    if not hasattr(wrapped, "__code__"):
        raise misconfigured(
            f"the fallback of {guard.name} ({guard.place}) must be a function, "
            f"not one of type {type(fallback).__name__}."
        )
    flags = signatures.flags_of(wrapped)
    if flags & (signatures.GENERATOR | signatures.ASYNC_GENERATOR):
        raise misconfigured(f"the fallback of {guard.name} ({place}) is a generator: use `return`.")
    if bool(flags & signatures.COROUTINE) != guard.awaited:
        raise misconfigured(
            f"of {guard.name} ({guard.place}) and its fallback ({place}) one is an `async def`: make both alike."
        )
    positional = signatures.positional_parameters(wrapped)
    guard.cause_at = _position_of_cause(wrapped, positional)
    _check_parameters(guard, wrapped, [each for each in positional if each != "cause"], place)
    guard.fallback_function = wrapped
    return fallback


def _check_parameters(guard: Guard, fallback: Any, positional: list[str], place: Place) -> None:
    function = guard.function
    if not hasattr(function, "__code__"):
        return
    takes, star = signatures.positional_parameters(function), function.__code__.co_flags & 0xC  # *args, **kwargs
    keywords = set(signatures.required_parameters(fallback)) - {"cause"} - set(positional)
    needed = [each for each in signatures.required_parameters(fallback) if each in positional]
    must = [each for each in signatures.required_parameters(function) if each in takes]
    open_ended = fallback.__code__.co_flags & 0x4
    if not star and (len(needed) > len(takes) or not keywords <= set(_names(function))):
        raise misconfigured(
            f"the fallback of {guard.name} ({place}) needs arguments that the function does not take: it is called "
            "with the call's own, and with the exception where it has a parameter named cause."
        )
    if not open_ended and len(positional) < len(must):
        raise misconfigured(
            f"the fallback of {guard.name} ({place}) takes fewer arguments than the function: it is called with the "
            "call's own, and with the exception where it has a parameter named cause."
        )


def _names(function: Any) -> tuple[str, ...]:
    code = function.__code__
    names: tuple[str, ...] = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    return names


def _position_of_cause(function: Any, positional: tuple[str, ...]) -> int | None:
    """Return where a fallback takes the exception: a position, or -1 for by keyword."""
    if "cause" in positional[:2]:
        return positional.index("cause")
    return -1 if "cause" in _names(function) else None
