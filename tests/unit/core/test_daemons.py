"""Daemon threads: those of the background are used again, and what finds none is tried again later."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import sys
import threading
import time
from contextvars import ContextVar

import pytest

import lazyguard
from lazyguard import events
from lazyguard._core import clock, closing, daemons, scheduler
from lazyguard.testing import FakeClock

pytestmark = pytest.mark.usefixtures("limited")
variable: ContextVar[str] = ContextVar("variable", default="none")


def nothing() -> list:
    return []


@pytest.fixture
def no_threads(monkeypatch):
    """Return what lets no thread of lazyguard be started, and what ends that."""
    real, gone = daemons._begin, threading.Event()

    def begin(*given) -> None:
        if gone.is_set():
            raise RuntimeError("can't start new thread")
        real(*given)

    class Idle(list):
        def pop(self):
            if gone.is_set():
                raise IndexError  # also where a thread of an earlier test has come to rest meanwhile
            return super().pop()

    monkeypatch.setattr(daemons, "_begin", begin)
    monkeypatch.setattr(daemons, "_idle", Idle())
    monkeypatch.setattr(daemons, "_PAUSES", (0.01, 0.04))
    scheduler.renew()
    yield gone
    gone.clear()
    daemons.refused.clear()
    scheduler.renew()


def test_a_thread_of_the_background_is_used_again_and_then_ends(monkeypatch, eventually):
    """Work takes a thread that has none; each has a context of its own; without more work the thread ends."""
    monkeypatch.setattr(daemons, "_idle", [])
    monkeypatch.setattr(daemons, "LINGER", 60.0)  # however busy the machine is
    threads, seen = [], []

    def work() -> None:
        threads.append(threading.current_thread())
        seen.append((threading.current_thread().name, variable.get()))
        variable.set("left behind")

    for number in range(50):
        daemons.daemon(work, f"job {number}", again=True)
        eventually(lambda number=number: len(seen) == number + 1 and daemons._idle)
        if number == 48:
            monkeypatch.setattr(daemons, "LINGER", 0.2)  # read when it waits after the last one
    assert len(set(threads)) <= 10  # what another test has left may come to be idle, and is used as well
    assert seen == [(f"lazyguard job {number}", "none") for number in range(50)]
    assert threads[-1].daemon
    assert threads[-1].name == "lazyguard idle"
    eventually(lambda: not threads[-1].is_alive())


def test_many_hand_over_work_and_none_is_lost(race, monkeypatch, eventually):
    """Work that comes while threads become idle, or end, is done once."""
    monkeypatch.setattr(daemons, "LINGER", 0.0005)
    done: list[int] = []

    def hand_over(first: int):
        def work() -> None:
            for number in range(first, first + 200):
                daemons.daemon(lambda number=number: done.append(number), "work", again=True)
                if number % 7 == 0:
                    time.sleep(0.0005)

        return work

    assert race(*[hand_over(first) for first in (0, 200, 400)]) == [None] * 3
    eventually(lambda: len(done) == 600)
    assert sorted(done) == list(range(600))


def test_what_work_raises_is_said_and_the_thread_goes_on(capsys, monkeypatch, eventually):
    """By its type, on stderr; the next work is done."""
    monkeypatch.setattr(daemons, "_idle", [])
    done = []

    def broken() -> None:
        raise KeyboardInterrupt("secret")

    daemons.daemon(broken, "work", again=True)
    eventually(lambda: daemons._idle)
    daemons.daemon(lambda: done.append(1), "work", again=True)
    eventually(lambda: done)
    said = capsys.readouterr().err
    assert "the thread 'work' was ended by KeyboardInterrupt" in said
    assert "secret" not in said


@pytest.mark.parametrize("touch", ["use", "health", "garbage"])
def test_a_recovery_for_which_there_is_no_thread_comes_all_the_same(no_threads, eventually, touch):
    """The machine has no thread for a while: when it has again, the service comes back at whatever is done next."""
    up, back = [], threading.Event()
    undo = lazyguard.subscribe(lambda event: back.set() if event.kind == "recovered" else None)

    @lazyguard.service(recovery=lazyguard.Recovery(initial=0.01, maximum=0.02))
    def get_prices() -> list:
        if not up:
            raise ConnectionError
        return [1]

    get_prices.fallback(nothing)
    no_threads.set()
    assert len(get_prices()) == 0
    for _ in range(20):
        assert len(get_prices()) == 0
        time.sleep(0.002)
    assert {pause for _, pause in daemons.refused.values()} == {0.04}  # the waits have grown, to the longest
    no_threads.clear()
    up.append(1)
    touches = {"use": lambda: len(get_prices()), "health": get_prices.health, "garbage": gc.collect}
    eventually(lambda: touches[touch]() is None or back.is_set())
    assert len(get_prices()) == 1
    assert not daemons.refused
    undo()


def test_a_recoverys_try_for_which_there_is_no_thread_says_nothing(no_threads, eventually):
    """The cause stays what it was, and the next try comes."""
    up, tries = [], []

    @lazyguard.service(name="db", recovery=lazyguard.Recovery(initial=0.01, maximum=0.02))
    def get_prices() -> list:
        tries.append(1)
        if not up:
            raise ConnectionError
        return [1]

    get_prices.fallback(nothing)
    held = threading.Event()
    scheduler.at(clock.now() + 1000.0, list)  # its thread is there
    eventually(lambda: scheduler._scheduler.runs)
    no_threads.set()
    assert len(get_prices()) == 0
    held.wait(0.2)
    assert get_prices.health().cause.startswith("ConnectionError")
    assert len(tries) == 1
    up.append(1)
    no_threads.clear()
    eventually(lambda: get_prices.health().state == "ready")


def test_closings_and_events_wait_for_a_thread(no_threads, eventually):
    """What falls due to be closed, and what scheduled work emits, is done when there is one."""
    closed, heard = [], []
    undo = lazyguard.subscribe(lambda event: heard.append(event.generation))

    @lazyguard.service(recovery=None, close=closed.append)
    def get_thing() -> list:
        return [1]

    assert len(get_thing()) == 1
    no_threads.set()
    cell = get_thing.__lazyguard_cell__()
    cell.open(cell.now.generation, OSError())
    closing.crew.look()
    event = events.Event(kind="ready", name="n", place="p", before="a", after="b", generation=7)
    scheduler.background().run(events.emit, event)
    assert 7 not in heard
    no_threads.clear()
    eventually(lambda: daemons.try_again() or 7 in heard)
    eventually(lambda: daemons.try_again() or scheduler.teller.look not in daemons.refused)
    undo()


@pytest.mark.parametrize("error", [RuntimeError("can't start new thread"), KeyboardInterrupt()])
def test_a_crew_that_could_begin_no_thread_has_none_at_work(monkeypatch, eventually, error):
    """Nothing holds the place of a thread that has never been; what waits is done when there is one."""
    done = []
    crew = daemons.Crew("crew", done.append, most=1, hangs=100.0)

    def fails(*_: object, **__: object) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(daemons, "daemon", fails)
        with contextlib.suppress(KeyboardInterrupt):
            crew.add("first")
    assert not crew.at_work
    eventually(lambda: daemons.try_again() or done)
    assert done == ["first"]
    eventually(lambda: daemons.try_again() or crew.look not in daemons.refused)


def test_how_late_it_runs_is_told(monkeypatch, told, eventually):
    """A figure of health; and an event, where it is more than a second."""
    scheduler.renew()
    ran = threading.Event()
    gate = threading.Event()
    now = clock.now()
    scheduler.at(now - 5.0, lambda: gate.wait(20))
    scheduler.at(now - 4.0, ran.set)
    eventually(lambda: scheduler._scheduler.late >= 5.0)
    assert lazyguard.health().scheduler_late >= 5.0
    assert lazyguard.health().to_dict()["schedulerLate"] >= 5.0
    gate.set()
    assert ran.wait(20)
    eventually(lambda: [event.kind for event in told if event.kind == "scheduler-late"])
    (late,) = [event for event in told if event.kind == "scheduler-late"]
    assert late.seconds >= 5.0
    scheduler.at(clock.now(), list)  # in time
    eventually(lambda: lazyguard.health().scheduler_late < 1.0)


def test_no_thread_at_the_end_of_the_interpreter(monkeypatch):
    """Where not even `threading` can be imported any more, that is the RuntimeError that callers expect."""
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "threading", None)
        with pytest.raises(RuntimeError, match="the interpreter is ending"):
            daemons.daemon(list, "never")


@pytest.fixture
def no_daemons(monkeypatch):
    """Be like an isolated sub-interpreter, which allows no daemon thread."""
    monkeypatch.setattr(daemons, "allowed", False)


def test_where_no_daemon_thread_is_allowed_callers_build(no_daemons):
    """A time-out is not kept there; what is degraded is tried again by its users, and closed by who replaces it."""
    up, tries, closed = [], [], []

    @lazyguard.service(timeout=30.0, recovery=lazyguard.Recovery(initial=5.0), close=closed.append)
    def get_prices() -> list:
        tries.append(threading.current_thread())
        if not up:
            raise ConnectionError
        return [1]

    get_prices.fallback(nothing)
    with FakeClock() as time:
        assert len(get_prices()) == 0
        time.advance(4.0)
        assert len(get_prices()) == 0
        assert len(tries) == 1
        time.advance(1.0)
        assert len(get_prices()) == 0
        assert len(tries) == 2
        up.append(1)
        assert len(get_prices()) == 0
        time.advance(5.0)
        assert len(get_prices()) == 1
    assert set(tries) == {threading.current_thread()}
    get_prices.reset()
    assert closed == [[1]]


def test_where_no_daemon_thread_is_allowed_a_task_builds(no_daemons):
    """A sync factory is built by the task that asks for it."""
    get = lazyguard.service(timeout=30.0, recovery=None)(lambda: [threading.current_thread()])
    assert asyncio.run(get.aget())[0] is threading.current_thread()


def test_where_no_daemon_thread_is_allowed_a_preload_says_so(no_daemons):
    """It is lazyguard that needs one, not what is to be built."""
    started = lazyguard.preload("decimal")
    assert started.wait(20)
    assert "lazyguard needs a daemon thread for it, and this sub-interpreter" in str(started.errors["decimal"])


@pytest.mark.skipif(sys.version_info < (3, 13), reason="no way to make one that all versions have")
def test_in_a_sub_interpreter(tmp_path):
    """An isolated one in earnest: a service with a timeout is built."""
    import _interpreters

    code = f"""
