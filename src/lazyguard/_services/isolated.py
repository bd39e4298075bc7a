"""Services that were taken out of use by hand, until they are reset.

Invariant: nothing builds the real object meanwhile; what is being built is of an older generation, and closed.
"""

from __future__ import annotations

from lazyguard import events
from lazyguard._base import final
from lazyguard._core import clock, closing
from lazyguard.errors import ServiceCircuitOpen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from lazyguard._core.cell import Cell
    from lazyguard._core.state import Snapshot


@final
class Isolated:
    """The gate of a cell that lets no attempt begin."""

    by_hand = True

    def admit(self, cell: Cell) -> NoReturn:
        """Refuse it."""
        raise refusal(cell)


def refusal(cell: Cell) -> ServiceCircuitOpen:
    """Return what a caller gets who finds no fallback."""
    error = ServiceCircuitOpen(
        f"{cell.name}, declared at {cell.place}, is not called, since isolate() has taken it out of use. reset() "
        "brings it back."
    )
    error.retry_after = float("inf")
    return error


def isolate(cell: Cell) -> None:
    """Take a cell out of use; its target is closed after `grace`, as at a recovery."""
    cause, gate = refusal(cell), Isolated()

    def opened(now: Snapshot) -> Snapshot:
        covered = (now if now.held is None else now.held).opened(cause, clock.now(), gate)
        return covered if now.held is None else now.changed(held=covered)

    before, _ = cell.change(opened, "failed")
    if before.closes is not None:
        closing.after_grace(before.closes, clock.now() + cell.plan.grace)
    events.deliver()
