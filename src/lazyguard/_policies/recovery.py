"""Recovery: bring the real object back in the background, without traffic and without a restart.

Invariants: one scheduler thread for all services says when; each try is a flight like another, on a daemon thread, in
an empty context, and at most two run; so many good ones in a row as the threshold says come before the swap.
"""

from __future__ import annotations

from lazyguard._core import clock
from lazyguard._core.effect import Call
from lazyguard._core.state import DEGRADED, FAILED, Outcome
from lazyguard._policies import options
from lazyguard._typing import final

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from lazyguard._core.cell import Cell
    from lazyguard._core.effect import Steps
    from lazyguard._core.flight import Flight


@final
class Recovery(options.Options):
    """Try again in the background while a service is degraded or failed.

    Waits grow from `initial` to `maximum`, doubled after each failure and jittered to between half and the whole, so
    that many processes do not come back at the same moment.

    Args:
        initial: The first wait, in seconds.
        maximum: The longest wait, in seconds.
        success_threshold: How many tries in a row must succeed before the real object is served again. The first
            builds it; the further ones run the service's `probe` on it, or, without one, build it anew.

    Raises:
        ConfigurationError: A value is out of range.

    Example:
        >>> import lazyguard
        >>> lazyguard.Recovery(initial=0.5, maximum=30, success_threshold=2)
        Recovery(initial=0.5, maximum=30, success_threshold=2)
    """

    __slots__ = ("initial", "maximum", "success_threshold")
    initial: float
    maximum: float
    success_threshold: int

    def __init__(self, *, initial: float = 1.0, maximum: float = 60.0, success_threshold: int = 1) -> None:
        options.seconds("initial", initial)
        options.seconds("maximum", maximum)
        options.whole("success_threshold", success_threshold)
        self._set(initial=initial, maximum=maximum, success_threshold=success_threshold)

    def begin(self, cell: Cell) -> None:
        """See to it that the cell's real object is tried again in the background; idempotent."""
        if isinstance(cell.notes, Convalescence):
            return
        course = Convalescence(self, cell)
        cell.notes = course
        course.wait()


@final
class Convalescence:
    """The recovery of one cell, from its failure to its real object."""

    __slots__ = ("_candidate", "_cell", "_policy", "_successes", "_tries")

    def __init__(self, policy: Recovery, cell: Cell) -> None:
        self._policy = policy
        self._cell = cell
        self._tries = 0
        self._successes = 0
        self._candidate: Any = None

    def wait(self) -> None:
        """Schedule the next try."""
        from random import uniform

        from lazyguard._core import scheduler

        policy = self._policy
        longest = min(policy.maximum, policy.initial * 2.0 ** min(self._tries, 60))
        scheduler.at(clock.now() + uniform(longest / 2, longest), self._due)

    def _over(self) -> bool:
        return self._cell.notes is not self or self._cell.now.state not in (DEGRADED, FAILED)

    def _end(self) -> None:
        if self._cell.notes is self:
            self._cell.notes = None
        candidate, self._candidate = self._candidate, None
        if candidate is not None:
            self._cell.dispose(candidate)

    def _due(self) -> None:
        """Run on the scheduler's thread: launch a flight, unless there is no need or no place for one."""
        now = self._cell.now
        if self._over():
            self._end()
            return
        flight, new = self._cell.board(now, recovery=True)
        if flight is None or not new:
            if len(now.running) > 1:
                self._cell.tell("stuck", now, now)
            self._tries += 1
            self.wait()
            return
        self._launch(flight)

    def _launch(self, flight: Flight) -> None:
        from contextvars import Context

        from lazyguard._core import drive

        flight.on_done(lambda: self._landed(flight))
        home = self._home()
        if self._cell.plan.awaited:
            if home is None:
                self._cell.settle(flight, Outcome(interrupted=True))
                return
            from lazyguard._core import adrive

            home.call_soon_threadsafe(lambda: Context().run(adrive.launch_task, flight, self._trying()))
            return
        drive.launch_beside(flight, self._trying(), Context().run)

    def _home(self) -> Any:
        """Return the event loop on which an async factory can be tried again: the one that its cell was used on."""
        loop = self._cell.home
        return None if loop is None or loop.is_closed() else loop

    def _trying(self) -> Steps[Outcome]:
        """One try: build, or probe what was built; a success that is not the last one is told as an interruption."""
        from lazyguard._core import resolve

        plan = self._cell.plan
        if self._candidate is not None and plan.probe is not None:
            outcome: Outcome = yield Call(plan.probe, self._candidate, awaited=plan.awaited)
        else:
            outcome = yield from resolve.attempting(self._cell)
            if outcome.ok:
                before, self._candidate = self._candidate, outcome.value
                if before is not None:
                    self._cell.dispose(before)
        self._tries += 1
        if not outcome.ok:
            self._successes = 0
            candidate, self._candidate = self._candidate, None
            if candidate is not None:
                self._cell.dispose(candidate)
            return outcome
        self._successes += 1
        if self._successes < self._policy.success_threshold:
            return Outcome(interrupted=True)
        candidate, self._candidate = self._candidate, None
        return Outcome(candidate)

    def _landed(self, _flight: Flight) -> None:
        if self._over():
            self._end()
        else:
            self.wait()
