"""The view of a degraded service: its live reference shows a fallback.

Invariants: the permission is checked at every use; `repr`, `dir` and `isinstance` are no use. A `with` block keeps the
fallback that it began with. A member that the fallback lacks raises ServiceUnavailable, also a special method of the
real object's class; so does setting an attribute. The fallback's own exceptions pass untouched, and its answers are
counted.

Beside it are the answers to plain calls that have failed, of fallbacks with `answers_failed_calls=True`. What the
breaker does not count as a failure is raised, and so is the failure of what works late: a generator, an iterator, a
block. A call that succeeds passes one wrapper more.
"""

from __future__ import annotations

from types import CoroutineType

from lazyguard import events
from lazyguard._base import TYPE_CHECKING, Any, Callable, places
from lazyguard._core import causes, clock, daemons, loaded, mode, observers, resolve
from lazyguard._core.effects import Call
from lazyguard._core.state import DEGRADED, READY, Outcome
from lazyguard._policies import fallback as permissions
from lazyguard._proxies import proxy as proxies
from lazyguard._proxies import special_methods, views
from lazyguard._proxies.proxy import Proxy, cell_of
from lazyguard._services.calls import late_kind_of
from lazyguard._services.guarded import unwrapped
from lazyguard.errors import ServiceUnavailable

if TYPE_CHECKING:
    from lazyguard._core.cell import Cell
    from lazyguard._core.effects import Steps
    from lazyguard._core.state import Snapshot
    from lazyguard._policies.circuit import Circuit

# How many names are counted each for itself, and the name for all others.
_MOST_NAMES, _OTHERS = 32, "(others)"
# Seconds between two events that a fallback answers calls that fail.
_TELL_EVERY = 300.0
# Seconds between two reminders of a service without a recovery; a recovery run has its own.
_REMIND_EVERY = 300.0
_BLOCK = ("__enter__", "__exit__", "__aenter__", "__aexit__")
# Methods of every object, or of Python's own protocols.
_UNCOUNTED = special_methods.UNIVERSAL | {"__copy__", "__deepcopy__", "__get__", "__exit__", "__aexit__"}


def permitted(proxy: Proxy) -> Any:
    """Return the target that a service serves to this caller."""
    cell = cell_of(proxy)
    now = cell.now
    if now.state == DEGRADED and mode.is_active() and (daemons.allowed or not resolve.expired(cell, now)):
        return resolve.permitted(cell, now)
    return cell.resolve()


def view(cell: Cell, snapshot: Snapshot) -> type[Proxy]:
    """Return the class of the proxy while this fallback is served."""
    fallback = snapshot.target
    answers = Answers(cell)

    def attribute(proxy: Proxy, name: str) -> Any:
        if name.startswith("__"):
            return getattr(fallback, name)  # introspection: isinstance, help, pickling
        target = permitted(proxy)
        if target is not fallback:
            return getattr(target, name)  # another target is served by now
        try:
            value = getattr(fallback, name)
        except AttributeError as error:
            if not _is_missing(fallback, name, error):
                raise
            raise _not_implemented(cell, name) from error
        return answers.of(name, value)

    def run(name: str, proxy: Proxy, target: Any, arguments: tuple[Any, ...], named: dict[str, Any]) -> Any:
        result = views.perform(name, proxy, target, arguments, named)
        if name not in _UNCOUNTED:
            answers.count(name)
        return result

    def refuse_change(proxy: Proxy, name: str, *value: object) -> None:
        target = permitted(proxy)
        if target is not fallback:
            (setattr if value else delattr)(target, name, *value)
            return
        raise ServiceUnavailable(
            f"{cell.name}, declared at {cell.place}, is degraded, and what is set or deleted on its fallback would be "
            f"lost at the recovery: {name!r} is unchanged. Try again when the service is ready."
        )

    kind: Any = views.forwarding(fallback, permitted, attribute, run)
    kind.__setattr__ = kind.__delattr__ = refuse_change
    kind.__repr__ = lambda _: repr(fallback)
    kind.__dir__ = lambda _: dir(fallback)

    def block(name: str) -> Callable[..., Any]:
        def method(proxy: Proxy, *arguments: Any) -> Any:
            if name.endswith("enter__"):
                permitted(proxy)
                answers.count(name)
            return views.perform(name, proxy, fallback, arguments, {})

        return method

    for name in _BLOCK:
        if vars(kind).get(name) is not None:
            setattr(kind, name, block(name))
    real = proxies.annotated_class(cell.factory)
    space = special_methods.space_of(kind)
    for name in () if real is None else special_methods.answers_of(real)[0]:
        if space.get(name) is None and name != "__get__":
            setattr(kind, name, _refusing(cell, name))
    shown: type[Proxy] = kind
    return shown


