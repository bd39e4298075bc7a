"""Closing what belongs to event loops: each target on its own loop, and for `aclose` one after the other.

Invariants: what is awaited is awaited on the loop that it belongs to, where that one runs; `aclosed` leaves no attempt
and no task of ours behind on the loop that awaits it.
"""

from __future__ import annotations

import asyncio
from contextvars import Context

from lazyguard._base import TYPE_CHECKING, Any
from lazyguard._core import clock, closing, declaration, tasks, wait_cycles
from lazyguard._core.state import Outcome
from lazyguard.events import deliver, describe

if TYPE_CHECKING:
    from lazyguard._core.cell import Cell
    from lazyguard._core.closing import PendingClose


def carry_out(pending: PendingClose) -> None:
    """Close an async service's target on its own event loop, where that one runs; else call `close` here."""
    home = pending.home
    if home is not None and home is wait_cycles.current_loop():
        pending.run(_launch_close)
    elif (
        home is None or not home.is_running() or not tasks.call_on(home, pending.run, _launch_close, context=Context())
    ):
        pending.run()


def carry_out_anywhere(pending: PendingClose) -> None:
    """Do `carry_out`, and let a loop that stands still run for it; a new one where that of the target has closed."""
    own = pending.home
    if not pending.awaited or wait_cycles.current_loop() is not None or (own is not None and own.is_running()):
        closing.carry_out(pending)
        return
    loop = asyncio.new_event_loop() if own is None or own.is_closed() else own
    pending.home = loop
    try:
        loop.run_until_complete(_carried_out(pending))
    finally:
        if loop is not own:
            loop.close()


def _launch_close(pending: PendingClose, waits: Any) -> None:
    task = asyncio.get_running_loop().create_task(_awaiting(waits), name=f"lazyguard {pending.name}")

    def ended(task: asyncio.Task[None]) -> None:
        error = asyncio.CancelledError() if task.cancelled() else task.exception()
        try:
            if error is not None:
                getattr(waits, "close", bool)()  # it may not have begun
                pending.failed(describe(error))
        finally:
            pending.end()

    tasks.held(task, ended)


async def _awaiting(waits: Any) -> None:
    await waits


async def aclosed() -> None:
    """Close what all services hold, one after the other: what blocks beside the loop, what is awaited on its own."""
    here = tasks.loop_here()
    for end in closing.enders:
        end()
    for task in list(tasks.building_for_threads):
        _cancel(task)
    for cell, _ in declaration.cells():
        if cell.used and (cell.plan.awaited or cell.plan.close is not None):
            for one in (cell, *cell.fallbacks):
                _end_attempts(one)
            if cell.recovery_run is not None:
                for pending in cell.begin_anew():
                    await _carried_out(pending)
    for take in closing.all_to_close(awaited=True):
        for pending in take():
            await _carried_out(pending)
        deliver()
    left = [task for task in tasks.running if task.get_loop() is here and task is not asyncio.current_task()]
    if left:
        await asyncio.wait(left, timeout=closing.AT_EXIT)  # one may ignore that it was cancelled


def _end_attempts(cell: Cell) -> None:
    """End the attempts of a cell: whoever waits for one is told, and what it builds all the same is closed."""
    for attempt in cell.now.running:
        if attempt.task is None or attempt.task is not asyncio.current_task():
            cell.settle(attempt, Outcome(interrupted=True, final=True))
            if attempt.task is not None:
                _cancel(attempt.task)


def _cancel(task: asyncio.Task[Any]) -> None:
    loop = task.get_loop()
    if loop is wait_cycles.current_loop():
        task.cancel()
    elif loop.is_running():
        tasks.call_on(loop, task.cancel)


async def _carried_out(pending: PendingClose) -> None:
    """Carry it out, and wait until it is done, or put off, or its event loop has gone."""
    woken: list[None] = []
    pending.wait(lambda: woken.append(None))
    if pending.awaited:
        closing.carry_out(pending)
    else:
        closing.on_a_thread(pending)

    def is_left() -> bool:
        home = pending.home
        return pending.awaited and home is not None and home is not wait_cycles.current_loop() and not home.is_running()

    await tasks.pause_by(clock.pauses(lambda: woken or is_left()))
    if not woken:
        pending.run()  # that loop has not begun it, nor will
