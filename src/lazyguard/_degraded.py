"""How a service's live reference shows a fallback.

Invariants: who may be served one is asked at every use; what the fallback lacks raises ServiceUnavailable, and what it
raises of its own passes through.
"""

from __future__ import annotations

from lazyguard import _view
from lazyguard._core import resolve
from lazyguard._core.state import DEGRADED
from lazyguard._proxy import Proxy, cell_of
from lazyguard.errors import ServiceUnavailable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def permitted(proxy: Proxy) -> Any:
    """Return what a service serves to this caller."""
    cell = cell_of(proxy)
    now = cell.now
    return resolve.permitted(cell, now) if now.state == DEGRADED else cell.resolve()


def view(stand_in: Any) -> type[Proxy]:
    """Return the class of the proxy while this stand-in is served."""

    def attribute(self: Proxy, name: str) -> Any:
        if name.startswith("__"):
            return getattr(stand_in, name)  # looking: isinstance, help, pickling
        target = permitted(self)
        try:
            return getattr(target, name)
        except AttributeError as error:
            cell = cell_of(self)
            if cell.now.state != DEGRADED:
                raise
            raise ServiceUnavailable(
                f"{cell.name}, declared at {cell.place}, is degraded, and its fallback does not implement {name!r}."
            ) from error

    return _view.forwarding(stand_in, permitted, attribute)
