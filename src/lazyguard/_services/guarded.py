"""Guarded functions: a deadline, retries, a breaker and a fallback around any function or method.

Invariants: a call that ends well takes no lock, and pays only for what it was given; what the function raises reaches
its caller untouched, unless a policy says otherwise. A wrapper makes a first attempt by itself, unless `detour` says
that the whole of `calls` is to see the call: the first ones, while a fallback answers, where all is switched off.
"""

from _weakref import ref

from lazyguard._base import TYPE_CHECKING, Any, Callable, Record, dress, places, validation
from lazyguard._base.places import misconfigured, misused
from lazyguard._core import declaration, loaded

if TYPE_CHECKING:
    from typing import Concatenate, NoReturn, ParamSpec, Protocol, TypeAlias, TypeVar, overload

    from tenacity import BaseRetrying

    from lazyguard._base import P, T, T_co
    from lazyguard._base.places import Place
    from lazyguard._base.validation import Failures, Seconds, Whole
    from lazyguard._core.state import Outcome
    from lazyguard._monitoring.health import Check
    from lazyguard._policies.breaker import Breaker
    from lazyguard._policies.bulkhead import Places
    from lazyguard._policies.circuit import Circuit
    from lazyguard._policies.retry import Retry

    Args: TypeAlias = tuple[Any, ...]
    Named: TypeAlias = dict[str, Any]
    Q = ParamSpec("Q")
    R = TypeVar("R")
    S = TypeVar("S")
    S_contra = TypeVar("S_contra", contravariant=True)

    class CalledWith(Protocol[S_contra, Q, T_co]):
        """What is called with a first argument, and others: as `self` it tells mypy more than a `Concatenate` does."""

        def __call__(self, first: "S_contra", /, *args: "Q.args", **kwargs: "Q.kwargs") -> "T_co": ...

    class Guarded(Protocol[P, R]):
        """A guarded function: called as the function is, with its signature and its type."""

        __name__: str
        __qualname__: str
        __wrapped__: "Callable[..., Any]"

        def __call__(self, /, *args: "P.args", **kwargs: "P.kwargs") -> "R": ...

        # A class method takes its class, found by class or object; a method its object; a static method neither.
        @overload
        def __get__(
            self: "CalledWith[type[S], Q, R]", instance: "S | None", owner: "type[S]", /
        ) -> "Guarded[Q, R]": ...
        @overload
        def __get__(self, instance: None, owner: "Any", /) -> "Guarded[P, R]": ...
        @overload
        def __get__(self: "CalledWith[S, Q, R]", instance: "S", owner: "Any" = None, /) -> "Guarded[Q, R]": ...
        @overload
        def __get__(self, instance: "Any", owner: "Any" = None, /) -> "Guarded[P, R]": ...

        @property
        def fallback(self) -> "FallsBack[P, R]": ...
        def health(self) -> "Check": ...
        def isolate(self) -> None: ...
        def reset(self) -> None: ...

    class FallsBack(Protocol[P, R]):
        """The decorator of what answers, with `on=` and without."""

        @overload
        def __call__(self, fallback: "Callable[P, R]", /) -> "Callable[P, R]": ...
        # Both fit where the first argument is an exception: there the first of them counts.
        @overload
        def __call__(  # type: ignore[overload-overlap]
            self, fallback: "Callable[Concatenate[Exception, P], R]", /
        ) -> "Callable[Concatenate[Exception, P], R]": ...
        @overload
        def __call__(
            self: "FallsBack[Concatenate[S, Q], R]", fallback: "Callable[Concatenate[S, Exception, Q], R]", /
        ) -> "Callable[Concatenate[S, Exception, Q], R]": ...
        @overload
        def __call__(self, *, on: "Failures") -> "FallsBack[P, R]": ...


# What a guarded function has beside the attributes of its own.
HANDLES = ("fallback", "health", "isolate", "reset")
# By its descriptor: the class of an exception may refuse to have attributes set.
_set_context = BaseException.__dict__["__context__"].__set__


