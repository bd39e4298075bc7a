"""The cell: one factory, its plan, and the snapshot of what it holds at present.

Invariants: the snapshot changes in `swap` alone, which compares and sets under one lock that is held for three
statements and never while user code runs; at most one attempt counts, and at most two run; a result that came too late
for its generation is closed and never served.
"""

import _thread
import os

from lazyguard import events
from lazyguard._base.interpreter import is_a_handlers
from lazyguard._core import INTERRUPTIONS, clock, loaded, state, whole
from lazyguard._core.declaration import PLAIN, Declaration, Plan
from lazyguard._core.state import DEGRADED, FAILED, PENDING, READY, UNUSED, Attempt, Outcome, Snapshot, owed, to_close

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lazyguard._base import Any, Callable
    from lazyguard._base.places import Place
    from lazyguard._core.closing import PendingClose
    from lazyguard._core.state import Gate, Note


# What is loaded by its name where it is needed; and what is asked only where something else has loaded it.
CLOSING, OBSERVERS = "_core.closing", "_core.observers"
# Attempts that have not ended; what a fork must forget.
active: "set[Attempt]" = set()
# The cell whose transition may be half done when another thread forks: set, but not yet shown.
midway: "Cell | None" = None


def completed(operation: "Callable[..., None]") -> "Callable[..., None]":
    """Let what an operation on a cell owes be done where it is interrupted."""

    def run(cell: "Cell", /, *arguments: "Any", **named: "Any") -> None:
        try:
            operation(cell, *arguments, **named)
        except BaseException:
            owed[cell] = None
            loaded(INTERRUPTIONS).catch_up()
            raise

    return run


