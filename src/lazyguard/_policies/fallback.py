"""Fallback: who may be served a fallback, and for how long.

Invariant: the question is asked at every use while a service is degraded, and never while it is ready.
"""

from __future__ import annotations

import os
import sys
from contextvars import ContextVar

from lazyguard._base import final
from lazyguard._base.context_variables import assign
from lazyguard._core import clock
from lazyguard._core.state import DEGRADED, READY
from lazyguard.errors import ConfigurationError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal

    from lazyguard._core.cell import Cell
    from lazyguard._core.state import Snapshot

    Permission = Literal["allow", "deny"]

# The blocks that this context is in, innermost last.
_permissions: ContextVar[tuple[Fallbacks, ...]] = ContextVar("lazyguard.fallbacks", default=())

VARIABLE = "LAZYGUARD_FALLBACK"
ALLOWING = ("", "allow")  # whoever gives another value, "DENY" or "off", means to forbid: it fails safe


def fallbacks(permission: Permission) -> Fallbacks:
    """Say for a `with` block whether a service that is degraded may serve its fallback.

    Args:
        permission: "deny": its use raises ServiceUnavailable in place of the fallback's answer. "allow": serve it, also
            where "deny" is the default, which is inside Celery tasks, so that what a fallback said is not committed
            and acknowledged.

    Raises:
        ConfigurationError: It is neither.

    It holds for this context: this thread or task, and the tasks that it starts. A new thread begins without it.
    `LAZYGUARD_FALLBACK=deny` in the environment denies all, whatever the code says.

    Example:
        >>> import lazyguard
        >>> with lazyguard.fallbacks("deny"):
        ...     pass  # what is done here is done with the real services, or fails
    """
    if permission not in ("allow", "deny"):
        raise ConfigurationError(f'fallbacks({permission!r}) is not known: give "allow" or "deny".')
    return Fallbacks(permission)


@final
class Fallbacks:
    """What `fallbacks` returns: a permission from `__enter__` to `__exit__`; many threads may use one."""

    __slots__ = ("permission",)

    def __init__(self, permission: str) -> None:
        self.permission: str = permission

    def __enter__(self) -> None:
        assign(_permissions, (*_permissions.get(), self))

    def __exit__(self, *_: object) -> None:
        left = _permissions.get()
        for index in reversed(range(len(left))):
            if left[index] is self:  # not the last one, where this block is a generator's and its caller has gone on
                assign(_permissions, (*left[:index], *left[index + 1 :]))
                return


def serving(cell: Cell, now: Snapshot) -> Cell | None:
    """Return the cell of the fallback that a degraded cell serves."""
    if now.state == DEGRADED:
        for one in cell.fallbacks:
            made = one.now
            if made.state == READY and made.target is now.target:
                return one
    return None


def refusal(cell: Cell, now: Snapshot) -> str | None:
    """Return why a cell's fallback may not be served to this caller; None where it may be."""
    reason = refusal_to_all(cell, now)
    if reason is not None:
        return reason
    permissions = _permissions.get()
    if permissions and permissions[-1].permission == "deny":
        return 'fallbacks("deny") forbids its fallback here'
    if not permissions and _in_celery_task():
        return 'inside a Celery task its fallback is not served, unless fallbacks("allow") says so'
    return None


def refusal_to_all(cell: Cell, now: Snapshot) -> str | None:
    """Return why a cell's fallback may not be served to anybody in this process."""
    value = os.environ.get(VARIABLE, "")
    if value not in ALLOWING:
        return f"{VARIABLE}={value} forbids its fallback"
    served = serving(cell, now)
    limit = None if served is None else served.plan.max_degraded
    if limit is not None:
        degraded = clock.now() - now.since
        if degraded > limit:
            return f"its fallback was served for {degraded:.0f} s, and max_degraded={limit:g}"
    return None


def _in_celery_task() -> bool:
    current = getattr(sys.modules.get("celery._state"), "get_current_task", None)  # None while it is being imported
    return current is not None and current() is not None


def denied() -> bool:
    """Return whether no fallback may answer here, for what is no cell."""
    permissions = _permissions.get()
    if os.environ.get(VARIABLE, "") not in ALLOWING or (permissions and permissions[-1].permission == "deny"):
        return True
    return not permissions and _in_celery_task()
