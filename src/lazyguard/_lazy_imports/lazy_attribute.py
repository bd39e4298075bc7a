"""Lazy attributes of a module that a function makes: `lazy_attribute`; and the address "package.module:attribute".

Invariants: inside the module the name is a proxy until the object is there; from outside, `module.name` and
`from module import name` build it and give the object itself; afterwards the name is an ordinary global, and the
module's class is again what it was, so nothing is left to pay.
"""

from __future__ import annotations

import sys

from lazyguard._base import T, final, places
from lazyguard._base.places import misconfigured, misused
from lazyguard._core import declaration, loaded
from lazyguard._lazy_imports import access
from lazyguard._proxies import lazy
from lazyguard._proxies import proxy as proxies

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType, ModuleType
    from typing import Any, overload

    from lazyguard._core.cell import Cell


if TYPE_CHECKING:

    @overload
    def lazy_attribute(factory: Callable[[], T], /) -> T: ...
    @overload
    def lazy_attribute(name: str, /) -> Callable[[Callable[[], T]], T]: ...


def lazy_attribute(factory: Callable[[], T] | str, /) -> T | Callable[[Callable[[], T]], T]:
    """Make a module's attribute of a function: the function's result, built at first access.

    Use it as `@lazy_attribute` above a function that is called as the attribute, or as `@lazy_attribute("name")`
    above one that is called otherwise.

    Returns:
        What stands in the module's namespace until the object is there: a proxy, typed as the object.

    Raises:
        UsageError: It is not used at module level, or the function cannot be called without arguments.

    Inside the module the name is a proxy until the object is there. From outside it is the object itself: the access
    builds it, on the accessing thread; others wait. Assigning to the attribute (as `mock.patch` does) replaces it.

    Example:
        >>> import sys, types, lazyguard
        >>> source = '''
        ... import lazyguard
        ... @lazyguard.lazy_attribute
        ... def primes() -> list[int]:
        ...     return [2, 3, 5]
        ... '''
        >>> module = sys.modules["example"] = types.ModuleType("example")
        >>> exec(source, module.__dict__)
        >>> lazyguard.is_resolved("example:primes")
        False
        >>> type(module.primes)
        <class 'list'>
    """
    frame = places.caller()
    if not isinstance(factory, str):
        declared: T = _declare(factory, getattr(factory, "__name__", ""), frame)
        return declared
    name = factory

    def decorate(decorated: Callable[[], T]) -> T:
        lazy_object: T = _declare(decorated, name, frame)
        frame.f_globals[name] = lazy_object
        return lazy_object

    return decorate


def _declare(factory: Callable[[], Any], name: str, frame: FrameType) -> Any:
    place = places.of_callable(factory, places.of_frame(frame))
    lazy.check_factory(factory, place)
    if not name.isidentifier():
        raise misconfigured(f"{name!r} ({place}) is not the name of an attribute: lazy_attribute('name') takes one.")
    module = sys.modules.get(frame.f_globals.get("__name__", ""))
    if not places.at_module_level(frame) or module is None or module.__dict__ is not frame.f_globals:
        raise misused(f"lazy_attribute ({place}) belongs at module level: inside a function or a class use lazy().")
    cell = declaration.declared(factory, name=f"{module.__name__}:{name}", place=place)
    declaration.register(cell, "lazy attribute")
    attribute = Attribute(
        module, name, cell, proxies.make(cell, proxies.bound, home=(module.__name__, ""), tells=False)
    )
    before = access.declared.get((module.__name__, name))
    if before is not None:  # the module is executed again
        access.attributes.pop(before.cell, None)
    access.declared[module.__name__, name] = access.attributes[cell] = attribute
    attribute.take_place()
    declaration.build_early(frame, attribute.resolve)
    return attribute.proxy


@final
class Attribute:
    """Stands in the class of a module for one of its attributes while that is not there."""

    __slots__ = ("cell", "module", "name", "proxy", "shown")

    def __init__(self, module: ModuleType, name: str, cell: Cell, proxy: object) -> None:
        self.module: ModuleType = module
        self.name = name
        self.cell = cell
        self.proxy = self.shown = proxy

    def __get__(self, module: ModuleType | None, _kind: type | None = None) -> Any:
        if module is None:
            return self
        # missing: the name is not bound yet, since the module is still being executed
        value = module.__dict__.get(self.name, self.proxy)
        if value is not self.proxy or loaded(proxies.INSPECTION, self.cell).lists(sys._getframe().f_back):
            return value
        return self.resolve()

    def __set__(self, module: ModuleType, value: object) -> None:
        module.__dict__[self.name] = value

    def __delete__(self, module: ModuleType) -> None:
        del module.__dict__[self.name]
        self.step_aside()

    def take_place(self) -> None:
        """Take the attribute's place in the class of the module."""
        with declaration.lock:
            kind: Any = type(self.module)
            if "__lazyguard_plain__" not in kind.__dict__:
                # a class of its own, since a descriptor in the class goes before the namespace of the module
                own: dict[str, Any] = {"__lazyguard_plain__": kind, "__module__": kind.__module__}
                if sys.version_info >= (3, 14):
                    # It would read a name that one line has often read from the namespace, and ask no descriptor: not
                    # where a module answers for attributes otherwise than modules do. This one does what they do.
                    own["__getattribute__"] = self.module.__getattribute__
                kind = type(kind.__name__, (kind,), own)
                self.module.__class__ = kind
            setattr(kind, self.name, self)

    def step_aside(self) -> None:
        """Leave the attribute to the namespace, and the module to its own class when nothing is left."""
        with declaration.lock:
            kind: Any = type(self.module)
            if kind.__dict__.get(self.name) is self:
                delattr(kind, self.name)
            if not any(isinstance(value, Attribute) for value in kind.__dict__.values()):
                self.module.__class__ = kind.__dict__.get("__lazyguard_plain__", kind)

    def is_resolved(self) -> bool:
        """Return whether the object is there."""
        return self.cell.used and self.cell.now.served

    def resolve(self) -> Any:
        """Build the object if need be, and make it an ordinary global."""
        target = self.cell.resolve()
        if not self._is_assigned():
            self._show()
        return target

    def _is_assigned(self) -> bool:
        """Return whether the name holds what the program assigned to it."""
        with declaration.lock:
            return self.module.__dict__.get(self.name, self.proxy) is not self.shown

    def _show(self) -> None:
        """Put what the cell holds into the module; whoever changes the cell does so afterwards."""
        namespace = self.module.__dict__
        now = None
        while now is not self.cell.now:  # a handler on top of this may have waited while others changed it
            with declaration.lock:
                dropped = namespace.get(self.name), self.shown  # let go of outside the lock: it may have a finaliser
                now = self.cell.now
                namespace[self.name] = self.shown = now.target if now.served else self.proxy
                if now.served:
                    self.step_aside()
                else:
                    self.take_place()
            del dropped

    def reset(self) -> None:
        """Forget the object; the next access builds it anew."""
        self.cell.reset()
        self._show()

    def override(self, value: Any) -> Callable[[], None]:
        """Serve `value` until the returned function is called."""
        before = self.module.__dict__.get(self.name, self.proxy)
        assigned = self._is_assigned()
        restore = self.cell.override(value)
        self._show()

        def undo() -> None:
            restore()
            if assigned:
                self.module.__dict__[self.name] = before
            else:
                self._show()

        return undo
