"""Recovery runs: they build the real object again in the background, without traffic and without a restart.

Invariants: one scheduler thread times the tries of all services. A try is an ordinary attempt, on a daemon thread, in
an empty context, and at most two run at a time. The swap follows after `success_threshold` successes in a row. What was
built for an older generation is closed and never served. A scheduled job holds no cell, so the recovery ends when the
last reference to the service is gone.

Beside them are the gates of cells that are out of use: since their breaker has opened, or since `isolate()` was called.
While a service is isolated, nothing builds the real object; what is being built is of an older generation, and closed.
"""

from __future__ import annotations

from _weakref import ref

from lazyguard import events
from lazyguard._base import TYPE_CHECKING, Any, Callable, NoReturn, Record
from lazyguard._core import clock, closing, daemons, loaded
from lazyguard._core.effects import Call
from lazyguard._core.state import DEGRADED, FAILED, RESOLVING, Outcome, to_close
from lazyguard.errors import CircuitOpen, ServiceCircuitOpen

if TYPE_CHECKING:
    from lazyguard._core.cell import Cell
    from lazyguard._core.closing import PendingClose
    from lazyguard._core.effects import Steps
    from lazyguard._core.scheduler import Job
    from lazyguard._core.state import Attempt, Snapshot
    from lazyguard._policies.circuit import Circuit
    from lazyguard._policies.recovery import Recovery


# Seconds between two reminders that a service is still degraded.
_REMIND_EVERY = 300.0


def begin(policy: Recovery, cell: Cell) -> None:
    """See to it that the cell's real object is tried again in the background; idempotent."""
    run = cell.recovery_run
    if not daemons.allowed or (isinstance(run, RecoveryRun) and run.generation == cell.now.generation):
        return
    run = RecoveryRun(policy, cell)
    cell.recovery_run = run
    run.wait()
    loaded("_core.scheduler", cell).watch()


