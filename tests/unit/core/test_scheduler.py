"""What is due later: in order, on one thread that ends when it is idle, woken by a clock that is moved."""

from __future__ import annotations

import threading

import pytest

from lazyguard._core import clock, scheduler
from lazyguard.testing import FakeClock

pytestmark = pytest.mark.usefixtures("limited")


def runners() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "lazyguard scheduler"]


def test_jobs_run_in_the_order_of_their_time(eventually):
    """Jobs run when they are due and not before, the earlier one first, on one thread that then ends."""
    done: list[str] = []
    with FakeClock() as time:
        start = clock.now()
        scheduler.at(start + 2.0, lambda: done.append("second"))
        scheduler.at(start + 1.0, lambda: done.append("first"))
        scheduler.at(start + 9.0, lambda: done.append("last"))
        assert len(runners()) <= 1
        time.advance(2.0)
        eventually(lambda: len(done) == 2)
        assert done == ["first", "second"]
        time.advance(7.0)
        eventually(lambda: done == ["first", "second", "last"])
    eventually(lambda: not runners())


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
    assert raised.__name__ in caplog.text
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
