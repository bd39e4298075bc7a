"""The classes of resolved proxies: views of a target, through which no Python frame runs.

Invariants: a view has a special method only if its target's class has it, so that `callable`, `iter` and their like
tell the truth; special methods are those of the target's class, bound to the target, never frozen to what a target that
is itself a proxy stands for at the moment; a view that is replaced lets go of its target at once.

Two kinds. `bound`: a class for one target, the fastest (its `__getattribute__` is the builtin getattr, bound). Such a
class is a cycle that keeps its target until a full collection, so it is for objects declared at module level and for
services. `forwarding`: one class for all targets of a type, which asks the proxy's cell for its target each time.
"""

from __future__ import annotations

import _operator
import sys
from _weakref import ref

from lazyguard._proxies import pickling
from lazyguard._proxies.proxy import ASKED_OF_ITSELF, ATOMIC, Proxy, answer, cell_of, shape_of
from lazyguard._proxies.special_methods import REFLECTED, answers_of, name_of, names_of, new_class, specials_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from lazyguard._base.places import Place
    from lazyguard._core.cell import Cell
    from lazyguard._core.state import Snapshot


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


def _whole(name: str) -> Callable[..., Any]:
    def to_whole(target: Any) -> Any:
        import math

        return getattr(math, name)(target)

    return to_whole


def _with(target: Any) -> None:
    with target:
        pass


async def _async_with(target: Any) -> None:
    async with target:
        pass


async def _async_for(target: Any) -> None:
    async for _ in target:
        pass


