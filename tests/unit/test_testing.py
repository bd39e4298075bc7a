"""For a host's tests: the clock that they move, and testing mode."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

import lazyguard
from lazyguard._core import clock, mode
from lazyguard.errors import ConfigurationError
from lazyguard.testing import FakeClock, set_testing


def test_time_stands_still_and_moves_by_what_it_is_told():
    """Inside the block the core's clock is the fake one; afterwards it is the one before, also when blocks nest."""
    real = clock.current
    with FakeClock() as outer:
        assert clock.now() == clock.now() == outer.now()
        date = outer.date()
        with FakeClock() as inner:
            inner.advance(5.0)
            assert clock.current is inner
            assert clock.now() == outer.now() + 5.0
        assert clock.current is outer
        outer.advance(0.5)
        assert outer.date() == pytest.approx(date + 0.5)
    assert clock.current is real


def test_no_sum_of_seconds_is_rounded():
    """The fake clock begins at the next whole second, so that sums of seconds are exact."""
    before = clock.now()
    with FakeClock() as time:
        assert before <= time.now() == int(time.now()) < before + 30.0
        began = time.now()
        for _ in range(10_000):
            time.advance(50.5)
        assert time.now() - began == 505_000.0


@given(st.lists(st.floats(0.0, 1e6), max_size=20), st.floats(0.001, 1e5), st.integers(1, 5))
def test_what_is_waited_for_has_come(before, wait, parts):
    """Whatever has been added before, and in however many parts the wait is: no rounding leaves a rest of it."""
    with FakeClock() as time:
        for seconds in before:
            time.advance(seconds)
        due = time.now() + wait
        for _ in range(parts):
            time.advance(wait / parts)
        assert due <= time.now() < due + 1e-5


@pytest.mark.parametrize("seconds", [-1.0, float("nan")])
def test_time_does_not_go_back(seconds):
    """A negative advance, or one that is no number, is refused."""
    with FakeClock() as time, pytest.raises(ConfigurationError, match="zero or more seconds"):
        time.advance(seconds)


def test_what_waits_looks_again_soon():
    """However far the fake time is, a waiter reads it again within 2 ms of real time."""
    assert FakeClock().real(3600.0) <= 0.002
    assert FakeClock().real(0.001) <= 0.001


def test_what_was_said_last_counts_and_a_block_takes_it_back():
    """`set_testing` holds at once, also without a block; the end of a block restores the former mode."""
    assert mode.limit is None
    with set_testing(True):
        assert mode.is_testing()
        with set_testing(False):
            assert not mode.is_testing()
            set_testing(True)
            assert mode.is_testing()
        assert mode.is_testing()
    assert mode.limit is None


def test_pytest_is_testing_and_cuts_no_retries(monkeypatch):
    """Without `set_testing`, pytest alone allows mocks, and changes no attempts."""
    assert mode.is_testing()
    assert mode.attempts() is None
    for name in ("PYTEST_CURRENT_TEST", "PYTEST_VERSION"):
        monkeypatch.delenv(name, raising=False)
    assert not mode.is_testing()


@pytest.mark.parametrize(("attempts", "tried"), [(1, 1), (2, 2), (9, 3)])
def test_attempts_are_cut_and_nobody_waits(clock, attempts, tried):
    """In testing mode there are `attempts` attempts, never more than declared, and no wait between them."""
    tries = []

    def factory():
        tries.append(1)
        raise ConnectionError

    get = lazyguard.service(name="db", retry=lazyguard.Retry(attempts=3, initial=60.0), recovery=None)(factory)
    with set_testing(True, attempts=attempts), pytest.raises(lazyguard.ResolutionError):
        len(get())  # the clock stands still: a wait would never end
    assert len(tries) == tried


@pytest.mark.parametrize(
    "wrong", [{"testing": 1}, {"testing": True, "attempts": 0}, {"testing": True, "attempts": 1.5}]
)
def test_what_set_testing_refuses(wrong):
    """A bad value is refused, and changes nothing."""
    with pytest.raises(ConfigurationError):
        set_testing(**wrong)
    assert mode.limit is None
