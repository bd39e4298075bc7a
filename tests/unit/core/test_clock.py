"""One clock for all cells, which a test replaces in whole or in part."""

from __future__ import annotations

import time

from lazyguard._core import clock


def test_a_clock_that_changes_only_one_thing_has_the_machines_time():
    """What a clock of a test does not override is the machine's: the time, and the date."""

    class Impatient(clock.Clock):
        def real(self, seconds: float) -> float:
            return 0.0

    before = clock.install(Impatient())
    try:
        start = time.monotonic()
        assert start <= clock.now() <= time.monotonic()
        day = time.time()
        assert day <= clock.current.date() <= time.time()
        assert clock.current.real(5.0) == 0.0
    finally:
        assert type(clock.install(before)) is Impatient
    assert clock.current is before
