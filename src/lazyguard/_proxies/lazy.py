"""Lazy objects: `lazy` makes them.

Invariants: declaring builds nothing and loads nothing but this; the caller's own thread builds, so objects may belong
to their thread.
"""

from lazyguard._base import TYPE_CHECKING, T, places
from lazyguard._base.places import misconfigured, misused, shown
from lazyguard._core.declaration import PLAIN, Plan, build_early, check_on_fork, declared, register
from lazyguard._proxies import proxy

if TYPE_CHECKING:
    from lazyguard._base import Any, Callable, FrameType, Sequence, overload
    from lazyguard._base.places import Place
    from lazyguard._core.declaration import OnFork


if TYPE_CHECKING:

    @overload
    def lazy(
        factory: "Callable[[], T]", /, *, name: str = ..., on_fork: "OnFork" = ..., record: "Sequence[str]" = ...
    ) -> "T": ...
    @overload
    def lazy(
        *, name: str = ..., on_fork: "OnFork" = ..., record: "Sequence[str]" = ...
    ) -> "Callable[[Callable[[], T]], T]": ...


def lazy(
    factory: "Callable[[], T] | None" = None,
    /,
    *,
    name: str = "",
    on_fork: "OnFork" = "keep",
    record: "Sequence[str]" = (),
) -> "T | Callable[[Callable[[], T]], T]":
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
    check_on_fork(on_fork)
    check_record(record)

    def decorate(decorated: "Callable[[], T]") -> "T":
        return make(decorated, places.caller(), name=name, on_fork=on_fork, record=record)

    return decorate if factory is None else decorate(factory)


def make(
    factory: "Callable[[], T]",
    frame: "FrameType",
    *,
    name: str = "",
    on_fork: "OnFork" = "keep",
    record: "Sequence[str]" = (),
) -> "T":
    """Return the proxy for a factory that `frame` declares; see `lazy`."""
    frame = places.declaring(frame, factory)
    place = places.of_declaration(factory, frame)
    check_factory(factory, place)
    if not isinstance(name, str):
        raise misconfigured(f"name={shown(name)} ({place}) is invalid: give a string.")
    plan = PLAIN if on_fork == "keep" else Plan(on_fork=on_fork)
    cell = declared(factory, name=name or places.name_of(factory), place=place, plan=plan)
    module_level = places.at_module_level(frame)
    if module_level:
        register(cell, "lazy object")
    flavour = proxy.bound if module_level else proxy.shared
    home = (frame.f_globals.get("__name__"), "") if module_level else None
    lazy_object: T
    if record:
        from lazyguard._proxies import recorded

        lazy_object = recorded.make(cell, record, flavour, home)
    else:
        lazy_object = proxy.make(cell, flavour, home=home)
    build_early(frame, lambda: cell.resolve())
    return lazy_object


def check_factory(factory: "Any", place: "Place") -> None:
    """Raise UsageError where `factory` is not a plain callable without required parameters."""
    if not callable(factory):
        raise misused(
            f"a lazy object is made by a function, not by one of type {type(factory).__name__} ({place}): write "
            "lazy(make_it), or lazy(lambda: ...)."
        )
    if places.flags_of(factory) & places.COROUTINE:
        raise misused(
            f"{places.name_of(factory)} ({place}) is an `async def`, and the first use of a lazy object builds it, "
            "where nothing can be awaited. Use @lazyguard.service, whose aget() can be awaited."
        )
    if not places.has_parameters(factory):
        return
    from lazyguard._base import signatures

    required = signatures.required_parameters(factory)
    if required:
        raise misused(
            f"{places.name_of(factory)} ({place}) needs {', '.join(required)}, but is called without arguments: give "
            "them defaults, or wrap it in a function that knows them."
        )


def check_record(record: object) -> None:
    """Raise ConfigurationError where `record` is not a sequence of attribute names."""
    names: Any = record
    if not isinstance(record, tuple | list | set | frozenset) or not all(
        isinstance(name, str) and name.isidentifier() for name in names
    ):
        raise misconfigured(f'record={shown(record)} is invalid: give a tuple of attribute names, ("task",).')