def unwrapped(outcome: "Outcome") -> "Any":
    """Return what a call has returned, or raise what it has raised."""
    error = outcome.error
    if error is None:
        return outcome.value
    outcome.error = None  # else a cycle: the error, its traceback, a frame that has this outcome
    context = error.__context__
    try:
        raise error
    finally:
        # What raises it here handles the first attempt's failure, of which it may be the cause.
        _set_context(error, context)
        del error, context


def guarded(
    *misplaced: "NoReturn",
    name: str = "",
    timeout: "Seconds | None" = None,
    retry: "Retry | BaseRetrying | None" = None,
    breaker: "Breaker | None" = None,
    key: "Callable[..., object] | None" = None,
    max_concurrent: "Whole | None" = None,
) -> "Callable[[Callable[P, T]], Guarded[P, T]]":
    """Put a deadline, retries and a breaker around a function or a method; a stacked `.fallback` around these.

    Outermost first: the fallback, the deadline, the limit of calls at a time, the retry, the breaker. So the fallback
    answers for what fails in the end, the deadline is one for all attempts with their waits, and the breaker counts
    each attempt.

    `timeout`, `max_concurrent` and the numbers of the policies may be functions without arguments: they are asked at
    the first call, `timeout=lambda: settings.REDIS_TIMEOUT`.

    Args:
        name: What errors, `health` and events call it; the function's own name if left out.
        timeout: Seconds for a call with all that belongs to it. An async function is cancelled then, and
            `DeadlineExceeded` is raised. A sync one cannot be ended from outside: it runs in a `deadline` block, asks
            `remaining()` for what is left and hands that on; no retry begins that would pass it.
        retry: How often a call that fails is tried again: a `Retry`, or a whole `tenacity.Retrying` object.
        breaker: When it is no longer called, since it fails. One for the function; all objects that have it as a method
            share it. For one an object, guard the bound method: `self.fetch = lazyguard.guarded(...)(self.fetch)`.
        key: A function of the call's arguments. For each key that it returns there is a breaker of its own: a host, a
            tenant. 1,000 are kept; of more those go first that are closed and were not asked lately. No text has a key.
        max_concurrent: How many calls may be under way at a time. A further one raises ServiceUnavailable at once, or
            is answered by the fallback; it waits for nothing.

    Returns:
        A decorator, whose function has the same signature, type, name and async-ness, and beside these

        `.fallback`, `.fallback(on=...)`: a decorator for the function that answers instead; of several the next one is
        tried when one fails. It is called with the call's arguments; where it has a parameter named `cause`, as its
        first, or as the first after `self`, that is given the exception. `on` says which exceptions it answers, as a
        breaker's does: all if left out, but AttributeError, TypeError and NameError only where `on` names them or a
        predicate means them. It is not called where `fallbacks("deny")` or LAZYGUARD_FALLBACK=deny forbid it, as is
        the default inside Celery tasks. That it answers is the event "degraded", that the function does again
        "recovered", and `health` has the status "warn" meanwhile.

        `.health()`: a `Check` of the breaker; "closed", "open" or "half-open"; of several keys, of the worst one.

        `.isolate()`: opens the breaker until it is reset.

        `.reset()`: closes the breaker and forgets what it has counted.

    Raises:
        ConfigurationError: An option is out of range, or does not go with the function. In the first call, if a
            function has returned a number that cannot be right.
        UsageError: It is no function, it is a generator, or there are no parentheses. Also in a call, where the result
            works after the call has returned: a context manager, a generator, a future.

    A function that returns coroutines is called when these are awaited, and guarded as an `async def` is. Threads and
    tasks share the breaker; in the child of a fork it begins anew, closed. No lock is held while the function runs, and
    a call that ends well takes none.

    Example:
        >>> import lazyguard
        >>> @lazyguard.guarded(retry=lazyguard.Retry(attempts=2, initial=0.0), breaker=lazyguard.Breaker())
        ... def price(article: str) -> int:
        ...     raise ConnectionError
        >>> @price.fallback
        ... def _(cause: Exception, article: str) -> int:
        ...     return len(article)
        >>> price("apple")
        5
        >>> price.health().state
        'closed'
    """
    frame = places.caller()
    validation.alone("guarded", misplaced, frame, "function")
    validation.text("name", name)
    validation.seconds("timeout", timeout, optional=True, late=True)
    validation.whole("max_concurrent", max_concurrent, optional=True, late=True)
    if retry is not None:
        from lazyguard._policies import retry as retries

        retry = retries.of(retry)
    validation.policy("breaker", breaker)
    validation.function_of("key", key, "call's arguments")
    if key is not None:
        validation.plain("key", key, "guarded", "the function")
        if breaker is None:
            raise misconfigured("key= says which breaker a call has, and there is none: give breaker= too.")

    policies: dict[str, Any] = {"timeout": timeout, "retry": retry, "breaker": breaker, "key": key}

    def declare(function: "Any", /) -> "Any":
        if isinstance(function, classmethod | staticmethod):
            inner = declare(function.__func__)
            outer: Any = type(function)(inner)
            for handle in HANDLES:
                setattr(outer, handle, getattr(inner, handle))
            return outer
        place = places.of_callable(function, places.of_frame(frame))
        known_as = name or places.name_of(function)
        awaited = _is_awaited(function, known_as, place, retry)
        limit = None if max_concurrent is None else loaded("_policies.bulkhead").Places(max_concurrent)
        guard = Guard(function=function, name=known_as, place=place, awaited=awaited, places=limit, **policies)
        declaration.register(guard, declaration.GUARD)
        return _wrapped(guard)

    return declare


