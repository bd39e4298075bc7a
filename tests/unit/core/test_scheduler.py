"""What is due later: in order, on one thread that ends when it is idle, woken by a clock that is moved."""

from __future__ import annotations

import io
import sys
import threading
from contextvars import Context
from weakref import ref

import pytest

from lazyguard import events
from lazyguard._core import clock, daemons, scheduler
from lazyguard.testing import FakeClock

pytestmark = pytest.mark.usefixtures("limited")


def runners() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "lazyguard scheduler"]


def test_jobs_run_in_the_order_of_their_time(eventually):
    """Jobs run when they are due and not before, the earlier one first, on one thread that then ends."""
    done: list[str] = []
    others = set(runners())  # of earlier tests, whose jobs may be due in years
    scheduler.renew()
    with FakeClock() as time:
        start = clock.now()
        scheduler.at(start + 2.0, lambda: done.append("second"))
        scheduler.at(start + 1.0, lambda: done.append("first"))
        scheduler.at(start + 9.0, lambda: done.append("last"))
        assert len(set(runners()) - others) <= 1
        time.advance(2.0)
        eventually(lambda: len(done) == 2)
        assert done == ["first", "second"]
        time.advance(7.0)
        eventually(lambda: done == ["first", "second", "last"])
    eventually(lambda: not set(runners()) - others)


@pytest.mark.parametrize("raised", [ValueError, SystemExit, KeyboardInterrupt])
def test_a_job_that_raises_hurts_no_other(caplog, eventually, raised):
    """What a job raises is logged by its type; the others run, then and later."""
    done: list[str] = []

    def broken() -> None:
        raise raised("secret")

    with FakeClock():
        scheduler.at(clock.now(), broken)
        scheduler.at(clock.now(), lambda: done.append("other"))
        eventually(lambda: done == ["other"])
        scheduler.at(clock.now(), lambda: done.append("later"))
        eventually(lambda: done == ["other", "later"])
    eventually(lambda: raised.__name__ in caplog.text)
    assert "secret" not in caplog.text


def test_many_threads_add_jobs_and_none_is_lost(race, eventually):
    """Jobs added while the scheduler ends, starts or waits all run, each once."""
    done: list[int] = []

    def add(first: int):
        def work() -> None:
            for job in range(first, first + 200):
                scheduler.at(clock.now() + (job % 3) * 0.0005, lambda job=job: done.append(job))

        return work

    assert race(*[add(first) for first in range(0, 1600, 200)]) == [None] * 8
    eventually(lambda: len(done) == 1600)
    assert sorted(done) == list(range(1600))


def test_an_earlier_job_wakes_a_waiting_scheduler(eventually):
    """A job that is due before the one that is waited for does not wait with it; nor does one under a new clock."""
    done: list[str] = []
    due = clock.now() + 1000.0
    scheduler.at(due, lambda: done.append("late"))
    scheduler.at(clock.now() + 0.01, lambda: done.append("early"))
    eventually(lambda: done == ["early"])
    with FakeClock() as time:
        time.advance(1000.0)
        eventually(lambda: done == ["early", "late"])


def test_a_cancelled_job_is_not_done(eventually):
    """What was cancelled is not done, keeps nothing alive, and does not keep the thread waiting for its time."""
    done: list[str] = []
    others = set(runners())
    scheduler.renew()
    with FakeClock() as time:
        jobs = [scheduler.at(clock.now() + 5.0, lambda: done.append("cancelled")) for _ in range(1000)]
        kept = scheduler.at(clock.now() + 1.0, lambda: done.append("kept"))
        for job in jobs:
            job.cancel()
        assert {job.work for job in jobs} == {None}
        time.advance(1.0)
        eventually(lambda: done == ["kept"])
        eventually(lambda: not set(runners()) - others)  # although the clock does not show their time yet
        kept.cancel()
        time.advance(9.0)
    assert done == ["kept"]


def test_cancelled_jobs_give_their_places_back(eventually):
    """However many jobs come and are cancelled behind one that stays, few of them are kept."""
    one = scheduler.Scheduler()
    with FakeClock() as time:
        first = one.at(clock.now() + 5.0, lambda: None)
        for _ in range(50):
            jobs = [one.at(clock.now() + 9.0, lambda: None) for _ in range(100)]
            eventually(lambda: not one._inbox)
            for job in jobs:
                job.cancel()
        eventually(lambda: len(one._due) < 400)
        assert first.work is not None
        time.advance(9.0)
        one.poke()
        eventually(lambda: not one.runs)


