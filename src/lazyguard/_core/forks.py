"""What a fork leaves in the child: fresh locks, no attempts of the parent's threads, pending cells where asked for.

Invariants: the child waits for nothing that only the parent runs; a target that the parent still uses is neither
closed nor finalised in the child. The first hook runs no user code; the second one, which calls the `on_fork` that a
cell was given and starts threads, runs after threading and logging have put their own locks in order.
"""

from __future__ import annotations

import _thread
import os
import sys
from _weakref import ref

from lazyguard import events
from lazyguard._core import cell as cells
from lazyguard._core import clock, state
from lazyguard._core.state import DEGRADED, FAILED, READY, Outcome

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lazyguard._base import Any
    from lazyguard._core.cell import Cell

# What is looked at where it is loaded.
LATE = ("closing", "scheduler", "wait_cycles")
_watched: set[ref[Cell]] = set()
# Targets of the parent, kept so that no finaliser in the child says goodbye on the parent's connections.
_inherited: list[Any] = []
# How many of the modules that `_revive` must come after were loaded -> its registration then.
_registered: dict[int, object] = {}


def watch(cell: Cell) -> None:
    """See to a cell in the child of every fork: its `on_fork`, and its recovery."""
    _watched.add(ref(cell, _watched.discard))


def _before() -> None:
    loaded = ("threading" in sys.modules) + ("logging" in sys.modules)
    token = object()
    if _registered.setdefault(loaded, token) is token:
        os.register_at_fork(after_in_child=lambda: _revive() if loaded == max(_registered) else None)


def _in_child() -> None:
    half_done, cells.midway = cells.midway, None
    if half_done is not None and half_done.mirror is not None:
        half_done.show(half_done.mirror)
    events.in_child()
    state.made_by_parents = next(state.builds)
    here = _thread.get_ident()
    # what is not loaded has nothing to forget, and a program that only declares has not loaded it
    closing, scheduler, wait_cycles = (sys.modules.get(f"lazyguard._core.{name}") for name in LATE)
    if closing is not None:
        closing.in_child()
    if scheduler is not None:
        scheduler.renew()
    if wait_cycles is not None:
        running = wait_cycles.running.get(here)
        wait_cycles.waiting.clear()
        wait_cycles.children.clear()
        wait_cycles.running.clear()
        if running is not None:
            wait_cycles.running[here] = running
    for attempt in list(cells.active):
        if attempt.task is None and attempt.thread == here:
            continue  # the thread that forked goes on with it
        cells.active.discard(attempt)
        attempt.outcome = Outcome(interrupted=True)
        attempt.cell.change(lambda now, gone=attempt: now.without(gone))
    for cell in _cells():
        _tend(cell)


def _cells() -> list[Cell]:
    return [cell for known in list(_watched) if (cell := known()) is not None]


def _tend(cell: Cell) -> None:
    now = cell.now
    if cell.answered:
        cell.answered = {}
    cell.home = None  # no loop of the parent runs here
    if cell.loops is not None:
        _inherited.append(cell.loops)
        cell.loops.end()
    held, on_fork = now.held or now, cell.plan.on_fork
    if on_fork == "reset" or (callable(on_fork) and held.state == DEGRADED):  # which is for the real object
        cell.recovery_run = None
        for one in (cell, *cell.fallbacks):
            _inherited.append(one.now.held or one.now)
            one.change(lambda present: present.fresh(clock.now()))
        cause, gate = held.cause, held.gate
        if cause is not None and gate is not None and gate.by_hand and not now.overrides:  # isolated until a reset
            cell.change(lambda present: present.opened(cause, clock.now(), gate))
    elif now.state in (DEGRADED, FAILED):
        cell.recovery_run = None


def _revive() -> None:
    for cell in _cells():
        now = cell.now
        on_fork = cell.plan.on_fork
        target = now.held or now
        if callable(on_fork) and target.state == READY:
            try:
                on_fork(target.target)
            except (Exception, SystemExit) as error:
                cell.tell("fork-failed", now, now.changed(cause=error))
        if now.state in (DEGRADED, FAILED):
            cell.recover()


if hasattr(os, "register_at_fork"):  # pragma: no branch (not on Windows)
    os.register_at_fork(before=_before, after_in_child=_in_child)
