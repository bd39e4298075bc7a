"""What is due later: one daemon thread for all that is scheduled alike; and another one that tells what comes of it.

Invariants: a job only does bookkeeping or starts a thread, so that no user code can hold the others up; whoever adds a
job takes no lock (a deque is appended to and popped from atomically); a job costs the logarithm of the others;
one that was cancelled keeps nothing alive, and holds no place that another could have; one that raises is done once
more, and so may be one that has been done.

Each thread ends when nothing is left to do. Whatever ends that of the jobs, another one is begun: it is known by an
object that its frames alone hold, and when that goes while something is due, its end begins the next.
"""

from __future__ import annotations

import _thread
from _contextvars import Context
from _weakref import ref
from heapq import heapify, heappop, heappush
from itertools import count

from lazyguard import events
from lazyguard._base import TYPE_CHECKING, Callable
from lazyguard._base.interpreter import Lock, assign, deque, monotonic
from lazyguard._core import clock, daemons
from lazyguard._core import forks as forks  # it renews what is here in the child of a fork

if TYPE_CHECKING:
    from lazyguard._base.mailbox import Mailbox

    Work = Callable[[], object]


class Job:
    """One thing that is due at a time, until it is done or cancelled."""

    __slots__ = ("due", "work")

    def __init__(self, due: float, work: Work) -> None:
        self.due = due
        self.work: Work | None = work

    def cancel(self) -> None:
        """Let it not be done, if it has not begun."""
        self.work = None


class _Life:
    """One life of a scheduler's thread: what it runs, and what only its frames hold."""

    __slots__ = ("__weakref__", "_of")

    def __init__(self, of: Scheduler) -> None:
        self._of = of

    def __call__(self) -> None:
        try:
            self._of.run(self)
        finally:
            self._of.leave(self)  # at once, also where a traceback keeps the frames


class Scheduler:
    """Jobs by the time at which they are due.

    Attributes:
        late: How many seconds after its time the latest job was begun.
    """

    __slots__ = ("_due", "_inbox", "_name", "_owner", "_retried", "_serial", "_told", "_until", "_wake", "late")

    def __init__(self, name: str = "scheduler") -> None:
        self._inbox: deque[tuple[float, int, Job]] = deque()
        self._due: list[tuple[float, int, Job]] = []  # a heap
        self._name = name
        self._owner: Callable[[], _Life | None] = _nobody
        self._retried: Job | None = None
        self._serial = count()
        self._wake = _thread.allocate_lock()
        self._told = -_TELL_EVERY
        self._until = _NEVER  # when its thread looks next, while it waits
        self.late = 0.0

    @property
    def runs(self) -> bool:
        """Whether it has a thread, or one is being started."""
        return self._owner() is not None

    def at(self, due: float, work: Work) -> Job:
        """Do `work` when the clock shows `due`, unless the returned job is cancelled before."""
        job = Job(due, work)
        if not self.put(job):
            self._begin()
        return job

    def put(self, job: Job) -> bool:
        """Add a job, and return whether a thread sees it; for finalisers too, since it takes no lock."""
        self._inbox.append((job.due, next(self._serial), job))
        if job.due < self._until or len(self._inbox) > _ROOM:
            self._rouse()
        return self.runs

    def poke(self) -> None:
        """Look at the clock and the inbox now."""
        self._rouse()
        if (self._inbox or self._due) and not self.runs:
            self._begin()

    def _rouse(self) -> None:
        try:
            self._wake.release()
        except RuntimeError:
            pass  # nobody waits

    def _begin(self) -> None:
        life = _Life(self)
        with _claims:
            if self.runs:
                return
            self._owner = ref(life, self._ended)
        daemons.insist(self._begin, life, self._name, self._disown)

    def _disown(self) -> None:
        self._owner = _nobody

    def leave(self, life: _Life) -> None:
        """Begin another thread, if that of `life`, which ends, leaves something to do."""
        if self._owner() is life:
            self._disown()
            self.poke()

    def _ended(self, _: object) -> None:
        """Begin another thread, if the one that has gone leaves something to do."""
        if self._begin not in daemons.refused:
            self.poke()

    def run(self, life: _Life) -> None:
        """Do what is due, on the thread of `life`, until nothing is left."""
        assign(events.scheduled, _hand_over)
        room = _ROOM
        due = self._due
        while self._owner() is life:
            while self._inbox:
                heappush(due, self._inbox[0])  # before it is taken out: where this thread is ended, nothing is lost
                self._inbox.popleft()
            if len(due) > room:  # a pass over all of them, for as many that have come since the last
                due[:] = [entry for entry in due if entry[2].work is not None]
                heapify(due)
                room = max(_ROOM, 2 * len(due))
            while due and due[0][2].work is None:
                heappop(due)
            if not due:
                self.late = 0.0
                return
            self._wake.acquire(False)  # before looking at the clock, so that no poke after the look is lost
            left = due[0][0] - clock.now()
            if left > 0:
                self._until = due[0][0]  # before the look at the inbox: what comes after it, and is due earlier, wakes
                if not self._inbox:
                    wait = min(clock.current.real(left), _LONGEST_WAIT)
                    self._wake.acquire(True, wait if clock.current is not clock.MACHINE else max(wait, _TICK))
                continue
            job = due[0][2]
            work = job.work
            if work is not None:
                self._note(-left)
                try:
                    work()
                except BaseException as error:
                    if self._retried is not job:
                        self._retried = job  # once more: it may not have begun
                        continue
                    _tell("job-failed", "failed", events.describe(error))
            job.work = None  # not before: where this thread is ended amid it, the next one does it again

    def behind(self) -> float:
        """Return how many seconds late the latest job was, or the next one is by now."""
        if clock.current is not clock.MACHINE:
            return 0.0  # a test moves the time by leaps
        waiting = [queue[0][0] for queue in (self._due.copy(), self._inbox.copy()) if queue]
        return max(self.late, clock.now() - min(waiting)) if waiting else self.late

    def _note(self, late: float) -> None:
        if clock.current is not clock.MACHINE:
            return  # a test moves the time by leaps
        self.late, now = late, monotonic()
        if late > _LATE and now - self._told > _TELL_EVERY:
            self._told = now
            _tell("scheduler-late", "late", f"by {late:.1f} s", late)


