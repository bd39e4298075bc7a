"""Whether this process is there to test: what `lazyguard.testing.set_testing` said, else whether pytest runs.

Invariant: waits and attempts are cut short by word alone, never because pytest runs: a host's tests of its own retries
would not test them.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from lazyguard._core.cell import Cell

# What set_testing said: how many attempts there may be, 0 for "this is no test"; None where nobody said anything.
said: int | None = None

# Called with a cell that is about to be built; raises where none may be. None: all may.
forbid: Callable[[Cell], None] | None = None


def is_testing() -> bool:
    """Return whether objects of `unittest.mock` may stand in: set_testing(True) said so, or pytest runs.

    pytest's own environment variables tell, which the processes that a test starts inherit.
    """
    if said is not None:
        return said > 0
    return "PYTEST_CURRENT_TEST" in os.environ or "PYTEST_VERSION" in os.environ


def attempts() -> int | None:
    """Return how many attempts there are at the most, without a wait between them; None: as it was declared."""
    return said or None