def _wrapped(guard: "Guard") -> "Any":
    """Return the function to call, dressed as the one that it guards."""
    make: Any = dress(_whole(guard), guard.function)
    for handle in HANDLES:
        setattr(make, handle, getattr(guard, handle))
    guard.wrapper = ref(make)
    return make


def _whole(guard: "Guard") -> "Any":
    """Return a wrapper that takes the whole way; it has the variables of the fast one, which may take its place."""
    calls = circuit = clock = key = known = places = None
    function = guard.function

    def whole(*args: "Any", **named: "Any") -> "Any":
        nonlocal calls, circuit, clock, function, key, known, places
        return unwrapped(guard.run(args, named))

    async def awhole(*args: "Any", **named: "Any") -> "Any":
        nonlocal calls, circuit, clock, function, key, known, places
        return unwrapped(await guard.arun(args, named))

    return awhole if guard.awaited else whole


def _is_awaited(function: object, name: str, place: "Place", retry: "Retry | None") -> bool:
    """Return whether a function is async; raise where it cannot be guarded, or not with this retry."""
    if not callable(function):
        raise misused(f"guarded ({place}) takes a function or a method, not {type(function).__name__}.")
    flags = places.flags_of(function)
    if flags & places.GENERATORS:
        raise misused(
            f"{name} ({place}) is a generator: its body runs after the call has returned, where nothing guards it. "
            "Guard the function that makes one step, or one that returns a list."
        )
    awaited = bool(flags & places.COROUTINE)
    if retry is not None:
        retry.check(awaited, f"{name} ({place})", "function")
    return awaited