def _tell(kind: str, state: str, cause: str, seconds: float = 0.0) -> None:
    name = "the scheduler of lazyguard"
    event = events.Event(kind=kind, name=name, place="", before="ready", after=state, cause=cause, seconds=seconds)
    events.emit(event)


def _nobody() -> None:
    return None


def background() -> Context:
    """Return an empty context for scheduled work, whose events go to listeners on a thread for them."""
    context = Context()
    context.run(assign, events.scheduled, _hand_over)
    return context


_LONGEST_WAIT, _NEVER = 3600.0, float("inf")
# Seconds for which it sleeps at the least: of thousands of jobs those that are due soon after one another wake it once.
_TICK = 0.01
# Seconds: what is later than this is told, and how often at the most.
_LATE, _TELL_EVERY = 1.0, 60.0
# Held for two statements, by who is about to start a thread.
_claims = Lock()
# How many jobs may wait before those that were cancelled are looked for among them.
_ROOM = 64
_scheduler = Scheduler()
# What is to be closed has a thread of its own: however much of it is due at once, no recovery waits behind it.
_closings = Scheduler("closings")


def at(due: float, work: Work) -> Job:
    """Do `work` when the clock shows `due`, unless the returned job is cancelled before."""
    return _scheduler.at(due, work)


def closings() -> Scheduler:
    """Return what is for work that sees to the closing of something."""
    return _closings


def poke() -> None:
    """Look at the clock now: somebody has moved it."""
    _scheduler.poke()
    _closings.poke()


def behind() -> float:
    """Return how many seconds late what is scheduled is done."""
    return max(_scheduler.behind(), _closings.behind())


def renew() -> None:
    """Begin with an empty schedule, in the child of a fork: the parent's threads are not there."""
    global _closings, _scheduler
    _watching.clear()
    _scheduler, _closings = Scheduler(), Scheduler("closings")


# Seconds after which a listener counts as hanging.
_HANGS = 1.0
# By the scheduler that is to call: when `_watch` is due.
_watching: dict[object, float] = {}


def _hand_over(mailbox: Mailbox) -> None:
    """Have a thread for it tell what scheduled work has put into a mailbox."""
    _queue(mailbox)
    teller.look()
    watch()


def _queue(mailbox: Mailbox) -> None:
    if not mailbox.queued:
        mailbox.queued = True
        teller.waiting.append(mailbox)


def watch() -> None:
    """Look in a while whether a listener hangs, and others wait behind it."""
    now = clock.now()
    if not now < _watching.get(_scheduler, now) <= now + _HANGS:  # none, one that was lost, or that of another clock
        _watching[_scheduler] = now + _HANGS
        at(now + _HANGS, _watch)


def _watch() -> None:
    _watching.clear()
    waiting = [mailbox for mailbox in events.mailboxes() if mailbox.waiting]
    for mailbox in waiting:
        _queue(mailbox)  # what a thread has left that another listener holds, too
    teller.look()
    if waiting or teller.at_work:
        watch()


def _tell_next(mailbox: Mailbox) -> None:
    mailbox.queued = False  # before looking into it, so that nothing that comes later is passed over
    if mailbox.tell_next():
        _queue(mailbox)


# The thread that tells listeners of scheduled work. One that a listener holds for longer is replaced, and holds that
# listener's events alone.
teller = daemons.Crew("events", _tell_next, most=1, hangs=_HANGS)
