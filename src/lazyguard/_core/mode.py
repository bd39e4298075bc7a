"""Testing mode: set by `lazyguard.testing.set_testing`, else on if pytest runs.

Invariant: only `set_testing` shortens waits and attempts, never pytest alone: a host's tests of its own retries would
not test them.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from lazyguard._core.cell import Cell

# Set by set_testing: the most attempts in testing mode, 0 to switch the mode off; None before any call.
limit: int | None = None

# Called with a cell that is about to be built; it raises to forbid that. None: all are allowed.
forbid: Callable[[Cell], None] | None = None


def is_testing() -> bool:
    """Return whether objects of `unittest.mock` can be fallbacks: after set_testing(True), or if pytest runs.

    pytest is recognised by its environment variables, which the child processes of a test inherit.
    """
    if limit is not None:
        return limit > 0
    return "PYTEST_CURRENT_TEST" in os.environ or "PYTEST_VERSION" in os.environ


def attempts() -> int | None:
    """Return the most attempts, without waits between them; None outside testing mode."""
    return limit or None
