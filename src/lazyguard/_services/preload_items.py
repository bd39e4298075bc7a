"""What a preload does with one item: it builds it, and loads what its first failure would load.

Invariant: no frame here has the preload itself, which keeps the error, whose traceback has the frames.
"""

from __future__ import annotations

import sys

from lazyguard._core.declaration import Plan
from lazyguard._lazy_imports import access
from lazyguard._proxies.proxy import find_cell
from lazyguard.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from lazyguard._base.places import Place
    from lazyguard._core.cell import Cell

MAY_BE_NONE = Plan(allow_none=True)


def load_for_failures() -> None:
    """Load what the first failure would load, in the middle of an outage."""
    for declares, needs in _FOR_FAILURES:
        if declares in sys.modules and needs not in sys.modules:
            try:
                __import__(needs)
            except Exception:
                pass  # that is an error where it is needed, and not here


_FOR_FAILURES = (
    ("lazyguard._services.preload", "logging"),
    ("lazyguard._services.preload", "lazyguard._core.causes"),
    ("lazyguard.events", "lazyguard._base.mailbox"),
    ("lazyguard._proxies.proxy", "lazyguard._proxies.inspection"),
    ("lazyguard._services.service", "lazyguard._policies.recovery"),
    ("lazyguard._services.service", "lazyguard._policies.recovery_run"),
    ("lazyguard._services.service", "lazyguard._core.scheduler"),
    ("lazyguard._services.service", "random"),
    ("lazyguard._services.preload", "lazyguard.errors"),
    ("lazyguard._policies.retry", "tenacity"),
    ("lazyguard._policies.retry", "lazyguard._policies.retries"),
    ("lazyguard._policies.breaker", "lazyguard._policies.circuit"),
    ("lazyguard._policies.breaker", "lazyguard._policies.haste"),
    ("lazyguard._services.guarded", "lazyguard._services.calls"),
    ("lazyguard._services.counted_view", "wrapt"),
    ("lazyguard._services.fallback", "wrapt"),
    ("lazyguard._services.fallback", "lazyguard._policies.fallback"),
    ("lazyguard._services.fallback", "lazyguard._services.degraded_view"),
    ("lazyguard._services.fallback", "lazyguard._services.conformity"),
)


def build(cell: Cell, loop: Any, place: Place, over: list[str]) -> None:
    """Build what a cell stands for. No frame has the Preload, which keeps the error, whose traceback has the frames."""
    found: Cell | None = cell
    seen: set[Cell] = set()
    while found is not None and found not in seen:
        seen.add(found)
        if found.plan.awaited and not found.now.served:
            target = _build_on(loop, found, place, over)
        else:
            target = access.attributes.get(found, found).resolve()
        found = find_cell(target)  # what a name stands for may be lazy itself


def _build_on(loop: Any, cell: Cell, place: Place, over: list[str]) -> Any:
    if loop is None:
        raise UsageError(
            f"{cell.name}, declared at {cell.place}, has an async factory, and no event loop was running where "
            f"preload was called ({place}): call it in a task of the loop that uses the service, or "
            "`await` its aget() there."
        )
    from lazyguard._core import tasks

    async def build_it() -> Any:
        return None if over else await cell.aresolve()

    return tasks.from_thread(loop, build_it)
