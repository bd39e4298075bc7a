"""The classes of resolved proxies: views of a target, through which no Python frame runs.

Invariants: a view has a special method only if its target's class has it, so that `callable`, `iter` and their like
tell the truth; special methods are those of the target's class, bound to the target, never frozen to what a target that
is itself a proxy stands for at the moment; a view that is replaced lets go of its target at once.

Three kinds. `bound`: a class for one target, the fastest (its `__getattribute__` is the builtin getattr, bound). Such a
class is dear and a cycle, so it is for objects declared at module level and for services. `shared`: one class for all
targets of a type, for those declared in functions; what is used often gets a class of its own, which goes with it.
`forwarding`: what counts or checks each use.
"""

from __future__ import annotations

import _operator
import copyreg
import sys
from _weakref import ref

from lazyguard._core import loaded, state
from lazyguard._proxies import special_methods as specials
from lazyguard._proxies.proxy import ASKED_OF_ITSELF, ATOMIC, Proxy, answer, cell_of, let_go, set_class, shape_of, watch
from lazyguard._proxies.special_methods import Likeness, plain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lazyguard._base import Any, Callable
    from lazyguard._core.cell import Cell
    from lazyguard._core.state import Snapshot


# types.MethodType, without importing types
MethodType: Any = type((lambda self: None).__get__(0))

# Those that bind as a method does: a function, and what C has in its place.
PLAIN = (type(lambda: None), type(object.__init__), type(str.join))


def _reflect(operation: Callable[..., Any]) -> Callable[..., Any]:
    return lambda target, other, *modulus: operation(other, target, *modulus)


def _late(module: str, name: str) -> Callable[..., Any]:
    def operation(target: Any, *arguments: Any) -> Any:
        return getattr(__import__(module), name)(target, *arguments)

    return operation


async def _lacking(target: Any, name: str) -> Any:
    """Do what Python does with an object whose class has no such method: it raises, or, to await, it looks further."""
    if name in ("__enter__", "__exit__"):
        with target:
            pass
    elif name in ("__aenter__", "__aexit__"):
        async with target:
            pass
    elif name == "__aiter__":
        async for _ in target:
            pass
    return await target


def _called(target: Any, /, *arguments: Any, **named: Any) -> Any:
    return target(*arguments, **named)


_BINARY: dict[str, Callable[..., Any]] = {
    **{
        name: getattr(_operator, name)
        for name in "add sub mul matmul truediv floordiv mod lshift rshift xor lt le eq ne gt ge".split()
    },
    "and": _operator.and_,
    "or": _operator.or_,
    "divmod": divmod,
    "pow": pow,
}
# What does to a target what the special method of that name would; missing: the target's own special method.
OPERATIONS: dict[str, Callable[..., Any]] = {
    **{f"__{name}__": operation for name, operation in _BINARY.items()},
    **{name: _reflect(_BINARY[name[3:-2]]) for name in specials.REFLECTED},
    **{
        f"__{name}__": getattr(_operator, name)
        for name in "neg pos abs invert index contains getitem setitem delitem length_hint".split()
    },
    **{f"__{kind.__name__}__": kind for kind in (bool, int, float, complex, str, bytes, reversed, round)},
    **{f"__{function.__name__}__": function for function in (len, iter, next, hash, format)},
    **{f"__{name}__": _late("math", name) for name in ("trunc", "floor", "ceil")},
    "__call__": _called,
    "__fspath__": _late("os", "fspath"),
    "__instancecheck__": lambda target, instance: isinstance(instance, target),
    "__subclasscheck__": lambda target, kind: issubclass(_real(kind), target),
    "__copy__": _late("copy", "copy"),
    "__deepcopy__": _late("copy", "deepcopy"),
}
# In place: those that a class has of its own; others fall back to the plain operator, which rebinds the name.
IN_PLACE = {
    name: getattr(_operator, name[2:-2])
    for name in specials.SPECIAL
    if name[2] == "i" and f"__{name[3:]}" in specials.SPECIAL
}
# Where a class lacks these, Python says so in words of its own, or, to await, looks further.
_STATEMENTS = frozenset("__enter__ __exit__ __aenter__ __aexit__ __await__ __aiter__".split())
_BOTH_OPERANDS = frozenset((*(f"__{name}__" for name in _BINARY), *specials.REFLECTED, *IN_PLACE))


def _real(value: Any) -> Any:
    return plain(type(value), "_fetch")(value) if type(type(value)) is Likeness else value


