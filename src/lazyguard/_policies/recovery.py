"""Recovery: bring the real object back in the background, without traffic and without a restart.

Invariants: one scheduler thread for all services says when; each try is an attempt like another, on a daemon thread, in
an empty context, and at most two run; so many good ones in a row as the threshold says come before the swap; what was
built for a generation that has ended is closed and never served; what is scheduled holds no cell, so that nothing is
tried for a service that nobody holds any more.
"""

from __future__ import annotations

from _weakref import ref

from lazyguard._base import validation
from lazyguard._base.typing import final
from lazyguard._core import clock, closing, daemons
from lazyguard._core.effects import Call
from lazyguard._core.loading import loaded
from lazyguard._core.state import DEGRADED, FAILED, RESOLVING, Outcome

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from lazyguard._core.attempt import Attempt
    from lazyguard._core.cell import Cell
    from lazyguard._core.closing import PendingClose
    from lazyguard._core.effects import Steps
    from lazyguard._core.scheduler import Job


# Seconds between two reminders that a service is still degraded.
_REMIND_EVERY = 300.0


@final
class Recovery(validation.Options):
    """Try again in the background while a service is degraded or failed.

    Waits grow from `initial` to `maximum`, doubled after each failure and jittered to between half and the whole, so
    that many processes do not come back at the same moment. After a success the next wait is `initial` again. A try
    that hangs is replaced after the service's `abandon_after`; one beside it, never more.

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
        validation.seconds("initial", initial)
        validation.seconds("maximum", maximum)
        validation.whole("success_threshold", success_threshold)
        self._set(initial=initial, maximum=maximum, success_threshold=success_threshold)

    def begin(self, cell: Cell) -> None:
        """See to it that the cell's real object is tried again in the background; idempotent."""
        run = cell.recovery_run
        if not daemons.allowed or (isinstance(run, RecoveryRun) and run.generation == cell.now.generation):
            return
        run = RecoveryRun(self, cell)
        cell.recovery_run = run
        run.wait()
        loaded("_core.delivery", cell).watch()