def _refusing(cell: Cell, name: str) -> Callable[..., Any]:
    """Return a special method for one that the real object has and the fallback lacks."""

    def method(proxy: Proxy, /, *arguments: Any, **named: Any) -> Any:
        now = cell.now
        if now.state != DEGRADED:
            return views.perform(name, proxy, cell.resolve(), arguments, named)
        resolve.permitted(cell, now)
        raise _not_implemented(cell, name)

    return method


def _not_implemented(cell: Cell, name: str) -> ServiceUnavailable:
    return ServiceUnavailable(
        f"{cell.name}, declared at {cell.place}, is degraded, and its fallback does not implement {name!r}."
    )


def _is_missing(fallback: Any, name: str, error: AttributeError) -> bool:
    """Return whether the fallback lacks the attribute; else the error was raised by the fallback's own code."""
    if any(name in base.__dict__ for base in type(fallback).__mro__):
        return False
    return error.name is None or error.name == name


class Answers:
    """Count what a cell's fallback answers, by name; a statistic without a lock, so one may be lost."""

    def __init__(self, cell: Cell) -> None:
        self._cell = cell
        self._reminded = clock.now()

    def count(self, name: str) -> None:
        """Count one answer; without a recovery, emit a reminder every five minutes."""
        cell = self._cell
        answered = cell.answered
        if name not in answered and len(answered) >= _MOST_NAMES:
            name = _OTHERS
        answered[name] = answered.get(name, 0) + 1
        observers.called(cell.name, "fallback")
        if cell.plan.recovery is None:
            moment, now = clock.now(), cell.now
            if moment - self._reminded >= _REMIND_EVERY and now.state == DEGRADED:
                self._reminded = moment
                cell.tell("reminder", now, now, moment - now.since)

    def of(self, name: str, value: Any) -> Any:
        """Count an attribute and return it; of a function return a wrapper that counts its calls."""
        if not callable(value) or isinstance(value, type):
            self.count(name)
            return value
        import wrapt

        def counted(wrapped: Callable[..., Any], _: object, arguments: tuple[Any, ...], named: dict[str, Any]) -> Any:
            result = wrapped(*arguments, **named)
            if type(result) is CoroutineType:
                return self._awaited(name, result)
            self.count(name)
            return result

        return wrapt.FunctionWrapper(value, counted)

    async def _awaited(self, name: str, coroutine: Any) -> Any:
        result = await coroutine
        self.count(name)
        return result


def answered(cell: Cell, circuit: Circuit, name: str, function: Any) -> Any:
    """Return a transparent wrapper of a counting function, whose failures are answered."""

    def call(wrapped: Callable[..., Any], _: object, arguments: tuple[Any, ...], named: dict[str, Any]) -> Any:
        def steps(error: Exception, awaited: bool) -> Steps[Outcome]:
            return _answering(cell, circuit, name, error, Call(wrapped, *arguments, named=named, awaited=awaited))

        async def awaiting(coroutine: Any) -> Any:
            try:
                return await coroutine
            except Exception as error:
                outcome = await loaded("_core.tasks", cell).adrive(steps(error, True))
            return unwrapped(outcome)

        try:
            result = wrapped(*arguments, **named)
        except Exception as error:
            outcome = loaded("_core.threads", cell).drive(steps(error, False))
        else:
            return awaiting(result) if type(result) is CoroutineType else result
        return unwrapped(outcome)

    return type(function)(function, call)  # of wrapt, as it is itself


def _answering(cell: Cell, circuit: Circuit, name: str, error: Exception, call: Call) -> Steps[Outcome]:
    """Return the answer of the first fallback that has one; else the failure."""
    failed = Outcome(error=error)
    if not circuit.counts(error) or not mode.is_active() or permissions.refusal(cell, cell.now) is not None:
        return failed
    for one in cell.fallbacks:
        if not one.factory.of.answers:
            continue
        kept = cell.kept = cell.kept or causes.keep(error)  # the fallback may take it
        made: Outcome = yield Call(one.aresolve if call.awaited else one.resolve, awaited=call.awaited)
        if cell.now.state == READY and cell.kept is kept:
            cell.kept = None
        method = getattr(made.value, name, None)
        flags = places.flags_of(method)
        if not callable(method) or flags & places.GENERATORS or bool(flags & places.COROUTINE) > call.awaited:
            continue
        answer: Outcome = yield Call(method, *call.arguments, named=call.named, awaited=bool(flags & places.COROUTINE))
        if answer.error is not None and answer.error.__context__ is None:
            causes.set_context(answer.error, error)
        if answer.error is None and late_kind_of(answer.value) is not None:
            return failed
        Answers(cell).count(name)
        moment, now = clock.now(), cell.now
        if moment - circuit.answered >= _TELL_EVERY:
            circuit.answered = moment
            cell.tell("answered", now, now, cause=events.describe(error))
        return answer
    return failed