def _operation(name: str, found: Any) -> Any:
    """Return what does to a target what `name` stands for; None: its class's own special method, which is `found`.

    One that is written in Python, or in somebody's C, may look at the type of the other operand, and so does Python
    where that is of a subclass: so it gets the target of one that is lazy too. Those of builtin classes answer
    NotImplemented for what they do not know, and the other one is asked. They are left as they are: they are fast.
    """
    operation: Any = _BASIC.get(name) or OPERATIONS.get(name)
    asks = found is None or getattr(getattr(found, "__objclass__", None), "__module__", "") == "builtins"
    if operation is None or name not in _BOTH_OPERANDS or (asks and "pow" not in name):
        return operation
    # `_real` only where it is needed, since a frame is what this costs
    if "pow" in name:  # of three numbers, of which the first alone may be asked
        return lambda target, other, modulus=None: operation(
            target,
            other if type(type(other)) is not Likeness else _real(other),
            None if modulus is None else _real(modulus),
        )
    return lambda target, other: operation(target, other if type(type(other)) is not Likeness else _real(other))


def special(target: Any, name: str) -> Any:
    """Return a special method of the target's class, bound to the target, as the interpreter would find it."""
    kind = type(target)
    for base in kind.__mro__:
        # of a coroutine Python also sees that another awaits it
        if name in base.__dict__ and not (name == "__await__" and base.__module__ == "builtins"):
            found = base.__dict__[name]
            bind = getattr(type(found), "__get__", None)
            return found if bind is None else bind(found, target, kind)
    if name == "__buffer__":
        buffer = memoryview(target)
        return lambda *_: buffer
    if name in _STATEMENTS:
        instead = _lacking(target, name)
        if name != "__await__":
            instead.send(None)
        return lambda *_: instead.__await__()
    raise TypeError(f"{kind.__name__!r} object has no {name}")


def perform(name: str, proxy: Any, target: Any, arguments: tuple[Any, ...], named: dict[str, Any]) -> Any:
    """Do to a target what the special method `name` stands for."""
    if name in _BOTH_OPERANDS:
        arguments = tuple(map(_real, arguments))
    operation = OPERATIONS.get(name) or IN_PLACE.get(name)
    if operation is not None:
        result = operation(target, *arguments, **named)
        return proxy if result is target and name in IN_PLACE else result
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
    names, refused = specials.answers_of(type(target))
    if issubclass(type(target), type) and hasattr(target, "__class_getitem__"):
        names.add("__getitem__")
    if "__getitem__" in names and "__iter__" not in names | refused:
        try:
            iter(target)
        except TypeError:
            refused.add("__iter__")  # else whatever can be subscripted could be iterated, a class without end
    return names, refused


# What is no operator, and is done to every target.
_BASIC: dict[str, Callable[..., Any]] = {
    "__getattribute__": getattr,
    "__setattr__": setattr,
    "__delattr__": delattr,
    "__repr__": repr,
    "__dir__": dir,
}


# For pydoc, which asks `object` for the documentation of classes and functions.
_documentation = property(lambda proxy: answer(target_of(proxy), "__doc__", proxy))


def _made(target: Any, refused: set[str], namespace: dict[str, Any], above: type[Proxy] | None = None) -> type[Proxy]:
    kind = type(target)
    namespace = {"__slots__": (), **specials.names_of(kind), **namespace, **dict.fromkeys(refused)}
    specials.signed(namespace.get("__call__"), kind)
    view: type[Proxy] = specials.new_class(specials.name_of(kind), (above or shape_of(kind),), namespace)
    table: dict[Any, Any] = copyreg.dispatch_table
    table[_Key(view, lambda key: table.pop(key, None))] = reduce
    return view


class _Key(ref[type[Proxy]]):
    """A weak reference that a plain dict takes for the class that it refers to, and does not keep alive."""

    __slots__ = ()
    __hash__ = ref.__hash__  # that of the class

    def __eq__(self, other: object) -> bool:
        return self is other or self() is other


def reduce(proxy: Proxy, _protocol: int = 0) -> Any:
    """Return what pickle and deepcopy take of a proxy; they are not to ask the `__reduce_ex__` of its target.

    So a target is pickled in all the ways that a pickler has for it, and once, beside its proxy in one container.
    """
    return loaded("_proxies.pickling", cell_of(proxy)).reduced(proxy, sys._getframe(1))


def bound(cell: Cell, snapshot: Snapshot, above: type[Proxy] | None = None) -> type[Proxy]:
    """Return a class for this one target; `above` a shared one, which goes on doing what every object can do."""
    target = snapshot.target
    if target is None:
        return shared(cell, snapshot)  # no method can be bound to None
    names, refused = _names(target)
    own = specials.specials_of(type(target))
    if above is not None:
        names = {name for name, found in own.items() if found is not getattr(object, name, None)} - refused
    namespace = {name: MethodType(operation, target) for name, operation in _BASIC.items()}
    for name in names:
        operation = _operation(name, own.get(name)) or own.get(name)
        # what binds in another way may bind otherwise at each use: a proxy's special methods do; `special` knows of C's
        # coroutines, which Python does not await by their method
        usual = name in OPERATIONS or type(operation) in (PLAIN[:1] if name == "__await__" else PLAIN)
        by_itself = usual and name != "__get__" and name not in IN_PLACE  # to get is asked of the class, with the proxy
        namespace[name] = MethodType(operation, target) if by_itself else _performing(name, lambda _: target)
    if "__call__" in names:
        try:
            namespace["__call__"] = staticmethod(target)
        except Exception:
            pass  # it asks the target for its name, which a proxy of nothing has not; `_called` does without
    if issubclass(type(target), ATOMIC):
        # only a Python function can answer one name otherwise than the target itself
        namespace["__getattribute__"] = lambda proxy, name: (
            getattr(target, name) if name not in ASKED_OF_ITSELF else answer(target, name, proxy)
        )
        namespace["__doc__"] = _documentation
    return _made(target, refused, {**namespace, "_holds": True, "_fetch": target_of}, above)