@final
class RecoveryRun:
    """The recovery of one generation of a cell, from its failure to its real object.

    Attributes:
        generation: That generation.
        due: When it looks next, by the clock.
    """

    __slots__ = (
        "__weakref__",
        "_candidate",
        "_cell",
        "_failures",
        "_in_turn",
        "_job",
        "_next_look",
        "_pending_close",
        "_policy",
        "_reminded",
        "_stuck",
        "_successes",
        "_watched",
        "due",
        "generation",
    )

    def __init__(self, policy: Recovery, cell: Cell) -> None:
        self.generation = cell.now.generation
        self._policy = policy
        self._cell = cell
        self._failures = 0
        self._successes = 0
        self._reminded = clock.now()
        self._candidate: Any = None
        self._pending_close: PendingClose | None = None
        self._stuck = False
        self._watched: tuple[Attempt, ...] = ()
        self._next_look: object = None
        self._job: Job | None = None
        self._in_turn = False
        self.due = self._reminded

    def wait(self) -> None:
        """Schedule the next try."""
        from random import uniform

        policy = self._policy
        longest = min(policy.maximum, policy.initial * 2.0 ** min(self._failures, 60))
        self._schedule(uniform(longest / 2, longest))

    def _schedule(self, seconds: float) -> None:
        scheduler = loaded("_core.scheduler", self._cell)
        look = self._next_look = object()  # whoever schedules last counts: there is one next look
        self.due = clock.now() + seconds
        known: ref[RecoveryRun] = ref(self)
        if self._job is not None:
            self._job.cancel()
        self._job = scheduler.at(self.due, lambda: _look(known, look))

    def __del__(self) -> None:
        """Close what was built for a cell that nobody holds any more."""
        if self._pending_close is not None:
            closing.after_finaliser(self._pending_close, clock.now())

    def _over(self) -> bool:
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

    def _keep(self, candidate: Any) -> None:
        before, self._candidate = self._pending_close, candidate
        self._pending_close = None if candidate is None else closing.pending_close(self._cell, candidate)
        if before is not None:
            closing.on_a_thread(before)

    def _patience(self) -> float:
        """Return the seconds after which an attempt counts as hanging."""
        patience = self._cell.plan.abandon_after
        return self._policy.maximum if patience is None else patience

    def _due(self) -> None:
        """Run on the scheduler's thread: launch an attempt, unless there is no need or no place for one."""
        now = self._cell.now
        if self._over():
            self._end()
            return
        if not now.running and not self._has_a_place():
            return
        attempt, new, now = self._cell.find_attempt(now, recovery=True)
        if attempt is None:
            self._schedule(0.0)  # it changed this moment
            return
        if not new:
            if clock.now() - attempt.started >= self._patience():
                if not self._stuck:
                    self._stuck = True
                    self._cell.tell("stuck", now, now)
                self._remind()
                for running in now.running:
                    self._watch(running)
            self._failures += 1
            self.wait()
            return
        self._schedule(self._patience())  # unless it lands before
        self._launch(attempt)

    def _has_a_place(self) -> bool:
        """Wait for the turn of this key, and for a place, where there are many keys; return whether it may begin."""
        plan, moment = self._cell.plan, clock.now()
        if plan.bulkhead is None:
            return True
        if not self._in_turn:
            at = plan.bulkhead.turn(moment, self._policy.initial)
            if at > moment:
                self._in_turn = True
                self._schedule(at - moment)
                return False
        self._in_turn = False
        if plan.bulkhead.full(moment, plan.abandon_after):
            self.wait()
            return False
        return True

    def _watch(self, attempt: Attempt) -> None:
        """Go on when an attempt has given its place back; also when it was launched by somebody else."""
        if attempt not in self._watched:
            self._watched = (*(known for known in self._watched if known.outcome is None), attempt)
            attempt.on_done(self._attempt_ended)

    def _launch(self, attempt: Attempt) -> None:
        drive = loaded("_core.threads", self._cell)
        context = loaded("_core.scheduler").background()
        self._watch(attempt)
        if not self._cell.plan.awaited:
            drive.launch_on_thread(attempt, self._trying(), context.run)
            if attempt.outcome is not None and not attempt.running:
                self._failures += 1  # no thread is available: the next wait is longer
            return
        home = self._home()
        if home is not None:
            adrive = loaded("_core.tasks", self._cell)
            attempt.home = home  # so that whoever joins sees when that loop is gone
            try:
                home.call_soon_threadsafe(lambda: context.run(adrive.launch_task, attempt, self._trying()))
                return
            except RuntimeError:
                pass  # closed a moment ago
        self._failures += 1
        self._cell.settle(attempt, Outcome(interrupted=True))

    def _home(self) -> Any:
        """Return the event loop on which an async factory can be tried again: the one that its cell was used on."""
        loop = self._cell.home
        return loop if loop is not None and loop.is_running() else None

    def _trying(self) -> Steps[Outcome]:
        """One try: build, or probe what was built; a success that is not the last one is told as an interruption."""
        from lazyguard._core import resolve

        plan = self._cell.plan
        candidate, self._candidate = self._candidate, None  # this attempt's own, also when it is abandoned
        pending, self._pending_close = self._pending_close, None
        if pending is not None and not closing.take_back(pending):
            candidate = None  # `close` had it
        made = candidate
        try:
            if candidate is not None and plan.probe is not None:
                outcome: Outcome = yield Call(plan.probe, candidate, awaited=plan.awaited)
            else:
                outcome = yield from resolve.trying(self._cell)
                made = outcome.value
        except BaseException:  # such as a KeyboardInterrupt that user code raised of its own: no good try
            self._failures += 1
            self._successes = 0
            if candidate is not None:
                self._cell.dispose(candidate)
            raise
        if candidate is not None and not (outcome.ok and made is candidate):
            self._cell.dispose(candidate)
        if not outcome.ok:
            self._failures += 1
            self._successes = 0
            return outcome
        self._failures = 0
        self._successes += 1
        if self._successes >= self._policy.success_threshold:
            return Outcome(made)
        self._keep(made)
        return Outcome(interrupted=True)

    def _attempt_ended(self) -> None:
        if self._over():
            self._end()
        else:
            self._remind()
            if self._stuck:  # there was no place for a try, however long the waits had grown: look soon
                self._stuck, self._failures = False, 0
            self.wait()

    def _remind(self) -> None:
        """Say now and then that it goes on: whoever looks at today's log does not see yesterday's line."""
        moment, now = clock.now(), self._cell.now
        if moment - self._reminded >= _REMIND_EVERY:
            self._reminded = moment
            self._cell.tell("reminder", now, now, moment - now.since)


def _look(known: ref[RecoveryRun], look: object) -> None:
    run = known()
    if run is None or run._next_look is not look:
        return
    try:
        run._due()
    except BaseException:
        if run._next_look is look:
            run.wait()  # whatever it was, the next one follows
        raise
