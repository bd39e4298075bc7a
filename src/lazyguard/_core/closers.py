"""The threads that close what has fallen due: few, however much that is.

Invariants: what is due is closed in its order; a close that hangs holds a thread, which another one then replaces;
where no thread is available, what is due waits until there is one, or for the exit.
"""

from __future__ import annotations

from lazyguard._core import closing, scheduler
from lazyguard._core.daemons import Crew

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lazyguard._core.closing import PendingClose

# How many close at once; one in a close that hangs is not counted.
AT_MOST = 4


def _carry_out(pending: PendingClose) -> None:
    scheduler.background().run(closing.carry_out, pending)


def _enough(at_work: list[tuple[float, PendingClose | None]]) -> bool:
    return sum(1 for _, pending in at_work if pending is None or not pending.hangs) >= AT_MOST


crew = Crew("closer", _carry_out, _enough)
