"""The classes of resolved proxies: views of a target, through which no Python frame runs.

Invariants: a view has a special method only if its target's class has it, so that `callable`, `iter` and their like
tell the truth; special methods are those of the target's class, bound to the target, never frozen to what a target that
is itself a proxy stands for at the moment; a view that is replaced lets go of its target at once.

Two kinds. `bound`: a class for one target, the fastest (its `__getattribute__` is the builtin getattr, bound). Such a
class is a cycle that keeps its target until a full collection, so it is for objects declared at module level and for
services. `forwarding`: one class for all targets of a type, which asks the proxy's cell for its target each time.
"""

from __future__ import annotations

from _weakref import ref

from lazyguard import _reduction
from lazyguard._likeness import new_class
from lazyguard._operations import IN_PLACE, OPERATIONS, PLAIN, UNBOUND, MethodType, perform
from lazyguard._proxy import ASKED_OF_ITSELF, ATOMIC, Proxy, answer, cell_of, shape_of
from lazyguard._specials import answers_of, specials_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from lazyguard._core.cell import Cell
    from lazyguard._core.state import Snapshot


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
    namespace.update(dict.fromkeys(refused))
    return _made("ResolvedObject", target, namespace)


def _made(name: str, target: Any, namespace: dict[str, Any]) -> type[Proxy]:
    kind = type(target)
    view: type[Proxy] = new_class(name, (shape_of(kind),), {"_kind": ref(kind), **namespace})
    _reduction.enrol(view)
    return view


def _performing(name: str, target: Any) -> Callable[..., Any]:
    def method(self: Proxy, *arguments: Any, **named: Any) -> Any:
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
        def method(self: Proxy, *arguments: Any, **named: Any) -> Any:
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
        namespace["_run"] = staticmethod(run)
    return _made("ForwardingView", target, namespace)


_shared: dict[ref[type], type[Proxy]] = {}


def target_of(proxy: Proxy) -> Any:
    """Return the target of a proxy, building it anew if it was reset meanwhile."""
    now = cell_of(proxy).now
    return now.target if now.served else cell_of(proxy).resolve()


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
