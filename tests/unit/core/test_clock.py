"""One clock for all cells, which a test replaces in whole or in part."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

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


# What freezegun does: whatever module has one of time's functions among its globals has another one there meanwhile.
FREEZE = """
import sys, time
REAL = {id(getattr(time, name)): name for name in ("time", "monotonic", "perf_counter")}
def frozen(): return 0.0
def freeze():
    for module in list(sys.modules.values()):
        for name, value in list(vars(module).items()):
            if id(value) in REAL and module is not sys.modules["__main__"]:
                setattr(module, name, frozen)
"""


@pytest.mark.parametrize("loaded", ["before", "within"])
def test_a_date_that_a_test_has_frozen_holds_up_no_wait(loaded):
    """Retries, time-outs and recoveries go by the machine's time, whether lazyguard came before the freeze or in it."""
    program = f"""{FREEZE}
import threading
if {loaded == "before"}:
    import lazyguard
    lazyguard.service(timeout=5)(lambda: 1)() + 1
freeze()
import lazyguard, logging
logging.disable(50)
tries = []
@lazyguard.guarded(retry=lazyguard.Retry(attempts=3, initial=0.01))
def call(): tries.append(1); raise ConnectionError
try: call()
except ConnectionError: pass
@lazyguard.service(timeout=0.05, recovery=lazyguard.Recovery(initial=0.01, maximum=0.02))
def get() -> list:
    if not back.is_set(): threading.Event().wait(0.5); raise OSError
    return [1]
back, done = threading.Event(), threading.Event()
try: len(get())
except lazyguard.errors.ResolutionTimeout: print("timed out")
lazyguard.subscribe(lambda event: event.kind == "recovered" and done.set())
back.set()
print(len(tries), done.wait(20))
"""
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=50, check=True)
    assert ran.stdout.split("\n")[:2] == ["timed out", "3 True"], ran.stderr
