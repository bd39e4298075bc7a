"""How a service with `failures=` shows its real object: each call's outcome counts in the breaker of that object.

Invariants: a call, what it returns to be awaited or iterated, a `with` block and a kept bound method end on the target
that they began with; what ends after the breaker has opened counts nowhere; a call that ends well takes no lock; the
breaker is that of one target, and only while it is served does it take that target out of use.
"""

from __future__ import annotations

from lazyguard._base import final
from lazyguard._core import clock
from lazyguard._core.state import FAILED
from lazyguard._policies.breaker import Breaker
from lazyguard._policies.circuit import Circuit
from lazyguard._proxies import proxy as proxies
from lazyguard._proxies import special_methods, views
from lazyguard.errors import CircuitOpen, ServiceCircuitOpen
from lazyguard.events import describe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator
    from typing import Any

    from lazyguard._core.cell import Cell
    from lazyguard._core.state import Outcome, Snapshot
    from lazyguard._policies.circuit import Failures, Phase
    from lazyguard._proxies.proxy import Proxy

# What most calls return: there is nothing in it that could fail later.
_ENDED = frozenset((type(None), bool, int, float, str, bytes, list, tuple, dict, set))
# A comparison or a conversion tells little of how the target is, and what fails between entering a block and leaving it
# shall be able to fail several times in a row.
_ONLY_FAILURES = special_methods.UNIVERSAL | {
    "__copy__",
    "__deepcopy__",
    "__get__",
    "__enter__",
    "__exit__",
    "__aenter__",
    "__aexit__",
}
# What makes of an iterator no more than an iterator; one that can do other things is handed out as it is.
_OF_ITERATORS = frozenset(("send", "throw", "close", "asend", "athrow", "aclose"))


def view(cell: Cell, snapshot: Snapshot, failures: Failures, breaker: Breaker | None) -> type[Proxy]:
    """Return the class of the proxy while this target is served, and its calls are counted."""
    target = snapshot.target
    circuit = circuit_of(cell, snapshot.generation, failures, breaker)
    # The function behind the last bound method of that name, whose it was, and what counts its calls.
    known: dict[str, tuple[Any, Any, Any]] = {}

    def attribute(_: Proxy, name: str, method: Any = views.MethodType) -> Any:
        try:
            value = bound = getattr(target, name)
        except BaseException as error:
            _failed(circuit.now, error)
            raise
        if type(value) is method:
            before = known.get(name)
            if before is not None and bound.__func__ is before[0] and bound.__self__ is before[1]:
                return before[2]
        elif not callable(value) or isinstance(value, type):
            return value
        if name.startswith("__"):
            return value
        counted = _counted(circuit, value)
        if type(value) is method:
            known[name] = bound.__func__, bound.__self__, counted
        return counted

    def run(name: str, proxy: Proxy, of: Any, arguments: tuple[Any, ...], named: dict[str, Any]) -> Any:
        phase = circuit.now
        try:
            result = views.perform(name, proxy, of, arguments, named)
        except StopIteration:
            raise  # next(), at the end
        except BaseException as error:
            _failed(phase, error)
            raise
        return _later(phase, result, well=name not in _ONLY_FAILURES)

    kind = views.forwarding(target, lambda _: target, attribute, run)
    kind.__name__ = proxies.BOUND  # so that it is let go of at once when it is no longer shown
    return kind


def circuit_of(cell: Cell, generation: int, failures: Failures, breaker: Breaker | None) -> Circuit:
    """Return the breaker of a generation's target, which all that show it share."""
    kept = _kept(cell, generation)
    if kept is not None:
        return kept

    def changed(old: Phase, new: Phase) -> None:
        if old.state == "closed" and new.state == "open" and new.cause is not None:
            cell.open(generation, new.cause, Reopening(circuit))

    circuit = Circuit(breaker or Breaker(), name=cell.name, place=cell.place, on=failures, changed=changed)
    if cell.calls is None or cell.calls[0] < generation:
        cell.calls = generation, circuit
    return _kept(cell, generation) or circuit  # another thread may have made one meanwhile


def _kept(cell: Cell, generation: int) -> Circuit | None:
    calls = cell.calls
    return calls[1] if calls is not None and calls[0] == generation else None


@final
class Reopening:
    """What lets callers build a target anew after the breaker of the one before has opened.

    Where a recovery is at work nobody else builds. Else one caller does, when the breaker is half-open.
    """

    __slots__ = ("_circuit",)

    def __init__(self, circuit: Circuit) -> None:
        self._circuit = circuit

    def admit(self, cell: Cell) -> Callable[[Outcome], object] | None:
        """Return what is to be told of the attempt's end, or None where one runs that can be joined.

        Raises:
            ServiceCircuitOpen: None may begin yet.
        """
        now = cell.now
        if now.state != FAILED:
            return None
        if _recovers(cell):
            raise _recovering(cell, now)
        if now.attempt is not None:
            return None
        try:
            phase = self._circuit.admit()
        except CircuitOpen as refusal:
            error = ServiceCircuitOpen(*refusal.args)
            error.retry_after = refusal.retry_after
            raise error from refusal.__cause__

        def ended(outcome: Outcome) -> None:
            error = outcome.error
            if outcome.interrupted or phase.state != "half-open":
                phase.released()
            elif isinstance(error, Exception) and not self._circuit.counts(error):
                phase.ended(phase.cause)  # whatever it is that its factory raised, it is not well again
            else:
                phase.ended(error)

        return ended


