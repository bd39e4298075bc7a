"""Threads: one result for all who race, no lock during user code, interruptions, and an exit that waits for nobody."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import subprocess
import sys
import threading
import time
from textwrap import dedent

import pytest

import lazyguard
from lazyguard import errors, events
from lazyguard._core import cell as cells
from lazyguard._core import daemons, state, wait_cycles
from lazyguard._core.cell import Cell
from lazyguard._core.declaration import Plan
from lazyguard._core.effects import Sleep
from lazyguard._core.threads import resolved
from lazyguard.testing import FakeClock

pytestmark = pytest.mark.usefixtures("limited")

TIMEOUTS = pytest.mark.parametrize("timeout", [None, 30.0])


@TIMEOUTS
@pytest.mark.parametrize("threads", [2, 8, 16])
def test_all_who_race_get_one_object(race, threads, timeout):
    """However many threads ask at once, the factory runs once a generation and all get what it made."""
    for _ in range(10):
        made: list[object] = []
        cell = Cell(
            lambda made=made: made.append(object()) or made[-1], name="c", place="p", plan=Plan(timeout=timeout)
        )
        results = race(*[lambda cell=cell: resolved(cell)] * threads)
        assert len(made) == 1
        assert results == made * threads


@TIMEOUTS
def test_all_who_race_hear_of_one_failure(race, eventually, timeout):
    """All who wait for an attempt that fails are told so, each by an exception of its own with the same cause."""
    gate = threading.Event()

    def factory():
        assert gate.wait(20)
        raise ConnectionError

    cell = Cell(factory, name="c", place="p", plan=Plan(timeout=timeout))

    def ask():
        return resolved(cell)

    def let_it_fail():
        eventually(lambda: len(wait_cycles.waiting) == (3 if timeout else 2))
        gate.set()

    *answers, _ = race(ask, ask, ask, let_it_fail)
    assert all(isinstance(answer, errors.ResolutionError) for answer in answers)
    assert len(set(map(id, answers))) == 3
    assert len({id(answer.__cause__) for answer in answers}) == 1


def test_racing_resets_close_each_object_once(race):
    """Threads that use, reset, override and open one cell at once: each object made is closed once, or is served."""
    made: list[object] = []
    closed: list[object] = []
    cell = Cell(lambda: made.append(object()) or made[-1], name="c", place="p", plan=Plan(close=closed.append))

    def use():
        for _ in range(200):
            resolved(cell)

    def reset():
        for _ in range(200):
            cell.reset()

    def override():
        for _ in range(200):
            cell.override("fake")()

    assert race(use, use, reset, override) == [None] * 4
    cell.reset()
    assert sorted(map(id, closed)) == sorted(map(id, made))
    assert "fake" not in closed
    assert not cell.now.overrides
    assert not cells.active


@TIMEOUTS
def test_no_lock_is_held_while_user_code_runs(timeout):
    """Factory, probe, close, fallback and listener may each wait for a thread that changes another cell."""
    other = Cell(object, name="other", place="p")
    held: list[str] = []

    def look(where: str) -> None:
        free: list[bool] = []

        def take() -> None:
            free.append(state.lock.acquire(timeout=5))
            state.lock.release()
            other.reset()

        thread = threading.Thread(target=take, daemon=True)
        thread.start()
        thread.join(20)
        if free != [True]:
            held.append(where)
        looked.append(where)

    looked: list[str] = []
    fails = False

    def factory():
        look("factory")
        if fails:
            raise ConnectionError
        return object()

    undo = events.subscribe(lambda event: look("listener") if event.name == "c" else None)
    try:
        plan = Plan(timeout=timeout, probe=lambda _: look("probe"), close=lambda _: look("close"))
        cell = Cell(factory, name="c", place="p", plan=plan)
        cell.fallbacks = (Cell(lambda: look("fallback") or "fallback", name="f", place="p"),)
        resolved(cell)
        cell.reset()
        fails = True
        assert resolved(cell) == "fallback"
    finally:
        undo()
    assert set(looked) == {"factory", "probe", "close", "listener", "fallback"}
    assert held == []


def test_a_thousand_timed_out_calls_leave_two_threads(eventually):
    """A factory that hangs has at most one replacement beside it, whoever asks, resets and overrides."""
    gate = threading.Event()
    with FakeClock() as clock:
        cell = Cell(gate.wait, name="a thousand", place="p", plan=Plan(timeout=1.0, abandon_after=5.0))
        for turn in range(1000):
            with pytest.raises(errors.ResolutionTimeout):
                resolved(cell, wait=0.0)
            clock.advance(1.0)
            if turn % 100 == 50:
                cell.reset()
            if turn % 100 == 70:
                cell.override("fake")()
        theirs = sum(thread.name == "lazyguard a thousand" for thread in threading.enumerate())
        running = len(cell.now.running)
        gate.set()
        assert (theirs, running) == (2, 2)
        eventually(lambda: not cell.now.running)


def test_a_timeout_bounds_the_whole_wait_and_a_late_result_is_adopted(told, eventually):
    """The caller's wait ends when its time has passed, retries included; the attempt goes on and is used."""

    class Retry:
        def begin(self, _):
            return self

        def again(self, outcome, until=None):
            yield Sleep(60.0)

    tries: list[int] = []

    def factory():
        tries.append(1)
        if len(tries) == 1:
            raise ConnectionError
        return "late"

    with FakeClock() as clock:
        cell = Cell(factory, name="late", place="here:1", plan=Plan(timeout=5.0, retry=Retry()))
        thread = threading.Thread(
            target=lambda: eventually(lambda: bool(wait_cycles.waiting)) or clock.advance(6.0), daemon=True
        )
        thread.start()
        with pytest.raises(errors.ResolutionTimeout, match=r"here:1.*5\.0 s"):
            resolved(cell)
        thread.join(20)
        assert cell.now.state == "resolving"
        clock.advance(60.0)
        eventually(lambda: cell.now.state == "ready")
        assert resolved(cell) == "late"
    eventually(lambda: [event.kind for event in told if event.name == "late"] == ["timeout", "ready"])