def test_where_no_thread_is_to_be_had_the_next_job_tries_again(monkeypatch, eventually):
    """A job for which no thread can be started raises nothing and waits; the next one starts the thread for both."""
    done: list[str] = []
    one = scheduler.Scheduler()

    def refuse(_work, _name, **_options) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(daemons, "daemon", refuse)
        one.at(0.0, lambda: done.append("first"))
    assert not done
    one.at(0.0, lambda: done.append("second"))
    eventually(lambda: done == ["first", "second"])


def test_an_interruption_while_the_thread_is_started(monkeypatch, eventually):
    """Ctrl-C there reaches the caller, and leaves a scheduler that the next job starts."""
    done: list[str] = []
    one = scheduler.Scheduler()

    def interrupted(_work, _name, **_options) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(daemons, "daemon", interrupted)
        with pytest.raises(KeyboardInterrupt):
            one.at(0.0, lambda: done.append("first"))
    one.at(0.0, lambda: done.append("second"))
    eventually(lambda: done == ["first", "second"])


def test_a_job_that_comes_as_the_thread_leaves(eventually):
    """A job that is added after the last look at the inbox is seen by whoever is leaving, which starts another."""
    done: list[str] = []
    one = scheduler.Scheduler()
    life = scheduler._Life(one)
    one._owner = ref(life, one._ended)
    Context().run(one.run, life)  # nothing is due
    assert one.put(scheduler.Job(0.0, lambda: done.append("late")))  # it is still there, as far as anybody sees
    del life
    eventually(lambda: done == ["late"])


def test_a_job_that_comes_after_the_look_at_the_clock_is_not_waited_over(eventually):
    """A job that is due at once and comes between the look at the clock and the wait is done without the wait."""
    done: list[str] = []

    class Clock(clock.Clock):
        def now(self) -> float:
            if threading.current_thread().name == "lazyguard under test" and not coming:
                coming.append(1)
                one.put(scheduler.Job(0.0, lambda: done.append("now")))
            return 1.0

        def real(self, seconds: float) -> float:
            if threading.current_thread().name == "lazyguard under test":
                assert done == ["now"], "it waits although there is something to do"
            return 0.01

    coming: list[int] = []
    one = scheduler.Scheduler("under test")
    before = clock.install(Clock())
    try:
        one.at(2.0, lambda: done.append("in a second"))
        eventually(lambda: done == ["now"])
    finally:
        clock.install(before)
        one.poke()
    eventually(lambda: done == ["now", "in a second"])
    eventually(lambda: not one.runs)


# 3.12 crashes where the instructions of frames that run already are traced.
STEP = "line" if sys.version_info[:2] == (3, 12) else "opcode"


class Killer:
    """Ends a scheduler's thread at its n-th step in the scheduler's own code, once."""

    def __init__(self, at: int) -> None:
        self.steps, self.at = 0, at

    def begin(self) -> None:
        """Called on that thread: trace what it runs from now on, and what it runs already."""
        frame = sys._getframe()
        while frame is not None:
            if frame.f_code.co_filename == scheduler.__file__:
                frame.f_trace, frame.f_trace_opcodes = self, STEP == "opcode"
            frame = frame.f_back
        sys.settrace(self)

    def __call__(self, frame, what, _):
        if frame.f_code.co_filename != scheduler.__file__:
            return None
        frame.f_trace_opcodes = STEP == "opcode"
        if what == STEP:
            self.steps += 1
            if self.steps == self.at:
                raise SystemExit
        return self


def test_whatever_ends_the_thread_another_one_goes_on(monkeypatch, eventually):
    """It is ended at each instruction of its own code: what is due is done all the same, by itself."""
    monkeypatch.setattr(threading, "excepthook", lambda _: None)
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    monkeypatch.setattr(events, "_mailboxes", {})

    def ended_at(step: int) -> int:
        one, killer, gate = scheduler.Scheduler("under test"), Killer(step), threading.Event()
        done: list[str] = []
        one.at(0.0, lambda: (killer.begin(), gate.wait(20)))
        one.at(1.0, lambda: done.append("first"))
        one.at(clock.now() + 0.001, lambda: done.append("second"))
        gate.set()
        eventually(lambda: set(done) == {"first", "second"} and not one.runs)
        return killer.steps

    steps = ended_at(0)
    assert steps > 50
    for step in range(1, steps + 1):
        ended_at(step)
