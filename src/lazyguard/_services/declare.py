"""Declaring a service: what its options and its factory must be.

Invariants: declaring builds nothing; what cannot be right is refused where it is written.
"""

from lazyguard._base import TYPE_CHECKING, Any, Callable, Coroutine, Protocol, overload, places, validation
from lazyguard._base.places import misconfigured, misused
from lazyguard._core import declaration, loaded
from lazyguard._core.declaration import Plan, build_early, check_on_fork
from lazyguard._proxies import proxy
from lazyguard._services.service import Service

if TYPE_CHECKING:
    from lazyguard._base import P, T
    from lazyguard._base.places import Place
    from lazyguard._base.validation import Failures, Kinds, Seconds, Whole
    from lazyguard._core.cell import Cell
    from lazyguard._core.declaration import OnFork
    from lazyguard._core.state import Snapshot
    from lazyguard._policies.breaker import Breaker
    from lazyguard._policies.recovery import Recovery
    from lazyguard._policies.retry import Retry
    from lazyguard._proxies.proxy import Flavour, Proxy

    class Declaration(Protocol):
        """What `service(...)` returns: the decorator of a factory."""

        # Coroutine, not Awaitable: an object that happens to be awaitable is a result, not a promise of one.
        @overload
        def __call__(self, factory: "Callable[P, Coroutine[Any, Any, T]]", /) -> "Service[P, T]": ...
        @overload
        def __call__(self, factory: "Callable[P, T]", /) -> "Service[P, T]": ...


# The types of what works late, and is of use but once.
_ONCE = frozenset(
    "coroutine generator async_generator _GeneratorContextManager _AsyncGeneratorContextManager Future Task".split()
)


def _wrong(made: object) -> "str | None":
    if type(made).__name__ not in _ONCE:
        return None
    from lazyguard._services import calls

    return calls.late_made(made)


def live(failures: "Kinds", breaker: "Breaker | None") -> "Flavour":
    """Return the flavour of a service's proxy: what its class is for what a snapshot serves."""

    def flavour(cell: "Cell", snapshot: "Snapshot") -> "type[Proxy]":
        if snapshot.state == "degraded":
            view: type[Proxy] = loaded("_services.degraded_view", cell).view(cell, snapshot)
        elif failures and not snapshot.overrides:
            validation.check_loaded("failures", failures)
            view = loaded("_services.counted_view", cell).view(cell, snapshot, failures, breaker)
        else:
            view = proxy.bound(cell, snapshot)
        return view

    flavour.counts = bool(failures)  # type: ignore[attr-defined]
    return flavour


# Stands for `Recovery()`, which is loaded when something has failed.
_RECOVERY: "Any" = ...


if TYPE_CHECKING:
    # As with the declaration: Coroutine, not Awaitable.
    @overload
    def service(factory: "Callable[P, Coroutine[Any, Any, T]]", /) -> "Service[P, T]": ...
    @overload
    def service(factory: "Callable[P, T]", /) -> "Service[P, T]": ...
    @overload
    def service(
        *,
        name: str = ...,
        timeout: "Seconds | None" = ...,
        retry: "Retry | None" = ...,
        breaker: "Breaker | None" = ...,
        recovery: "Recovery | None" = ...,
        failures: "Failures" = ...,
        probe: "Callable[[Any], object] | None" = ...,
        close: "Callable[[Any], object] | None" = ...,
        critical: bool = ...,
        on_fork: "OnFork" = ...,
        abandon_after: "Seconds | None" = ...,
        grace: "Seconds" = ...,
        max_keys: "int | None" = ...,
        max_concurrent: "Whole | None" = ...,
    ) -> "Declaration": ...


