"""The view of a service with `failures=`: the outcome of each call on the real object counts in a breaker.

What works after the call has returned counts when it works: coroutines, generators and futures keep their type; other
awaitables, async context managers and iterators are shown by a view. It has those special methods that its object's
class has, `isinstance` holds, and other attributes are the object's own. The calls of its public methods count, and so
do those on what its block gives. A success of entering or awaiting what can be entered counts for nothing, since the
work is done inside.

Invariants: a call, its awaitable or iterator, a `with` block and a kept bound method keep the target that they began
with. An outcome after the breaker has opened does not count. A call that succeeds takes no lock. The breaker belongs to
one target, and takes that out of use only while it is served.
"""

from __future__ import annotations

from types import AsyncGeneratorType, CoroutineType, GeneratorType

import wrapt

from lazyguard._base import TYPE_CHECKING, Any, Callable
from lazyguard._core import clock, loaded, state
from lazyguard._policies.breaker import Breaker
from lazyguard._policies.circuit import Circuit
from lazyguard._policies.recovery_run import Reopening
from lazyguard._proxies import proxy as proxies
from lazyguard._proxies import special_methods, views
from lazyguard._services.calls import ENDED, OF_ITERATORS
from lazyguard.errors import ServiceCircuitOpen

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator

    from lazyguard._base.validation import Kinds
    from lazyguard._core.cell import Cell
    from lazyguard._core.state import Snapshot
    from lazyguard._policies.circuit import Phase
    from lazyguard._proxies.proxy import Proxy

# Only the failures of these count. A comparison or a conversion shows little of the target's health, and a success of
# `__enter__` or `__exit__` must not end a row of failures inside their blocks.
_ONLY_FAILURES = special_methods.UNIVERSAL.union(
    "__copy__ __deepcopy__ __get__ __enter__ __exit__ __aenter__ __aexit__".split()
)


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
            return _shown(circuit.now, value) if name in own else value
        if name.startswith("__"):
            return value
        counted = _counted(circuit, value)
        if any(one.factory.of.answers for one in cell.fallbacks):
            counted = loaded("_services.degraded_view").answered(cell, circuit, name, counted)
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
    calls: tuple[int, Circuit] | None = cell.calls
    if calls is not None and calls[0] == generation:
        return calls[1]

    circuit = TargetCircuit(cell, generation, (breaker or Breaker()).but(on=failures))
    with state.lock:
        calls = cell.calls
        if calls is None or calls[0] < generation:
            cell.calls = calls = generation, circuit
    return calls[1] if calls[0] == generation else circuit


class TargetCircuit(Circuit):
    """The circuit of a generation's target, which is taken out of service when it opens."""

    error = ServiceCircuitOpen

    def __init__(self, cell: Cell, generation: int, breaker: Breaker) -> None:
        super().__init__(breaker, name=cell.name, place=cell.place)
        self._cell, self._generation = cell, generation

    def announce(self, old: Phase, new: Phase) -> None:
        """Let the cell tell of it."""
        if old.state == "closed" and new.state == "open" and new.cause is not None:
            self._cell.open(self._generation, new.cause, Reopening(_circuit=self))


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
        return _shown(phase, result)
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


# By the special methods that they have.
_classes: dict[frozenset[str], type[_View]] = {}


def _shown(phase: Phase, result: Any) -> Any:
    """Return the view of an object."""
    kind = type(result)
    if issubclass(kind, _View):
        return result
    names = frozenset(name for name in _SPECIAL if hasattr(kind, name))
    if names not in _classes:
        _classes[names] = type("CountedView", (_View,), {name: _SPECIAL[name] for name in names})
    return _classes[names](phase, result)


class _View(wrapt.ObjectProxy):  # type: ignore[misc,type-arg,unused-ignore]
    """A transparent wrapper of what works late."""

    def __init__(self, phase: Phase, wrapped: Any) -> None:
        super().__init__(wrapped)
        self._self_phase = phase

    def __getattr__(self, name: str) -> Any:
        value = getattr(self.__wrapped__, name)
        if name.startswith("_") or not callable(value) or isinstance(value, type):
            return value

        def call(wrapped: Any, _: object, arguments: tuple[Any, ...], named: dict[str, Any]) -> Any:
            phase = self._self_phase._circuit.now
            with Counting(phase):
                result = wrapped(*arguments, **named)
            return self if result is self.__wrapped__ else counted_result(phase, result)

        return wrapt.FunctionWrapper(value, call)

    def _self_iterated(self, iterator: Any) -> Any:
        return self if iterator is self.__wrapped__ else counted_result(self._self_phase, iterator)


def _given(view: _View, given: Any) -> Any:
    """Return what a block gives: the view itself for its object, and a view of any other object with methods."""
    if given is view.__wrapped__:
        return view
    if type(given).__module__ == "builtins" or issubclass(type(given), proxies.Proxy):
        return given
    return _shown(view._self_phase, given)


class _Complete(_View):
    """A view with all special methods that count; each class of a view has those that its objects' class has."""

    def __await__(self) -> Generator[Any, Any, Any]:
        with Counting(self._self_phase):
            result = yield from self.__wrapped__.__await__()
        if result is self.__wrapped__:
            return self
        return counted_result(self._self_phase, result, ok=not hasattr(type(self), "__aenter__"))

    async def __aenter__(self) -> Any:
        with Counting(self._self_phase):
            return _given(self, await self.__wrapped__.__aenter__())

    async def __aexit__(self, *raised: Any) -> Any:
        try:
            return await self.__wrapped__.__aexit__(*raised)
        except BaseException as error:
            if error is not raised[1]:  # else it was counted where it was raised, if it was the object's
                failed(self._self_phase, error)
            raise

    def __enter__(self) -> Any:
        with Counting(self._self_phase):
            return self.__wrapped__.__enter__()

    def __next__(self) -> Any:
        with Counting(self._self_phase):
            return self.__wrapped__.__next__()

    async def __anext__(self) -> Any:
        with Counting(self._self_phase):
            return await self.__wrapped__.__anext__()

    def __iter__(self) -> Any:
        return self._self_iterated(self.__wrapped__.__iter__())

    def __aiter__(self) -> Any:
        return self._self_iterated(self.__wrapped__.__aiter__())


_SPECIAL = {name: value for name, value in vars(_Complete).items() if callable(value)}
