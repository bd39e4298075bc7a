"""The clock that tests move themselves."""

from __future__ import annotations

import pytest

from lazyguard._core import clock
from lazyguard.errors import ConfigurationError
from lazyguard.testing import FakeClock


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


@pytest.mark.parametrize("seconds", [-1.0, float("nan")])
def test_time_does_not_go_back(seconds):
    """A negative or meaningless advance is refused where it is written."""
    with FakeClock() as time, pytest.raises(ConfigurationError, match="time goes forward"):
        time.advance(seconds)


def test_what_waits_looks_again_soon():
    """However far away the fake time is, a waiter looks again within 2 ms of real time."""
    assert FakeClock().real(3600.0) <= 0.002
    assert FakeClock().real(0.001) <= 0.001
