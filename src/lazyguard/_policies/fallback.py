"""Fallback: which callers can be served a fallback, and for how long.

Invariant: the permission is checked at every use while a service is degraded, and never while it is ready.
"""

from __future__ import annotations

import os
import sys
from contextvars import ContextVar

from lazyguard._base import TYPE_CHECKING, Literal, Record
from lazyguard._base.interpreter import assign
from lazyguard._base.places import shown
from lazyguard._core import clock
from lazyguard._core.state import DEGRADED, READY
from lazyguard.errors import ConfigurationError

if TYPE_CHECKING:
    from lazyguard._core.cell import Cell
    from lazyguard._core.state import Snapshot

    Permission = Literal["allow", "deny"]

# The open blocks of this context, the innermost last.
_permissions: ContextVar[tuple[Fallbacks, ...]] = ContextVar("lazyguard.fallbacks", default=())

VARIABLE = "LAZYGUARD_FALLBACK"
ALLOWING = ("", "allow")  # any other value, such as "DENY" or "off", forbids: it fails safe


def fallbacks(permission: Permission) -> Fallbacks:
    """Allow or deny the fallbacks of degraded services, for a `with` block.

    Args:
        permission: "deny": a use of a degraded service raises ServiceUnavailable. "allow": its fallback is served, also
            inside Celery tasks, where "deny" is the default: a fallback's answer must not be committed and
            acknowledged.

    Raises:
        ConfigurationError: `permission` is neither.

    The block holds for this context: this thread or task, and the tasks that it starts. A new thread begins without it.
    `LAZYGUARD_FALLBACK=deny` in the environment denies all fallbacks, also where the code allows them.

    Example:
        >>> import lazyguard
        >>> with lazyguard.fallbacks("deny"):
        ...     pass  # only the real services are used here, or ServiceUnavailable is raised
    """
    if permission not in ("allow", "deny"):
        raise ConfigurationError(f'fallbacks({shown(permission)}) is invalid: give "allow" or "deny".')
    return Fallbacks(permission=permission)


class Fallbacks(Record):
    """The context manager that `fallbacks` returns: a permission for a block; many threads can share it."""

    permission: str

    def __enter__(self) -> None:
        assign(_permissions, (*_permissions.get(), self))

    def __exit__(self, *_: object) -> None:
        left = _permissions.get()
        for index in reversed(range(len(left))):
            if left[index] is self:  # not the last one if a generator has this block, and its caller has others
                assign(_permissions, (*left[:index], *left[index + 1 :]))
                return


def serving(cell: Cell, now: Snapshot) -> Cell | None:
    """Return the cell of the fallback that a degraded cell serves; None if it serves none."""
    if now.state == DEGRADED:
        for one in cell.fallbacks:
            made = one.now
            if made.state == READY and made.target is now.target:
                return one
    return None


def refusal(cell: Cell, now: Snapshot) -> str | None:
    """Return why a cell's fallback cannot be served to this caller; None if it can."""
    return refusal_to_all(cell, now) or _refusal_here()


def _refusal_here() -> str | None:
    permissions = _permissions.get()
    if permissions and permissions[-1].permission == "deny":
        return 'fallbacks("deny") forbids its fallback here'
    if not permissions and _in_celery_task():
        return 'inside a Celery task its fallback is not served, unless fallbacks("allow") permits it'
    return None


def refusal_to_all(cell: Cell, now: Snapshot) -> str | None:
    """Return why a cell's fallback cannot be served to any caller in this process; None if it can."""
    value = os.environ.get(VARIABLE, "")
    if value not in ALLOWING:
        return f"{VARIABLE}={value} forbids its fallback"
    served = serving(cell, now)
    limit = None if served is None else served.plan.max_degraded
    if limit is not None:
        degraded = clock.now() - now.since
        if degraded > limit:
            return f"its fallback was served for {degraded:.0f} s, longer than max_degraded={limit:g}"
    return None


def _in_celery_task() -> bool:
    current = getattr(sys.modules.get("celery._state"), "get_current_task", None)  # None while it is being imported
    return current is not None and current() is not None


def denied() -> bool:
    """Return whether no fallback can answer here; for guarded functions, which have no cell."""
    return os.environ.get(VARIABLE, "") not in ALLOWING or _refusal_here() is not None
