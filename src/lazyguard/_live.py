"""Live references: how a service's proxy shows what the service serves.

Invariant: a ready service without `failures=` costs what a resolved proxy costs.
"""

from __future__ import annotations

from lazyguard import _proxy
from lazyguard._core.late import loaded
from lazyguard._core.state import DEGRADED
from lazyguard._lazy import find_cell
from lazyguard._policies import options
from lazyguard._typing import final

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lazyguard._core.cell import Cell
    from lazyguard._core.state import Snapshot
    from lazyguard._policies.breaker import Breaker
    from lazyguard._policies.circuit import Failures
    from lazyguard._proxy import Proxy


def is_fallback(obj: object) -> bool:
    """Return whether a live reference or a service serves its fallback now. Builds nothing.

    Anything that is neither is no fallback.

    Example:
        >>> import lazyguard
        >>> lazyguard.is_fallback("as it is")
        False
    """
    cell = find_cell(obj)
    return cell is not None and cell.now.state == DEGRADED


@final
class Live:
    """The flavour of a service's proxy: what its class is in each state."""

    __slots__ = ("_breaker", "_failures")

    def __init__(self, failures: Failures, breaker: Breaker | None) -> None:
        self._failures = failures
        self._breaker = breaker

    def __call__(self, cell: Cell, snapshot: Snapshot) -> type[Proxy]:
        """Return the class for what the snapshot serves."""
        if snapshot.state == DEGRADED:
            view: type[Proxy] = loaded("_degraded", cell).view(cell, snapshot)
            return view
        if self._failures and not snapshot.overrides:
            options.check_loaded("failures", self._failures)
            watched: type[Proxy] = loaded("_watched", cell).view(cell, snapshot, self._failures, self._breaker)
            return watched
        return _proxy.bound(cell, snapshot)