async def _awaited(target: Any) -> Any:
    return await target


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
    **{f"__{kind.__name__}__": kind for kind in (bool, int, float, complex, str, reversed, round)},
    **{f"__{name}__": _whole(name) for name in ("trunc", "floor", "ceil")},
    "__len__": len,
    "__iter__": iter,
    "__next__": next,
    "__hash__": hash,
    "__format__": format,
    "__call__": _called,
    "__bytes__": bytes,
    "__fspath__": _path,
    "__instancecheck__": lambda target, instance: isinstance(instance, target),
    "__subclasscheck__": lambda target, kind: issubclass(_real(kind), target),
    "__copy__": _copied,
    "__deepcopy__": _deeply_copied,
}
# What Python does with an object whose class has no such method: it raises, or, to await, it looks further.
_LACKING: dict[str, Callable[[Any], Any]] = {
    **dict.fromkeys(("__enter__", "__exit__"), _with),
    **dict.fromkeys(("__aenter__", "__aexit__"), lambda target: _async_with(target).send(None)),
    "__aiter__": lambda target: _async_for(target).send(None),
    "__await__": lambda target: _awaited(target).__await__(),
    "__buffer__": memoryview,
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


def _real(value: Any) -> Any:
    return cell_of(value).resolve() if issubclass(type(value), Proxy) else value


def special(target: Any, name: str) -> Callable[..., Any]:
    """Return a special method of the target's class, bound to the target, as the interpreter would find it."""
    kind = type(target)
    for base in kind.__mro__:
        if name in base.__dict__:
            found = base.__dict__[name]
            bind = getattr(type(found), "__get__", None)
            bound: Callable[..., Any] = found if bind is None else bind(found, target, kind)
            return bound
    lacking = _LACKING.get(name)
    if lacking is not None:
        instead = lacking(target)
        return lambda *_: instead
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
    if name in _BOTH_OPERANDS and arguments:
        arguments = (_real(arguments[0]), *arguments[1:])
    result = special(target, name)(*arguments, **named)
    return proxy if result is target and name in IN_PLACE else result


def _names(target: Any) -> tuple[set[str], set[str]]:
    """Return the special methods that the target's class answers, and those that it says it does not."""
    names, refused = answers_of(type(target))
    if issubclass(type(target), type) and hasattr(target, "__class_getitem__"):
        names.add("__getitem__")
    if "__getitem__" in names and "__iter__" not in names | refused:
        try:
            iter(target)
        except TypeError:
            refused.add("__iter__")  # else whatever can be subscripted could be iterated, a class without end
    return names, refused


def bound(cell: Cell, snapshot: Snapshot) -> type[Proxy]:
    """Return a class for this one target."""
    target = snapshot.target
    if target is None:
        return shared(cell, snapshot)  # no method can be bound to None
    names, refused = _names(target)
    namespace: dict[str, Any] = {
        "__slots__": (),
        "__getattribute__": MethodType(getattr, target),
        "__setattr__": MethodType(setattr, target),
        "__delattr__": MethodType(delattr, target),
        "__repr__": MethodType(repr, target),
        "__dir__": MethodType(dir, target),
    }
    for name in names:
        if name in UNBOUND or name in IN_PLACE:
            namespace[name] = _performing(name, target)
        elif name in OPERATIONS:
            namespace[name] = MethodType(OPERATIONS[name], target)
        else:
            found = specials_of(type(target)).get(name)
            # what binds in another way may bind otherwise at each use: a proxy's special methods do
            namespace[name] = MethodType(found, target) if type(found) in PLAIN else _performing(name, target)
    if "__call__" in names:
        try:
            namespace["__call__"] = staticmethod(target)
        except Exception:
            pass  # it asks the target for its name, which a proxy of nothing has not; `_called` does without
    if issubclass(type(target), ATOMIC):
        # only a Python function can answer one name otherwise than the target itself
        namespace["__getattribute__"] = lambda _, name: (
            getattr(target, name) if name not in ASKED_OF_ITSELF else answer(target, name)
        )
        namespace["__doc__"] = _documentation
    namespace.update(dict.fromkeys(refused))
    return _made(target, {**namespace, "_holds": True})


def _made(target: Any, namespace: dict[str, Any]) -> type[Proxy]:
    kind = type(target)
    view: type[Proxy] = new_class(name_of(kind), (shape_of(kind),), {**names_of(kind), **namespace})
    pickling.enrol(view)
    return view


def _performing(name: str, target: Any) -> Callable[..., Any]:
    def method(self: Proxy, /, *arguments: Any, **named: Any) -> Any:
        return perform(name, self, target, arguments, named)

    method.__name__ = name
    return method


def forwarding(
    target: Any,
    fetch: Callable[[Proxy], Any],
    attribute: Callable[[Proxy, str], Any] | None = None,
    run: Callable[..., Any] | None = None,
) -> type[Proxy]:
    """Return a class that asks `fetch` for the target before each operation.

    Args:
        target: One of the targets, for what they can do.
        fetch: Returns a proxy's target, or raises.
        attribute: What answers for attributes; getattr on what `fetch` returns if left out.
        run: What does the special methods, called as `perform` is; that if left out.
    """
    names, refused = _names(target)
    perform_it = run or perform

    def forward(method_name: str) -> Callable[..., Any]:
        def method(self: Proxy, /, *arguments: Any, **named: Any) -> Any:
            return perform_it(method_name, self, fetch(self), arguments, named)

        return method

    namespace: dict[str, Any] = {
        "__slots__": (),
        "_fetch": fetch,
        "__getattribute__": attribute or (lambda self, name: getattr(fetch(self), name)),
        "__setattr__": lambda self, name, value: setattr(fetch(self), name, value),
        "__delattr__": lambda self, name: delattr(fetch(self), name),
        "__repr__": lambda self: repr(fetch(self)),
        "__dir__": lambda self: dir(fetch(self)),
        **{method_name: forward(method_name) for method_name in names},
        **dict.fromkeys(refused),
    }
    if run is not None:
        namespace.update(_run=staticmethod(run), _holds=True)  # it holds this target
    return _made(target, namespace)


_shared: dict[ref[type], type[Proxy]] = {}


def target_of(proxy: Proxy) -> Any:
    """Return the target of a proxy, building it anew if it was reset meanwhile."""
    now = cell_of(proxy).now
    return now.target if now.served else cell_of(proxy).resolve()


# For pydoc, which asks `object` for the documentation of classes and functions.
_documentation = property(lambda proxy: answer(target_of(proxy), "__doc__"))


def shared(cell: Cell, snapshot: Snapshot) -> type[Proxy]:
    """Return the class for all targets of this target's type."""
    target = snapshot.target
    if issubclass(type(target), ATOMIC):
        return bound(cell, snapshot)  # what a class answers is its own matter, not its metaclass's
    key = ref(type(target), _shared.pop)
    known = _shared.get(key)
    if known is None:
        known = _shared.setdefault(key, forwarding(target, target_of))
    return known


_TEXT = (
    "C code that takes text alone, such as str.join, json.dumps and `in` of a text, refuses its proxy. Make it "
    "eagerly, or write lazyguard.resolve(...) there."
)
_TUPLE = (
    "C code that takes tuples alone, such as `%` of a text, str.startswith and `except`, refuses its proxy. Make it "
    "eagerly, or write lazyguard.resolve(...) there."
)
_EXCEPTION = (
    "`except` and `raise` refuse a proxy, with a TypeError in the place of the exception that was to be caught. Import "
    "or define it eagerly, or write `except lazyguard.resolve(Name):`."
)
# As the interpreter's own: what has been told of a place is not told again, unless the filters say so.
_registry: dict[Any, Any] = {}


def limit_of(target: object) -> str:
    """Return what a proxy of this target cannot do and how to do without; an empty text where that is rare."""
    kind = type(target)
    if issubclass(kind, str):
        return f"is a {kind.__name__}. {_TEXT}"
    if issubclass(kind, tuple):
        return f"is a {kind.__name__}. {_TUPLE}"
    return f"is an exception class. {_EXCEPTION}" if is_exception_class(target) else ""


def is_exception_class(target: Any) -> bool:
    """Return whether it is a class of exceptions itself."""
    return issubclass(type(target), type) and issubclass(target, BaseException)


def tell(name: str, place: Place, limit: str) -> None:
    """Warn of a limit, at the place of declaration, once."""
    import warnings

    from lazyguard.errors import ProxyLimitWarning

    text = f"{name}, declared here and used through a proxy, {limit}"
    warnings.warn_explicit(text, ProxyLimitWarning, place.file, place.line, registry=_registry)


def tell_of_import(module: str, attribute: str, place: Place) -> bool:
    """Warn where a lazy import is of an exception class: one that is loaded, or that is called as they are called."""
    loaded = vars(sys.modules[module]) if module in sys.modules else {}
    if attribute in loaded:
        known, by_name = is_exception_class(loaded[attribute]), ""
    else:
        known, by_name = attribute.endswith(("Error", "Exception")), " by its name"
    if known:
        tell(f"{module}:{attribute}", place, f"is an exception class{by_name}. {_EXCEPTION}")
    return known
