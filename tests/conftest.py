"""For all tests: hard time limits with a stack dump, threads that start together, forks, and recorded events."""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
import threading
import time
import traceback
import warnings
from contextlib import contextmanager

import pytest

from lazyguard import events
from lazyguard._core import registry
from lazyguard.testing import FakeClock

# Generous, since the machine may be busy: what hangs, hangs for ever.
HARD_LIMIT = 60.0


def pytest_configure() -> None:
    """Let Ctrl-C be heard: a run in the background of a shell begins with SIGINT ignored, and tests send it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def within(request):
    """Return a context manager that ends the whole run, with the stacks of all threads, when its seconds are over."""
    try:
        from _pytest.faulthandler import fault_handler_stderr_fd_key

        stderr = request.config.stash[fault_handler_stderr_fd_key]
    except (ImportError, KeyError):
        stderr = sys.__stderr__

    @contextmanager
    def limit(seconds: float = HARD_LIMIT):
        faulthandler.dump_traceback_later(seconds, exit=True, file=stderr)
        try:
            yield
        finally:
            faulthandler.cancel_dump_traceback_later()

    return limit


@pytest.fixture
def limited(within):
    """Hold the whole test to the hard limit."""
    with within():
        yield


@pytest.fixture
def race():
    """Return a function that starts functions on threads at one moment, and returns what each returned or raised."""

    def run(*functions, limit: float = 30.0):
        barrier = threading.Barrier(len(functions))
        results: list[object] = [TimeoutError("the thread still runs")] * len(functions)

        def work(index: int) -> None:
            barrier.wait()
            try:
                results[index] = functions[index]()
            except BaseException as error:
                results[index] = error

        threads = [threading.Thread(target=work, args=(index,), daemon=True) for index in range(len(functions))]
        for thread in threads:
            thread.start()
        until = time.monotonic() + limit
        for thread in threads:
            thread.join(max(0.0, until - time.monotonic()))
        return results

    return run


@pytest.fixture
def in_child():
    """Return a function that forks, runs another in the child under a limit, and returns the child's exit status."""
    if not hasattr(os, "fork"):
        pytest.skip("this platform has no fork")

    def run(work) -> int:
        sys.stdout.flush()
        sys.stderr.flush()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # 3.12: a process with threads forks
            pid = os.fork()
        if pid == 0:
            status = 99
            try:
                # not dump_traceback_later: it would wait for its thread, which only the parent has
                faulthandler.register(signal.SIGALRM, file=sys.__stderr__, chain=True)
                signal.alarm(20)
                work()
                status = 0
            except BaseException:
                traceback.print_exc()
                sys.stderr.flush()
            finally:
                os._exit(status)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    return run


@pytest.fixture
def told():
    """Return the list to which every event of the test is added."""
    seen: list[events.Event] = []
    undo = events.subscribe(seen.append)
    yield seen
    undo()


@pytest.fixture
def eventually():
    """Return a function that waits until a condition holds, for what tells nobody when it has happened."""

    def wait(condition, limit: float = 20.0) -> None:
        until = time.monotonic() + limit
        while not condition():
            assert time.monotonic() < until, "it did not happen"
            time.sleep(0.001)

    return wait


@pytest.fixture
def clock():
    """Return a clock that stands still until the test moves it, and is the clock of all cells meanwhile."""
    with FakeClock() as fake:
        yield fake


@pytest.fixture
def pace(monkeypatch):
    """Return the bounds of every wait that has been scheduled; the longest one is taken."""
    from lazyguard._policies import recovery

    bounds: list[tuple[float, float]] = []
    asked = threading.local()
    wait = recovery.RecoveryRun.wait

    def uniform(low: float, high: float) -> float:
        asked.bounds = low, high
        return high

    def wait_and_note(course: recovery.RecoveryRun) -> None:
        wait(course)
        bounds.append(asked.bounds)  # not before: until it is scheduled, a clock that is moved is not seen

    monkeypatch.setattr("random.uniform", uniform)
    monkeypatch.setattr(recovery.RecoveryRun, "wait", wait_and_note)
    return bounds


class Story:
    """The events about one name, in order, and a wait for the next of them."""

    def __init__(self) -> None:
        self._heard = threading.Condition()
        self.events: list[events.Event] = []

    def hear(self, event: events.Event) -> None:
        with self._heard:
            self.events.append(event)
            self._heard.notify_all()

    def kinds(self, name: str = "db") -> list[str]:
        return [event.kind for event in self.events if event.name == name]

    def until(self, *kinds: str, name: str = "db", limit: float = 30.0) -> None:
        """Wait until the events of that name are these kinds, so far, and no others."""
        with self._heard:
            assert self._heard.wait_for(lambda: len(self.kinds(name)) >= len(kinds), limit), self.events
        assert self.kinds(name) == list(kinds)


@pytest.fixture
def story():
    """Return what is told about the cells of the test."""
    heard = Story()
    undo = events.subscribe(heard.hear)
    yield heard
    undo()


class Thing:
    """What factories make in tests; `fate` is what its methods raise."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.fate: BaseException | None = None
        self.closed = 0

    def work(self, answer: object = "done") -> object:
        if self.fate is not None:
            raise self.fate
        return answer

    async def awork(self) -> str:
        if self.fate is not None:
            raise self.fate
        return "done"

    @property
    def state(self) -> object:
        return self.work("fine")

    def __len__(self) -> int:
        self.work()
        return 3

    def close(self) -> None:
        self.closed += 1


class Plant:
    """A factory whose attempts end as the test says: a thing, an error, or a hang until `let_go`."""

    def __init__(self) -> None:
        self.fate: BaseException | None = None
        self.hanging = False
        self.things: list[Thing] = []
        self.runs = 0
        self.threads: list[str] = []
        self._changed = threading.Condition()
        self._gate = threading.Event()

    def make(self) -> Thing:
        gate, hanging, fate = self._gate, self.hanging, self.fate
        with self._changed:
            self.runs += 1
            self.threads.append(threading.current_thread().name)
            self._changed.notify_all()
        if hanging:
            assert gate.wait(60)
        if fate is not None:
            raise fate
        self.things.append(Thing(f"thing {len(self.things) + 1}"))
        return self.things[-1]

    def let_go(self) -> None:
        """End all attempts that hang."""
        self.hanging = False
        gate, self._gate = self._gate, threading.Event()
        gate.set()

    def until(self, runs: int, limit: float = 30.0) -> None:
        """Wait until so many attempts have begun."""
        with self._changed:
            assert self._changed.wait_for(lambda: self.runs >= runs, limit), self.runs


@pytest.fixture
def plant():
    """Return a factory that does what the test says; nothing named db hangs or recovers after the test."""
    made = Plant()
    yield made
    for cell, _ in registry.cells():
        if cell.name == "db":
            cell.reset()
    made.let_go()
    until = time.monotonic() + 30
    while any(thread.name == "lazyguard db" for thread in threading.enumerate()):  # one may not have started yet
        assert time.monotonic() < until, "an attempt outlives its test"
        time.sleep(0.001)
