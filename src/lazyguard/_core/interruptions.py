"""What an interruption has left undone is known by what there is, and done by whoever comes next.

A signal handler may raise between any two steps of ours. So each transition records what it owes in the step that makes
it: what leaves service is in `state.to_close` with it, a recovery is owed by what is degraded or failed, an attempt is
in `cell.active` until it has ended. A block says how it ends before it changes anything.

Invariants: all that is done here may be done twice, and by several threads; what is interrupted here stays owed.
"""

from __future__ import annotations

import _thread
from _weakref import ref

from lazyguard._base import TYPE_CHECKING, Any, Callable
from lazyguard._core import loaded, whole
from lazyguard._core.state import DEGRADED, FAILED, READY, owed

if TYPE_CHECKING:
    from lazyguard._core.cell import Cell


def at_end_of(block: Any, end: Callable[[], object]) -> object:
    """Have `end` called when `ended` is with the returned key, or else when the `block` object is gone.

    It is called on this thread. It may be called twice, and must not lead to the block.
    """
    key = object()
    owed[key] = ref(block, lambda _: catch_up()), end, _thread.get_ident()
    return key


def ended(key: object) -> None:
    """End a block, unless that was done."""
    block = owed.get(key)
    if block is not None:
        block[1]()
        owed.pop(key, None)


def catch_up() -> None:
    """Do what is owed: by the cells that were interrupted, and by the blocks that are gone."""
    for key, block in owed.copy().items():
        if block is None:
            _complete(key)
            owed.pop(key, None)
        elif block[0]() is None and block[2] == _thread.get_ident():
            ended(key)
    closing: Any = whole("_core.closing")
    if closing is not None:
        closing.catch_up()


def _complete(cell: Cell) -> None:
    active, wait_cycles = loaded("_core.cell").active, loaded("_core.wait_cycles")
    cell.end_unlaunched()
    for one in (*cell.fallbacks, cell):
        for attempt in list(active):
            if attempt.cell is one and wait_cycles.ended(attempt):
                one.dispose(attempt)
                active.discard(attempt)
        if one.mirror is not None:
            one.show(one.mirror)
    wait_cycles.leave()
    now = cell.now
    if now.state in (DEGRADED, FAILED):
        cell.recover()
    elif now.state == READY and any(one.now.served and one.now.since <= now.since for one in cell.fallbacks):
        cell.release_fallbacks()
