"""What is done to a target where a special method is asked of its proxy: by an operator, or by name on the class.

Invariants: an operator on a proxy is that operator on its target, so that both operands may be proxies; a special
method asked of a proxy's class is the one of the target's class, found as the interpreter finds it.
"""

from __future__ import annotations

import _operator

from lazyguard._proxy import Proxy, cell_of
from lazyguard._specials import REFLECTED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

# types.MethodType, without importing types
MethodType: Any = type((lambda self: None).__get__(0))

# Those that bind as a method does: a function, and what C has in its place.
PLAIN = (type(lambda: None), type(object.__init__), type(str.join))


def _reflect(operation: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    return lambda target, other: operation(other, target)


def _power(target: Any, other: Any, modulus: Any = None) -> Any:
    return pow(target, other) if modulus is None else pow(target, other, modulus)


def _copied(target: Any) -> Any:
    import copy

    return copy.copy(target)


def _deeply_copied(target: Any, memo: dict[int, Any] | None = None) -> Any:
    import copy

    return copy.deepcopy(target, memo)


def _path(target: Any) -> Any:
    import os

    return os.fspath(target)


def _called(target: Any, /, *arguments: Any, **named: Any) -> Any:
    return target(*arguments, **named)


_BINARY: dict[str, Callable[[Any, Any], Any]] = {
    **{
        name: getattr(_operator, name)
        for name in "add sub mul matmul truediv floordiv mod lshift rshift xor lt le eq ne gt ge".split()
    },
    "and": _operator.and_,
    "or": _operator.or_,
    "divmod": divmod,
    "pow": _power,
}
# What does to a target what the special method of that name would; missing: the target's own special method.
OPERATIONS: dict[str, Callable[..., Any]] = {
    **{f"__{name}__": operation for name, operation in _BINARY.items()},
    **{name: _reflect(_BINARY[name[3:-2]]) for name in REFLECTED},
    **{
        f"__{name}__": getattr(_operator, name)
        for name in "neg pos abs invert index contains getitem setitem delitem length_hint".split()
    },
    **{f"__{kind.__name__}__": kind for kind in (bool, int, float, complex, str, reversed)},
    "__len__": len,
    "__iter__": iter,
    "__next__": next,
    "__hash__": hash,
    "__format__": format,
    "__call__": _called,
    "__bytes__": bytes,
    "__fspath__": _path,
    "__instancecheck__": lambda target, instance: isinstance(instance, target),
    "__subclasscheck__": lambda target, kind: issubclass(kind, target),
    "__copy__": _copied,
    "__deepcopy__": _deeply_copied,
}
# In place: those that a class has of its own; others fall back to the plain operator, which rebinds the name.
IN_PLACE = {
    f"__i{name}__": getattr(_operator, f"i{name}")
    for name in "add sub mul matmul truediv floordiv mod pow lshift rshift and xor or".split()
}
# These are called with the proxy before their arguments by code that looks them up on the class (contextlib does).
UNBOUND = frozenset(
    "__enter__ __exit__ __aenter__ __aexit__ __await__ __aiter__ __anext__ __get__ __copy__ __deepcopy__".split()
)


_BOTH_OPERANDS = frozenset((*(f"__{name}__" for name in _BINARY), *REFLECTED, *IN_PLACE))


def special(target: Any, name: str) -> Callable[..., Any]:
    """Return a special method of the target's class, bound to the target, as the interpreter would find it."""
    kind = type(target)
    for base in kind.__mro__:
        if name in base.__dict__:
            found = base.__dict__[name]
            bind = getattr(type(found), "__get__", None)
            bound: Callable[..., Any] = found if bind is None else bind(found, target, kind)
            return bound
    raise TypeError(f"{kind.__name__!r} object has no {name}")


def perform(name: str, proxy: Any, target: Any, arguments: tuple[Any, ...], named: dict[str, Any]) -> Any:
    """Do to a target what the special method `name` stands for."""
    operation = OPERATIONS.get(name)
    if operation is not None:
        return operation(target, *arguments, **named)
    in_place = IN_PLACE.get(name)
    if in_place is not None:
        result = in_place(target, *arguments)
        return proxy if result is target else result
    if name == "__get__" and not hasattr(type(target), name):
        return proxy
    return special(target, name)(*arguments, **named)


def by_class(name: str, proxy: Any, target: Any, arguments: tuple[Any, ...], named: dict[str, Any]) -> Any:
    """Do to a target what the special method `name` of its class does: `type(p).__add__(p, x)`.

    Unlike an operator it may answer NotImplemented.
    """
    if name in ("__copy__", "__deepcopy__"):
        return perform(name, proxy, target, arguments, named)
    if name in _BOTH_OPERANDS and arguments and issubclass(type(arguments[0]), Proxy):
        arguments = (cell_of(arguments[0]).resolve(), *arguments[1:])
    result = special(target, name)(*arguments, **named)
    return proxy if result is target and name in IN_PLACE else result
