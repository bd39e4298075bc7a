"""The functions for anything that has a cell: `resolve`, `is_resolved`, `reset` and `override`.

Invariants: `is_resolved` builds nothing. A change through the proxy of a lazy attribute changes its module as well.
"""

from __future__ import annotations

import sys

from lazyguard._base import TYPE_CHECKING, Any, Callable, ModuleType, T, final
from lazyguard._core import INTERRUPTIONS, loaded
from lazyguard._lazy_imports import REGISTRY, package
from lazyguard._proxies.proxy import ProxyMirror, find_cell
from lazyguard.errors import UsageError

if TYPE_CHECKING:
    from lazyguard._core.cell import Cell
    from lazyguard._core.state import Note


# Cell -> the lazy attribute that it belongs to: a change through the proxy must change the module as well.
attributes: dict[Cell, Any] = {}
# Module and name -> the lazy attribute that a factory builds, with its `cell` and its `module`.
declared: dict[tuple[str, str], Any] = {}


def _find(obj: object) -> Any:
    """Return the cell or the lazy attribute; both have `reset` and `override`."""
    cell = find_cell(obj)
    if cell is not None:
        return attributes.get(cell, cell)
    if isinstance(obj, str):
        return find_attribute(obj)
    raise UsageError(
        'this takes a lazy object, a service or the name of a lazy attribute ("package.module:attribute"), '
        f"not an object of type {type(obj).__name__}."
    )


def resolve(obj: T) -> T:
    """Return the real object of a lazy object or a service, building it if needed.

    Any other object is returned unchanged. For a service this is what `require_real` returns: never a fallback.

    Raises:
        ResolutionError: The factory failed.

    Example:
        >>> import lazyguard
        >>> type(lazyguard.resolve(lazyguard.lazy(lambda: 42)))
        <class 'int'>
        >>> lazyguard.resolve("any other object")
        'any other object'
    """
    cell = find_cell(obj)
    if cell is None:
        return obj
    _hush(cell)
    target: T = cell.resolve(real=True)
    return target


async def aresolve(obj: T) -> T:
    """Return what `resolve` does, without blocking the event loop: a sync factory runs on another thread."""
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
    """Return whether there is a target (a fallback counts); build nothing.

    Args:
        obj: A lazy object, a service, or "package.module:attribute" for a lazy attribute.

    Raises:
        UsageError: `obj` is none of these.

    Example:
        >>> import lazyguard
        >>> lazyguard.is_resolved(lazyguard.lazy(list))
        False
    """
    cell = find_cell(obj)
    if cell is None or cell in attributes:
        return bool(_find(obj).is_resolved())
    return cell.used and cell.here(strict=False).now.served


def reset(obj: object) -> None:
    """Drop the target, so that the next use builds it anew; the dropped target of a service is closed.

    Args:
        obj: A lazy object, a service, or "package.module:attribute" for a lazy attribute.

    Raises:
        UsageError: `obj` is none of these.

    An attempt that is under way goes on, but its result is of an older generation: it is closed and never served.

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
    _find(obj).reset()


def is_fallback(obj: object) -> bool:
    """Return whether a live reference or a service serves its fallback now. Builds nothing.

    Anything that is neither is no fallback.

    Example:
        >>> import lazyguard
        >>> lazyguard.is_fallback("as it is")
        False
    """
    cell = find_cell(obj)
    return cell is not None and cell.used and cell.here(strict=False).now.state == "degraded"


def override(obj: object, value: object) -> Override:
    """Serve `value` for a `with` block, and afterwards what was served before.

    Args:
        obj: A lazy object, a service, or "package.module:attribute" for a lazy attribute.
        value: The target meanwhile, for all holders of the object and on every thread.

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
    return Override(_find(obj), value)


@final
class Override:
    """The context manager that `override` returns: it serves the value from `__enter__` to `__exit__`."""

    def __init__(self, of: Any, value: object) -> None:
        self._of = of
        self._value = value
        self._entered: list[object] = []

    def __enter__(self) -> None:
        self._of.override(self._value, self._note)

    def _note(self, restore: Callable[[], None]) -> None:
        self._entered.append(loaded(INTERRUPTIONS).at_end_of(self, restore))

    def __exit__(self, *_: object) -> None:
        loaded(INTERRUPTIONS).ended(self._entered.pop())


def find_attribute(text: str) -> Any:
    """Return the lazy attribute that "package.module:attribute" names.

    Raises:
        UsageError: The text has another form, or names no lazy attribute of an imported module.
    """
    module_name, _, name = text.partition(":")
    if not module_name or not name:
        raise UsageError(f'{text!r} names no lazy attribute: write "package.module:attribute".')
    attribute: Any = declared.get((module_name, name))
    module = sys.modules.get(module_name)
    if attribute is not None and module in (attribute.module, None):  # else another module has replaced that one
        return attribute
    if module is None:
        raise UsageError(f"{text!r} names no lazy attribute: {module_name} is not imported. Import it first.")
    return AttachedAttribute(module, name)


class AttachedAttribute:
    """A lazy attribute that `attach` declared, by its module and its name. UsageError for a name that is none."""

    def __init__(self, module: ModuleType, name: str) -> None:
        registry: dict[str, package.LazyAttributes] = vars(module).get(REGISTRY, {})
        if name not in registry:
            known = ", ".join(sorted(registry)) or "none"
            raise UsageError(f"{module.__name__}:{name} is no lazy attribute; those of {module.__name__}: {known}")
        self._name, self._owner = name, registry[name]

    def is_resolved(self) -> bool:
        """Return whether the package's namespace has the value; resolves nothing."""
        return self._owner.is_resolved(self._name)

    def reset(self) -> None:
        """Remove the value, whatever it is; the next use looks it up anew."""
        self._owner.reset(self._name)

    def override(self, value: Any, note: Note) -> None:
        """Put `value` in its place, resolving nothing, until the function is called that `note` is given before."""
        owner, name = self._owner, self._name
        before = owner.namespace.get(name, package.PENDING)

        def restore() -> None:
            if before is package.PENDING:
                owner.reset(name)
            else:
                owner.namespace[name] = before

        note(restore)
        owner.namespace[name] = value