def _recovers(cell: Cell) -> bool:
    """Return whether a recovery is at work, and can be: an async factory needs the loop on which it ran."""
    run = cell.recovery_run
    if cell.plan.recovery is None or run is None:
        return False
    return not cell.plan.awaited or (cell.home is not None and cell.home.is_running())


def _recovering(cell: Cell, now: Snapshot) -> ServiceCircuitOpen:
    left = max(0.0, getattr(cell.recovery_run, "due", 0.0) - clock.now())
    error = ServiceCircuitOpen(
        f"{cell.name}, declared at {cell.place}, is not called, since its breaker is open: it failed with "
        f"{describe(now.cause)}. It is tried again in the background in {left:.3g} s. Give it a fallback, or wait for "
        "retry_after seconds."
    )
    error.retry_after = left
    error.__cause__ = now.cause
    return error


def _failed(phase: Phase, error: BaseException) -> None:
    if phase.count is not None:  # else it is another one's turn to find out
        phase.ended(error)


def _well(phase: Phase) -> None:
    if phase.count is not None:
        phase.count(True)


def _counted(circuit: Circuit, function: Callable[..., Any]) -> Any:
    """Return a function that is like it to whoever looks, and whose calls are counted."""
    import wrapt

    ended = _ENDED

    def counted(wrapped: Callable[..., Any], _: object, arguments: tuple[Any, ...], named: dict[str, Any]) -> Any:
        phase = circuit.now
        try:
            result = wrapped(*arguments, **named)
        except BaseException as error:
            _failed(phase, error)
            raise
        if type(result) not in ended:
            return _later(phase, result)
        count = phase.count
        if count is not None:
            count(True)
        return result

    return wrapt.FunctionWrapper(function, counted)


def _later(phase: Phase, result: Any, *, well: bool = True) -> Any:
    """Return what a call has returned, or what is like it and is counted when it has been awaited or iterated."""
    kind = type(result)
    if kind is _COROUTINE:
        return _awaited(phase, result, well)
    if kind is _GENERATOR:
        return _generated(phase, result)
    if kind is _ASYNC_GENERATOR:
        return _generated_async(phase, result)
    if (hasattr(kind, "__next__") or hasattr(kind, "__anext__")) and _is_but_an_iterator(kind):
        return _iterators()(phase, result)
    if well:
        _well(phase)
    return result


def _is_but_an_iterator(kind: type) -> bool:
    if issubclass(kind, proxies.Proxy):
        return False
    return all(name.startswith("_") or name in _OF_ITERATORS for name in dir(kind))


async def _awaited(phase: Phase, coroutine: Any, well: bool) -> Any:
    try:
        result = await coroutine
    except BaseException as error:
        _failed(phase, error)
        raise
    return _later(phase, result, well=well)


def _generated(phase: Phase, generator: Generator[Any, Any, Any]) -> Generator[Any, Any, Any]:
    try:
        result = yield from generator
    except BaseException as error:
        _failed(phase, error)
        raise
    _well(phase)
    return result


async def _generated_async(phase: Phase, generator: AsyncGenerator[Any, Any]) -> AsyncGenerator[Any, Any]:
    try:
        item = await generator.__anext__()
        while True:
            try:
                sent = yield item
            except GeneratorExit:
                await generator.aclose()
                raise
            except BaseException as error:
                item = await generator.athrow(error)
            else:
                item = await generator.asend(sent)
    except StopAsyncIteration:
        _well(phase)
    except BaseException as error:
        _failed(phase, error)
        raise


def _iterators() -> type[Any]:
    """Return the class of what stands for an iterator and counts how it ends; made at its first use."""
    global _counting
    if _counting is not None:
        return _counting
    import wrapt

    class Counting(wrapt.ObjectProxy):  # type: ignore[misc,type-arg,unused-ignore]
        """Is like the iterator to whoever looks."""

        def __init__(self, phase: Phase, iterator: Any) -> None:
            super().__init__(iterator)
            self._self_phase = phase

        def __iter__(self) -> Any:
            given = iter(self.__wrapped__)
            return self if given is self.__wrapped__ else given

        def __next__(self) -> Any:
            try:
                return next(self.__wrapped__)
            except StopIteration:
                _well(self._self_phase)
                raise
            except BaseException as error:
                _failed(self._self_phase, error)
                raise

        def __aiter__(self) -> Any:
            given = self.__wrapped__.__aiter__()
            return self if given is self.__wrapped__ else given

        async def __anext__(self) -> Any:
            try:
                return await self.__wrapped__.__anext__()
            except StopAsyncIteration:
                _well(self._self_phase)
                raise
            except BaseException as error:
                _failed(self._self_phase, error)
                raise

    _counting = Counting
    return Counting


_counting: type[Any] | None = None


async def _nothing() -> None: ...


def _nobody() -> Generator[None]:
    yield


async def _nobody_async() -> AsyncGenerator[None]:
    yield


_sample = _nothing()
_COROUTINE = type(_sample)
_sample.close()
_GENERATOR: Any = type(_nobody())
_ASYNC_GENERATOR: Any = type(_nobody_async())