def service(
    factory: "Callable[..., Any] | None" = None,
    /,
    *,
    name: str = "",
    timeout: "Seconds | None" = None,
    retry: "Retry | None" = None,
    breaker: "Breaker | None" = None,
    recovery: "Recovery | None" = _RECOVERY,
    failures: "Failures" = (),
    probe: "Callable[[Any], object] | None" = None,
    close: "Callable[[Any], object] | None" = None,
    critical: bool = False,
    on_fork: "OnFork" = "reset",
    abandon_after: "Seconds | None" = None,
    grace: "Seconds" = 5.0,
    max_keys: "int | None" = None,
    max_concurrent: "Whole | None" = None,
) -> "Any":
    """Make a service of a factory: it is built in time, or replaced by a fallback that admits to being one.

    Usable as `@service` and as `@service(...)`.

    The numbers of `timeout`, `abandon_after`, `grace` and `max_concurrent`, and those of the policies, may be functions
    without arguments: they are asked at the first use, `timeout=lambda: settings.REDIS_TIMEOUT`.

    Args:
        factory: The function that makes the object, where no option is given.
        name: What errors, `health` and events call it; the factory's own name if left out.
        timeout: A caller's whole wait in seconds, retries included. With it a daemon thread builds; None: the caller's
            own thread does, and nothing can end its wait.
        retry: How often an attempt that fails is tried again.
        breaker: When calls that fail take the service out of use; with `failures` only, whose `Breaker()` it is if left
            out. `failures` stand for its `on`. Until the object is there again the fallback serves; where there is none
            a use raises CircuitOpen, and says until when.
        recovery: When the real object is tried again in the background; None: never.
        failures: The exceptions of calls on the live reference that count in the breaker. Those of a library that is
            not to be imported for it are given by name: "redis:RedisError". A function that takes an exception and
            returns a bool will do. What an inner service raises because it is not there counts as well.
        probe: Called with what the factory made; raises where that is of no use.
        close: Called with each object that is no longer needed: reset, replaced, too late, let go of by all; at the
            exit too. It may be async where the factory is.
        critical: Whether the application is not ready while this service has failed.
        on_fork: What a forked child does: "reset" (build anew), "keep", or a function of the object.
        abandon_after: Seconds after which one replacement may start beside an attempt that hangs; ten times the
            timeout if left out.
        grace: Seconds until a target that was replaced is closed.
        max_keys: How many objects are kept where the factory has parameters, one for each set of arguments; 128 if left
            out. Of more, those that were not asked for for the longest time are let go of: they live on for those who
            hold their live reference, and are closed after that.
        max_concurrent: How many attempts all keys together have under way, where the factory has parameters; 32 if left
            out. As many again may begin beside those that are older than `abandon_after`. A caller waits for a place
            as long as its `timeout` says, and has the fallback after that, or ServiceUnavailable; recoveries take
            turns. Without a `timeout` the callers' own threads build, and only recoveries are counted.

    Returns:
        A `Service` of the factory, sync or async; without a factory a decorator that makes one.

    Raises:
        ConfigurationError: An option is out of range, or two do not go together. At the first use, if a function has
            returned a number that cannot be right.
        UsageError: The factory is a method or a generator, or no function.

    Threads and tasks share one attempt. A hanging factory holds at most two threads, and never the process's exit.

    Example:
        >>> import lazyguard
        >>> @lazyguard.service(timeout=2.0)
        ... def get_names() -> list[str]:
        ...     raise ConnectionError("nobody there")
        >>> @get_names.fallback
        ... def _() -> list[str]:
        ...     return ["a fallback"]
        >>> names = get_names()
        >>> lazyguard.is_fallback(names), len(names), lazyguard.is_fallback(names)
        (False, 1, True)
        >>> get_names.reset()
    """
    validation.text("name", name)
    validation.flag("critical", critical)
    validation.seconds("timeout", timeout, optional=True, late=True)
    validation.seconds("abandon_after", abandon_after, optional=True, late=True)
    validation.seconds("grace", grace, zero=True, late=True)
    validation.whole("max_keys", max_keys, optional=True)
    validation.whole("max_concurrent", max_concurrent, optional=True, late=True)
    check_on_fork(on_fork)
    failing = validation.failure_types("failures", failures)
    validation.policy("retry", retry)
    validation.policy("breaker", breaker)
    validation.policy("recovery", None if recovery is _RECOVERY else recovery)
    validation.function_of("probe", probe)
    validation.function_of("close", close)
    if breaker is not None and not failing:
        raise misconfigured("breaker= counts the exceptions of failures=, and there are none: give both.")
    numbers: dict[str, Any] = {"timeout": timeout, "abandon_after": abandon_after, "grace": grace}
    if abandon_after is None and timeout is not None:
        numbers["abandon_after"] = ... if callable(timeout) else 10 * timeout
    late = any(map(callable, (*numbers.values(), max_concurrent)))
    policies: Any = (retry, None if recovery is _RECOVERY else recovery)
    plan = Plan(
        retry=retry,
        recovery=recovery,
        probe=probe,
        close=close,
        on_fork=on_fork,
        wrong=_wrong,
        reads=read if late or any(policy is not None and policy.is_late for policy in policies) else None,
        **numbers,
    )
    flavour = live(failing, breaker)

    def declare(factory: "Callable[..., Any]", /) -> "Any":
        frame = places.declaring(places.caller(), factory)
        place = places.of_declaration(factory, frame)
        known_as = name or places.name_of(factory)
        checked = _checked(factory, known_as, place, plan)
        cell: Cell = declaration.declared(factory, name=known_as, place=place, plan=checked)
        made: Service[Any, Any] = Service(cell, flavour, critical, max_keys, max_concurrent)
        if not made._cell.plan.awaited and made._keys is None:
            build_early(frame, lambda: made._cell.resolve())
        return made

    return declare if factory is None else declare(factory)


