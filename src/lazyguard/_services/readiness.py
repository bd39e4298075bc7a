"""The start and the end of a process: wait until services are ready; drain, before it ends.

Invariants: the waits are written once, as a generator of effects, for threads and tasks. What drains goes on to serve.
"""

from __future__ import annotations

import os

from lazyguard._base import TYPE_CHECKING, Any, Callable, Coroutine, places, validation
from lazyguard._base.places import misused
from lazyguard._core import clock, deadlines, loaded
from lazyguard._core.effects import Call, Sleep, within
from lazyguard._policies.recovery import USUAL, Recovery
from lazyguard._proxies.proxy import find_cell

if TYPE_CHECKING:
    from lazyguard._core.effects import Steps
    from lazyguard._core.state import Outcome


def wait_until_ready(*services: object, timeout: float = 60.0) -> None:
    """Build these, and try again by the waits of their `Recovery`, until the real objects of all are there.

    For the start of a process that is of no use before. A fallback does not count.

    Args:
        services: Services, live references and lazy objects.
        timeout: Seconds for all together.

    Raises:
        ServiceUnavailable: The time is up; the message names those that are not ready, with the type of the cause.
        UsageError: One of these cannot be built.

    The calling thread waits. `await_until_ready` does so for a task.

    Example:
        >>> import lazyguard
        >>> @lazyguard.service(timeout=2.0)
        ... def get_prices() -> dict[str, int]:
        ...     return {"tea": 3}
        >>> lazyguard.wait_until_ready(get_prices, timeout=30)
        >>> lazyguard.is_resolved(get_prices)
        True
    """
    loaded("_core.threads").drive(_waiting(services, timeout, places.of_frame(places.caller()), awaited=False))


def await_until_ready(*services: object, timeout: float = 60.0) -> Coroutine[Any, Any, None]:
    """Do what `wait_until_ready` does, without blocking the event loop; for async services too. To be awaited."""
    place = places.of_frame(places.caller())  # of a coroutine it would be the loop's
    waits: Coroutine[Any, Any, None] = loaded("_core.tasks").adrive(_waiting(services, timeout, place, awaited=True))
    return waits


def _waiting(services: tuple[object, ...], timeout: float, place: str, *, awaited: bool) -> Steps[None]:
    from lazyguard.errors import ServiceUnavailable
    from lazyguard.events import describe

    validation.seconds("timeout", timeout)
    waiting: dict[Any, str] = {}
    for one in services:
        cell = find_cell(one)
        if cell is None:
            raise misused(f"wait_until_ready ({place}) takes services and lazy objects, not {type(one).__name__}.")
        waiting[cell] = "it was not tried"
    limit = deadlines.Deadline(timeout, f"the {timeout:g} s of wait_until_ready ({place}) are over")
    rounds = 0
    while True:
        for cell in list(waiting):
            cancellation = loaded("_core.cancellation").Cancellation(limit) if awaited else None
            outcome = yield from within(limit, _building(cell, awaited), cancellation)
            if outcome.error is None:
                del waiting[cell]
            elif isinstance(outcome.error, Exception):
                waiting[cell] = describe(cell.now.cause) or describe(outcome.error)
            else:
                raise outcome.error
        left = limit.ends - clock.now()
        if not waiting:
            return
        if left <= 0:
            told = "; ".join(f"{cell.name}, declared at {cell.place}: {why}" for cell, why in waiting.items())
            raise ServiceUnavailable(f"not ready within {timeout:g} s, waited for at {place}: {told}")
        policies = [policy if isinstance(policy := cell.plan.recovery, Recovery) else USUAL for cell in waiting]
        yield Sleep(min(left, *(policy.wait(rounds) for policy in policies)))
        rounds += 1


def _building(cell: Any, awaited: bool) -> Steps[Outcome]:
    outcome: Outcome = yield Call(cell.aresolve if awaited else cell.resolve, named={"real": True}, awaited=awaited)
    return outcome


# The process that drains; a forked child of it does not.
_drains: int | None = None


def drain(*, delay: float = 5.0, then: Callable[[], object] | None = None) -> None:
    """Let `/readyz` answer 503 from now on, so that no new requests are sent here; after `delay` close all.

    It returns at once, and the process goes on to serve. So it may be called in a handler of SIGTERM.

    Args:
        delay: Seconds until those that send requests have seen it.
        then: Called after `delay`, on a daemon thread, in place of `lazyguard.close`: what ends the server, which then
            answers what it has begun. The targets are closed at the exit.

    Raises:
        ConfigurationError: An option is invalid.

    Example:
        >>> import lazyguard, signal
        >>> def on_sigterm(*_: object) -> None:
        ...     lazyguard.drain(delay=5.0)
        >>> _ = signal.signal(signal.SIGTERM, on_sigterm)
        >>> _ = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    """
    global _drains
    from lazyguard._core import closing, daemons

    validation.seconds("delay", delay, zero=True)
    validation.require(callable(then), "then", then, "a function without parameters", optional=True)
    _drains = os.getpid()
    work = then or closing.close
    loaded("_core.scheduler").at(clock.now() + delay, lambda: daemons.daemon(work, "lazyguard-drain"))


def draining() -> bool:
    """Return whether this process is to have no new requests."""
    return _drains == os.getpid()
