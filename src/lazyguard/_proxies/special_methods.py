"""The special methods that an interpreter looks for on a class, and which of them the proxy of an object answers.

Invariant: what is looked up here is what the class says, read from the namespaces along its `__mro__`: an instance's
own attributes are no special methods, and neither are a metaclass's those of its classes.
"""

import sys
from _weakref import ref

from lazyguard._core import loaded

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lazyguard._base import Any, Callable

# What the right operand of an operator is asked for.
REFLECTED = frozenset(
    "__radd__ __rsub__ __rmul__ __rmatmul__ __rtruediv__ __rfloordiv__ __rmod__ __rdivmod__ __rpow__ __rlshift__ "
    "__rrshift__ __rand__ __rxor__ __ror__".split()
)
# All special methods by which an interpreter may use an object without looking for an attribute.
SPECIAL = REFLECTED | frozenset(
    "__add__ __sub__ __mul__ __matmul__ __truediv__ __floordiv__ __mod__ __divmod__ __pow__ __lshift__ __rshift__ "
    "__and__ __xor__ __or__ __iadd__ __isub__ __imul__ __imatmul__ __itruediv__ __ifloordiv__ __imod__ __ipow__ "
    "__ilshift__ __irshift__ __iand__ __ixor__ __ior__ __lt__ __le__ __eq__ __ne__ __gt__ __ge__ __neg__ __pos__ "
    "__abs__ __invert__ __int__ __float__ __complex__ __index__ __round__ __trunc__ __floor__ __ceil__ __bool__ "
    "__len__ __length_hint__ __getitem__ __setitem__ __delitem__ __contains__ __iter__ __reversed__ __next__ __hash__ "
    "__call__ __str__ __bytes__ __format__ __fspath__ __await__ __aiter__ __anext__ __enter__ __exit__ __aenter__ "
    "__aexit__ __get__ __set__ __delete__ __set_name__ __instancecheck__ __subclasscheck__ __copy__ __deepcopy__ "
    "__buffer__".split()
)
# Those that turn a class attribute into something else: only what is known to have them may have them.
OF_DESCRIPTORS = frozenset(("__set__", "__delete__", "__set_name__"))
# What every object can be asked although it is no operator.
BASIC = frozenset(("__getattribute__", "__setattr__", "__delattr__", "__repr__", "__dir__"))
# What Python asks a class for.
OF_CLASS = SPECIAL | BASIC
# Those that every object answers, whatever its class says.
UNIVERSAL = frozenset("__eq__ __ne__ __lt__ __le__ __gt__ __ge__ __bool__ __hash__ __str__ __format__".split())
# Answered for these classes although they lack them: what Python does with the class itself, before it asks for these.
BUILT_IN: "dict[type, str]" = {
    str: "__int__ __float__ __complex__ __bytes__ __fspath__",
    bytes: "__int__ __float__ __fspath__",
    bytearray: "__int__ __float__",
    complex: "__complex__",  # of its own since 3.11
    tuple: "__instancecheck__ __subclasscheck__",
    type(_ for _ in ()): "__await__",  # of a function that `types.coroutine` has marked
}


def has(kind: type, name: str) -> bool:
    """Return whether the class has something by that name, by itself or by inheritance."""
    return any(name in base.__dict__ for base in kind.__mro__)


def name_of(kind: type) -> str:
    """Return what the class of a `kind`'s proxies is called.

    Where C code refuses a proxy because of its exact type, `kind` alone would be a riddle ("expected str, got str").
    """
    return f"lazy {told_of(kind)}{RESOLVE}" if issubclass(kind, _EXACT) else told_of(kind)


def told_of(kind: type) -> str:
    """Return what the interpreter calls an object of that class in its errors."""
    name: str = type.__dict__["__name__"].__get__(kind)
    in_python = kind.__flags__ & _HEAP_TYPE and not kind.__flags__ & _IMMUTABLE_TYPE
    if not in_python and kind.__module__ != "builtins":
        return f"{kind.__module__}.{name}"
    return name


def names_of(kind: type) -> "dict[str, Any]":
    """Return by what else the class of a proxy of a `kind` names it."""
    said = space_of(kind).get("__doc__")
    return {
        **({"__doc__": said} if isinstance(said, str) else {}),
        "_kind": ref(kind),
        "__module__": kind.__module__,
        "__qualname__": type.__dict__["__qualname__"].__get__(kind),
    }


