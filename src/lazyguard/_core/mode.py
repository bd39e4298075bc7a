"""What mode the process is in: whether lazyguard is active, and testing mode, which is on if pytest runs.

Invariants: what is switched off is told in `health`. Only `set_testing` shortens waits and attempts, never pytest
alone: a host's tests of its own retries would not test them.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lazyguard._base import Callable
    from lazyguard._core.cell import Cell

# Set by set_testing: the most attempts in testing mode, 0 to switch the mode off; None before any call.
limit: int | None = None

# Called with a cell that is about to be built; it raises to forbid that. None: all are allowed.
forbid: Callable[[Cell], None] | None = None


# What LAZYGUARD_ACTIVE may be to switch lazyguard off.
_OFF = ("0", "false", "no", "off")
_active = os.environ.get("LAZYGUARD_ACTIVE", "").lower() not in _OFF


def is_active() -> bool:
    """Return whether the policies are in force."""
    return _active


def set_active(active: bool) -> None:
    """Switch lazyguard's policies off, or on again, in this process: for an incident.

    While they are off, a call of a guarded function and a use of a service go straight through: no retry, no breaker,
    no deadline, no fallback, no limit. A service that is degraded or failed is built anew by whoever uses it. Lazy
    objects, services and imports stay lazy. `LAZYGUARD_ACTIVE=0` in the environment does the same from the start.
    `lazyguard.health()` says so, and has the status "warn".

    Raises:
        ConfigurationError: `active` is neither True nor False.

    It takes effect with the next call. A forked child inherits it.

    Example:
        >>> import lazyguard
        >>> lazyguard.set_active(False)
        >>> lazyguard.health().active
        False
        >>> lazyguard.set_active(True)
    """
    global _active
    from lazyguard._base import validation
    from lazyguard._core import declaration

    validation.flag("active", active)
    _active = active
    for guard in declaration.guards():
        guard.reroute()


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
