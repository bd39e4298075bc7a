"""What is due later: one daemon thread for all cells, which ends when nothing is left to do.

Invariants: a job only does bookkeeping or starts a thread, so that no user code can hold the others up; whoever adds a
job takes no lock (append and pop of a list are atomic, with or without a GIL).
"""

from __future__ import annotations

import _thread
from itertools import count

from lazyguard import events
from lazyguard._core import clock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Job = Callable[[], object]


def daemon(work: Job, name: str) -> None:
    """Run `work` on a daemon thread of its own, which no exit waits for.

    Raises:
        RuntimeError: The interpreter is shutting down, or no thread can be had.
    """
    try:
        import threading
    except ImportError as error:
        raise RuntimeError("the interpreter is ending, and starts no thread any more") from error
    threading.Thread(target=work, name=f"lazyguard {name}", daemon=True).start()


class Scheduler:
    """Jobs by the time at which they are due."""

    __slots__ = ("_inbox", "_owner", "_serial", "_wake")

    def __init__(self) -> None:
        self._inbox: list[tuple[float, int, Job]] = []
        self._owner: dict[str, object] = {}
        self._serial = count()
        self._wake = _thread.allocate_lock()

    def at(self, due: float, job: Job) -> None:
        """Do `job` when the clock shows `due`."""
        self._inbox.append((due, next(self._serial), job))
        self.poke()

    def poke(self) -> None:
        """Look at the clock and the inbox now."""
        try:
            self._wake.release()
        except RuntimeError:
            pass  # nobody waits
        token = object()
        if self._inbox and self._owner.setdefault("thread", token) is token:
            try:
                daemon(self._run, "scheduler")
            except BaseException as error:
                self._owner.clear()
                if not isinstance(error, RuntimeError):
                    raise  # else the interpreter is leaving: nothing is due any more

    def _run(self) -> None:
        due: list[tuple[float, int, Job]] = []  # the next one last; no heapq: another thread may fork amid an import
        while True:
            try:
                while True:
                    due.append(self._inbox.pop())
            except IndexError:
                pass
            due.sort(reverse=True)
            if not due:
                self._owner.clear()
                if self._inbox:
                    self.poke()
                return
            self._wake.acquire(False)  # before looking at the clock, so that no poke after the look is lost
            left = due[-1][0] - clock.now()
            if left > 0:
                if not self._inbox:
                    self._wake.acquire(True, min(clock.current.real(left), _LONGEST_WAIT))
                continue
            job = due.pop()[2]
            try:
                job()
            except BaseException as error:
                _report(error)


def _report(error: BaseException) -> None:
    import logging

    logging.getLogger("lazyguard").error("a scheduled job raised %s", events.describe(error))


_LONGEST_WAIT = 3600.0
_scheduler = Scheduler()


def at(due: float, job: Job) -> None:
    """Do `job` when the clock shows `due`."""
    _scheduler.at(due, job)


def poke() -> None:
    """Look at the clock now: somebody has moved it."""
    _scheduler.poke()


def renew() -> None:
    """Begin with an empty schedule, in the child of a fork: the parent's thread is not there."""
    global _scheduler
    _scheduler = Scheduler()
