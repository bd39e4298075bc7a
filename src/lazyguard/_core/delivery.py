"""The thread that tells listeners of scheduled work: recovery runs, reminders, what hangs, what was closed.

Invariants: one thread at a time tells, and ends when nothing is left; one that a listener holds for longer than `HANGS`
seconds is replaced, and holds that listener's events alone; where no thread is available, what waits is told when
there is one.
"""

from __future__ import annotations

import os
import sys

from lazyguard import events
from lazyguard._base.real_time import monotonic
from lazyguard._core import clock, daemons, scheduler

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections import deque

    from lazyguard._base.mailbox import Mailbox
else:
    from _collections import deque  # without what collections loads

# Seconds after which a listener counts as hanging.
HANGS = 1.0
# Those in which something may wait.
_due: deque[Mailbox] = deque()
# A key for each thread: since when it is at what it does.
_at_work: dict[object, float] = {}
# By the scheduler that is to call: when `_watch` is due.
_watching: dict[object, float] = {}


def hand_over(mailbox: Mailbox) -> None:
    """Have a thread for it tell what is in a mailbox."""
    _queue(mailbox)
    _look()


def _queue(mailbox: Mailbox) -> None:
    if not mailbox.queued:
        mailbox.queued = True
        _due.append(mailbox)


def watch() -> None:
    """Look in a while whether a listener hangs, and others wait behind it."""
    due, of = clock.now() + HANGS, scheduler.present()
    if _watching.get(of, due + 1.0) > due:  # none, or that of another clock
        _watching[of] = due
        scheduler.at(due, _watch)


def _watch() -> None:
    _watching.clear()
    waiting = [mailbox for mailbox in events.mailboxes() if mailbox.waits]
    for mailbox in waiting:
        _queue(mailbox)  # what a thread has left that another listener holds, too
    _look()
    if waiting or _at_work:
        watch()


def _look() -> None:
    late = monotonic() - HANGS
    if not _due or any(since > late for since in list(_at_work.values())):
        return
    key = object()
    _at_work[key] = monotonic()
    try:
        scheduler.daemon(lambda: _work(key), "events", again=True)
        daemons.found(_look)
    except RuntimeError:
        _at_work.pop(key, None)
        daemons.later(_look)
    watch()


def _work(key: object) -> None:
    try:
        while True:
            try:
                mailbox = _due.popleft()
            except IndexError:
                return
            _at_work[key] = monotonic()
            mailbox.queued = False  # before looking into it, so that nothing that comes later is passed over
            if mailbox.tell_next():
                _queue(mailbox)
    finally:
        _at_work.pop(key, None)
        _look()  # at what came as this thread left


def _in_child() -> None:
    _due.clear()
    _at_work.clear()
    _watching.clear()
    if "lazyguard._core.forks" not in sys.modules:  # it has done that, before anything was emitted in the child
        events.in_child()


if hasattr(os, "register_at_fork"):  # pragma: no branch (not on Windows)
    os.register_at_fork(after_in_child=_in_child)
