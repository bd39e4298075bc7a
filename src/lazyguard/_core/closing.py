"""Targets that somebody holds on to: what would close one is put off until the last of them lets go.

Invariants: one lock for all, held for a few statements and never while user code runs; whoever holds a target and then
finds it still served has it unclosed until it lets go.
"""

from __future__ import annotations

import _thread
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

# Reentrant, since a signal handler or a finaliser may run on its holder's thread.
_lock = _thread.RLock()
# By the target's id: the target, how often it is held, and what closes it after that.
_held: dict[int, tuple[Any, list[None], list[Callable[[], object]]]] = {}


def hold(target: Any) -> None:
    """Put off the closing of a target until `let_go` was called as often."""
    with _lock:
        _held.setdefault(id(target), (target, [], []))[1].append(None)


def let_go(target: Any) -> None:
    """End one hold; close here and now what was to be closed meanwhile, if it was the last one."""
    closings: list[Callable[[], object]] = []
    with _lock:
        _, holds, waiting = _held[id(target)]
        holds.pop()
        if not holds:
            del _held[id(target)]
            closings = waiting
    for close in closings:
        close()


def put_off(target: Any, close: Callable[[], object]) -> bool:
    """Leave the closing of a target to whoever lets go of it last; return whether anybody holds it."""
    if not _held:
        return False
    with _lock:
        held = _held.get(id(target))
        if held is None:
            return False
        held[2].append(close)
        return True


def _in_child() -> None:
    """Begin with a new lock in the child of a fork: a thread of the parent may have held the old one."""
    global _lock
    _lock = _thread.RLock()


if hasattr(os, "register_at_fork"):  # pragma: no branch (not on Windows)
    os.register_at_fork(after_in_child=_in_child)