@pytest.mark.parametrize("raised", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_what_is_raised_on_our_own_thread_is_a_failure(raised):
    """Nobody interrupts a daemon thread of ours: what its factory raises is told, not run again without end."""
    calls: list[int] = []

    def factory():
        calls.append(1)
        raise raised

    cell = Cell(factory, name="c", place="p", plan=Plan(timeout=30.0))
    with pytest.raises(errors.ResolutionError) as caught:
        resolved(cell)
    assert isinstance(caught.value.__cause__, raised)
    assert calls == [1]


def test_an_interruption_passes_through_and_the_next_caller_builds():
    """Ctrl-C while the caller's own thread builds ends that attempt only: pending again, nothing cached."""
    calls: list[int] = []

    def factory():
        calls.append(1)
        if len(calls) == 1:
            raise KeyboardInterrupt
        return "built"

    cell = Cell(factory, name="c", place="p")
    with pytest.raises(KeyboardInterrupt):
        resolved(cell)
    assert cell.now.state == "pending"
    assert resolved(cell) == "built"
    assert not wait_cycles.running


def test_an_interruption_in_the_probe_closes_what_was_made():
    """What the factory made is closed when the probe on it is interrupted."""
    closed: list[object] = []

    def probe(_target: object) -> None:
        raise KeyboardInterrupt

    cell = Cell(lambda: "made", name="c", place="p", plan=Plan(probe=probe, close=closed.append))
    with pytest.raises(KeyboardInterrupt):
        resolved(cell)
    assert closed == ["made"]


class Interrupted(BaseException):
    """What the signal handler of the next test raises."""


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="this platform has no timer signals")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # it may come in a finaliser
def test_an_interruption_at_any_moment_leaves_the_cell_usable(monkeypatch):
    """A signal handler that raises between any two instructions leaves no attempt behind that nobody ends.

    Without a timeout: threading itself may leave a thread behind whose start was interrupted.
    """
    monkeypatch.setattr(events, "_mailboxes", {})  # logging does not survive it: its lock stays taken
    cell = Cell(object, name="c", place="p")

    def handler(_number, _frame) -> None:
        raise Interrupted

    before = signal.signal(signal.SIGALRM, handler)
    gc.disable()  # what others run at a collection, hypothesis for one, would be interrupted too
    hits = 0
    until = time.monotonic() + 1.0
    try:
        delay = 0.00001
        while time.monotonic() < until:
            delay = 0.00001 if delay > 0.0006 else delay * 1.13
            try:
                signal.setitimer(signal.ITIMER_REAL, delay)
                for _ in range(10):
                    cell.reset()
                    resolved(cell)
                signal.setitimer(signal.ITIMER_REAL, 0)
            except Interrupted:
                hits += 1
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
            resolved(cell, wait=20.0)
    except Interrupted:
        pass  # it came while the timer was being stopped
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        gc.enable()
        signal.signal(signal.SIGALRM, before)
    assert hits
    assert resolved(cell, wait=20.0) is resolved(cell, wait=20.0)
    assert cell.now.running == ()
    # an interruption in the very last lines may leave a note of what does not run any more, which nobody follows
    wait_cycles.running.pop(threading.get_ident(), None)
    wait_cycles.waiting.pop(threading.get_ident(), None)
    cells.active.clear()


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="this platform has no timer signals")
def test_a_signal_handler_that_changes_the_cell_is_not_overwritten():
    """A handler that resets the cell its thread is changing: no generation is lost, and the mirror shows the last."""

    class Mirror:
        shown: object = None

        def is_shown_by(self, _thing):
            return False

        def load(self, _cell):
            pass

        def prepare(self, _cell, snapshot):
            return (snapshot.target,)

        def publish(self, view):
            before, self.shown = self.shown, view[0]
            return (before,)

        def drop(self, view) -> None:
            pass

    cell = Cell(object, name="c", place="p")
    mirror = cell.mirror = Mirror()
    resets = 0

    def handler(_number, _frame) -> None:
        nonlocal resets
        resets += 1
        cell.reset()

    before = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.0001, 0.00013)
    asked = 0
    try:
        until = time.monotonic() + 0.7
        while time.monotonic() < until:
            asked += 1
            cell.reset()
            try:
                resolved(cell)
            except errors.CircularResolutionError:
                pass
            generation, shown, now = cell.now.generation, mirror.shown, cell.now
            if now is cell.now and generation == now.generation and mirror.shown is shown:
                assert shown is now.target
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert resets
    assert cell.now.generation == asked + resets