import sys
sys.path[:] = {sys.path!r}
import lazyguard
get = lazyguard.service(timeout=5.0)(lambda: [1])
open({str(tmp_path / "said")!r}, "w").write(str(get()[0]))
"""
    interpreter = _interpreters.create("isolated")
    failed = _interpreters.run_string(interpreter, code)
    _interpreters.destroy(interpreter)
    assert failed is None, failed
    assert (tmp_path / "said").read_text() == "1"


def test_a_thread_that_is_taken_and_gets_no_work_ends(monkeypatch, eventually):
    """A signal may come between the two: the thread that was to have the work ends as if nothing had been."""
    monkeypatch.setattr(daemons, "_idle", [])
    monkeypatch.setattr(daemons, "LINGER", 0.2)
    threads = []
    daemons.daemon(lambda: threads.append(threading.current_thread()), "work", again=True)
    eventually(lambda: daemons._idle)
    seat = daemons._idle.pop()
    eventually(lambda: not threads[0].is_alive())
    assert seat.take((lambda: None, "late")) is None  # who comes now looks for another thread


def test_work_is_done_though_its_thread_is_not_woken(monkeypatch, eventually):
    """A signal may come between handing work over and waking the thread: it finds the work when its patience ends."""
    monkeypatch.setattr(daemons, "_idle", [])
    monkeypatch.setattr(daemons, "LINGER", 0.2)
    done = []
    daemons.daemon(lambda: done.append(1), "work", again=True)
    eventually(lambda: daemons._idle)
    seat = daemons._idle.pop()
    if seat.take((lambda: done.append(2), "work")) is None:
        pytest.skip("the machine is so busy that it has ended")
    eventually(lambda: done == [1, 2])
