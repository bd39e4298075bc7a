"""Services: factories with a timeout, retries, a fallback and a recovery, reached through one live reference each.

Invariants: calling the service never blocks and gives the same object every time; the first use of that object
resolves; it follows fallback and recovery by itself. A factory with parameters has one such object for each set of
arguments.
"""

from lazyguard._base import TYPE_CHECKING, Any, Callable, Coroutine, Generic, P, T, final, places, validation
from lazyguard._base.places import misconfigured, misused, shown
from lazyguard._core.declaration import declared, register
from lazyguard._proxies import proxy

if TYPE_CHECKING:
    from typing import Concatenate, Protocol, TypeAlias, TypeVar, overload

    from lazyguard._base.validation import Seconds, Whole
    from lazyguard._core.cell import Cell
    from lazyguard._lazy_imports.access import Override
    from lazyguard._monitoring.health import Check
    from lazyguard._proxies.proxy import Flavour
    from lazyguard._services.keys import Keys

    Method = TypeVar("Method", bound=Callable[..., Any])
    Async: TypeAlias = "Callable[[], Coroutine[Any, Any, T]]"
    OfKey: TypeAlias = "Callable[Concatenate[Exception, P], T]"
    AsyncOfKey: TypeAlias = "Callable[Concatenate[Exception, P], Coroutine[Any, Any, T]]"
    AsyncOfCause: TypeAlias = "Callable[[Exception], Coroutine[Any, Any, T]]"

    class FallbackDeclaration(Protocol[P, T]):
        """The decorator of a function that makes the fallback, with options and without."""

        # As with the factory: Coroutine, not Awaitable.
        @overload
        def __call__(self, function: "Async[T]", /) -> "Async[T]": ...
        @overload
        def __call__(self, function: "AsyncOfKey[P, T]", /) -> "AsyncOfKey[P, T]": ...
        @overload
        def __call__(  # type: ignore[overload-overlap]  # an object that is a coroutine is nothing that a service holds
            self, function: "AsyncOfCause[T]", /
        ) -> "AsyncOfCause[T]": ...
        @overload
        def __call__(self, function: "Callable[[], T]", /) -> "Callable[[], T]": ...
        @overload
        def __call__(self, function: "OfKey[P, T]", /) -> "OfKey[P, T]": ...
        @overload
        def __call__(self, function: "Callable[[Exception], T]", /) -> "Callable[[Exception], T]": ...
        @overload
        def __call__(
            self,
            /,
            *,
            timeout: "Seconds | None" = ...,
            max_degraded: "Seconds | None" = ...,
            partial: bool = ...,
            answers_failed_calls: bool = ...,
            close: "Callable[[Any], object] | None" = ...,
        ) -> "FallbackDeclaration[P, T]": ...


if TYPE_CHECKING:

    def like_factory(method: "Method") -> "Method":
        """Let an async method of a service have the signature of its factory."""
        return method

else:

    class like_factory:  # noqa: N801  # used as the decorator that it stands for
        """Let an async method of a service have the signature of its factory; of no method: that signature itself."""

        def __init__(self, method):
            self._method = method

        def __get__(self, service, owner=None):
            factory = None if service is None else service._factory
            if factory is None:
                if self._method is None:
                    raise AttributeError("__signature__")
                return self._method if service is None else type(service.of)(self._method, service)
            from _functools import partial

            from lazyguard._base.signatures import signature_of

            if self._method is None:
                return signature_of(factory)
            # A partial: a bound method would have the signature of its function. Kept, since FastAPI needs the same
            # object each time, to call a dependency once a request and to find its override.
            bound = vars(service)[self._method.__name__] = partial(self._method, service)
            for name in ("__module__", "__name__", "__qualname__", "__doc__"):
                setattr(bound, name, getattr(self._method, name))
            bound.__signature__ = signature_of(factory)
            bound.__globals__ = getattr(factory, "__globals__", {})  # where its annotations are looked up
            return bound