class Cell(Declaration):
    """A factory and what has become of it."""

    __slots__ = ()
    now: "Snapshot"
    fallbacks: "tuple[Cell, ...]"
    kept: "Any"
    calls: "tuple[int, Any] | None"

    def __init__(self, factory: "Callable[[], Any]", *, name: str, place: "Place", plan: "Plan" = PLAIN) -> None:
        super().__init__(factory, name=name, place=place, plan=plan)
        self.now = UNUSED

    def swap(self, old: "Snapshot", new: "Snapshot", kind: str = "", seconds: float = 0.0) -> bool:
        """Put `new` in the place of `old`, if `old` is still what the cell shows; return whether it was.

        With a `kind` that is an event, which takes its place among those of the cell in the same step. Listeners run
        at `events.deliver`, when all is done that the transition owes.
        """
        if kind == "reset" and (old.held or old).state == PENDING:
            kind = ""  # below an override, too: nothing begins anew
        letters = events.addressed(self._event(kind, old, new, seconds), id(self)) if kind else None
        put = events.putting(letters) if letters else ()
        mirror = self.mirror
        if new.shows(old):
            mirror = None  # it shows what it showed
        view = None if mirror is None else mirror.prepare(self, new)
        leaves, comes = old.closes, new.closes
        leaving: dict[Any, None] = {} if leaves is None or leaves is comes else to_close
        kept = dropped = None
        if new.cause is not None:
            try:
                kept = loaded("_core.causes", self).keep(new.cause)
            except Exception as error:  # the interpreter is ending, and imports nothing any more
                if is_a_handlers(error):
                    raise
        global midway
        with state.lock:
            midway = self
            # Fall through, not jump: no signal handler runs between comparing and setting (3.10 runs them at jumps).
            if self.now is old:
                leaving[leaves] = None
                self.now = new
                any(put)
                if comes in to_close:
                    del to_close[comes]  # another cell had it
                self.kept, kept = kept, self.kept
                if view is not None and mirror is not None:
                    dropped = mirror.publish(view)
            else:
                return False
            midway = None
        del kept  # outside the lock, as what else is dropped
        if dropped is not None and mirror is not None:
            mirror.drop(dropped)  # outside the lock: the last reference to a target may run its finaliser
        if self.now is not new and mirror is not None:
            self.show(mirror)
        for attempt in new.running:
            attempt.wake_all()  # who waits for one of these may not need to any more
        if letters:
            events.posted(letters)
        return True

    def show(self, mirror: "Any") -> None:
        """Let the mirror show what is: a handler may have made a transition before `swap` published its own."""
        shown = None
        while shown is not self.now:
            shown = self.now
            view = mirror.prepare(self, shown)
            if view is None:
                continue
            with state.lock:
                dropped = mirror.publish(view)
            if dropped is not None:
                mirror.drop(dropped)

    def change(self, to: "Callable[[Snapshot], Snapshot]", kind: str = "") -> "tuple[Snapshot, Snapshot]":
        """Make the transition `to` from whatever the cell shows, if it is one; return both snapshots."""
        while True:
            now = self.now
            new = to(now)
            if new is now or self.swap(now, new, kind):
                return now, new

    def said(self, text: str) -> str:
        """Return a sentence about the cell, for an error."""
        return f"{self.name}, declared at {self.place}, {text}"

    def error(self, kind: str, text: str) -> "Any":
        """Return an error that says this of the cell; `kind` is the name of its class."""
        return getattr(loaded("errors", self), kind)(self.said(text))

    def tell(self, kind: str, before: "Snapshot", after: "Snapshot", seconds: float = 0.0, cause: str = "") -> None:
        """Emit an event about what is no transition."""
        events.emit(self._event(kind, before, after, seconds, cause), id(self))

    def _event(
        self, kind: str, before: "Snapshot", after: "Snapshot", seconds: float, cause: str = ""
    ) -> "events.Event":
        event = events.Event(
            kind=kind,
            name=self.name,
            place=self.place,
            before=before.state,
            after=after.state,
            generation=after.generation,
            cause=cause or events.describe(after.cause),
            seconds=seconds,
        )
        event._quiet = kind == "failed" and before.state != READY and before.cause is None and bool(self.fallbacks)
        if kind == "recovered":
            event._away = after.since - before.since
        return event

    def find_attempt(self, now: "Snapshot", *, recovery: bool = False) -> "tuple[Attempt | None, bool, Snapshot]":
        """Find the attempt to wait for.

        Returns:
            The attempt, whether it is new and has to be launched, and what the cell shows with it. No attempt when the
            cell has changed since `now` was read, or is `crowded`. One that is older than `abandon_after`, or whose
            generation has ended, is left to itself, and one replacement starts beside it; there is no third.
        """
        moment = clock.now()
        if now.running:
            wait_cycles = loaded("_core.wait_cycles", self)
            if any(wait_cycles.ended(attempt) for attempt in now.running):
                return None, False, now  # lost with its thread or its loop: it has given its place back
            newest = now.running[-1]
            patience = self.plan.abandon_after
            old = patience is not None and moment - newest.started >= patience
            if len(now.running) > 1 or not (old or newest.generation != now.generation):
                return newest, False, now
        attempt = Attempt(self, now.generation, moment, recovery=recovery)
        new = now.launched(attempt, moment)
        active.add(attempt)
        places = self.plan.bulkhead if recovery or self.plan.timeout is not None else None
        if places is not None and not places.enter(attempt):
            active.discard(attempt)
            return (now.running[-1] if now.running else None), False, now
        kind, since = ("abandoned", now.running[-1].started) if now.running else ("", moment)
        if not self.swap(now, new, kind, moment - since):
            active.discard(attempt)
            if places is not None:
                places.leave(attempt)
            return None, False, now
        if os.environ.get("LAZYGUARD_TRACE"):
            loaded("_core.trace", self).began(attempt)
        if kind:
            events.deliver()
        return attempt, True, new

    def crowded(self, now: "Snapshot", moment: float) -> bool:
        """Return whether an attempt has to wait, since the other keys of the service have as many as may run."""
        places = self.plan.bulkhead
        if places is None or now.running or self.plan.timeout is None:
            return False
        return bool(places.full(moment, self.plan.abandon_after))

    def end_unlaunched(self) -> None:
        """End what this thread has put up, for a fallback too, and nobody runs: it did not come to the launch."""
        here, family = _thread.get_ident(), (*self.fallbacks, self)
        for attempt in list(active):
            if attempt.cell in family and attempt.thread == here and not attempt.running:
                attempt.cell.settle(attempt, Outcome(interrupted=True))

    @completed
    def settle(self, attempt: "Attempt", outcome: "Outcome") -> None:
        """Take the outcome of an attempt that has ended: serve it, note its failure, or close it as out of date."""
        moment = clock.now()
        seconds = moment - attempt.started
        while True:
            now = self.now
            counts = now.counts(attempt)
            if not counts or outcome.interrupted:
                new, kind = now.without(attempt), "late" if outcome.ok else ""
            elif outcome.ok:
                new = now.ready(outcome.value, attempt, moment)
                kind = "recovered" if now.state in (DEGRADED, FAILED) or attempt.recovery else "ready"
            else:
                assert outcome.error is not None
                new = now.failed(outcome.error, attempt, moment)
                kind = "failed" if new.state == FAILED else ""
            try:
                if self.swap(now, new, kind, seconds):
                    break
            except Exception as error:  # the target's class cannot be shown: a failure, never an attempt without end
                if is_a_handlers(error):
                    raise
                outcome = Outcome(error=error)
        attempt.end(outcome)
        if attempt.asked_by:
            loaded("_core.trace", self).ended(attempt, outcome, seconds, counts=counts)
        observers = whole(OBSERVERS)  # not loaded: nothing counts
        if observers is not None:
            observers.ended(attempt, outcome, seconds, counts=counts)
        if not (outcome.ok and counts):
            self.dispose(attempt)
        active.discard(attempt)
        if outcome.ok and counts:
            self.release_fallbacks()
        elif counts and not outcome.interrupted:
            self.recover()
        events.deliver()

    def degrade(self, target: "Any", cause: BaseException, generation: int, made_by: "Cell | None" = None) -> None:
        """Serve a fallback, unless the real object has come meanwhile or the `generation` that failed has ended."""
        home = None if made_by is None else made_by.now.home

        def degraded(now: "Snapshot") -> "Snapshot":
            wanted = not now.served and now.generation == generation
            return now.degraded(target, cause, clock.now(), home) if wanted else now

        now, new = self.change(degraded, "degraded")
        if now is not new:
            if made_by is not None and made_by.now.target is not target:  # it has been let go of just now
                self.swap(new, new.fresh(clock.now()))
            self.recover()
        elif now.state == READY:
            self.release_fallbacks()  # it came too late, and is not to serve at another time
        events.deliver()

    @completed
    def open(self, generation: int, cause: BaseException, gate: "Gate | None" = None) -> None:
        """Take the target of `generation` out of service because calls on it fail; it is closed after `grace`.

        Args:
            generation: Whose calls fail; nothing happens if another one is served by now.
            cause: The failure of the last of them.
            gate: What is asked before a caller's attempt begins, until there is a target again.
        """

        def opened(now: "Snapshot") -> "Snapshot":
            serves = now.state == READY and now.generation == generation and not now.overrides
            return now.opened(cause, clock.now(), gate) if serves else now

        now, new = self.change(opened, "failed")
        if now is not new:
            self._after_grace(now.closes)
            self.recover()
            events.deliver()

    def recover(self) -> None:
        """Let the plan's recovery try again in the background."""
        gate = self.now.gate
        if self.plan.recovery is not None and not (gate is not None and gate.by_hand):
            self.real_recovery().begin(self)

    def real_recovery(self) -> "Any":
        """Return the recovery of a plan that has one."""
        recovery = self.plan.recovery
        return loaded("_policies.recovery", self).USUAL if recovery is ... else recovery

    def resolve(self, *, wait: "float | None" = None, real: bool = False) -> "Any":
        """Return the target, building it if need be; see `resolve.resolving`.

        The drivers are loaded here and not before: a program that only declares does without them.
        """
        return loaded("_core.threads", self).resolved(self, wait=wait, real=real)

    async def aresolve(self, *, wait: "float | None" = None, real: bool = False) -> "Any":
        """Return the target without blocking the event loop."""
        return await loaded("_core.tasks", self).aresolved(self, wait=wait, real=real)

    def here(self, *, strict: bool = True) -> "Cell":
        """Return the cell of the caller's event loop: this one, unless several loops use an async service.

        `strict`: raise UsageError where no loop runs here, and it takes one to tell which cell is meant.
        """
        if not self.plan.awaited:
            return self
        loops = self.loops
        if loops is None:
            if not loaded("_core.resolve", self).elsewhere(self):
                return self
            loops = loaded("_services.loops", self).of(self, self.mirror)
        of_loop: Cell = loops.here(strict=strict)
        return of_loop

    def reset(self) -> None:
        """Begin anew, on all loops: pending, in a new generation. What was made is closed here and now."""
        for cell in (self, *(() if self.loops is None else self.loops.others(self))):
            cell._reset()

    @completed
    def _reset(self) -> None:
        for pending in self.begin_anew():
            loaded(CLOSING, self).carry_out(pending)
        events.deliver()

    def begin_anew(self) -> "list[PendingClose]":
        """Do `reset`, and leave to the caller the closing, and `events.deliver` after that."""
        # fallbacks first, or one might be served again
        closes = [pending for fallback in self.fallbacks for pending in fallback.begin_anew()]
        now, new = self.change(lambda snapshot: snapshot.fresh(clock.now()), "reset")
        if self.calls is not None and self.calls[0] < new.generation:
            self.calls = None  # what counted has the failure that it ended with
        if now.closes is not None:
            closes.append(now.closes)
        return closes

    def release_fallbacks(self) -> None:
        """Let go of what fallbacks have made, since the real object is there; it is closed after `grace`."""

        def unneeded(now: "Snapshot") -> "Snapshot":
            # the real object may have failed since: what is made for that failure is not let go of
            return now if self.now.state in (DEGRADED, FAILED) else now.fresh(clock.now())

        for fallback in self.fallbacks:
            before, after = fallback.change(unneeded, "reset")
            if after is before:
                continue
            now = self.now
            if now.state == DEGRADED and now.target is before.target:  # just now
                self.swap(now, now.fresh(clock.now()))
            self._after_grace(before.closes)
        events.deliver()

    def renew(self, now: "Snapshot") -> None:
        """Begin anew, if the cell still shows `now`, since its target belongs to another event loop."""
        if self.swap(now, now.fresh(clock.now()), "reset"):
            self._after_grace(now.closes)
            self.release_fallbacks()
            events.deliver()

    def override(self, value: "Any", note: "Note" = bool) -> "Callable[[], None]":
        """Serve `value` until the returned function is called, which brings back what there was.

        Before anything changes, `note` is given that function, which may be called twice.
        """
        if self.here() is not self:
            return self.here().override(value, note)
        override = [value]

        def restore() -> None:
            self._change_override(lambda present: present.restored(override, clock.now()))

        note(restore)
        self._change_override(lambda present: present.overridden(override, clock.now()))
        return restore

    @completed
    def _change_override(self, to: "Callable[[Snapshot], Snapshot]") -> None:
        before, now = self.change(to, "overridden")
        if now is not before and now.state == DEGRADED:
            self.recover()
        events.deliver()

    def _after_grace(self, pending: "PendingClose | None") -> None:
        """Close what has left service, `grace` seconds from now, on a thread of its own."""
        if pending is not None:
            loaded(CLOSING, self).after_grace(pending, clock.now() + self.plan.grace)

    def dispose(self, attempt: "Attempt") -> None:
        """Close what an attempt has made, unless it is served; its failure is an event."""
        pending = attempt.made
        if pending is not None and pending.box and pending is not self.now.closes:
            loaded(CLOSING, self).carry_out(pending)
            attempt.made = None

    def __del__(self) -> None:
        """Nobody can reach what is served any more: close it after `grace`."""
        if getattr(self, "now", UNUSED).closes is None:  # its making may have been interrupted
            return
        now, _ = self.change(lambda snapshot: snapshot.fresh(clock.now()))  # `close` may be about to take it too
        if now.closes is not None:
            loaded(CLOSING, self).after_finaliser(now.closes, clock.now() + self.plan.grace)

    def __repr__(self) -> str:
        return f"<Cell {self.name} {self.now.state} declared at {self.place}>"


def begin(declared: "Any") -> None:
    """Make a cell of what was declared, at its first use."""
    if declared.plan is not PLAIN:
        if declared.plan.reads is not None:
            declared.plan.reads(declared)
        loaded("_core.forks").watch(declared)
    with state.lock:
        # Fall through, as in `swap`: a signal handler in between that uses the cell has made its transition already.
        if not declared.used:
            declared.now = UNUSED
            declared.__class__ = Cell
