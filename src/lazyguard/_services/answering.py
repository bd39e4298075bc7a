"""Plain calls that have failed, answered by a fallback: for those that are declared with `answers_failed_calls=True`.

Invariants: a call that succeeds passes one wrapper more. What the breaker does not count as a failure is raised, and so
is the failure of what works late: a generator, an iterator, a block. An answer is counted, and never silent.
"""

from __future__ import annotations

from types import CoroutineType

from lazyguard import events
from lazyguard._base import places
from lazyguard._core import causes, clock, loaded, mode
from lazyguard._core.effects import Call
from lazyguard._core.state import READY
from lazyguard._policies import fallback as permissions
from lazyguard._services import late
from lazyguard._services.degraded_view import Answers
from lazyguard._services.wrappers import unwrapped

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from lazyguard._core.cell import Cell
    from lazyguard._core.effects import Steps
    from lazyguard._core.state import Outcome
    from lazyguard._policies.circuit import Circuit

# Seconds between two events.
_TELL_EVERY = 300.0


def answered(cell: Cell, circuit: Circuit, name: str, function: Any) -> Any:
    """Return a transparent wrapper of a counting function, whose failures are answered."""

    def call(wrapped: Callable[..., Any], _: object, arguments: tuple[Any, ...], named: dict[str, Any]) -> Any:
        def steps(error: Exception, awaited: bool) -> Steps[Outcome | None]:
            return _answering(cell, circuit, name, error, Call(wrapped, *arguments, named=named, awaited=awaited))

        async def awaiting(coroutine: Any) -> Any:
            try:
                return await coroutine
            except Exception as error:
                outcome = await loaded("_core.tasks", cell).adrive(steps(error, True))
                if outcome is None:
                    raise
            return unwrapped(outcome)

        try:
            result = wrapped(*arguments, **named)
        except Exception as error:
            outcome = loaded("_core.threads", cell).drive(steps(error, False))
            if outcome is None:
                raise
            return unwrapped(outcome)
        return awaiting(result) if type(result) is CoroutineType else result

    return type(function)(function, call)  # of wrapt, as it is itself


def _answering(cell: Cell, circuit: Circuit, name: str, error: Exception, call: Call) -> Steps[Outcome | None]:
    """Return the answer of the first fallback that has one; None: the failure is to be raised."""
    if not circuit.counts(error) or not mode.is_active() or permissions.refusal(cell, cell.now) is not None:
        return None
    for one in cell.fallbacks:
        if not one.factory.answers:
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
        if answer.error is None and late.kind_of(answer.value) is not None:
            return None
        Answers(cell).count(name)
        moment, now = clock.now(), cell.now
        if moment - circuit.answered >= _TELL_EVERY:
            circuit.answered = moment
            cell.tell("answered", now, now, cause=events.describe(error))
        return answer
    return None
