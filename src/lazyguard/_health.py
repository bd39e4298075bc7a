"""Health: what is ready, degraded or failed, all in one call.

The form is that of "Health Check Response Format for HTTP APIs" (draft-inadarei-api-health-check-06), health+json.
Invariant: it builds nothing, waits for nothing and takes no lock.
"""

from __future__ import annotations

import sys

from lazyguard import _attributes
from lazyguard._check import check, check_attributes, check_guard
from lazyguard._core import clock, registry
from lazyguard._typing import final

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from lazyguard._check import Check, Status


@final
class Health:
    """What `health()` returns.

    Attributes:
        status: The worst status of all checks.
        checks: Every service and every lazy object that a module declares, then the guarded functions that have a
            breaker, each in the order of declaration; then one check for the names of each `attach`, and one for each
            line that has called `preload`.
    """

    __slots__ = ("checks", "status")

    def __init__(self, checks: tuple[Check, ...]) -> None:
        self.checks: tuple[Check, ...] = checks
        found = {one.status for one in checks}
        self.status: Status = "fail" if "fail" in found else "warn" if "warn" in found else "pass"

    def to_dict(self) -> dict[str, Any]:
        """Return the whole as health+json has it."""
        checks: dict[str, list[dict[str, Any]]] = {}
        for one in self.checks:
            checks.setdefault(one.name, []).append(one.to_dict())
        return {"status": self.status, "checks": checks}

    def __repr__(self) -> str:
        return f"<Health {self.status}, {len(self.checks)} checks>"


def health() -> Health:
    """Return the state of every service, lazy object of a module, guarded function with a breaker, and attached name.

    It builds and imports nothing. Of each line that calls `preload` it has the latest one's state: "resolving", with
    the status "warn", until that has ended; then "ready", or "failed" where something could not be built.

    Example:
        >>> import lazyguard
        >>> lazyguard.health().status
        'pass'
    """
    now, date = clock.now(), clock.current.date()
    cells = [check(cell, kind, now, date) for cell, kind in registry.cells()]
    guards = [check_guard(guard, now, date) for guard in registry.guards()]
    preloads = sys.modules.get("lazyguard._preload")  # not loaded: nobody has called it
    begun = () if preloads is None else preloads.checks(now, date)
    return Health((*cells, *guards, *map(check_attributes, _attributes.declared()), *begun))
