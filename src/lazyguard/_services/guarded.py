"""Guarded functions: a deadline, retries, a breaker and a fallback around any function or method.

Invariants: a call that ends well takes no lock, and pays for the deadline only where there is one; what the function
raises reaches its caller untouched, unless a policy says otherwise.
"""

from __future__ import annotations

from lazyguard._base import final, places, validation
from lazyguard._base.places import misconfigured, misused, shown
from lazyguard._core import declaration, loaded

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Concatenate, NoReturn, ParamSpec, Protocol, TypeAlias, TypeVar, overload

    from tenacity import BaseRetrying

    from lazyguard._base import P, T, T_co
    from lazyguard._base.places import Place
    from lazyguard._core.state import Outcome
    from lazyguard._monitoring.health import Check
    from lazyguard._policies.breaker import Breaker
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

        def __call__(self, first: S_contra, /, *args: Q.args, **kwargs: Q.kwargs) -> T_co: ...

    class Guarded(Protocol[P, R]):
        """A guarded function: called as the function is, with its signature and its type."""

        __name__: str
        __qualname__: str
        __wrapped__: Callable[..., Any]

        def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> R: ...

        # A class method takes its class, found by class or object; a method its object; a static method neither.
        @overload
        def __get__(self: CalledWith[type[S], Q, R], instance: S | None, owner: type[S], /) -> GuardedMethod[Q, R]: ...
        @overload
        def __get__(self, instance: None, owner: Any, /) -> Guarded[P, R]: ...
        @overload
        def __get__(self: CalledWith[S, Q, R], instance: S, owner: Any = None, /) -> GuardedMethod[Q, R]: ...
        @overload
        def __get__(self, instance: Any, owner: Any = None, /) -> Guarded[P, R]: ...

        @overload
        def fallback(self, fallback: Callable[P, R], /) -> Callable[P, R]: ...
        # Both fit where the first argument is an exception: there the first of them counts.
        @overload
        def fallback(  # type: ignore[overload-overlap]
            self, fallback: Callable[Concatenate[Exception, P], R], /
        ) -> Callable[Concatenate[Exception, P], R]: ...
        @overload
        def fallback(
            self: Guarded[Concatenate[S, Q], R], fallback: Callable[Concatenate[S, Exception, Q], R], /
        ) -> Callable[Concatenate[S, Exception, Q], R]: ...

        def health(self) -> Check: ...
        def reset(self) -> None: ...

    class GuardedMethod(Protocol[P, T_co]):
        """A guarded function that is bound to its object."""

        __name__: str
        __qualname__: str

        def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> T_co: ...
        def health(self) -> Check: ...
        def reset(self) -> None: ...

    class Guarding(Protocol):
        """What `guarded(...)` returns: the decorator of a function."""

        def __call__(self, function: Callable[P, T], /) -> Guarded[P, T]: ...


