"""What a Python function is and what it takes, read from its code: declaring does without `inspect`.

Invariant: nothing is unwrapped but a `functools.partial`, and nothing of the function runs.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


# co_flags of a function, as inspect names them
GENERATOR, COROUTINE, ASYNC_GENERATOR = 0x20, 0x80, 0x200


def flags_of(function: Any) -> int:
    """Return the `co_flags` of what is run when `function` is called; 0 where no Python function can be seen."""
    # by its class: an object that answers every name (a mock) would be unwrapped for ever
    while any(f"{base.__module__}.{base.__name__}" == "functools.partial" for base in type(function).__mro__):
        function = function.func
    if not hasattr(function, "__code__"):
        function = getattr(type(function), "__call__", None)  # noqa: B004 (its code is wanted, not whether it is callable)
    flags: int = getattr(getattr(function, "__code__", None), "co_flags", 0)
    return flags


def required_parameters(function: Any) -> tuple[str, ...]:
    """Return the names of a Python function's parameters that have no default."""
    code = function.__code__
    defaults = len(getattr(function, "__defaults__", None) or ())
    positional = positional_parameters(function)
    positional = positional[: max(0, len(positional) - defaults)]
    keyword: tuple[str, ...] = code.co_varnames[code.co_argcount : code.co_argcount + code.co_kwonlyargcount]
    given: dict[str, Any] = getattr(function, "__kwdefaults__", None) or {}
    return positional + tuple(name for name in keyword if name not in given)


def positional_parameters(function: Any) -> tuple[str, ...]:
    """Return the names of the parameters that a Python function takes by position, a method's `self` left out."""
    skip = 1 if getattr(function, "__self__", None) is not None else 0
    names: tuple[str, ...] = function.__code__.co_varnames[skip : function.__code__.co_argcount]
    return names


def has_parameters(function: Any) -> bool:
    """Return whether a Python function takes any argument at all, a method's `self` left out."""
    code = getattr(function, "__code__", None)
    if code is None:
        return False
    return bool(positional_parameters(function) or code.co_kwonlyargcount or code.co_flags & 0x0C)


def all_parameters(function: Any) -> tuple[str, ...]:
    """Return the names of all parameters that a Python function takes one value for, a method's `self` left out."""
    code = function.__code__
    keyword: tuple[str, ...] = code.co_varnames[code.co_argcount : code.co_argcount + code.co_kwonlyargcount]
    return positional_parameters(function) + keyword


def only_positional(function: Any) -> bool:
    """Return whether a Python function can be given all that it takes by position, and takes no more than that."""
    return not (function.__code__.co_kwonlyargcount or function.__code__.co_flags & 0x0C)  # *args, **kwargs
