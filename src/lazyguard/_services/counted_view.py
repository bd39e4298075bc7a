"""The view of a service with `failures=`: the outcome of each call on the real object counts in a breaker.

What works after the call has returned counts when it works: coroutines, generators and futures keep their type; other
awaitables, async context managers and iterators are shown by a view, through which their own calls count as well.

Invariants: a call, its awaitable or iterator, a `with` block and a kept bound method keep the target that they began
with. An outcome after the breaker has opened does not count. A call that succeeds takes no lock. The breaker belongs to
one target, and takes that out of use only while it is served.
"""

from __future__ import annotations

from types import AsyncGeneratorType, CoroutineType, GeneratorType

from lazyguard._base import final
from lazyguard._core import clock, loaded
from lazyguard._core.state import FAILED
from lazyguard._policies.breaker import Breaker
from lazyguard._policies.circuit import Circuit
from lazyguard._proxies import proxy as proxies
from lazyguard._proxies import special_methods, views
from lazyguard._services.late import ENDED, OF_ITERATORS
from lazyguard.errors import CircuitOpen, ServiceCircuitOpen
from lazyguard.events import describe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator
    from typing import Any

    from lazyguard._base.validation import Kinds
    from lazyguard._core.cell import Cell
    from lazyguard._core.state import Outcome, Snapshot
    from lazyguard._policies.circuit import Phase
    from lazyguard._proxies.proxy import Proxy

# Only the failures of these count. A comparison or a conversion shows little of the target's health, and a success of
# `__enter__` or `__exit__` must not end a row of failures inside their blocks.
_ONLY_FAILURES = special_methods.UNIVERSAL | {
    "__copy__",
    "__deepcopy__",
    "__get__",
    "__enter__",
    "__exit__",
    "__aenter__",
    "__aexit__",
}


# Class -> the names of attributes whose calls count as those on its objects do.
parts: dict[type, frozenset[str]] = {}


def view(cell: Cell, snapshot: Snapshot, failures: Kinds, breaker: Breaker | None) -> type[Proxy]:
    """Return the class of the proxy while this target is served and its calls are counted."""
    target = snapshot.target
    circuit = circuit_of(cell, snapshot.generation, failures, breaker)
    own = parts.get(type(target), ())
    # Name -> the function and the object of its last bound method, and the counting wrapper.
    cached: dict[str, tuple[Any, Any, Any]] = {}

    def attribute(_: Proxy, name: str, method: Any = views.MethodType) -> Any:
        try:
            value = bound = getattr(target, name)
        except BaseException as error:
            failed(circuit.now, error)
            raise
        if type(value) is method:
            before = cached.get(name)
            if before is not None and bound.__func__ is before[0] and bound.__self__ is before[1]:
                return before[2]
        elif not callable(value) or isinstance(value, type):
            return _views().shown(circuit.now, value) if name in own else value
        if name.startswith("__"):
            return value
        counted = _counted(circuit, value)
        if any(one.factory.answers for one in cell.fallbacks):
            counted = loaded("_services.answering").answered(cell, circuit, name, counted)
        if type(value) is method:
            cached[name] = bound.__func__, bound.__self__, counted
        return counted

    def run(name: str, proxy: Proxy, of: Any, arguments: tuple[Any, ...], named: dict[str, Any]) -> Any:
        phase = circuit.now
        try:
            result = views.perform(name, proxy, of, arguments, named)
        except StopIteration:
            raise  # next(), at the end
        except BaseException as error:
            failed(phase, error)
            raise
        return counted_result(phase, result, of, ok=name not in _ONLY_FAILURES)

    return views.forwarding(target, lambda _: target, attribute, run)


def circuit_of(cell: Cell, generation: int, failures: Kinds, breaker: Breaker | None) -> Circuit:
    """Return the circuit of a generation's target, which all views of it share."""
    present = _present_circuit(cell, generation)
    if present is not None:
        return present

    def changed(old: Phase, new: Phase) -> None:
        if old.state == "closed" and new.state == "open" and new.cause is not None:
            cell.open(generation, new.cause, Reopening(circuit))

    circuit = Circuit(breaker or Breaker(), name=cell.name, place=cell.place, on=failures, changed=changed)
    if cell.calls is None or cell.calls[0] < generation:
        cell.calls = generation, circuit
    return _present_circuit(cell, generation) or circuit  # another thread may have made it meanwhile


def _present_circuit(cell: Cell, generation: int) -> Circuit | None:
    calls = cell.calls
    return calls[1] if calls is not None and calls[0] == generation else None


@final
class Reopening:
    """The gate of a cell after its breaker has opened: it decides which caller builds the target anew.

    While a recovery run is at work, no caller does. Else one caller does when the breaker is half-open.
    """

    __slots__ = ("_circuit",)
    by_hand = False

    def __init__(self, circuit: Circuit) -> None:
        self._circuit = circuit

    def admit(self, cell: Cell) -> Callable[[Outcome], object] | None:
        """Return a function to call with the attempt's outcome; None if there is an attempt to join.

        Raises:
            ServiceCircuitOpen: No attempt can begin yet.
        """
        now = cell.now
        if now.state != FAILED:
            return None
        if _is_recovering(cell):
            raise _refusal(cell, now)
        if now.attempt is not None:
            return None
        try:
            phase = self._circuit.admit()
        except CircuitOpen as refusal:
            raise _refused(str(refusal), refusal.retry_after, refusal.__cause__)  # noqa: B904 (it has the refusal's cause)

        def ended(outcome: Outcome) -> None:
            error = outcome.error
            if outcome.interrupted or phase.state != "half-open":
                phase.released()
            elif isinstance(error, Exception) and not self._circuit.counts(error):
                phase.ended(phase.cause)  # any exception of the factory means that it has not recovered
            else:
                phase.ended(error)

        return ended