@final
class Service(Generic[P, T]):
    """A factory's service: call it for the live reference. Made by `lazyguard.service`.

    Attributes:
        critical: Whether the application is not ready while this service has failed.
    """

    _cell: "Cell"  # without a target, where there are keys: what all of theirs are like
    _live: "T"
    fallback: "FallbackDeclaration[P, T]"
    _keys: "Keys | None"
    _factory: "Any" = None  # of one key's service
    _isolated = False

    if not TYPE_CHECKING:
        _live = None  # where there are keys
        __signature__ = like_factory(None)

    def __init__(
        self, cell: "Cell", flavour: "Flavour", critical: bool, max_keys: "int | None", max_concurrent: "Whole | None"
    ) -> None:
        self._cell = cell
        self._flavour: Any = flavour
        self.critical = critical
        self._factory = factory = cell.factory
        if not cell.plan.awaited:  # else who unwraps it would await what a call returns
            self.__wrapped__ = factory
        for attribute in ("__module__", "__name__", "__qualname__", "__doc__", "__globals__"):
            if hasattr(factory, attribute):
                setattr(self, attribute, getattr(factory, attribute))
        if places.has_parameters(places.unwrapped(factory)):  # those of `*args, **named` are what it stands around
            from lazyguard._policies.bulkhead import DEFAULT, Bulkhead
            from lazyguard._services import keys as keyed

            self._keys = keyed.Keys(self, 128 if max_keys is None else max_keys)
            cell.plan = cell.plan.changed(bulkhead=Bulkhead(DEFAULT if max_concurrent is None else max_concurrent))
            return
        for option, value in (("max_keys", max_keys), ("max_concurrent", max_concurrent)):
            if value is not None:
                raise misconfigured(
                    f"{option}={shown(value)} of {cell.name} ({cell.place}) says nothing, since its factory has no "
                    "parameters: give it some, or leave that out."
                )
        self._keys = None
        self._live = proxy.make(cell, flavour, home=self._home)
        register(cell, self._kind)

    def _child(self, build: "Callable[[], Any]", given: "dict[str, Any]") -> "Service[[], T]":
        """Return the service of one more key, whose object `build` makes."""
        like = self._cell
        cell: Cell = declared(build, name=like.name, place=like.place, plan=like.plan)
        for fallback in like.fallbacks:
            fallback.factory.of.join(cell, given)
        if self._isolated:
            from lazyguard._policies.recovery_run import isolate

            isolate(cell)
        return self._around(proxy.make(cell, self._flavour, home=(*self._home, given)))

    def _around(self, live: "Any") -> "Service[[], T]":
        """Return the service of one key, whose live reference there is."""
        service: Service[[], T] = object.__new__(Service)
        service._cell = proxy.cell_of(live)
        service._live = live
        service._keys = None
        service.critical = self.critical
        return service

    def __lazyguard_cell__(self) -> "Cell":
        return self._one()._cell

    def _one(self) -> "Service[..., T]":
        """Return the service of the one object that is meant where no key is named."""
        if self._keys is None:
            return self
        from lazyguard._base import signatures

        required = signatures.required_parameters(places.unwrapped(self._factory))
        if required:
            raise misused(
                f"{self._cell.name}, declared at {self._cell.place}, has one object for each {', '.join(required)}: "
                "name it, of(...), or use the live reference that the service returns."
            )
        of_key: Service[..., T] = self._keys.service((), {})
        return of_key

    @property
    def _home(self) -> "tuple[str, ...]":
        return tuple(places.name_of(self._factory).split(":"))

    @property
    def _kind(self) -> str:
        return "critical service" if self.critical else "service"

    def __reduce__(self) -> str:
        return getattr(self, "__qualname__", "")  # pickled by reference, as the function that it stands for would be

    def __call__(self, /, *args: "P.args", **kwargs: "P.kwargs") -> "T":
        """Return the live reference: at once, and the same object every time.

        Where the factory has parameters there is one for each set of arguments. It is the same for arguments that mean
        the same, by position, by name or left out, and equal ones are the same key, as in a dict.

        Raises:
            UsageError: The factory does not take these arguments, or one of them is not hashable.
        """
        return self.of(*args, **kwargs)._live

    def of(self, /, *args: "P.args", **kwargs: "P.kwargs") -> "Service[[], T]":
        """Return the service of one key, for its health, reset, override and require_real.

        A service whose factory has no parameters returns itself.

        Raises:
            UsageError: The factory does not take these arguments, or one of them is not hashable.

        Example:
            >>> import lazyguard
            >>> @lazyguard.service()
            ... def get_numbers(first: int, last: int = 9) -> list[int]:
            ...     return list(range(first, last + 1))
            >>> len(get_numbers(7)), get_numbers(7) is get_numbers(last=9, first=7)
            (3, True)
            >>> get_numbers.of(7).health().state, get_numbers.of(3).health().state
            ('ready', 'pending')
        """
        if self._keys is not None:
            of_key: Service[[], T] = self._keys.service(args, kwargs)
            return of_key
        if args or kwargs:
            raise misused(
                f"{self._cell.name}, declared at {self._cell.place}, was called with arguments, and its factory has no "
                "parameters: call it without, or give the factory some, for one object each."
            )
        this: Any = self
        one: Service[[], T] = this
        return one

    @like_factory
    async def aget(self, /, *args: "P.args", **kwargs: "P.kwargs") -> "T":
        """Return the live reference when it can be used: build the object first, without blocking the event loop.

        Raises:
            UsageError: The factory does not take these arguments, or one of them is not hashable.
        """
        from lazyguard._core import wait_cycles

        service = self.of(*args, **kwargs)
        await service._cell.aresolve()
        if service._cell.plan.awaited:  # where a recovery can try again: the loop before may be closed
            service._cell.here().home = wait_cycles.current_loop()
        return service._live

    def require_real(self, *, timeout: "float | None" = None) -> "T":
        """Return the real object itself, never a fallback.

        Args:
            timeout: Seconds to wait; the service's own timeout if left out. A service that has none is built by the
                caller's own thread, whose wait nothing can end; then it holds for joining another one's attempt.

        Raises:
            ResolutionError: It could not be built.
            ResolutionTimeout: It was not built in time.
            UsageError: There is one object for each set of arguments: name it, `of(...)`. It holds for `override` too.
        """
        validation.seconds("timeout", timeout, optional=True)
        target: T = self._one()._cell.resolve(wait=timeout, real=True)
        return target

    def _fallback(
        self,
        function: "Any" = None,
        /,
        *,
        timeout: "Seconds | None" = None,
        max_degraded: "Seconds | None" = None,
        partial: bool = False,
        answers_failed_calls: bool = False,
        close: "Callable[[Any], object] | None" = None,
    ) -> "Any":
        """Declare what is served when the real object cannot be built in time; used as a decorator.

        The function returns the fallback and may take the cause, an exception: as its one parameter, or as one called
        `cause`. It is called once each time the service degrades. Where there are several, they are tried in the order
        of their declaration: a replica, a cache, a fallback. The recovery goes back to the real object, whichever is
        served. Where the factory has parameters, it may take the cause and after that those parameters, by their names.

        Args:
            function: The function.
            timeout: Seconds that are kept for it out of the service's timeout, which is the whole wait of a caller: a
                tenth of that if left out. In a service without a timeout: the seconds to wait for it.
            max_degraded: Seconds after which the fallback is no longer served; ServiceUnavailable is raised instead.
            partial: Whether it is meant that the fallback lacks methods, whose use raises ServiceUnavailable.
            answers_failed_calls: Whether it answers a plain call that fails by `failures` too, while the real object is
                in use: for what may be made twice or left out. Never for an iterator, a generator or a `with` block.
            close: Called with each fallback that is no longer needed, when a service's own `close` would be: replaced
                by the real object (after the service's `grace`), reset, too late, let go of by all; at the exit too.
                It may be async where the fallback is. Left out, the fallback is yours: let one that others use be.

        Raises:
            ConfigurationError: It is no function that could be called in need, the service has it already, an option
                is out of range, or the fallbacks leave the real object less than a tenth of the timeout. Or, where
                the return annotations of factory and fallback name two classes: a method of the second one takes
                other arguments, or is async where the first one's is not.
        Warns:
            ConformityWarning: The second class lacks what the first one has, or may have it otherwise.

        Where the annotations do not tell, the fallback is compared when it is made: what differs is an event.

        It is built by whoever builds the real object: a daemon thread where there is a timeout, of which one that hangs
        holds one, however many wait for it; else the caller's own thread.
        """

        def declare(function: "Any") -> "Any":
            from lazyguard._services import fallback as fallback_cells

            if self._keys is None and self._factory is None:
                raise misused(
                    f"the fallback of {self._cell.name} ({self._cell.place}) is declared for all keys, not for one."
                )
            from lazyguard._base import signatures

            parameters = () if self._keys is None else signatures.all_parameters(places.unwrapped(self._factory))
            declared = fallback_cells.Fallback(self._cell, function, parameters, **options)
            declared.join(self._cell)
            for cell, given in () if self._keys is None else self._keys.living():
                declared.join(cell, given)
            return function

        validation.seconds("timeout", timeout, optional=True, late=True)
        validation.seconds("max_degraded", max_degraded, optional=True, late=True)
        validation.flag("partial", partial)
        validation.flag("answers_failed_calls", answers_failed_calls)
        if answers_failed_calls and not self._flavour.counts:
            raise misconfigured(
                "answers_failed_calls= is about the calls that fail by failures= of the service: give that too."
            )
        validation.function_of("close", close)
        options = {"timeout": timeout, "max_degraded": max_degraded, "partial": partial, "close": close}
        options["answers"] = answers_failed_calls
        return declare if function is None else declare(function)

    if not TYPE_CHECKING:
        _fallback.__name__, _fallback.__qualname__ = "fallback", "Service.fallback"
        fallback = _fallback

    def health(self) -> "Check":
        """Return the service's state, since when and why. Builds nothing.

        Where there is one object for each set of arguments, it is that of the one which is worst off, with the attempts
        and the generations of all.
        """
        from lazyguard._core import clock
        from lazyguard._monitoring import health

        now, date = clock.now(), clock.current.date()
        return health.worst([health.check(cell, self._kind, now, date) for cell in self._cells()])

    def isolate(self) -> None:
        """Take the real object out of use until `reset`, for all keys, those to come too.

        A use is answered by the fallback; where there is none it raises CircuitOpen, as does asking for the real one.
        No recovery begins. What was built is closed after `grace`; `health` has the reason. Of the service of one key,
        `of(...)`, that key alone. A forked child inherits it where the service is kept there.

        Example:
            >>> import lazyguard
            >>> get_numbers = lazyguard.service(lambda: [1])
            >>> get_numbers.isolate()
            >>> get_numbers.health().state
            'failed'
            >>> get_numbers.reset()
            >>> len(get_numbers())
            1
        """
        from lazyguard._policies.recovery_run import isolate

        self._isolated = True
        for cell in self._cells():
            isolate(cell)

    def reset(self) -> None:
        """Forget what was built, for all keys, and close it; the next use builds anew."""
        self._isolated = False
        for cell in self._cells():
            cell.reset()

    def _cells(self) -> "list[Cell]":
        """Return the cells of all keys and event loops."""
        found = [self._cell] if self._keys is None else [cell for cell, _ in self._keys.living()] or [self._cell]
        return [one for cell in found for one in (cell, *(() if cell.loops is None else cell.loops.others(cell)))]

    def override(self, value: "T") -> "Override":
        """Serve `value` in a `with` block, to all who hold the live reference."""
        from lazyguard._lazy_imports.access import Override

        return Override(self._one()._cell, value)

    def __repr__(self) -> str:
        keys = "" if self._keys is None else f" with {len(self._keys.living())} keys"
        return f"<service {self._cell.name}{keys}, {self.health().state}, declared at {self._cell.place}>"
