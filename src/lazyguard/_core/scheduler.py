"""What is due later: one daemon thread for all that is scheduled alike, which ends when nothing is left to do.

Invariants: a job only does bookkeeping or starts a thread, so that no user code can hold the others up; whoever adds a
job takes no lock (append and pop of a list are atomic, with or without a GIL); a job costs the logarithm of the others;
one that was cancelled keeps nothing alive, and holds no place that another could have.
"""

from __future__ import annotations

import _thread
from heapq import heapify, heappop, heappush
from itertools import count

from lazyguard import events
from lazyguard._base import final
from lazyguard._core import clock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Work = Callable[[], object]


def daemon(work: Work, name: str) -> None:
    """Run `work` on a daemon thread of its own, which no exit waits for.

    Raises:
        RuntimeError: The interpreter is shutting down, or no thread can be had.
    """
    try:
        import threading
    except ImportError as error:
        raise RuntimeError("the interpreter is ending, and starts no thread any more") from error
    threading.Thread(target=work, name=f"lazyguard {name}", daemon=True).start()


@final
class Job:
    """One thing that is due at a time, until it is done or cancelled."""

    __slots__ = ("due", "work")

    def __init__(self, due: float, work: Work) -> None:
        self.due = due
        self.work: Work | None = work

    def cancel(self) -> None:
        """Let it not be done, if it has not begun."""
        self.work = None


class Scheduler:
    """Jobs by the time at which they are due."""

    __slots__ = ("_inbox", "_name", "_owner", "_serial", "_wake")

    def __init__(self, name: str = "scheduler") -> None:
        self._inbox: list[tuple[float, int, Job]] = []
        self._name = name
        self._owner: dict[str, object] = {}
        self._serial = count()
        self._wake = _thread.allocate_lock()

    def at(self, due: float, work: Work) -> Job:
        """Do `work` when the clock shows `due`, unless the returned job is cancelled before."""
        job = Job(due, work)
        self._inbox.append((due, next(self._serial), job))
        self.poke()
        return job

    def poke(self) -> None:
        """Look at the clock and the inbox now."""
        try:
            self._wake.release()
        except RuntimeError:
            pass  # nobody waits
        token = object()
        if self._inbox and self._owner.setdefault("thread", token) is token:
            try:
                daemon(self._run, self._name)
            except BaseException as error:
                self._owner.clear()
                if not isinstance(error, RuntimeError):
                    raise  # else the interpreter is leaving: nothing is due any more

    def _run(self) -> None:
        due: list[tuple[float, int, Job]] = []  # a heap
        room = _ROOM
        while True:
            self._take_in(due)
            if len(due) > room:  # a pass over all of them, for as many that have come since the last
                due[:] = [entry for entry in due if entry[2].work is not None]
                heapify(due)
                room = max(_ROOM, 2 * len(due))
            while due and due[0][2].work is None:
                heappop(due)
            if not due:
                self._owner.clear()
                if self._inbox:
                    self.poke()
                return
            self._wake.acquire(False)  # before looking at the clock, so that no poke after the look is lost
            left = due[0][0] - clock.now()
            if left > 0:
                if not self._inbox:
                    self._wake.acquire(True, min(clock.current.real(left), _LONGEST_WAIT))
                continue
            work = heappop(due)[2].work
            if work is not None:
                try:
                    work()
                except BaseException as error:
                    _report(error)

    def _take_in(self, due: list[tuple[float, int, Job]]) -> None:
        try:
            while True:
                entry = self._inbox.pop()
                if entry[2].work is not None:
                    heappush(due, entry)
        except IndexError:
            pass


def _report(error: BaseException) -> None:
    import logging

    logging.getLogger("lazyguard").error("a scheduled job raised %s", events.describe(error))


_LONGEST_WAIT = 3600.0
# How many jobs may wait before those that were cancelled are looked for among them.
_ROOM = 64
_scheduler = Scheduler()
# What is to be closed has a thread of its own: however much of it is due at once, no recovery waits behind it.
_closings = Scheduler("closings")


def at(due: float, work: Work) -> Job:
    """Do `work` when the clock shows `due`, unless the returned job is cancelled before."""
    return _scheduler.at(due, work)


def closing_at(due: float, work: Work) -> Job:
    """Do what `at` does for `work` that sees to the closing of something."""
    return _closings.at(due, work)


def poke() -> None:
    """Look at the clock now: somebody has moved it."""
    _scheduler.poke()
    _closings.poke()


def renew() -> None:
    """Begin with an empty schedule, in the child of a fork: the parent's threads are not there."""
    global _closings, _scheduler
    _scheduler, _closings = Scheduler(), Scheduler("closings")
