"""What is done to anything that has a cell: `resolve`, `is_resolved`, `reset` and `override`.

Invariants: looking builds nothing; what is done through the proxy of a lazy attribute is done to its module as well.
"""

from __future__ import annotations

import sys

from lazyguard._base.typing import T, final
from lazyguard._core.cell import Cell
from lazyguard._lazy_imports import package
from lazyguard._proxies.proxy import ProxyMirror, find_cell
from lazyguard.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType
    from typing import Any, Protocol

    class Addressed(Protocol):
        """A lazy attribute, reached by its name."""

        def is_resolved(self) -> bool: ...
        def resolve(self) -> Any: ...
        def reset(self) -> None: ...
        def override(self, value: Any) -> Callable[[], None]: ...

    class Declared(Addressed, Protocol):
        """A lazy attribute that a function makes, in its module."""

        cell: Cell
        module: ModuleType


# The lazy attribute of a module that a cell belongs to: what is done through its proxy is done to the module as well.
attributes: dict[Cell, Addressed] = {}


def _addressed(obj: object) -> Cell | Addressed:
    cell = find_cell(obj)
    if cell is not None:
        return attributes.get(cell, cell)
    if isinstance(obj, str):
        return address(obj)
    raise UsageError(
        'this takes a lazy object, a service or the name of a lazy attribute ("package.module:attribute"), '
        f"not one of type {type(obj).__name__}."
    )


def resolve(obj: T) -> T:
    """Return the real object behind a lazy object or a service, building it if need be.

    Anything else comes back as it is. For a service this is what `require_real` returns: never a fallback.

    Raises:
        ResolutionError: The factory failed.

    Example:
        >>> import lazyguard
        >>> type(lazyguard.resolve(lazyguard.lazy(lambda: 42)))
        <class 'int'>
        >>> lazyguard.resolve("as it is")
        'as it is'
    """
    cell = find_cell(obj)
    if cell is None:
        return obj
    _hush(cell)
    target: T = cell.resolve(real=True)
    return target


async def aresolve(obj: T) -> T:
    """Return what `resolve` does, without blocking the event loop: a sync factory runs beside it."""
    cell = find_cell(obj)
    if cell is None:
        return obj
    _hush(cell)
    target: T = await cell.aresolve(real=True)
    return target


def _hush(cell: Cell) -> None:
    if isinstance(cell.mirror, ProxyMirror):
        cell.mirror.hush()


def is_resolved(obj: object) -> bool:
    """Return whether the object is there (a fallback counts). Builds nothing.

    Args:
        obj: A lazy object, a service, or "package.module:attribute" for a lazy attribute.

    Raises:
        UsageError: `obj` is none of these.

    Example:
        >>> import lazyguard
        >>> lazyguard.is_resolved(lazyguard.lazy(list))
        False
    """
    found = _addressed(obj)
    return found.now.served if isinstance(found, Cell) else found.is_resolved()


def reset(obj: object) -> None:
    """Forget what was built: the next use builds anew. A service's old object is closed.

    Args:
        obj: A lazy object, a service, or "package.module:attribute" for a lazy attribute.

    Raises:
        UsageError: `obj` is none of these.

    A build that is under way goes on, but its result is out of date: it is closed and never served.

    Example:
        >>> import lazyguard
        >>> from itertools import count
        >>> numbers = count()
        >>> current = lazyguard.lazy(lambda: [next(numbers)])
        >>> current[0], current[0]
        (0, 0)
        >>> lazyguard.reset(current)
        >>> current[0]
        1
    """
    _addressed(obj).reset()


def override(obj: object, value: object) -> Override:
    """Serve `value` in a `with` block, then what there was before.

    Args:
        obj: A lazy object, a service, or "package.module:attribute" for a lazy attribute.
        value: What all who hold the lazy object see meanwhile, on every thread.

    Raises:
        UsageError: `obj` is none of these.

    Example:
        >>> import lazyguard
        >>> client = lazyguard.lazy(lambda: ["the real one"])
        >>> with lazyguard.override(client, ["a fake"]):
        ...     print(client)
        ['a fake']
        >>> print(client)
        ['the real one']
    """
    return Override(_addressed(obj), value)


@final
class Override:
    """What `override` returns: serves its value from `__enter__` to `__exit__`."""

    __slots__ = ("_of", "_restore", "_value")

    def __init__(self, of: Cell | Addressed, value: object) -> None:
        self._of = of
        self._value = value
        self._restore: list[Callable[[], None]] = []

    def __enter__(self) -> None:
        self._restore.append(self._of.override(self._value))

    def __exit__(self, *_: object) -> None:
        self._restore.pop()()


# By module and name: the lazy attributes that functions make.
declared: dict[tuple[str, str], Declared] = {}


def address(text: str) -> Addressed:
    """Return the lazy attribute that "package.module:attribute" names.

    Raises:
        UsageError: The text is not of that form, or names no lazy attribute of a module that is imported.
    """
    module_name, _, name = text.partition(":")
    if not module_name or not name:
        raise UsageError(f'{text!r} names no lazy attribute: write "package.module:attribute".')
    known = declared.get((module_name, name))
    module = sys.modules.get(module_name)
    if known is not None and module in (known.module, None):  # else another module has come in that one's place
        return known
    if module is None:
        raise UsageError(f"{text!r} names no lazy attribute: {module_name} is not imported.")
    package.is_resolved_attribute(module, name)  # raises for a name that is none
    return Attached(module, name)


@final
class Attached:
    """A lazy attribute that `attach` declared, by its address."""

    __slots__ = ("_module", "_name")

    def __init__(self, module: ModuleType, name: str) -> None:
        self._module = module
        self._name = name

    def is_resolved(self) -> bool:
        """Return whether it is in the package's namespace."""
        return package.is_resolved_attribute(self._module, self._name)

    def resolve(self) -> Any:
        """Import it if need be."""
        return getattr(self._module, self._name)

    def reset(self) -> None:
        """Forget it; the next use looks it up anew."""
        package.reset_attribute(self._module, self._name)

    def override(self, value: Any) -> Callable[[], None]:
        """Serve `value` until the returned function is called."""
        return package.override_attribute(self._module, self._name, value)


__all__ = ["aresolve", "is_resolved", "override", "reset", "resolve"]
