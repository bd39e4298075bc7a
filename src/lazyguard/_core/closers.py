"""The threads that close what has fallen due: few, however much that is.

Invariants: what is due is closed in its order; a close that hangs holds a thread, which another one then replaces;
where no thread is available, what is due waits until there is one, or for the exit.
"""

from __future__ import annotations

import os
from collections import deque

from lazyguard._core import closing, daemons, scheduler

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lazyguard._core.closing import PendingClose

# How many close at once; one in a close that hangs is not counted.
AT_MOST = 4
_due: deque[PendingClose] = deque()
# A key for each thread: what it closes at present.
_at_work: dict[object, PendingClose | None] = {}


def close(pending: PendingClose) -> None:
    """Close the target on one of the threads, soon."""
    _due.append(pending)
    look()


def look() -> None:
    """Begin a thread, if something is due and not as many as may are at work."""
    if not _due or sum(1 for pending in list(_at_work.values()) if pending is None or not pending.hangs) >= AT_MOST:
        return
    key = object()
    _at_work[key] = None
    try:
        scheduler.daemon(lambda: scheduler.background().run(_work, key), "closer", again=True)
        daemons.found(look)
    except RuntimeError:
        _at_work.pop(key, None)
        daemons.later(look)


def _work(key: object) -> None:
    try:
        while True:
            try:
                pending = _due.popleft()
            except IndexError:
                return
            _at_work[key] = pending
            closing.carry_out(pending)
    finally:
        _at_work.pop(key, None)
        look()  # at what came as this thread left


def _in_child() -> None:
    _due.clear()
    _at_work.clear()


if hasattr(os, "register_at_fork"):  # pragma: no branch (not on Windows)
    os.register_at_fork(after_in_child=_in_child)