def test_the_mirror_shows_the_last_of_two_nested_transitions():
    """A handler that comes as the mirror is about to show one transition makes another: that is what stays shown."""

    class Mirror:
        shown: object = None
        nested = False

        def is_shown_by(self, _thing):
            return False

        def load(self, _cell):
            pass

        def prepare(self, _cell, snapshot):
            return (snapshot.target,)

        def publish(self, view):
            if not self.nested:
                self.nested = True
                cell.override("the handler's")
            before, self.shown = self.shown, view[0]
            return (before,)

        def drop(self, view) -> None:
            pass

    cell = Cell(lambda: "the outer one's", name="c", place="p")
    mirror = cell.mirror = Mirror()
    assert resolved(cell) == "the handler's" == mirror.shown


def test_a_handler_that_uses_the_cell_which_its_thread_builds_is_told():
    """A signal handler that comes in the middle of the factory and asks for the same cell gets the ring, no hang."""
    caught: list[BaseException] = []

    def handler(_number, _frame) -> None:
        try:
            resolved(cell)
        except errors.CircularResolutionError as error:
            caught.append(error)

    def factory():
        signal.raise_signal(signal.SIGUSR1)
        return "built"

    cell = Cell(factory, name="c", place="p")
    before = signal.signal(signal.SIGUSR1, handler)
    try:
        assert resolved(cell) == "built"
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert len(caught) == 1


def test_an_attempt_whose_thread_has_left_it_is_ended_by_those_who_wait():
    """Where a second interruption kept an attempt from being settled, the next caller ends it and builds."""
    cell = Cell(object, name="c", place="p")
    attempt, new, _ = cell.find_attempt(cell.now)
    assert attempt is not None
    assert new
    wait_cycles.enter(attempt)
    wait_cycles.leave(attempt)
    assert resolved(cell) is cell.now.target
    assert attempt.outcome is not None
    assert attempt.outcome.interrupted


def test_a_thread_that_cannot_be_started_is_a_failure(monkeypatch):
    """Where no thread can be had, the caller is told, and the next one tries again."""
    cell = Cell(object, name="c", place="p", plan=Plan(timeout=30.0))

    def refuse(_work, _name, **_options) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(daemons, "daemon", refuse)
        with pytest.raises(errors.ThreadUnavailable, match="lazyguard could start no thread") as told:
            resolved(cell)
        assert isinstance(told.value.__cause__, errors.ThreadUnavailable)
    assert resolved(cell) is cell.now.target


@pytest.mark.parametrize("awaited", [False, True])
def test_a_fallback_needs_no_thread(monkeypatch, awaited):
    """Where no thread can be had it is built where it was asked for, sync and async."""

    def refuse(_work, _name, **_options) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(daemons, "daemon", refuse)
    get = lazyguard.service(timeout=30.0, recovery=None)(lambda: ["real"])
    get.fallback(lambda cause: [type(cause).__name__, threading.get_ident()])
    served = asyncio.run(get.aget()) if awaited else get()
    assert served == ["ThreadUnavailable", threading.get_ident()]


