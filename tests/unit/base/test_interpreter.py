"""Context variables are set safely where finalisers set one too."""

from __future__ import annotations

import gc
import subprocess
import sys
from contextvars import ContextVar

import pytest

from lazyguard._base.interpreter import assign

# Up to 3.11 many a run of this crashes where `assign` is plain `set`.
STORM = """
import gc
from contextvars import ContextVar
from lazyguard._base.interpreter import assign
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
