"""What a fork leaves in the child: fresh locks, no flights of the parent's threads, pending cells where asked for.

Invariants: the child waits for nothing that only the parent runs; a target that the parent still uses is neither
closed nor finalised in the child; the hook runs no user code but the `on_fork` that a cell was given.
"""

from __future__ import annotations

import _thread
import os
from _weakref import ref

from lazyguard._core import cell as cells
from lazyguard._core import clock, ring, scheduler
from lazyguard._core.state import DEGRADED, FAILED, READY, Outcome

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from lazyguard._core.cell import Cell
    from lazyguard._core.flight import Flight

_watched: set[ref[Cell]] = set()
# Targets of the parent, kept so that no finaliser in the child says goodbye on the parent's connections.
_inherited: list[Any] = []


def watch(cell: Cell) -> None:
    """See to a cell in the child of every fork: its `on_fork`, and its recovery."""
    _watched.add(ref(cell, _watched.discard))


def _in_child() -> None:
    cells.lock = _thread.RLock()
    scheduler.renew()
    here = _thread.get_ident()
    running = ring.running.get(here)
    ring.waiting.clear()
    ring.running.clear()
    if running is not None:
        ring.running[here] = running
    for flight in list(cells.active):
        if flight.task is None and flight.thread == here:
            continue  # the thread that forked goes on with it
        cells.active.discard(flight)
        flight.outcome = Outcome(interrupted=True)
        _forget(flight)
    for known in list(_watched):
        cell = known()
        if cell is not None:
            _tend(cell)


def _forget(flight: Flight) -> None:
    flight.cell.change(lambda now: now.without(flight))


def _tend(cell: Cell) -> None:
    now = cell.now
    on_fork = cell.plan.on_fork
    if on_fork == "reset" and not cell.overridden:
        if now.served:
            _inherited.append(now.target)
        cell.notes = None
        cell.change(lambda present: present.fresh(clock.now()))
        if cell.relief is not None:
            _tend(cell.relief)
        return
    if callable(on_fork) and now.state == READY:
        try:
            on_fork(now.target)
        except Exception as error:
            cell.tell("close-failed", now, now.changed(cause=error))
    if now.state in (DEGRADED, FAILED):
        cell.notes = None
        cell.recover()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
