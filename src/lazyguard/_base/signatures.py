"""The kind and the parameters of a Python function, read from its code, without `inspect`.

Invariant: nothing but a `functools.partial` is unwrapped, and no code of the function runs.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


# The flags in `co_flags`, as inspect names them.
GENERATOR, COROUTINE, ASYNC_GENERATOR = 0x20, 0x80, 0x200


def flags_of(function: Any) -> int:
    """Return the `co_flags` of the code that a call of `function` runs; 0 if that is no Python code."""
    # by its class: an object that has every attribute (a mock) would be unwrapped for ever
    while any(f"{base.__module__}.{base.__name__}" == "functools.partial" for base in type(function).__mro__):
        function = function.func
    if not hasattr(function, "__code__"):
        function = getattr(type(function), "__call__", None)  # noqa: B004 (its code is needed, not whether it is callable)
    flags: int = getattr(getattr(function, "__code__", None), "co_flags", 0)
    return flags


def late_kind(function: Any) -> str:
    """Return what a function is whose body runs after the call has returned: "a generator", for one; "" for others."""
    flags = flags_of(function)
    return next((kind for flag, kind in _LATE.items() if flags & flag), "")


_LATE = {GENERATOR: "a generator", COROUTINE: "an async function", ASYNC_GENERATOR: "an async generator"}


def dress(wrapper: Any, function: Any) -> Any:
    """Return a wrapper that looks like its function, as by `functools.wraps`; no annotation is evaluated (PEP 649)."""
    annotations = "__annotate__" if hasattr(function, "__annotate__") else "__annotations__"
    for attribute in ("__module__", "__name__", "__qualname__", "__doc__", "__type_params__", annotations):
        if hasattr(function, attribute):
            setattr(wrapper, attribute, getattr(function, attribute))
    vars(wrapper).update(getattr(function, "__dict__", {}), __wrapped__=function)
    return wrapper


def required_parameters(function: Any) -> tuple[str, ...]:
    """Return the names of a Python function's parameters that have no default."""
    code = function.__code__
    defaults = len(getattr(function, "__defaults__", None) or ())
    positional = positional_parameters(function)
    positional = positional[: max(0, len(positional) - defaults)]
    keyword: tuple[str, ...] = code.co_varnames[code.co_argcount : code.co_argcount + code.co_kwonlyargcount]
    with_default: dict[str, Any] = getattr(function, "__kwdefaults__", None) or {}
    return positional + tuple(name for name in keyword if name not in with_default)


def positional_parameters(function: Any) -> tuple[str, ...]:
    """Return the names of a Python function's positional parameters, without a method's `self`."""
    skip = 1 if getattr(function, "__self__", None) is not None else 0
    names: tuple[str, ...] = function.__code__.co_varnames[skip : function.__code__.co_argcount]
    return names


def has_parameters(function: Any) -> bool:
    """Return whether a Python function takes any argument, apart from a method's `self`."""
    code = getattr(function, "__code__", None)
    if code is None:
        return False
    return bool(positional_parameters(function) or code.co_kwonlyargcount or code.co_flags & 0x0C)


def all_parameters(function: Any) -> tuple[str, ...]:
    """Return the names of all parameters but `*args`, `**kwargs` and a method's `self`."""
    code = function.__code__
    keyword: tuple[str, ...] = code.co_varnames[code.co_argcount : code.co_argcount + code.co_kwonlyargcount]
    return positional_parameters(function) + keyword


def only_positional(function: Any) -> bool:
    """Return whether a Python function has positional parameters only, and neither `*args` nor `**kwargs`."""
    return not (function.__code__.co_kwonlyargcount or function.__code__.co_flags & 0x0C)  # *args, **kwargs