class Guard(Record):
    """The policies around one function, and their state."""

    function: "Callable[..., Any]"
    name: str
    place: "Place"
    timeout: "Any"
    retry: "Retry | None"
    breaker: "Breaker | None"
    key: "Callable[..., object] | None"
    places: "Places | None"
    awaited: bool
    answers: "Any" = None  # what its fallbacks have answered, if it has some
    looks: bool = True  # at what the function returns, until that is known
    returns_awaitables: bool = False
    wrapper: "Any" = None  # a weak reference
    circuit: "Any" = None  # a Circuit, or with key= Circuits, when there was need of it

    def read(self) -> None:
        """Ask for the numbers that are functions, at the first call."""
        of = f"{self.name} ({self.place})"
        self.timeout = validation.read("timeout", self.timeout, of, validation.seconds, optional=True)
        self.retry = self.retry and self.retry.read(of)
        if self.places is not None:
            self.places.most = validation.read("max_concurrent", self.places.most, of, validation.whole)

    def run(self, args: "Args", named: "Named", failed: "Exception | None" = None, entered: object = None) -> "Outcome":
        """Make a call on this thread; the outcome is unwrapped by a frame that does not keep it.

        `failed` is what its first attempt has raised, and `entered` what has its place, where these were made already.
        """
        if self.returns_awaitables:
            return self._later(args, named, None)
        call = loaded(CALLS, self).GuardedCall(self, args, named)
        outcome: Outcome = loaded("_core.threads", self).drive(call.answered(failed, entered))
        found: Any = self  # which `drive` has changed
        if found.returns_awaitables and hasattr(type(outcome.value), "__await__"):
            return self._later(args, named, outcome.value)
        return outcome

    async def arun(
        self,
        args: "Args",
        named: "Named",
        failed: "Exception | None" = None,
        entered: object = None,
        later: "Callable[..., Any] | None" = None,
    ) -> "Outcome":
        """Make a call in this task; `later` stands for a plain function that returns awaitables."""
        steps = loaded(CALLS, self).GuardedCall(self, args, named, later).answered(failed, entered)
        outcome: Outcome = await loaded("_core.tasks", self).adrive(steps)
        return outcome

    def _later(self, args: "Args", named: "Named", first: "Any") -> "Outcome":
        """Return the coroutine of a call whose function returns awaitables, of which the `first` was made already."""
        calls = loaded(CALLS, self)

        async def awaited() -> "Any":
            return unwrapped(await self.arun(args, named, later=calls.awaiting(self.function, first)))

        later: Outcome = calls.Outcome(awaited())
        return later

    def found(self, *, awaited: bool) -> None:
        """Note what the function returns: awaitables, or what is done when the call has returned."""
        self.looks, self.returns_awaitables = False, awaited
        self.reroute()

    def reroute(self) -> None:
        """Decide anew whether the wrapper may make the first attempt by itself."""
        answering = self.answers is not None and self.answers.since is not None
        active = loaded("_core.mode", self).is_active()
        make = self.wrapper()
        if make is None or self.timeout is not None:
            return
        if active and not (self.looks or self.returns_awaitables or answering):
            loaded("_services.fast_path", self).take(self, make)
        else:
            make.__code__ = _whole(self).__code__

    def circuit_of(self, args: "Args", named: "Named") -> "Circuit | None":
        """Return the circuit for a call."""
        if self.breaker is None:
            return None
        found: Circuit = self._circuit() if self.key is None else self._circuit().of(self.key(*args, **named))
        return found

    def _circuit(self) -> "Any":
        if self.circuit is None:
            circuits: Any = loaded(CIRCUIT, self)
            kind = circuits.Circuit if self.key is None else circuits.Circuits
            vars(self).setdefault(
                "circuit", kind(self.breaker, name=self.name, place=self.place)
            )  # one, of all threads
        return self.circuit

    def circuits(self) -> "list[Circuit]":
        """Return the circuits that have been asked."""
        return [] if self.circuit is None else self.circuit.all()

    def fallback(self, fallback: "Any" = None, /, *, on: "Any" = None) -> "Any":
        """Declare what answers when the function fails in the end; used as a decorator."""
        declare = loaded(FALLBACK, self).declare
        return declare(self, fallback, on) if fallback is not None else lambda given: declare(self, given, on)

    def health(self) -> "Check":
        """Return the state of the breaker, since when and why."""
        from lazyguard._core import clock
        from lazyguard._monitoring import health

        return health.check_guard(self, clock.now(), clock.current.date())

    def isolate(self) -> None:
        """Open the breaker until it is reset."""
        if self.breaker is None:
            raise misused(f"{self.name} ({self.place}) has no breaker that could be opened: give breaker=.")
        self._circuit().isolate()

    def reset(self) -> None:
        """Close the breaker, with nothing counted."""
        if self.circuit is not None:
            self.circuit.reset()


# Where calls with all their policies are made, fallbacks are declared, and breakers count: loaded by these names.
CALLS, FALLBACK, CIRCUIT = "_services.calls", "_services.guarded_fallback", "_policies.circuit"
