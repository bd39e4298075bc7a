"""Lazy objects: `lazy` makes them; `resolve`, `is_resolved`, `reset` and `override` are for all that has a cell.

Invariants: declaring builds nothing and loads nothing but this; the caller's own thread builds, so objects may belong
to their thread.
"""

from __future__ import annotations

from lazyguard import _eager, _function, _place, _proxy
from lazyguard._core import registry
from lazyguard._core.cell import Cell
from lazyguard._core.plan import Plan
from lazyguard._typing import T, final
from lazyguard.errors import ConfigurationError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import FrameType
    from typing import Any, Protocol, overload

    from lazyguard._core.plan import OnFork

    class Addressed(Protocol):
        """A lazy attribute, reached by its name."""

        def is_resolved(self) -> bool: ...
        def resolve(self) -> Any: ...
        def reset(self) -> None: ...
        def override(self, value: Any) -> Callable[[], None]: ...


if TYPE_CHECKING:

    @overload
    def lazy(
        factory: Callable[[], T], /, *, name: str = ..., on_fork: OnFork = ..., record: Sequence[str] = ...
    ) -> T: ...
    @overload
    def lazy(
        *, name: str = ..., on_fork: OnFork = ..., record: Sequence[str] = ...
    ) -> Callable[[Callable[[], T]], T]: ...


def lazy(
    factory: Callable[[], T] | None = None,
    /,
    *,
    name: str = "",
    on_fork: OnFork = "keep",
    record: Sequence[str] = (),
) -> T | Callable[[Callable[[], T]], T]:
    """Return a transparent proxy for what `factory` returns, built at its first use.

    Usable as `lazy(make)`, `@lazy` and `@lazy(...)`; typed as what the factory returns.

    Args:
        factory: Called without arguments, at most once a generation, on the thread of the first user; others wait.
        name: What errors, `repr` and events call it; the factory's own name if left out.
        on_fork: What a forked child does with what the parent built: "keep" it, "reset" (build it anew), or a function
            that is called with it in the child.
        record: Attributes of the future object that are decorators. Used before the object is there, they are recorded
            and replayed, in order, inside its one build.

    Raises:
        UsageError: The factory cannot be called without arguments, or is an `async def` (see `lazyguard.service`).
        ConfigurationError: An option is not one of those above.

    The first use raises ResolutionError from what the factory raised; the next use tries again. Threads and tasks may
    race. Where the factory asks for its own object, or two wait for each other, CircularResolutionError says so.

    Example:
        >>> import lazyguard
        >>> @lazyguard.lazy
        ... def numbers() -> list[int]:
        ...     print("building")
        ...     return [3, 1, 2]
        >>> lazyguard.is_resolved(numbers)
        False
        >>> sorted(numbers)
        building
        [1, 2, 3]
    """
    frame = _place.caller()
    if factory is not None:
        return make(factory, frame, name=name, on_fork=on_fork, record=record)

    def decorate(decorated: Callable[[], T]) -> T:
        return make(decorated, frame, name=name, on_fork=on_fork, record=record)

    check_on_fork(on_fork)
    check_record(record)
    return decorate


def make(
    factory: Callable[[], T], frame: FrameType, *, name: str = "", on_fork: OnFork = "keep", record: Sequence[str] = ()
) -> T:
    """Return the proxy for a factory that `frame` declares; see `lazy`."""
    place = _place.of_callable(factory, _place.of_frame(frame))
    check_factory(factory, place)
    check_on_fork(on_fork)
    check_record(record)
    if not isinstance(name, str):
        raise ConfigurationError(f"name={name!r} ({place}) is not right: give a text.")
    cell = Cell(factory, name=name or _place.name_of(factory), place=place)
    if on_fork != "keep":
        from lazyguard._core import fork

        cell.plan = Plan(on_fork=on_fork)
        fork.watch(cell)
    module_level = _place.at_module_level(frame)
    if module_level:
        registry.register(cell, "lazy object")
    flavour = _proxy.bound if module_level else _proxy.shared
    home = (frame.f_globals.get("__name__"), "") if module_level else None
    lazy_object: T
    if record:
        from lazyguard import _record

        lazy_object = _record.make(cell, record, flavour, home)
    else:
        lazy_object = _proxy.make(cell, flavour, home=home)
    _eager.declared(frame, cell.resolve)
    return lazy_object


def check_factory(factory: object, place: str) -> None:
    """Raise UsageError where `factory` is not a plain callable without required parameters."""
    if not callable(factory):
        raise UsageError(
            f"a lazy object is made by a function, not by one of type {type(factory).__name__} ({place}): write "
            "lazy(make_it), or lazy(lambda: ...)."
        )
    code = getattr(factory, "__code__", None)
    if _function.flags_of(factory) & _function.COROUTINE:
        raise UsageError(
            f"{_place.name_of(factory)} ({place}) is an `async def`, and a lazy object is built by whoever uses it "
            "first, who may not be able to await. Use @lazyguard.service, whose aget() can be awaited."
        )
    required = _function.required_parameters(factory) if code is not None else ()
    if required:
        raise UsageError(
            f"{_place.name_of(factory)} ({place}) needs {', '.join(required)}, but is called without arguments: give "
            "them defaults, or wrap it in a function that knows them."
        )


def check_record(record: object) -> None:
    """Raise ConfigurationError where `record` is not a sequence of attribute names."""
    names: Any = record
    if not isinstance(record, tuple | list | set | frozenset) or not all(
        isinstance(name, str) and name.isidentifier() for name in names
    ):
        raise ConfigurationError(f'record={record!r} is not right: give a tuple of attribute names, ("task",).')


def check_on_fork(on_fork: object) -> None:
    """Raise ConfigurationError where `on_fork` is none of its three forms."""
    if on_fork not in ("keep", "reset") and not callable(on_fork):
        raise ConfigurationError(f'on_fork={on_fork!r} is not known: give "keep", "reset" or a function of the object.')


def find_cell(obj: object) -> Cell | None:
    """Return the cell of a lazy object, a live reference or a service; None for anything else."""
    if issubclass(type(obj), _proxy.Proxy):
        return _proxy.cell_of(obj)
    finder = getattr(type(obj), "__lazyguard_cell__", None)
    if finder is None:
        return None
    cell: Cell = finder(obj)
    return cell


# The lazy attribute of a module that a cell belongs to: what is done through its proxy is done to the module as well.
attributes: dict[Cell, Addressed] = {}


def _addressed(obj: object) -> Cell | Addressed:
    cell = find_cell(obj)
    if cell is not None:
        return attributes.get(cell, cell)
    if isinstance(obj, str):
        from lazyguard import _module

        return _module.address(obj)
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
    target: T = cell.resolve(real=True)
    return target


async def aresolve(obj: T) -> T:
    """Return what `resolve` does, without blocking the event loop: a sync factory runs beside it."""
    cell = find_cell(obj)
    if cell is None:
        return obj
    target: T = await cell.aresolve(real=True)
    return target


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


__all__ = ["aresolve", "is_resolved", "lazy", "override", "reset", "resolve"]
