"""The parameters of a Python function, read from its code: no code of it runs, and `inspect` is seldom loaded."""

from __future__ import annotations

import sys

from lazyguard._base import Any, places


def late_kind(function: Any) -> str:
    """Return what a function is whose body runs after the call has returned: "a generator", for one; "" for others."""
    flags = places.flags_of(function)
    return next((kind for flag, kind in _LATE.items() if flags & flag), "")


_LATE = {
    places.GENERATOR: "a generator",
    places.COROUTINE: "an async function",
    places.ASYNC_GENERATOR: "an async generator",
}


def required_parameters(function: Any) -> tuple[str, ...]:
    """Return the names of a Python function's parameters that have no default."""
    positional = positional_parameters(function)
    without = len(positional) - len(getattr(function, "__defaults__", None) or ())
    with_default = {*positional[max(0, without) :], *(getattr(function, "__kwdefaults__", None) or ())}
    return tuple(name for name in all_parameters(function) if name not in with_default)


def positional_parameters(function: Any) -> tuple[str, ...]:
    """Return the names of a Python function's positional parameters, without a method's `self`."""
    return all_parameters(function)[: function.__code__.co_argcount - _bound(function)]


def all_parameters(function: Any) -> tuple[str, ...]:
    """Return the names of all parameters but `*args`, `**kwargs` and a method's `self`."""
    code = function.__code__
    names: tuple[str, ...] = code.co_varnames[_bound(function) : code.co_argcount + code.co_kwonlyargcount]
    return names


def _bound(function: Any) -> int:
    return 1 if getattr(function, "__self__", None) is not None else 0


def only_positional(function: Any) -> bool:
    """Return whether a Python function has positional parameters only, and neither `*args` nor `**kwargs`."""
    return not (function.__code__.co_kwonlyargcount or function.__code__.co_flags & 0x0C)  # *args, **kwargs


def signature_of(function: Any) -> Any:
    """Return the signature of a function as `inspect` has it; what its annotations name need not be there."""
    import inspect

    if sys.version_info >= (3, 14):
        annotationlib: Any = __import__("annotationlib")
        return inspect.signature(function, annotation_format=annotationlib.Format.FORWARDREF)
    return inspect.signature(function)
