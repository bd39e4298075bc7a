"""Daemon threads, which no exit waits for; those of the background are used again.

Invariants: work runs in a context of its own, and what it leaves in a thread's own variables lasts until the thread
ends, which is `LINGER` seconds after its last work; handing over work takes no lock. What found no thread is tried
again when there may be one: at the next use of what is degraded, look at health, or collection of garbage, after waits
that grow. A crew begins what is waiting in its order, and another thread of it replaces one that is held up.
"""

from __future__ import annotations

import _thread
import gc
import os
from _contextvars import Context

from lazyguard import events
from lazyguard._base import final
from lazyguard._base.interpreter import monotonic

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Callable
    from typing import Any

    Work = Callable[[], object]
else:
    from _collections import deque  # without what collections loads

# An isolated sub-interpreter allows none (Python 3.12 and later): callers build there, and try again what is degraded.
allowed: bool = getattr(_thread, "daemon_threads_allowed", lambda: True)()
# Seconds for which a thread waits for more work.
LINGER = 1.0
# The threads that are ours.
threads: set[int] = set()
# Those that wait, the latest one last: it is used first, so that the others end.
_idle: list[_Daemon] = []


def daemon(work: Work, name: str, *, again: bool = False) -> None:
    """Run `work` on a daemon thread of its own.

    Args:
        work: What is to be run.
        name: What the thread is called meanwhile, after "lazyguard".
        again: Whether it may be one that has done such work before, and does more of it later.

    Raises:
        RuntimeError: The interpreter is shutting down, or no thread is available.
    """
    if again:
        try:
            thread = _idle.pop()
        except IndexError:
            pass  # all are at work
        else:
            thread.name, thread.work = name, work
            thread.wake.release()
            return
    _begin(_Daemon(work, name, again), name)


def _begin(thread: _Daemon, name: str) -> None:
    if not allowed:
        raise RuntimeError("lazyguard needs a daemon thread for it, and this sub-interpreter allows none")
    try:
        import threading
    except ImportError as error:
        raise RuntimeError("the interpreter is ending, and starts no thread any more") from error
    threading.Thread(target=thread.serve, name=f"lazyguard {name}", daemon=True).start()


@final
class _Daemon:
    """One thread, and what it is to do next."""

    __slots__ = ("again", "name", "wake", "work")

    def __init__(self, work: Work, name: str, again: bool) -> None:
        self.work: Work | None = work
        self.name = name
        self.again = again
        self.wake = _thread.allocate_lock()
        self.wake.acquire()

    def serve(self) -> None:
        """Do what there is, and wait for more."""
        threads.add(_thread.get_ident())
        try:
            self._serve()
        finally:
            threads.discard(_thread.get_ident())

    def _serve(self) -> None:
        while True:
            work, self.work = self.work, None
            if work is not None:
                try:
                    Context().run(work)
                except BaseException as error:
                    events.complain(f"the thread {self.name!r} was ended by {events.describe(error)}")
                work = None  # else it would be kept until the next one comes
                if not self.again:
                    return
                self._call("idle")
                _idle.append(self)
            if self.wake.acquire(True, LINGER):
                self._call(self.name)
                continue
            try:
                _idle.remove(self)
            except ValueError:
                continue  # taken a moment ago: the work is coming
            return

    def _call(self, name: str) -> None:
        import threading

        threading.current_thread().name = f"lazyguard {name}"


# What found no thread: when it is tried again, by the machine's clock, and the wait before that.
refused: dict[Callable[[], object], tuple[float, float]] = {}
_PAUSES = (0.05, 5.0)


def later(begin: Callable[[], object]) -> None:
    """Call `begin` again when there may be a thread; it says `found`, or this again."""
    pause = min(2 * refused.get(begin, (0.0, _PAUSES[0] / 2))[1], _PAUSES[1])
    refused[begin] = monotonic() + pause, pause
    if _collected not in gc.callbacks:
        gc.callbacks.append(_collected)


def found(begin: Callable[[], object]) -> None:
    """Try no more: there is a thread."""
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


@final
class Crew:
    """Threads that do one kind of work, item by item; each ends when nothing is left.

    Args:
        name: What its threads are called.
        do: Does the work for one item.
        enough: Whether as many threads are at work as may be. It gets a pair for each of them: since when, by the
            machine's clock, and at what; before its first item that is None.
    """

    __slots__ = ("_do", "_enough", "_name", "at_work", "waiting")

    def __init__(
        self, name: str, do: Callable[[Any], object], enough: Callable[[list[tuple[float, Any]]], bool]
    ) -> None:
        self._name = name
        self._do = do
        self._enough = enough
        self.waiting: deque[Any] = deque()
        # A key for each thread.
        self.at_work: dict[object, tuple[float, Any]] = {}
        _crews.append(self)

    def add(self, item: Any) -> None:
        """Do the work for this item soon."""
        self.waiting.append(item)
        self.look()

    def look(self) -> None:
        """Begin a thread, if something waits and not as many as may are at work."""
        if not self.waiting or self._enough(list(self.at_work.values())):
            found(self.look)
            return
        key = object()
        self.at_work[key] = monotonic(), None
        try:
            daemon(lambda: self._work(key), self._name, again=True)
        except BaseException as error:
            self.at_work.pop(key, None)
            later(self.look)
            if not isinstance(error, RuntimeError):
                raise  # a signal handler's
        else:
            found(self.look)

    def _work(self, key: object) -> None:
        try:
            while True:
                try:
                    item = self.waiting.popleft()
                except IndexError:
                    return
                self.at_work[key] = monotonic(), item
                self._do(item)
        finally:
            self.at_work.pop(key, None)
            self.look()  # at what came as this thread left


_crews: list[Crew] = []


def _in_child() -> None:
    threads.intersection_update((_thread.get_ident(),))
    _idle.clear()
    refused.clear()
    for crew in _crews:
        crew.waiting.clear()
        crew.at_work.clear()


if hasattr(os, "register_at_fork"):  # pragma: no branch (not on Windows)
    os.register_at_fork(after_in_child=_in_child)