def _performing(name: str, fetch: Callable[[Proxy], Any], run: Callable[..., Any] = perform) -> Callable[..., Any]:
    def method(self: Proxy, /, *arguments: Any, **named: Any) -> Any:
        return run(name, self, fetch(self), arguments, named)

    method.__name__ = name
    return method


def forwarding(
    target: Any, fetch: Callable[[Proxy], Any], attribute: Callable[[Proxy, str], Any], run: Callable[..., Any]
) -> type[Proxy]:
    """Return a class that asks `fetch` for the target before each operation.

    Args:
        target: One of the targets, for what they can do.
        fetch: Returns a proxy's target, or raises.
        attribute: What answers for attributes.
        run: What does the special methods, called as `perform` is.
    """
    names, refused = _names(target)

    def basic(operation: Callable[..., Any]) -> Callable[..., Any]:
        return lambda proxy, *arguments: operation(fetch(proxy), *arguments)

    namespace: dict[str, Any] = {name: _performing(name, fetch, run) for name in names}
    namespace |= {name: basic(operation) for name, operation in _BASIC.items()}
    # it holds this target
    namespace.update(_fetch=fetch, _run=staticmethod(run), _holds=True, __getattribute__=attribute)
    return _made(target, refused, namespace)


_shared: dict[ref[type], type[Proxy]] = {}
# After so many uses an object in a shared class gets one of its own, which to make and to let go of costs as much.
COLD_USES = 200
_TWO_OPERANDS = frozenset(("__getattribute__", "__getitem__", "__contains__", *_BOTH_OPERANDS)) - {
    *IN_PLACE,
    "__pow__",
    "__rpow__",
}


def target_of(proxy: Proxy) -> Any:
    """Return the target of a proxy, building it anew if it was reset meanwhile."""
    now = cell_of(proxy).now
    return now.target if now.served else cell_of(proxy).resolve()


def shared(cell: Cell, snapshot: Snapshot) -> type[Proxy]:
    """Return the class for all targets of this target's type."""
    target = snapshot.target
    if issubclass(type(target), ATOMIC):
        return bound(cell, snapshot)  # what a class answers is its own matter; functions are there to be called
    from itertools import repeat  # not for those that are declared at module level: it makes twenty types

    snapshot.uses = repeat(target, COLD_USES)
    key = ref(type(target), _shared.pop)
    known = _shared.get(key)
    if known is None:
        names, refused = _names(target)
        own = specials.specials_of(type(target))
        namespace = {name: _counting(name, _operation(name, own.get(name))) for name in (*names, *_BASIC)}
        known = _shared.setdefault(key, _made(target, refused, {**namespace, "_fetch": target_of}))
    return known


def _counting(name: str, operation: Any) -> Callable[..., Any]:
    """Return a method of shared classes, which does `operation`; None: the target's own special method.

    Taking the target from an iterator that ends counts the uses, and costs no more than to ask whether there is one.
    """

    def of_two(self: Proxy, other: Any) -> Any:
        for target in cell_of(self).now.uses:
            return operation(target, other)
        return operation(_at_the_last(self), other)

    def of_any(self: Proxy, /, *arguments: Any, **named: Any) -> Any:
        for target in cell_of(self).now.uses:
            return operation(target, *arguments, **named)
        return operation(_at_the_last(self), *arguments, **named)

    def called(self: Proxy, /, *arguments: Any, **named: Any) -> Any:
        for target in cell_of(self).now.uses:
            return target(*arguments, **named)
        return _at_the_last(self)(*arguments, **named)

    if operation is None:
        return _performing(name, target_of)
    if name == "__call__":
        return called
    return of_two if name in _TWO_OPERANDS else of_any


def _at_the_last(proxy: Proxy) -> Any:
    """Return the target where none was left to take: it was reset, or used so often that it gets a class of its own."""
    cell, before = cell_of(proxy), type(proxy)
    now = cell.now
    if not now.served:
        return cell.resolve()
    from itertools import repeat

    now.uses = repeat(now.target)  # without end: the own class comes now, or never
    if before is _shared.get(ref(type(now.target))):
        own = bound(cell, now, before)
        watch(proxy, own)
        with state.lock:
            replaced = cell.now is not now or type(proxy) is not before
            if not replaced:
                set_class(proxy, own)
        if replaced:
            let_go(own)
    return now.target
