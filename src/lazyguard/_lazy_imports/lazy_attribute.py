"""`lazy_attribute`: an attribute of a module that a function builds at the first access.

Invariants: inside the module the name is a proxy until the object is built. From outside, `module.name` and
`from module import name` build the object and give it itself. Afterwards the name is an ordinary global and the module
has its former class, so an access costs nothing more.
"""

from __future__ import annotations

import sys

from lazyguard._base import TYPE_CHECKING, Any, Callable, FrameType, ModuleType, T, overload, places
from lazyguard._base.places import misconfigured, misused
from lazyguard._core import declaration, loaded
from lazyguard._core.state import lock
from lazyguard._lazy_imports import access
from lazyguard._proxies import lazy
from lazyguard._proxies import proxy as proxies

if TYPE_CHECKING:
    from lazyguard._core.cell import Cell
    from lazyguard._core.state import Note


if TYPE_CHECKING:

    @overload
    def lazy_attribute(factory: Callable[[], T], /) -> T: ...
    @overload
    def lazy_attribute(name: str, /) -> Callable[[Callable[[], T]], T]: ...


def lazy_attribute(factory: Callable[[], T] | str, /) -> T | Callable[[Callable[[], T]], T]:
    """Declare a module attribute whose value the function builds at the first access.

    Use `@lazy_attribute` above a function that has the attribute's name, or `@lazy_attribute("name")` above a function
    with another name.

    Returns:
        A proxy, typed as the object; the module's namespace has it until the object is built.

    Raises:
        UsageError: The decorator is not used at module level.
        ConfigurationError: The name is no identifier, or the function cannot be a factory: it is async, a generator, or
            needs arguments.

    Inside the module the name is a proxy until the object is built. From outside it is the object itself: the access
    builds it on the accessing thread, and other threads wait. Assigning to the attribute (as `mock.patch` does)
    replaces it.

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
    name = factory if isinstance(factory, str) else getattr(factory, "__name__", "")

    def decorate(decorated: Callable[[], T]) -> T:
        lazy_object: T = _declare(decorated, name, places.caller())
        return lazy_object

    return decorate if isinstance(factory, str) else decorate(factory)


def _declare(factory: Callable[[], Any], name: str, frame: FrameType) -> Any:
    frame = places.declaring(frame, factory)
    place = places.of_callable(factory, places.of_frame(frame))
    lazy.check_factory(factory, place)
    given: object = name
    if not isinstance(given, str) or not given.isidentifier():
        raise misconfigured(f"{name!r} ({place}) is not the name of an attribute: lazy_attribute('name') takes one.")
    module = sys.modules.get(frame.f_globals.get("__name__", ""))
    if not places.at_module_level(frame) or module is None or module.__dict__ is not frame.f_globals:
        raise misused(f"lazy_attribute ({place}) belongs at module level: inside a function or a class use lazy().")
    cell = declaration.declared(factory, name=f"{module.__name__}:{name}", place=place)
    declaration.register(cell, "lazy attribute")
    proxy = proxies.make(cell, proxies.bound, home=(module.__name__, ""), tells=False)
    attribute = Attribute(module, name, cell, proxy)
    before = access.declared.get((module.__name__, name))
    if before is not None:  # the module is executed again
        access.attributes.pop(before.cell, None)
    access.declared[module.__name__, name] = access.attributes[cell] = attribute
    frame.f_globals[name] = proxy
    attribute.take_place()
    declaration.build_early(frame, attribute.resolve)
    return proxy


class Attribute:
    """A descriptor in the class of a module: one lazy attribute, until its object is built."""

    def __init__(self, module: ModuleType, name: str, cell: Cell, proxy: object) -> None:
        self.module: ModuleType = module
        self.name = name
        self.cell = cell
        self.proxy = self.shown = proxy

    def __get__(self, module: ModuleType | None, _kind: type | None = None) -> Any:
        if module is None:
            return self
        # while the module is being executed, the name may not be bound yet
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
        """Put this descriptor into the class of the module."""
        with lock:
            kind: Any = type(self.module)
            if "__lazyguard_plain__" not in kind.__dict__:
                # a class of its own: a descriptor in the class takes precedence over the module's namespace
                own: dict[str, Any] = {"__lazyguard_plain__": kind, "__module__": kind.__module__}
                if sys.version_info >= (3, 14):
                    # The interpreter specialises a line that often reads a name: it reads the namespace, and calls
                    # no descriptor. Not for a class with its own `__getattribute__`; this one is the usual one.
                    own["__getattribute__"] = self.module.__getattribute__
                kind = type(kind.__name__, (kind,), own)
                self.module.__class__ = kind
            setattr(kind, self.name, self)

    def step_aside(self) -> None:
        """Remove this descriptor; with the last one gone, give the module its own class back."""
        with lock:
            kind: Any = type(self.module)
            if kind.__dict__.get(self.name) is self:
                delattr(kind, self.name)
            if not any(isinstance(value, Attribute) for value in kind.__dict__.values()):
                self.module.__class__ = kind.__dict__.get("__lazyguard_plain__", kind)

    def is_resolved(self) -> bool:
        """Return whether the object is built."""
        return self.cell.used and self.cell.now.served

    def resolve(self) -> Any:
        """Return the object, building it if needed, and make it an ordinary global."""
        target = self.cell.resolve()
        if not self._is_assigned():
            self._show()
        return target

    def _is_assigned(self) -> bool:
        """Return whether the name holds what the program assigned to it."""
        with lock:
            return self.module.__dict__.get(self.name, self.proxy) is not self.shown

    def _show(self) -> None:
        """Put the cell's target into the module; called after each change of the cell."""
        namespace = self.module.__dict__
        now = None
        while now is not self.cell.now:  # a signal handler on top of this may have let others change it
            with lock:
                dropped = namespace.get(self.name), self.shown  # released outside the lock: it may have a finaliser
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

    def override(self, value: Any, note: Note) -> None:
        """Serve `value` until the function is called that `note` is given before."""
        before = self.module.__dict__.get(self.name, self.proxy)
        assigned = self._is_assigned()
        of_cell: list[Callable[[], None]] = []

        def undo() -> None:
            for restore in of_cell:
                restore()
            if assigned:
                self.module.__dict__[self.name] = before
            else:
                self._show()

        note(undo)
        self.cell.override(value, of_cell.append)
        self._show()
