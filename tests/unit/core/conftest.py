"""For the tests of the core: what the test before left running ends first, so that none sees another's events."""

from __future__ import annotations

import time

import pytest

from lazyguard._core import cell as cells
from lazyguard._core import wait_cycles


@pytest.fixture(autouse=True)
def quiet():
    """Wait until no attempt is under way; a thread leaves `ring.running` after it has told all there was to tell."""
    until = time.monotonic() + 5.0
    while (cells.active or wait_cycles.running or wait_cycles.waiting) and time.monotonic() < until:
        time.sleep(0.001)