def _is_recovering(cell: Cell) -> bool:
    """Return whether a recovery run can work: an async factory needs the loop on which it ran."""
    run = cell.recovery_run
    if cell.plan.recovery is None or run is None:
        return False
    return not cell.plan.awaited or (cell.home is not None and cell.home.is_running())


def _refusal(cell: Cell, now: Snapshot) -> ServiceCircuitOpen:
    left = max(0.0, getattr(cell.recovery_run, "due", 0.0) - clock.now())
    return _refused(
        f"{cell.name}, declared at {cell.place}, is not called, since its breaker is open: it failed with "
        f"{describe(now.cause)}. It is tried again in the background in {left:.3g} s. Give it a fallback, or wait for "
        "retry_after seconds.",
        left,
        loaded("_core.causes", cell).again(now.cause),
    )


def _refused(said: str, retry_after: float, cause: BaseException | None) -> ServiceCircuitOpen:
    error = ServiceCircuitOpen(said)
    error.retry_after = retry_after
    error.__cause__ = cause
    return error


def failed(phase: Phase, error: BaseException, began: float | None = None) -> None:
    if phase.count is not None:  # else another call probes
        phase.ended(error, None, began)


def succeeded(phase: Phase, began: float | None = None) -> None:
    if phase.count is None:
        return
    if began is None:
        phase.count(True)
    else:
        phase.ended(None, None, began)


@final
class Counting:
    """A block whose failure counts; the end of an iterator is a success."""

    __slots__ = ("_phase",)

    def __init__(self, phase: Phase) -> None:
        self._phase = phase

    def __enter__(self) -> None: ...

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if isinstance(error, StopIteration | StopAsyncIteration):
            succeeded(self._phase)
        elif error is not None:
            failed(self._phase, error)


def _counted(circuit: Circuit, function: Callable[..., Any]) -> Any:
    """Return a transparent wrapper of a function, which counts its calls."""
    import wrapt

    ended = ENDED

    def counted(wrapped: Callable[..., Any], of: object, arguments: tuple[Any, ...], named: dict[str, Any]) -> Any:
        phase = circuit.now
        began = None if phase.slow is None else clock.now()
        try:
            result = wrapped(*arguments, **named)
        except BaseException as error:
            failed(phase, error, began)
            raise
        if type(result) not in ended:
            return counted_result(phase, result, of, began=began)
        count = phase.count
        if count is not None:
            count(True) if began is None else succeeded(phase, began)
        return result

    return wrapt.FunctionWrapper(function, counted)


def counted_result(phase: Phase, result: Any, of: object = None, *, ok: bool = True, began: float | None = None) -> Any:
    """Return the result of a call of a method `of` an object, or what is counted when it has done its work.

    `began` is when the call began, where its breaker looks at the time that calls and coroutines take.
    """
    kind = type(result)
    if kind is CoroutineType:
        return _awaited(phase, result, of, ok, began)
    if kind is GeneratorType:
        return _generated(phase, result)
    if kind is AsyncGeneratorType:
        return _generated_async(phase, result)
    if result is of or issubclass(kind, proxies.Proxy):
        pass  # itself; or a service's, whose own breaker counts
    elif hasattr(kind, "add_done_callback"):
        result.add_done_callback(lambda future: _ended(phase, future))
        return result
    elif _works_late(kind):
        return _views().shown(phase, result)
    if ok:
        succeeded(phase, began)
    return result


def _works_late(kind: type) -> bool:
    """Return whether objects of a class do their work when they are awaited, entered or iterated."""
    if any(hasattr(kind, name) for name in ("__await__", "__aenter__", "__aiter__", "__anext__")):
        return True
    # of what has other methods too, such as a file or a sync connection, nobody knows when it has done its work
    lazily = hasattr(kind, "__next__") or hasattr(kind, "__enter__")
    return lazily and all(name.startswith("_") or name in OF_ITERATORS for name in dir(kind))


def _ended(phase: Phase, future: Any) -> None:
    """Count how a future has ended; what it failed with stays to be asked for."""
    if not future.cancelled():
        error = future._exception if hasattr(future, "_exception") else future.exception()
        succeeded(phase) if error is None else failed(phase, error)


async def _awaited(phase: Phase, coroutine: Any, of: object, ok: bool, began: float | None) -> Any:
    try:
        result = await coroutine
    except BaseException as error:
        failed(phase, error, began)
        raise
    return counted_result(phase, result, of, ok=ok, began=began)


def _generated(phase: Phase, generator: Generator[Any, Any, Any]) -> Generator[Any, Any, Any]:
    with Counting(phase):
        result = yield from generator
    succeeded(phase)
    return result


async def _generated_async(phase: Phase, generator: AsyncGenerator[Any, Any]) -> AsyncGenerator[Any, Any]:
    try:
        with Counting(phase):
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
        pass


def _views() -> Any:
    """Return what makes the views of what works late; loaded at its first need, as wrapt is."""
    return loaded("_services.late_view")
