"""The thread that tells listeners of scheduled work: recovery runs, reminders, what hangs, what was closed.

Invariants: one thread at a time tells, and ends when nothing is left; one that a listener holds for longer than `HANGS`
seconds is replaced, and holds that listener's events alone; where no thread is available, what waits is told when
there is one.
"""

from __future__ import annotations

import os
import sys

from lazyguard import events
from lazyguard._base.interpreter import monotonic
from lazyguard._core import clock, scheduler
from lazyguard._core.daemons import Crew

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lazyguard._base.mailbox import Mailbox

# Seconds after which a listener counts as hanging.
HANGS = 1.0
# By the scheduler that is to call: when `_watch` is due.
_watching: dict[object, float] = {}


def hand_over(mailbox: Mailbox) -> None:
    """Have a thread for it tell what is in a mailbox."""
    _queue(mailbox)
    crew.look()
    watch()


def _queue(mailbox: Mailbox) -> None:
    if not mailbox.queued:
        mailbox.queued = True
        crew.waiting.append(mailbox)


def watch() -> None:
    """Look in a while whether a listener hangs, and others wait behind it."""
    due, of = clock.now() + HANGS, scheduler.present()
    if _watching.get(of, due + 1.0) > due:  # none, or that of another clock
        _watching[of] = due
        scheduler.at(due, _watch)


def _watch() -> None:
    _watching.clear()
    waiting = [mailbox for mailbox in events.mailboxes() if mailbox.waiting]
    for mailbox in waiting:
        _queue(mailbox)  # what a thread has left that another listener holds, too
    crew.look()
    if waiting or crew.at_work:
        watch()


def _tell(mailbox: Mailbox) -> None:
    mailbox.queued = False  # before looking into it, so that nothing that comes later is passed over
    if mailbox.tell_next():
        _queue(mailbox)


def _enough(at_work: list[tuple[float, Mailbox | None]]) -> bool:
    hangs = monotonic() - HANGS
    return any(since > hangs for since, _ in at_work)


crew = Crew("events", _tell, _enough)


def _in_child() -> None:
    _watching.clear()
    if "lazyguard._core.forks" not in sys.modules:  # it has done that, before anything was emitted in the child
        events.in_child()


if hasattr(os, "register_at_fork"):  # pragma: no branch (not on Windows)
    os.register_at_fork(after_in_child=_in_child)