def guarded(
    *misplaced: NoReturn,
    name: str = "",
    timeout: float | None = None,
    retry: Retry | BaseRetrying | None = None,
    breaker: Breaker | None = None,
) -> Guarding:
    """Put a deadline, retries and a breaker around a function or a method; a stacked `.fallback` around these.

    Outermost first: the fallback, the deadline, the retry, the breaker. So the fallback answers for whatever fails in
    the end, the deadline is one for all attempts with their waits, and the breaker counts each attempt.

    Args:
        name: What errors, `health` and events call it; the function's own name if left out.
        timeout: Seconds for a call with all that belongs to it. An async function is cancelled then, and
            `DeadlineExceeded` is raised. A sync one cannot be ended from outside: it runs in a `deadline` block, asks
            `remaining()` for what is left and hands that on; no retry begins that would pass it.
        retry: How often a call that fails is tried again: a `Retry`, or a whole `tenacity.Retrying` object.
        breaker: When it is no longer called, since it fails. One for the function; all objects that have it as a method
            share it. For one an object, guard the bound method: `self.fetch = lazyguard.guarded(...)(self.fetch)`.

    Returns:
        A decorator, whose function has the same signature, type, name and async-ness, and beside these

        `.fallback`: a decorator for the function that answers instead. It is called with the call's arguments; where it
        has a parameter named `cause`, as its first, or as the first after `self`, that is given the exception. It is
        called for what is an Exception, unless `fallbacks("deny")` or LAZYGUARD_FALLBACK=deny forbid it, as is the
        default inside Celery tasks.

        `.health()`: a `Check` of the breaker; "closed", "open" or "half-open".

        `.reset()`: closes the breaker and forgets what it has counted.

    Raises:
        ConfigurationError: An option is out of range, or does not go with the function.
        UsageError: It is no function, it is a generator, or there are no parentheses.

    Threads and tasks share the breaker; in the child of a fork it begins anew, closed. No lock is held while the
    function runs, and a call that ends well takes none.

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
    validation.seconds("timeout", timeout, optional=True)
    if retry is not None:
        from lazyguard._policies import retry as retries

        given, retry = retry, retries.of(retry)
        if retry is None:
            raise misconfigured(
                f"retry={shown(given)} is invalid: give a lazyguard.Retry, a tenacity.Retrying object, or None."
            )
    if breaker is not None:
        from lazyguard._policies.breaker import Breaker

        if not isinstance(breaker, Breaker):
            raise misconfigured(f"breaker={shown(breaker)} is invalid: give a lazyguard.Breaker, or None.")

    def declare(function: Any, /) -> Any:
        for kind in (classmethod, staticmethod):
            if isinstance(function, kind):
                inner = declare(function.__func__)
                outer: Any = kind(inner)
                for handle in _HANDLES:
                    setattr(outer, handle, getattr(inner, handle))
                return outer
        place = places.of_callable(function, places.of_frame(frame))
        return _wrap(Guard(function, name or places.name_of(function), place, timeout, retry, breaker))

    return declare


@final
class Guard:
    """The policies around one function, and their state."""

    __slots__ = (
        "__weakref__",
        "awaited",
        "cause_at",
        "circuit",
        "fallback_function",
        "function",
        "late",
        "name",
        "place",
        "retry",
        "timeout",
    )

    def __init__(
        self,
        function: Callable[..., Any],
        name: str,
        place: Place,
        timeout: float | None,
        retry: Retry | None,
        breaker: Breaker | None,
    ) -> None:
        if not callable(function):
            raise misused(f"guarded ({place}) takes a function or a method, not {type(function).__name__}.")
        flags = _flags_of(function)
        if flags & _GENERATORS:
            raise misused(
                f"{name} ({place}) is a generator: its body runs after the call has returned, where nothing guards it. "
                "Guard the function that makes one step, or one that returns a list."
            )
        self.awaited = bool(flags & _COROUTINE)
        if retry is not None and retry.awaits and not self.awaited:
            raise misconfigured(
                f"retry= of {name} ({place}) is a tenacity.AsyncRetrying, and the function is not async: give a "
                "tenacity.Retrying."
            )
        self.function = function
        self.name = name
        self.place = place
        self.timeout = timeout
        self.late = f"{name}, declared at {place}, did not end within its timeout of {timeout} s."
        self.retry = retry
        self.fallback_function: Callable[..., Any] | None = None
        self.cause_at: int | None = None
        self.circuit: Circuit | None = None
        if breaker is not None:
            from lazyguard._policies.breaker import UnusedCircuit

            unused: Any = UnusedCircuit(breaker, name, place)
            self.circuit = unused
            declaration.register_guard(self)

    def run(self, args: Args, named: Named, failed: Exception | None = None) -> Outcome:
        """Make a call on this thread; the outcome is unwrapped by a frame that does not keep it.

        `failed` is what its first attempt has raised, where that has been made already.
        """
        outcome: Outcome = loaded("_core.threads", self).drive(loaded(CALLS, self).guarding(self, args, named, failed))
        return outcome

    async def arun(self, args: Args, named: Named, failed: Exception | None = None) -> Outcome:
        """Make a call in this task."""
        steps = loaded(CALLS, self).guarding(self, args, named, failed)
        outcome: Outcome = await loaded("_core.tasks", self).adrive(steps)
        return outcome

    def fallback(self, fallback: Any, /) -> Any:
        """Declare what answers when the function fails in the end; used as a decorator."""
        return loaded(FALLBACK, self).declare(self, fallback)

    def health(self) -> Check:
        """Return the state of the breaker, since when and why."""
        from lazyguard._core import clock
        from lazyguard._monitoring import health

        return health.check_guard(self, clock.now(), clock.current.date())

    def reset(self) -> None:
        """Close the breaker, with nothing counted."""
        if self.circuit is not None and self.circuit.used:
            self.circuit.reset()


# co_flags of a function: it is a generator, sync or async; it is an `async def`
_GENERATORS, _COROUTINE = 0x20 | 0x200, 0x80
FUNCTION = type(lambda: None)
# Where calls with all their policies are made, and fallbacks are declared: loaded by these names.
CALLS, FALLBACK = "_services.calls", "_services.guarded_fallback"


def _flags_of(function: Any) -> int:
    if type(function) is FUNCTION:  # nearly all of them; the others need a closer look
        flags: int = function.__code__.co_flags
        return flags
    from lazyguard._base import signatures

    return signatures.flags_of(function)


_HANDLES = ("fallback", "health", "reset")


# By its descriptor: the class of an exception may refuse to have attributes set.
_set_context = BaseException.__dict__["__context__"].__set__


def _unwrapped(outcome: Outcome) -> Any:
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


def _wrap(guard: Guard) -> Any:
    """Return the function to call, the fastest that the policies allow, dressed as the one that it guards."""
    function = guard.function
    make = (_async_wrapper if guard.awaited else _wrapper)(guard)
    for attribute in ("__module__", "__name__", "__qualname__", "__doc__", "__type_params__"):
        if hasattr(function, attribute):
            setattr(make, attribute, getattr(function, attribute))
    annotations = (
        "__annotate__" if hasattr(function, "__annotate__") else "__annotations__"
    )  # not evaluated from 3.14 on
    if hasattr(function, annotations):
        setattr(make, annotations, getattr(function, annotations))
    make.__dict__.update(getattr(function, "__dict__", {}))
    make.__wrapped__ = function
    for handle in _HANDLES:
        setattr(make, handle, getattr(guard, handle))
    return make


def _wrapper(guard: Guard) -> Any:
    function, circuit = guard.function, guard.circuit
    if guard.timeout is not None:

        def bounded(*args: Any, **named: Any) -> Any:
            return _unwrapped(guard.run(args, named))

        return bounded
    if circuit is None:

        def retried(*args: Any, **named: Any) -> Any:
            try:
                return function(*args, **named)
            except Exception as error:
                return _unwrapped(guard.run(args, named, error))

        return retried

    def broken(*args: Any, **named: Any) -> Any:
        phase = circuit.now
        count = phase.count
        if count is None:
            return _unwrapped(guard.run(args, named))
        try:
            result = function(*args, **named)
        except Exception as error:
            phase.ended(error)
            return _unwrapped(guard.run(args, named, error))
        count(True)
        return result

    return broken


def _async_wrapper(guard: Guard) -> Any:
    function, circuit = guard.function, guard.circuit
    if guard.timeout is not None:

        async def bounded(*args: Any, **named: Any) -> Any:
            return _unwrapped(await guard.arun(args, named))

        return bounded
    if circuit is None:

        async def retried(*args: Any, **named: Any) -> Any:
            try:
                return await function(*args, **named)
            except Exception as error:
                return _unwrapped(await guard.arun(args, named, error))

        return retried

    async def broken(*args: Any, **named: Any) -> Any:
        phase = circuit.now
        count = phase.count
        if count is None:
            return _unwrapped(await guard.arun(args, named))
        try:
            result = await function(*args, **named)
        except Exception as error:
            phase.ended(error)
            return _unwrapped(await guard.arun(args, named, error))
        count(True)
        return result

    return broken


def find(function: object) -> Any:
    """Return the guarded function that is meant: itself, or that of a method; None for what is none."""
    function = getattr(function, "__func__", function)
    of = getattr(getattr(function, "fallback", None), "__self__", None)
    return function if isinstance(of, Guard) else None


def exchange(guarded: Any, function: Callable[..., Any]) -> None:
    """Guard another function, which is alike, in the place of the present one; for tests.

    Written into the closure of the wrapper, so that a call that ends well has nobody to ask for its function.
    """
    guard: Guard = guarded.fallback.__self__
    guard.function = function
    names = guarded.__code__.co_freevars
    if "function" in names:
        guarded.__closure__[names.index("function")].cell_contents = function
