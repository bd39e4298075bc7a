"""The gates of cells that are out of use: since their breaker has opened, or since `isolate()` was called.

Invariant: while a service is isolated, nothing builds the real object; what is being built is of an older generation,
and closed.
"""

from __future__ import annotations

from lazyguard import events
from lazyguard._base import TYPE_CHECKING, final
from lazyguard._core import clock, closing, loaded
from lazyguard._core.state import FAILED
from lazyguard.errors import CircuitOpen, ServiceCircuitOpen

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

    from lazyguard._core.cell import Cell
    from lazyguard._core.state import Outcome, Snapshot
    from lazyguard._policies.circuit import Circuit


@final
class Reopening:
    """The gate of a cell after its breaker has opened: it decides which caller builds the target anew.

    While a recovery run is at work, no caller does. Else one caller does when the breaker is half-open.
    """

    __slots__ = ("_circuit",)
    by_hand = False

    def __init__(self, circuit: Circuit) -> None:
        self._circuit = circuit

    def admit(self, cell: Cell) -> Callable[[Outcome], object] | None:
        """Return a function to call with the attempt's outcome; None if there is an attempt to join.

        Raises:
            ServiceCircuitOpen: No attempt can begin yet.
        """
        now = cell.now
        if now.state != FAILED:
            return None
        if _is_recovering(cell):
            left = max(0.0, getattr(cell.recovery_run, "due", 0.0) - clock.now())
            raise _refusal(
                cell,
                f"its breaker is open: it failed with {events.describe(now.cause)}. It is tried again in the "
                f"background in {left:.3g} s. Give it a fallback, or wait for retry_after seconds.",
                left,
            ) from loaded("_core.causes", cell).again(now.cause)
        if now.attempt is not None:
            return None
        try:
            phase = self._circuit.admit()
        except CircuitOpen as refusal:
            raise refusal.with_traceback(None)  # noqa: B904 (it has its cause)

        def ended(outcome: Outcome) -> None:
            error = outcome.error
            if outcome.interrupted or phase.state != "half-open":
                phase.released()
            elif isinstance(error, Exception) and not self._circuit.counts(error):
                phase.ended(phase.cause)  # any exception of the factory means that it has not recovered
            else:
                phase.ended(error)

        return ended


def _is_recovering(cell: Cell) -> bool:
    """Return whether a recovery run can work: an async factory needs the loop on which it ran."""
    run = cell.recovery_run
    if cell.plan.recovery is None or run is None:
        return False
    return not cell.plan.awaited or (cell.home is not None and cell.home.is_running())


@final
class Isolated:
    """The gate of a cell that lets no attempt begin."""

    by_hand = True

    def admit(self, cell: Cell) -> NoReturn:
        """Refuse it."""
        raise _of_isolated(cell)


def _of_isolated(cell: Cell) -> ServiceCircuitOpen:
    return _refusal(cell, "isolate() has taken it out of use. reset() brings it back.", float("inf"))


def _refusal(cell: Cell, why: str, retry_after: float) -> ServiceCircuitOpen:
    """Return what a caller gets who finds no fallback."""
    error = ServiceCircuitOpen(cell.said(f"is not called, since {why}"))
    error.retry_after = retry_after
    return error


def isolate(cell: Cell) -> None:
    """Take a cell out of use; its target is closed after `grace`, as at a recovery."""
    cause, gate = _of_isolated(cell), Isolated()

    def opened(now: Snapshot) -> Snapshot:
        covered = (now if now.held is None else now.held).opened(cause, clock.now(), gate)
        return covered if now.held is None else now.changed(held=covered)

    before, _ = cell.change(opened, "failed")
    if before.closes is not None:
        closing.after_grace(before.closes, clock.now() + cell.plan.grace)
    events.deliver()