def read(cell: "Any") -> None:
    """Ask for the numbers of a cell's plan that are functions, at its first use."""
    from lazyguard._core.state import lock

    of, plan = f"{cell.name} ({cell.place})", cell.plan

    if plan.bulkhead is not None:
        plan.bulkhead.most = validation.read("max_concurrent", plan.bulkhead.most, of, validation.whole)
    seconds = validation.seconds
    timeout = validation.read("timeout", plan.timeout, of, seconds, optional=True)
    patience = validation.read("abandon_after", plan.abandon_after, of, seconds, optional=True)
    if patience is ...:
        patience = None if timeout is None else 10 * timeout
    new = plan.changed(
        timeout=timeout,
        abandon_after=patience,
        grace=validation.read("grace", plan.grace, of, seconds, zero=True),
        retry=plan.retry and plan.retry.read(of),
        recovery=plan.recovery if plan.recovery in (None, ...) else plan.recovery.read(of),
        reads=None,
    )
    for one in cell.fallbacks:
        one.factory.of.read()
    with lock:
        if cell.plan is plan:
            fallbacks, cell.plan, cell.fallbacks = cell.fallbacks, new, ()
            try:
                for one in fallbacks:
                    one.factory.join(cell)
            except BaseException:
                cell.plan, cell.fallbacks = plan, fallbacks
                raise


def _checked(factory: "Any", name: str, place: "Place", plan: "Plan") -> "Plan":
    """Return the plan for a factory; raise where it, or what goes with it, cannot be right."""
    if not callable(factory):
        raise misused(f"service ({place}) takes the function that makes the object, not {type(factory).__name__}.")
    flags, code = places.flags_of(factory), getattr(factory, "__code__", None)
    first = () if code is None or hasattr(factory, "__self__") else code.co_varnames[: min(1, code.co_argcount)]
    if first in (("self",), ("cls",)):
        raise misused(
            f"{name} ({place}) is a method, and a service's parameters make the key of an object that is kept: declare "
            "it outside of the class, with what tells one object from the other as its parameters."
        )
    if flags & places.GENERATORS:
        raise misused(
            f"{name} ({place}) is a generator, and a service's factory returns the object that it makes: use "
            "`return`, and close= for what is to be done when the object is no longer needed."
        )
    if flags & places.COROUTINE:
        plan = plan.changed(awaited=True)
    if plan.retry is not None:
        plan.retry.check(plan.awaited, f"{name} ({place})", "factory")
    if not plan.awaited:
        for label, function in (("probe", plan.probe), ("close", plan.close)):
            validation.plain(label, function, f"{name} ({place})", "its factory")
    return plan
