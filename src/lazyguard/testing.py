"""For tests of a host application: a clock that the test moves, retries without waits, injected faults.

Invariants: at the end of a `with` block the former clock, mode and factories are restored. After blocks of `chaos`
nothing is left, in whatever order they end; its time is the core's clock, its chance a seeded generator. For retries,
breaker, fallback and recovery an injected failure is like one of the real object.
"""

from __future__ import annotations

from contextlib import ExitStack

from lazyguard._base import TYPE_CHECKING, Any, Callable, Record, TracebackType, TypeAlias, final, places, validation
from lazyguard._base.interpreter import Lock
from lazyguard._core import clock, declaration, loaded, mode, scheduler
from lazyguard._core.effects import Sleep
from lazyguard._core.state import READY
from lazyguard._proxies.proxy import find_cell
from lazyguard._services import fast_path
from lazyguard._services.conformity import assert_conforms
from lazyguard._services.guarded import Guard
from lazyguard.errors import ConfigurationError, UsageError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from random import Random

    from lazyguard._core.cell import Cell
    from lazyguard._core.effects import Steps
    from lazyguard._core.state import Snapshot
    from lazyguard._proxies.proxy import Proxy

    Fault: TypeAlias = "BaseException | type[BaseException] | Callable[[], BaseException]"

__all__ = ["FakeClock", "assert_conforms", "chaos", "set_testing"]

# How long a waiter sleeps, in real seconds, before it reads the fake time again.
_LOOK = 0.002
# Ticks of a fake clock a second: what is added is rounded up to a whole one.
_TICKS = 2.0**24


