"""Daemon threads, which no exit waits for; those of the background are used again.

Invariants: work runs in a context of its own, and what it leaves in a thread's own variables lasts until the thread
ends, which is `LINGER` seconds after its last work; handing over work takes no lock. What found no thread is tried
again when there may be one: at the next use of what is degraded, look at health, or collection of garbage, after waits
that grow. A crew begins what is waiting in its order, and another thread of it replaces one that is held up.
"""

from __future__ import annotations

import _thread
import gc
import sys
from _contextvars import Context

from lazyguard import events
from lazyguard._base import TYPE_CHECKING, Any, Callable
from lazyguard._base.interpreter import deque, in_child, monotonic

if TYPE_CHECKING:
    Work = Callable[[], object]
    Task = tuple[Work, str]

# An isolated sub-interpreter allows none (Python 3.12 and later): callers build there, and try again what is degraded.
allowed: bool = getattr(_thread, "daemon_threads_allowed", lambda: True)()
# CPython 3.12.0 and 3.12.1 start no thread at the exit: there one that was started before waits for that.
NONE_AT_EXIT = (3, 12, 0) <= sys.version_info[:3] < (3, 12, 2)
# Seconds for which a thread waits for more work; -1: for ever.
LINGER = -1.0 if NONE_AT_EXIT else 1.0
# The threads that are ours.
threads: set[int] = set()
# The seats of those that wait, the latest one last: it is used first, so that the others end.
_idle: list[_Seat] = []


def daemon(work: Work, name: str, *, again: bool = False) -> None:
    """Run `work` on a daemon thread of its own.

    Args:
        work: What is to be run.
        name: What the thread is called meanwhile, after "lazyguard".
        again: Whether it may be one that has done such work before, and does more of it later.

    Raises:
        RuntimeError: The interpreter is shutting down, or no thread is available.
    """
    while again and _idle:
        try:
            seat = _idle.pop()
        except IndexError:
            break  # another thread took the last one
        if seat.take((work, name)) is not None:
            seat.wake.release()
            return
    _begin(work, name, again)


def _begin(work: Work, name: str, again: bool) -> None:
    if not allowed:
        raise RuntimeError("lazyguard needs a daemon thread for it, and this sub-interpreter allows none")
    try:
        import threading
    except ImportError as error:
        raise RuntimeError("the interpreter is ending, and starts no thread any more") from error
    threading.Thread(target=_serve, args=([(work, name)], again), name=f"lazyguard {name}", daemon=True).start()


class _Seat:
    """Where a thread waits once, for work or for the end of its patience: whichever is put here first."""

    __slots__ = ("_taken", "wake")

    def __init__(self) -> None:
        self._taken: dict[None, Task | None] = {}
        self.wake = _thread.allocate_lock()
        self.wake.acquire()

    def take(self, task: Task | None) -> Task | None:
        """Put a task here, or None for the end; return what is here then."""
        return self._taken.setdefault(None, task)


def _serve(given: list[Task], again: bool) -> None:
    """Do the work, and where there may be more of it, what comes."""
    import threading

    thread, here = threading.current_thread(), _thread.get_ident()
    threads.add(here)
    try:
        while given:
            work, name = given.pop()
            thread.name = f"lazyguard {name}"
            try:
                Context().run(work)
            except BaseException as error:
                events.complain(f"the thread {name!r} was ended by {events.describe(error)}")
            del work  # else it would be kept until the next one comes
            if again:
                thread.name = "lazyguard idle"
                given += _awaited()
    finally:
        threads.discard(here)


def _awaited() -> list[Task]:
    """Wait `LINGER` seconds for a task; return it, or none."""
    seat = _Seat()
    _idle.append(seat)
    seat.wake.acquire(True, LINGER)
    task = seat.take(None)
    if task is not None:
        return [task]
    try:
        _idle.remove(seat)
    except ValueError:
        pass  # who took it was interrupted just then, or there was a fork
    return []


# What found no thread: when it is tried again, by the machine's clock, and the wait before that.
refused: dict[Callable[[], object], tuple[float, float]] = {}
_PAUSES = (0.05, 5.0)


def insist(begin: Work, work: Work, name: str, undo: Work, *, again: bool = False) -> None:
    """Do `daemon`; where there is no thread, `undo`, and call `begin` again when there may be one."""
    try:
        daemon(work, name, again=again)
    except BaseException as error:
        undo()
        pause = min(2 * refused.get(begin, (0.0, _PAUSES[0] / 2))[1], _PAUSES[1])
        refused[begin] = monotonic() + pause, pause
        if _collected not in gc.callbacks:
            gc.callbacks.append(_collected)
        if not isinstance(error, RuntimeError):
            raise  # a signal handler's
    else:
        refused.pop(begin, None)


def try_again() -> None:
    """Begin what found no thread, if it has waited long enough."""
    now = monotonic()
    for begin, (when, pause) in list(refused.items()):
        if now >= when:
            refused[begin] = now + pause, pause  # for those who come at the same time
            begin()


def _collected(phase: str, _: object) -> None:
    """Try again on a thread of its own: garbage is collected amid anything, under any lock."""
    if not refused:
        gc.callbacks.remove(_collected)
    elif phase == "stop" and monotonic() >= min(refused.values())[0]:
        try:
            _thread.start_new_thread(try_again, ())
        except RuntimeError:
            pass


class Crew:
    """Threads that do one kind of work, item by item; each ends when nothing is left.

    Args:
        name: What its threads are called.
        do: Does the work for one item.
        most: How many are at work at the most, but for those that hang.
        hangs: Seconds at one item after which a thread counts as hanging.
        now: The clock that tells them: the machine's, which no test stops or moves.
    """

    __slots__ = ("_do", "_hangs", "_most", "_name", "_now", "at_work", "waiting")

    def __init__(
        self, name: str, do: Callable[[Any], object], *, most: int, hangs: float, now: Callable[[], float] = monotonic
    ) -> None:
        self._name = name
        self._now = now
        self._do = do
        self._most = most
        self._hangs = hangs
        self.waiting: deque[Any] = deque()
        # A key for each thread, and since when it is at its item, by the clock.
        self.at_work: dict[object, float] = {}
        _crews.append(self)

    def add(self, item: Any) -> None:
        """Do the work for this item soon."""
        self.waiting.append(item)
        self.look()

    def look(self) -> None:
        """Begin a thread, if something waits and not as many as may are at work."""
        hanging = self._now() - self._hangs
        if not self.waiting or sum(since > hanging for since in list(self.at_work.values())) >= self._most:
            refused.pop(self.look, None)
            return
        key = object()
        self.at_work[key] = self._now()
        insist(self.look, lambda: self._work(key), self._name, lambda: self.at_work.pop(key, None), again=True)

    def _work(self, key: object) -> None:
        try:
            while True:
                try:
                    item = self.waiting.popleft()
                except IndexError:
                    return
                self.at_work[key] = self._now()
                self._do(item)
        finally:
            self.at_work.pop(key, None)
            self.look()  # at what came as this thread left


_crews: list[Crew] = []


@in_child
def _in_child() -> None:
    threads.intersection_update((_thread.get_ident(),))
    _idle.clear()
    refused.clear()
    for crew in _crews:
        crew.waiting.clear()
        crew.at_work.clear()
