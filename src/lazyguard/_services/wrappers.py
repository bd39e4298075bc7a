"""What is called in the place of a guarded function: the fastest that its policies allow.

Invariant: a call that ends well costs what its options need, and no more; what is not in a wrapper is in `calls`.
"""

from __future__ import annotations

from lazyguard._base import signatures

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from lazyguard._core.state import Outcome

# What a guarded function has beside the attributes of its own.
HANDLES = ("fallback", "health", "isolate", "reset")
# By its descriptor: the class of an exception may refuse to have attributes set.
_set_context = BaseException.__dict__["__context__"].__set__


def unwrapped(outcome: Outcome) -> Any:
    """Return what a call has returned, or raise what it has raised."""
    error = outcome.error
    if error is None:
        return outcome.value
    outcome.error = None  # else a cycle: the error, its traceback, a frame that has this outcome
    context = error.__context__
    try:
        raise error
    finally:
        # What raises it here handles the first attempt's failure, of which it may be the cause.
        _set_context(error, context)
        del error, context


def wrapped(guard: Any) -> Any:
    """Return the function to call, the fastest that the policies allow, dressed as the one that it guards."""
    make = signatures.dress((_async_wrapper if guard.awaited else _wrapper)(guard), guard.function)
    for handle in HANDLES:
        setattr(make, handle, getattr(guard, handle))
    names = make.__code__.co_freevars
    if "detour" in names:
        guard._detour = make.__closure__[names.index("detour")]
    return make


def _wrapper(guard: Any) -> Any:
    function, circuit, detour = guard.function, guard.circuit, True
    if guard.timeout is not None:

        def bounded(*args: Any, **named: Any) -> Any:
            return unwrapped(guard.run(args, named))

        return bounded
    if guard.is_timed or guard.key is not None or guard.places is not None:
        return _limited(guard)
    if circuit is None:

        def retried(*args: Any, **named: Any) -> Any:
            if detour:
                return unwrapped(guard.run(args, named))
            try:
                return function(*args, **named)
            except Exception as error:
                return unwrapped(guard.run(args, named, error))

        return retried

    def broken(*args: Any, **named: Any) -> Any:
        phase = circuit.now
        count = phase.count
        if count is None or detour:
            return unwrapped(guard.run(args, named))
        try:
            result = function(*args, **named)
        except Exception as error:
            phase.ended(error)
            return unwrapped(guard.run(args, named, error))
        count(True)
        return result

    return broken


def _async_wrapper(guard: Any) -> Any:
    function, circuit, detour = guard.function, guard.circuit, True
    if guard.timeout is not None:

        async def bounded(*args: Any, **named: Any) -> Any:
            return unwrapped(await guard.arun(args, named))

        return bounded
    if guard.is_timed or guard.key is not None or guard.places is not None:
        return _async_limited(guard)
    if circuit is None:

        async def retried(*args: Any, **named: Any) -> Any:
            if detour:
                return unwrapped(await guard.arun(args, named))
            try:
                return await function(*args, **named)
            except Exception as error:
                return unwrapped(await guard.arun(args, named, error))

        return retried

    async def broken(*args: Any, **named: Any) -> Any:
        phase = circuit.now
        count = phase.count
        if count is None or detour:
            return unwrapped(await guard.arun(args, named))
        try:
            result = await function(*args, **named)
        except Exception as error:
            phase.ended(error)
            return unwrapped(await guard.arun(args, named, error))
        count(True)
        return result

    return broken


def _limited(guard: Any) -> Any:
    """Return what is called in the place of a function with key=, max_concurrent= or slow_call_duration=."""
    from lazyguard._core import clock

    function, circuit, detour, key = guard.function, guard.circuit, True, guard.key
    places, timed = guard.places, guard.is_timed
    calls: Any = getattr(places, "calls", None)
    known: Any = getattr(guard.by_key, "known", None)

    def limited(*args: Any, **named: Any) -> Any:
        if detour:
            return unwrapped(guard.run(args, named))
        call: Any = None
        phase: Any = None
        count = began = None
        try:
            if calls is not None:
                call = object()
                calls[call] = None
                if len(calls) > places.most and not places.has(call):
                    return unwrapped(guard.run(args, named))
            if known is not None:
                asked = known.get(key(*args, **named)) or guard.circuit_of(args, named)
                asked.asked = True
                phase = asked.now
            elif circuit is not None:
                phase = circuit.now
            if phase is not None:
                count = phase.count
                if count is None:
                    return unwrapped(guard.run(args, named, None, call))
            if timed:
                began = clock.now()
            try:
                result = function(*args, **named)
            except Exception as error:
                if phase is not None:
                    phase.ended(error, None, began)
                return unwrapped(guard.run(args, named, error, call))
            if began is not None and phase is not None and clock.now() - began > phase.slow:
                phase.ended(None, None, began)
            elif count is not None:
                count(True)
            return result
        finally:
            if calls is not None:
                calls.pop(call, None)

    return limited


def _async_limited(guard: Any) -> Any:
    """Return the same for an async function."""
    from lazyguard._core import clock

    function, circuit, detour, key = guard.function, guard.circuit, True, guard.key
    places, timed = guard.places, guard.is_timed
    calls: Any = getattr(places, "calls", None)
    known: Any = getattr(guard.by_key, "known", None)

    async def limited(*args: Any, **named: Any) -> Any:
        if detour:
            return unwrapped(await guard.arun(args, named))
        call: Any = None
        phase: Any = None
        count = began = None
        try:
            if calls is not None:
                call = object()
                calls[call] = None
                if len(calls) > places.most and not places.has(call):
                    return unwrapped(await guard.arun(args, named))
            if known is not None:
                asked = known.get(key(*args, **named)) or guard.circuit_of(args, named)
                asked.asked = True
                phase = asked.now
            elif circuit is not None:
                phase = circuit.now
            if phase is not None:
                count = phase.count
                if count is None:
                    return unwrapped(await guard.arun(args, named, None, call))
            if timed:
                began = clock.now()
            try:
                result = await function(*args, **named)
            except Exception as error:
                if phase is not None:
                    phase.ended(error, None, began)
                return unwrapped(await guard.arun(args, named, error, call))
            if began is not None and phase is not None and clock.now() - began > phase.slow:
                phase.ended(None, None, began)
            elif count is not None:
                count(True)
            return result
        finally:
            if calls is not None:
                calls.pop(call, None)

    return limited