class FakeClock(clock.Clock):
    """A clock that stands still until `advance`; inside a `with` block it is the clock of all cells.

    Timeouts, retries, abandonment, recovery and the grace of replaced targets follow it. A waiter on any thread or
    event loop sees the new time within some 2 ms of real time. Jobs that are due at the new time run on lazyguard's own
    threads, soon after `advance` has returned. Blocks nest. A forked child inherits the clock.

    Example:
        >>> from lazyguard.testing import FakeClock
        >>> with FakeClock() as clock:
        ...     before = clock.now()
        ...     clock.advance(60.0)
        ...     round(clock.now() - before, 6)
        60.0
    """

    def __init__(self) -> None:
        # Not 0.0: a wait that began before the block goes on in it. A whole number, and later one of whole ticks, so
        # that no sum of seconds is rounded to a little less than the time that is waited for.
        self._start = -(-clock.now() // 1)
        self._date = clock.current.date()
        self._ahead = 0.0
        self._before: list[clock.Clock] = []
        self._lock = Lock()

    def now(self) -> float:
        """Return the time in seconds; only `advance` moves it."""
        return self._start + self._ahead

    def date(self) -> float:
        """Return the date in seconds since the epoch; it moves with the time."""
        return self._date + self._ahead

    def real(self, seconds: float) -> float:
        """Return the real seconds to wait before the fake time is read again."""
        return min(seconds, _LOOK)

    def advance(self, seconds: float) -> None:
        """Move the time forward by `seconds`, and start the jobs that are due then.

        Raises:
            ConfigurationError: `seconds` is negative or no number.
        """
        validation.seconds("seconds", seconds, zero=True)
        with self._lock:
            self._ahead = -(-(self._ahead + seconds) * _TICKS // 1) / _TICKS
        scheduler.poke()

    def __enter__(self) -> FakeClock:
        self._before.append(clock.install(self))
        scheduler.poke()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        clock.install(self._before.pop())
        scheduler.poke()


def set_testing(testing: bool, *, attempts: int = 1) -> ExitStack:
    """Switch testing mode on or off, from now on or for a `with` block.

    In testing mode a `Retry` makes one attempt (or `attempts`) and does not wait, and objects of `unittest.mock` can be
    fallbacks. Under pytest the latter holds anyway, unless `set_testing(False)` forbids it.

    Args:
        testing: Whether testing mode is on.
        attempts: How many attempts a `Retry` makes in testing mode, if it was declared with more.

    Returns:
        A context manager that restores the former mode when its block ends. Ignore it to set the mode for good.

    Raises:
        ConfigurationError: `testing` is no bool, or `attempts` is no whole number of at least one.

    The mode holds for the whole process, all threads and loops, and for its forked children.

    Example:
        >>> import lazyguard, lazyguard.testing
        >>> tries = []
        >>> @lazyguard.service(retry=lazyguard.Retry(attempts=5, initial=10), recovery=None)
        ... def get_database() -> list[int]:
        ...     tries.append(1)
        ...     raise ConnectionError
        >>> with lazyguard.testing.set_testing(True):
        ...     len(get_database())
        Traceback (most recent call last):
        ...
        lazyguard.errors.ResolutionError: ...get_database, declared at ..., could not be built...
        >>> len(tries)
        1
    """
    validation.flag("testing", testing)
    validation.whole("attempts", attempts)
    restoring = ExitStack()
    restoring.callback(setattr, mode, "limit", mode.limit)
    mode.limit = attempts if testing else 0
    return restoring


def chaos(
    of: object,
    /,
    *,
    latency: float = 0.0,
    error: Fault | None = None,
    rate: float = 1.0,
    seed: int | str | bytes | None = None,
) -> Chaos:
    """Inject faults in a `with` block: attempts and calls take longer, or fail.

    Args:
        of: A service, its live reference, the service of one key, or a guarded function.
        latency: Seconds that an affected call takes longer, by the clock that `FakeClock` moves.
        error: What an affected call raises instead of running: an exception, its type, or a function that makes one.
        rate: The share of calls that are affected, from 0 to 1.
        seed: The seed of the generator that selects them; on one thread the same seed selects the same calls.

    Returns:
        A context manager. Its attribute `hits` counts the affected calls.

    Raises:
        ConfigurationError: An option is out of range, or there is neither latency nor error.
        UsageError: `of` is none of the above.

    Affected are the attempts to build the real object, and calls of its methods and special methods through the live
    reference; of a guarded function each attempt. Not affected are a fallback, an override, the result of
    `require_real`, reading attributes, comparing, hashing and printing. Async calls are affected when they are awaited,
    without blocking their loop.

    Blocks nest, and their faults add up. They hold for all threads and loops of the process. A call that is under way
    when a block ends keeps its faults. A breaker counts calls through the live reference anew from there.

    Example:
        >>> import lazyguard
        >>> from lazyguard.testing import chaos
        >>> @lazyguard.service(recovery=None)
        ... def get_prices() -> dict[str, int]:
        ...     return {"tea": 3}
        >>> prices = get_prices()
        >>> with chaos(get_prices, error=ConnectionError):
        ...     prices["tea"]
        Traceback (most recent call last):
        lazyguard.errors.ResolutionError: ...get_prices, declared at ..., could not be built: ... ConnectionError...
        >>> prices["tea"]
        3
        >>> with chaos(get_prices, error=ConnectionError):
        ...     prices.get("tea")
        Traceback (most recent call last):
        ConnectionError
    """
    validation.seconds("latency", latency, zero=True)
    right = issubclass(error, BaseException) if isinstance(error, type) else callable(error)
    right = right or error is None or isinstance(error, BaseException)
    validation.require(right, "error", error, "an exception, its type, or a function that makes one")
    share: object = rate
    right = isinstance(share, int | float) and not isinstance(share, bool) and 0 <= share <= 1
    validation.require(right, "rate", rate, "a share from 0 to 1", fault="out of range")
    validation.require(isinstance(seed, int | str | bytes), "seed", seed, "a number or a string", optional=True)
    if not latency and error is None:
        raise ConfigurationError("chaos() without latency= and error= injects nothing: give one, or both.")
    cell, function = find_cell(of), getattr(of, "__func__", of)
    is_service = cell is not None and "service" in declaration.kind_of(cell)
    is_guarded = isinstance(getattr(getattr(function, "fallback", None), "__self__", None), Guard)
    if not is_service and (cell is not None or not is_guarded):
        raise UsageError(
            "chaos() takes a service, its live reference or a guarded function, not "
            f"{'a lazy object' if cell is not None else f'one of type {type(of).__name__}'}."
        )
    from random import Random

    chance = Random(seed)
    return Chaos(_of=cell if is_service else function, _latency=latency, _error=error, _rate=rate, _random=chance)


@final
class Chaos(Record):
    """The context manager that `chaos` returns: its faults are injected from `__enter__` to `__exit__`.

    Attributes:
        hits: How many attempts and calls were affected. Counted without a lock.
    """

    _of: Any
    _latency: float
    _error: Fault | None
    _rate: float
    _random: Random
    hits: int = 0

    def inject(self) -> Steps[None]:
        """Wait and raise, if this call is affected."""
        if self._random.random() >= self._rate:
            return
        self.hits += 1
        if self._latency:
            yield Sleep(self._latency)
        if self._error is None:
            return
        error: object = self._error
        if not isinstance(error, type | BaseException):
            error = self._error()  # type: ignore[operator]
        if isinstance(error, type) and issubclass(error, BaseException):
            error = error()
        if not isinstance(error, BaseException):
            raise ConfigurationError(f"error= of chaos() returned {error!r}: let the function return an exception.")
        raise error.with_traceback(None)  # else the traceback of one exception would grow

    def __enter__(self) -> Chaos:
        with _lock:
            site = _sites.get(self._of) or Site(self._of)
            site.in_force = (*site.in_force, self)
            if self._of not in _sites:
                site.show(faulty=True)
                _sites[self._of] = site
        return self

    def __exit__(self, *_: object) -> None:
        with _lock:
            site = _sites[self._of]
            kept = list(site.in_force)[::-1]
            kept.remove(self)  # the inner one of a block that was entered twice
            site.in_force = tuple(kept[::-1])
            if not kept:
                del _sites[self._of]
                site.show(faulty=False)


# Held while faults are installed or removed, so that another thread sees all of a site or nothing. No factory, probe,
# close or listener runs meanwhile.
_lock = Lock()
# A service's cell, or a guarded function -> its site.
_sites: dict[Any, Site] = {}
# Methods that Python calls on any object, amid other things.
_SPARED = frozenset(
    "__hash__ __eq__ __ne__ __str__ __format__ __bool__ __get__ __copy__ __deepcopy__ __instancecheck__ "
    "__subclasscheck__".split()
)
_AWAITED = frozenset(("__aenter__", "__aexit__", "__anext__"))


class Site:
    """The place of faults: those that are in force, and the wrappers that inject them.

    Of a guarded function they stand around it; of a service around its factory, and the target that is shown.
    """

    def __init__(self, of: Any) -> None:
        self.in_force: tuple[Chaos, ...] = ()
        self._of = of
        is_cell = isinstance(of, declaration.Declaration)
        self._flavour: Any = of.mirror.flavour if is_cell else None
        self._function = of.factory if is_cell else of.fallback.__self__.function

    def show(self, *, faulty: bool) -> None:
        """Put the wrappers in place, or restore what was there."""
        of = self._of
        if self._flavour is None:
            function = self.wrapped(self._function) if faulty else self._function
            of.fallback.__self__.function = function
            fast_path.cells(of, function=function)  # where a call that ends well finds it
            return
        of.factory = self.wrapped(self._function, awaited=of.plan.awaited) if faulty else self._function
        of.mirror.flavour = self._faulty if faulty else self._flavour
        of.show(of.mirror)

    def _faults(self) -> Steps[None]:
        for chaos in self.in_force:
            yield from chaos.inject()

    def wrapped(self, function: Callable[..., Any], *, awaited: bool | None = None) -> Any:
        """Return a function that looks like this one, and injects the faults before it runs."""
        from functools import wraps

        flags = places.flags_of(function)

        def plain(*arguments: Any, **named: Any) -> Any:
            loaded("_core.threads").drive(self._faults())
            return function(*arguments, **named)

        async def coroutine(*arguments: Any, **named: Any) -> Any:
            await loaded("_core.tasks").adrive(self._faults())
            return await function(*arguments, **named)

        async def iterated(*arguments: Any, **named: Any) -> AsyncIterator[Any]:
            await loaded("_core.tasks").adrive(self._faults())
            async for value in function(*arguments, **named):
                yield value

        hit: Any = coroutine if awaited or (awaited is None and flags & places.COROUTINE) else plain
        return wraps(function)(iterated if flags & places.ASYNC_GENERATOR else hit)

    def _faulty(self, cell: Cell, snapshot: Snapshot) -> type[Proxy]:
        if snapshot.state == READY and not snapshot.overrides:
            snapshot = snapshot.changed(target=self._target(snapshot.target))
        kind: type[Proxy] = self._flavour(cell, snapshot)
        return kind

    def _target(self, target: Any) -> Any:
        """Return an object that looks like the target, and injects the faults into its calls."""
        from lazyguard._proxies import proxy as proxies
        from lazyguard._proxies import views

        def attribute(_: Proxy, name: str) -> Any:
            value = getattr(target, name)
            if name.startswith("__") or not callable(value) or isinstance(value, type):
                return value
            return self.wrapped(value)

        def run(name: str, proxy: Proxy, of: Any, arguments: tuple[Any, ...], named: dict[str, Any]) -> Any:
            def perform() -> Any:
                return views.perform(name, proxy, of, arguments, named)

            if name in _SPARED:
                return perform()
            if name == "__call__":
                return self.wrapped(of)(*arguments, **named)
            return self.wrapped(perform, awaited=name in _AWAITED)()

        faulty: Proxy = object.__new__(views.forwarding(target, lambda _: target, attribute, run))
        proxies.set_cell(faulty, self._of)
        return faulty