@pytest.mark.parametrize("where", ["factory", "task", "scheduler", "recovery"])
def test_the_process_exits_at_once_whatever_hangs(where):
    """Hanging attempts and what is scheduled for later delay no exit: our threads are daemons, there is no executor."""
    program = f"""
        import asyncio, threading
        from lazyguard._core import clock, scheduler
        from lazyguard._core.tasks import aresolved
        from lazyguard._core.cell import Cell
        from lazyguard._core.threads import resolved
        from lazyguard._core.declaration import Plan

        hang = threading.Event().wait
        where = {where!r}
        plan = Plan(timeout=0.05, abandon_after=0.01, close=print, grace=1000.0)
        cell = Cell(hang, name="c", place="p", plan=plan)
        if where == "scheduler":
            for _ in range(10):
                scheduler.at(clock.now() + 1000.0, hang)
        elif where == "recovery":
            cell = Cell(lambda: "made", name="c", place="p", plan=plan.changed(timeout=30.0))
            resolved(cell)
            cell.open(0, ConnectionError())
        else:
            for _ in range(3):
                try:
                    asyncio.run(aresolved(cell)) if where == "task" else resolved(cell)
                except TimeoutError:
                    pass
            assert len(cell.now.running) == 2
        print("done", flush=True)
        """
    started = time.monotonic()
    ran = subprocess.run(
        [sys.executable, "-c", dedent(program)],
        capture_output=True,
        text=True,
        timeout=40,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    closed = "made\n" if where == "recovery" else ""
    assert (ran.stdout, ran.returncode) == (f"done\n{closed}", 0), ran.stderr
    assert "Traceback" not in ran.stderr
    assert time.monotonic() - started < 20


@pytest.mark.parametrize("begun", [False, True])
def test_an_interruption_while_a_thread_is_started(monkeypatch, eventually, begun):
    """Ctrl-C there reaches the caller. A thread that has begun goes on and is adopted; else the next caller builds."""
    built: list[int] = []
    cell = Cell(lambda: built.append(1) or "built", name="c", place="p", plan=Plan(timeout=30.0))
    real = daemons.daemon

    def interrupted(work, name: str, **options) -> None:
        if begun:
            real(work, name, **options)
            eventually(lambda: cell.now.state == "ready")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(daemons, "daemon", interrupted)
        with pytest.raises(KeyboardInterrupt):
            resolved(cell)
    assert cell.now.state == ("ready" if begun else "pending")
    assert not cell.now.running
    assert resolved(cell) == "built"
    assert built == [1]


def test_a_fork_inside_a_handler_on_top_of_a_transition(in_child):
    """A handler that comes while its thread holds the lock, and whose factory forks: both processes go on."""

    def work() -> None:
        children: list[int] = []
        cell = Cell(lambda: children.append(os.fork()) or "built", name="c", place="p")
        with state.lock:
            assert resolved(cell) == "built"
        other = Cell(object, name="other", place="p")
        assert resolved(other) is other.now.target
        if children[0]:
            assert os.waitstatus_to_exitcode(os.waitpid(children[0], 0)[1]) == 0

    assert in_child(work) == 0


def test_a_lock_that_a_fork_has_renewed_is_its_holders_again():
    """Where the lock was put aside for a handler, and is renewed meanwhile, nobody is waited for."""
    old = state.lock
    thread = threading.Thread(target=old.acquire, daemon=True)  # it never lets go, as one that the child has not

    def factory() -> str:
        thread.start()
        thread.join(20)
        old.renew()
        return "built"

    cell = Cell(factory, name="c", place="p")
    with old:
        assert resolved(cell) == "built"
        assert old._is_owned()


def test_a_thread_that_is_slow_to_begin_leaves_its_attempt_to_nobody(monkeypatch):
    """Between the start of its thread and the first step there an attempt belongs to no thread; then it is built."""
    began: list[object] = []
    daemon = daemons.daemon

    def later(work, name, **options):
        def when_free():
            with state.lock:
                pass
            while cell.now.attempt is not None and cell.now.attempt.thread is not None:
                time.sleep(0.001)
            began.append(cell.now.attempt.thread)
            work()

        daemon(when_free if name == cell.name else work, name, **options)  # else it closes what another test has left

    cell = Cell(lambda: [1], name="slow to begin", place="p", plan=Plan(timeout=30.0))
    monkeypatch.setattr(daemons, "daemon", later)
    assert resolved(cell) == [1]
    assert began == [None]