class RecoveryRun:
    """The background tries of one generation of a cell, from its failure to the swap.

    Attributes:
        generation: That generation.
        due: When the next try is due, by the clock.
    """

    _failures = _successes = 0
    _stuck = _in_turn = False
    _candidate: Any = None
    _pending_close: PendingClose | None = None
    _watched: tuple[Attempt, ...] = ()
    _ticket: object = None
    _job: Job | None = None

    def __init__(self, policy: Recovery, cell: Cell) -> None:
        self.generation = cell.now.generation
        self._policy = policy
        self._cell = cell
        self.due = self._reminded = clock.now()

    def wait(self) -> None:
        """Schedule the next try."""
        self._schedule(self._policy.wait(self._failures))

    def _schedule(self, seconds: float) -> None:
        scheduler = loaded("_core.scheduler", self._cell)
        ticket = self._ticket = object()  # only the job that was scheduled last counts
        self.due = clock.now() + seconds
        reference: ref[RecoveryRun] = ref(self)
        if self._job is not None:
            self._job.cancel()
        self._job = scheduler.at(self.due, lambda: _on_due(reference, ticket))

    def __del__(self) -> None:
        """Close the candidate of a cell that is no longer referenced."""
        pending = getattr(self, "_pending_close", None)  # its making may have been interrupted
        if pending is not None:
            closing.after_finaliser(pending, clock.now())

    def _is_over(self) -> bool:
        now = self._cell.now
        return (
            self._cell.recovery_run is not self
            or now.generation != self.generation
            or now.state not in (DEGRADED, FAILED, RESOLVING)
        )

    def _end(self) -> None:
        if self._cell.recovery_run is self:
            self._cell.recovery_run = None
        self._keep(None)

    def _keep(self, candidate: Any, pending: PendingClose | None = None) -> None:
        before, self._candidate, self._pending_close = self._pending_close, candidate, pending
        if pending is not None:
            pending.scheduled = True  # here
            to_close[pending] = None
        if before is not None:
            closing.on_a_thread(before)

    def _hang_limit(self) -> float:
        """Return the seconds after which a running attempt hangs."""
        limit = self._cell.plan.abandon_after
        return self._policy.maximum if limit is None else limit

    def _due(self) -> None:
        """Launch an attempt, if one is needed and can run; called on the scheduler's thread."""
        now = self._cell.now
        if self._is_over():
            self._end()
            return
        if not now.running and not self._has_a_place():
            return
        attempt, new, now = self._cell.find_attempt(now, recovery=True)
        if attempt is None:
            self._schedule(0.0)  # the cell has just changed
            return
        if not new:
            if clock.now() - attempt.started >= self._hang_limit():
                if not self._stuck:
                    self._stuck = True
                    self._cell.tell("stuck", now, now)
                self._remind()
                for running in now.running:
                    self._watch(running)
            self._failures += 1
            self.wait()
            return
        self._schedule(self._hang_limit())  # unless the attempt ends before
        self._launch(attempt)

    def _has_a_place(self) -> bool:
        """Wait for this key's turn and for a place in the bulkhead, if there is one; return whether a try may begin."""
        plan, moment = self._cell.plan, clock.now()
        if plan.bulkhead is None:
            return True
        at = moment if self._in_turn else plan.bulkhead.turn(moment, self._policy.initial)
        self._in_turn = at > moment
        if self._in_turn:
            self._schedule(at - moment)
        elif plan.bulkhead.full(moment, plan.abandon_after):
            self.wait()
        else:
            return True
        return False

    def _watch(self, attempt: Attempt) -> None:
        """Go on when an attempt has ended, also one that a caller has launched."""
        if attempt not in self._watched:
            self._watched = (*(reference for reference in self._watched if reference.outcome is None), attempt)
            attempt.on_done(self._attempt_ended)

    def _launch(self, attempt: Attempt) -> None:
        context = loaded("_core.scheduler", self._cell).background()
        self._watch(attempt)
        if not self._cell.plan.awaited:
            loaded("_core.threads", self._cell).launch_on_thread(attempt, self._try_once(attempt), context.run)
            if attempt.outcome is not None and not attempt.running:
                self._failures += 1  # no thread is available: the next wait is longer
            return
        home = self._cell.home
        if home is not None and home.is_running():
            tasks = loaded("_core.tasks", self._cell)
            if tasks.launch_on(home, attempt, self._try_once(attempt), context):
                return
        self._failures += 1  # there is no loop on which an async factory can be tried
        self._cell.settle(attempt, Outcome(interrupted=True))

    def _try_once(self, attempt: Attempt) -> Steps[Outcome]:
        """Build the object, or probe the built one; a success below the threshold ends as an interruption."""
        from lazyguard._core import resolve

        plan = self._cell.plan
        candidate, self._candidate = self._candidate, None  # it belongs to this attempt, also if that is abandoned
        pending, self._pending_close = self._pending_close, None
        if pending is not None:
            attempt.made = pending = closing.take_back(pending, attempt)
            if pending is None:
                candidate = None  # `close` has closed it
        made, ok = candidate, False
        try:
            if candidate is not None and plan.probe is not None:
                outcome: Outcome = yield Call(plan.probe, candidate, awaited=plan.awaited, attempt=attempt)
            else:
                outcome = yield from resolve.trying(self._cell, attempt)
                made = outcome.value
            ok = outcome.ok
        finally:
            if not ok:  # a KeyboardInterrupt of user code is a failure too
                self._failures += 1
                self._successes = 0
            if pending is not None and pending is not attempt.made:
                closing.carry_out(pending)  # another one was built
        if not ok:
            return outcome
        self._failures = 0
        self._successes += 1
        if self._successes >= self._policy.success_threshold:
            return Outcome(made)
        pending, attempt.made = attempt.made, None
        self._keep(made, pending)
        return Outcome(interrupted=True)

    def _attempt_ended(self) -> None:
        if self._is_over():
            self._end()
        else:
            self._remind()
            if self._stuck:  # no try could run while the waits have grown: try soon
                self._stuck, self._failures = False, 0
            self.wait()

    def _remind(self) -> None:
        """Emit a reminder every five minutes: the first log line may be long gone."""
        moment, now = clock.now(), self._cell.now
        if moment - self._reminded >= _REMIND_EVERY:
            self._reminded = moment
            self._cell.tell("reminder", now, now, moment - now.since)


def _on_due(reference: ref[RecoveryRun], ticket: object) -> None:
    run = reference()
    if run is None or run._ticket is not ticket:
        return
    try:
        run._due()
    except BaseException:
        run._cell.end_unlaunched()
        if run._ticket is ticket:
            run.wait()  # whatever it was, the next try follows
        raise


class Reopening(Record):
    """The gate of a cell after its breaker has opened: it decides which caller builds the target anew.

    While a recovery run is at work, no caller does. Else one caller does when the breaker is half-open.
    """

    _circuit: Circuit
    by_hand = False

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
    error: ServiceCircuitOpen = cell.error("ServiceCircuitOpen", f"is not called, since {why}")
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