# What the class of a proxy that no other name would fit is called.
# No dot: some of the interpreter's errors leave out what stands before it, and what exceeds 50 characters.
RESOLVE = " (pass lazyguard's resolve(it))"
# Texts, bytes, tuples and classes: most C code takes no other.
_EXACT = (str, tuple, bytes, bytearray, type)
_HEAP_TYPE, _IMMUTABLE_TYPE = 1 << 9, 1 << 8


def specials_of(kind: type) -> "dict[str, Any]":
    """Return the special methods that the class has, as the interpreter would find them."""
    found: dict[str, Any] = {}
    for base in reversed(kind.__mro__):
        found |= {name: value for name, value in base.__dict__.items() if name in SPECIAL}
    return found


def signed(method: "Any", kind: type) -> "Any":
    """Return what stands for the `__call__` of a class, with its signature: since 3.13 inspect reads the class."""
    call = specials_of(kind).get("__call__")
    if type(call) is _FUNCTION and type(method) is _FUNCTION:
        method.__signature__ = Like(lambda: signature_of(call))
    return method


class Like:
    """What looks like what `read` returns, which is called at each look."""

    def __init__(self, read: "Callable[[], Any]") -> None:
        self._read = read

    @property  # type: ignore[misc]
    def __class__(self) -> "Any":  # pyright: ignore[reportIncompatibleMethodOverride]
        return type(self._read())

    def __getattr__(self, name: str) -> "Any":
        return getattr(self._read(), name)


def signature_of(function: "Any") -> "Any":
    """Return what inspect, which is loaded now, says of a function or a class."""
    from inspect import signature

    return signature(function)


def answers_of(kind: type) -> "tuple[set[str], set[str]]":
    """Return the special methods that a proxy of a `kind` has, and those that the class says it has not (None)."""
    found = specials_of(kind)
    refused = {name for name, value in found.items() if value is None}
    # __pow__: pow() with three arguments fails on a class that has __rpow__ alone
    answered = {"__copy__", "__deepcopy__", "__pow__", *found, *UNIVERSAL, *REFLECTED}
    for base, names in BUILT_IN.items():
        if issubclass(kind, base):
            answered.update(names.split())
    return answered - refused, refused


# What the class of a proxy has although its target's class may lack it: what `copy` takes from the class.
_OWN = frozenset(("__copy__", "__deepcopy__"))
_FUNCTION = type(lambda: None)
# of a class, what it has and not what it shows
plain: "Callable[[type, str], Any]" = type.__getattribute__


def space_of(view: type) -> "Any":
    """Return the namespace that the class has, not the one that it shows."""
    return plain(view, "__dict__")


class Likeness(type):
    """The type of the classes of proxies.

    Attributes:
        _kind: Returns the class of the target, None while nobody knows it; of each class.
        _prefix: What stands before its name for those that ask: reprlib goes by that of a dict, and would build it.
        _fetch: Returns the target of a proxy; of `Proxy` and what overrides it.
        _run: Does to a target what a special method asked of its class does, as `_operations.by_class`; likewise.
    """

    def __getattribute__(cls, name: str) -> "Any":
        if name == "__name__":
            return plain(cls, "_prefix") + plain(cls, name).rpartition(".")[2]  # the module is for C code
        kind = plain(cls, "_kind")()
        if kind is not None and name == "__signature__":
            return signature_of(kind)  # since 3.13 inspect reads the class
        if kind is not None and "pydoc" in sys.modules and loaded("_proxies.inspection").is_pydoc(sys._getframe(1)):
            return (cls, *kind.__mro__[1:]) if name == "__mro__" else getattr(kind, name)  # it documents that
        if name != "__dict__" and name not in OF_CLASS:
            try:
                return plain(cls, name)
            except AttributeError:
                kind = kind or loaded("_proxies.inspection").class_meant(cls, sys._getframe(1))
                if kind is None:
                    raise AttributeError(f"{name!r} is known of no object before it is there") from None
            return getattr(kind, name)
        found = plain(cls, name)  # else the target's class has none either
        if name in BASIC and type(found) is _FUNCTION:
            return found  # to look at a pending object builds nothing
        if name == "__dict__":
            return {each: found[each] for each in found if kind is None or each not in OF_CLASS or _shown(kind, each)}
        if kind is None or _shown(kind, name):
            return None if found is None else loaded("_proxies.inspection").ByClass(name, kind)
        return getattr(kind, name)  # its metaclass's, or the error that it has none


def _shown(kind: type, name: str) -> bool:
    return name in _OWN or has(kind, name)


# typed as what it makes
new_class: "Callable[[str, tuple[type, ...], dict[str, Any]], Any]" = Likeness
