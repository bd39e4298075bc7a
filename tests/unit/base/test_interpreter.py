"""Context variables are set safely where finalisers set one too; locks are let go of where handlers raise."""

from __future__ import annotations

import gc
import signal
import subprocess
import sys
import threading
from contextvars import ContextVar

import pytest

from lazyguard._base import interpreter
from lazyguard._base.interpreter import Lock, assign

# Up to 3.11 many a run of this crashes where `assign` is plain `set`.
STORM = """
import gc
from contextvars import ContextVar
from lazyguard._base import interpreter
from lazyguard._base.interpreter import Lock, assign
variable = ContextVar("variable")
others = [ContextVar(str(number)) for number in range(40)]
for other in others:
    other.set(1)
class Dying:
    def __init__(self):
        self.me = self
    def __del__(self):
        assign(variable, 2)
        [object() for _ in range(50)]
        assign(variable, 3)
gc.collect()
gc.freeze()
for turn in range(100_000):
    Dying()
    gc.set_threshold(1 + turn % 20, 1, 1)
    assign(variable, turn)
    assign(variable, None)
    gc.set_threshold(700, 10, 10)
"""


@pytest.fixture
def variable():
    return ContextVar("variable", default=0)


def test_a_variable_is_set(variable):
    """The collector is on afterwards as before."""
    assign(variable, 1)
    assert variable.get() == 1
    assert gc.isenabled()


def test_a_collector_that_is_off_stays_off(variable):
    """A collector that the host has switched off stays off."""
    gc.disable()
    try:
        assign(variable, 1)
        assert variable.get() == 1
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_a_finaliser_that_sets_one_amid_a_set_crashes_nothing():
    """No collection begins amid a set, whose mapping a finaliser would free."""
    done = subprocess.run([sys.executable, "-c", STORM], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, (done.returncode, done.stderr)


# A handler raises at each of a few thousand moments of a loop that does nothing but take a lock and let it go.
INTERRUPTED = """
import signal, time
from itertools import cycle
from lazyguard._base.interpreter import Lock
lock = Lock()
class Rung(Exception):
    pass
def ring(*_):
    raise Rung
def section():
    with lock:
        pass
signal.signal(signal.SIGALRM, ring)
rung = left = 0
for delay in cycle(range(20, 120, 7)):
    try:
        signal.setitimer(signal.ITIMER_REAL, delay / 1e6)
        while True:
            section()
    except Rung:
        rung += 1
    if lock._is_owned():
        left += 1
        lock._at_fork_reinit()
    if rung == 4000:
        break
print(left)
"""


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no timers that are signals here")
def test_a_block_lets_go_of_its_lock_whenever_a_handler_raises():
    """On Python 3.14 a handler may raise after `__enter__` was called and before the block has begun."""
    done = subprocess.run([sys.executable, "-c", INTERRUPTED], capture_output=True, text=True, timeout=120)
    assert (done.stdout, done.stderr) == ("0\n", "")


def test_a_lock_of_another_thread_is_free_in_a_forked_child(in_child):
    """And one that the thread which forked has is its own in the child, too."""
    held, own, over = Lock(), Lock(), threading.Event()
    taken = threading.Event()

    def hold() -> None:
        with held:
            taken.set()
            over.wait()

    def work() -> None:
        assert held.acquire(timeout=0)
        assert own._is_owned()

    thread = threading.Thread(target=hold)
    thread.start()
    taken.wait()
    with own:
        assert in_child(work) == 0
    over.set()
    thread.join()


def test_a_lock_that_is_dropped_is_not_kept():
    """Locks of objects end with these."""
    before = len(interpreter._locks)
    lock = Lock()
    assert len(interpreter._locks) == before + 1
    del lock
    assert len(interpreter._locks) == before
