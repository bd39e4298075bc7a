"""`Alarm` interrupts the main thread after its seconds, and leaves the host's timer as it was."""

from __future__ import annotations

import itertools
import signal
import threading
import time

import pytest

from lazyguard._guards.alarm import Alarm

pytestmark = pytest.mark.usefixtures("limited")


class Rang(BaseException):
    """The exception that the alarms of these tests raise."""


def ring(_frame):
    raise Rang


@pytest.fixture(autouse=True)
def quiet():
    """Leave no timer and no handler to the next test."""
    before = signal.getsignal(signal.SIGALRM)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0.0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("block", [lambda: threading.Event().wait(), lambda: [None for _ in iter(int, 1)]])
def test_it_ends_a_wait_and_a_spin(block):
    """A blocking system call is interrupted, and so is a loop that never leaves the interpreter."""
    with pytest.raises(Rang), Alarm(0.01, ring):
        block()


def test_it_tells_where():
    """The callback gets the frame that was running, which has the line that hangs."""
    seen = []

    def note(frame):
        seen.append(frame.f_code.co_name)
        raise Rang

    def hang():
        while True:
            pass

    with pytest.raises(Rang), Alarm(0.01, note):
        hang()
    assert seen == ["hang"]


def test_what_swallows_it_meets_the_next_one():
    """If a bare `except` swallows the exception, the alarm comes again."""
    caught = 0
    with pytest.raises(Rang), Alarm(0.01, ring):
        try:
            threading.Event().wait()
        except BaseException:
            caught += 1
        threading.Event().wait()
    assert caught == 1


def test_afterwards_all_is_as_it_was():
    """The host's handler, timer and interval are restored, less the time that has passed."""

    def handler(number, frame): ...

    signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 500.0, 7.0)
    with Alarm(400.0, ring) as alarm:
        assert alarm.armed
    assert signal.getsignal(signal.SIGALRM) is handler
    left, interval = signal.getitimer(signal.ITIMER_REAL)
    assert 400.0 < left <= 500.0
    assert interval == 7.0


def test_no_timer_before_is_no_timer_after():
    """A host without a timer has none afterwards."""
    with Alarm(400.0, ring):
        pass
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
    assert signal.getsignal(signal.SIGALRM) == signal.SIG_DFL


def test_a_hosts_timer_calls_the_host():
    """A host's timer that is due first calls the host's handler in time, and the alarm still comes in time."""
    rang = threading.Event()
    signal.signal(signal.SIGALRM, lambda number, frame: rang.set())
    signal.setitimer(signal.ITIMER_REAL, 0.01)
    with Alarm(300.0, ring) as alarm:
        while not rang.is_set():
            time.sleep(0.001)
        assert 200.0 < signal.getitimer(signal.ITIMER_REAL)[0] <= 300.0
        assert alarm.armed
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_one_inside_another():
    """Of nested alarms the one that is due first comes first, and the outer one keeps its time."""

    def rings(name: str):
        return lambda frame: (_ for _ in ()).throw(Rang(name))

    with Alarm(60.0, rings("outer")):
        with pytest.raises(Rang, match="inner"), Alarm(0.01, rings("inner")):
            threading.Event().wait()
        assert 0.0 < signal.getitimer(signal.ITIMER_REAL)[0] < 60.0
    with pytest.raises(Rang, match="outer"), Alarm(0.01, rings("outer")), Alarm(60.0, rings("inner")):
        threading.Event().wait()


def test_elsewhere_it_says_that_it_cannot(race):
    """On another thread no timer is set, and no alarm comes."""

    def elsewhere():
        with Alarm(0.001, ring) as alarm:
            return alarm.armed, signal.getitimer(signal.ITIMER_REAL)

    assert race(elsewhere) == [(False, (0.0, 0.0))]


def test_they_end_in_any_order():
    """Alarms of tasks need not be nested: with the last one the host has its handler and its timer again."""

    def handler(number, frame): ...

    signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 500.0)
    for order in itertools.permutations(range(3)):
        alarms = [Alarm(60.0 + number, ring).__enter__() for number in range(3)]
        for number in order:
            assert 0.0 < signal.getitimer(signal.ITIMER_REAL)[0] < 63.0
            alarms[number].__exit__()
        assert signal.getsignal(signal.SIGALRM) is handler
        assert 400.0 < signal.getitimer(signal.ITIMER_REAL)[0] <= 500.0


def test_a_handler_that_is_set_inside():
    """A handler that is set within a block is that of the host for the blocks inside, and is restored after them."""

    def handler(number, frame): ...

    with Alarm(60.0, ring):
        outer = signal.signal(signal.SIGALRM, handler)
        with Alarm(50.0, ring):
            assert signal.getsignal(signal.SIGALRM) is not handler
        assert signal.getsignal(signal.SIGALRM) is handler
        signal.signal(signal.SIGALRM, outer)


def test_in_the_child_of_a_fork_the_parents_never_come(in_child):
    """A child's own alarms come, and it gets back the host's handler and the timer that it has set itself."""

    def other(frame):
        raise AssertionError

    def work():
        signal.setitimer(signal.ITIMER_REAL, 500.0)
        with pytest.raises(Rang), Alarm(0.01, ring):
            threading.Event().wait()
        assert signal.getsignal(signal.SIGALRM) == signal.SIG_DFL
        assert 400.0 < signal.getitimer(signal.ITIMER_REAL)[0] <= 500.0

    with Alarm(0.05, other) as alarm:
        alarm.rearm(300.0)
        assert in_child(work) == 0
