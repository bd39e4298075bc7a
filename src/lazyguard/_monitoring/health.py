"""`health`: the state of all that lazyguard knows, as one check for each thing and one status for all.

The form is that of "Health Check Response Format for HTTP APIs" (draft-inadarei-api-health-check-06), health+json.

Invariants: a check builds nothing and waits for nothing. It has exception types and places, never an exception's text.
A stack has places alone, `file:line function`; no argument, no local and no source line is read.
"""

from __future__ import annotations

import sys
from itertools import dropwhile

from lazyguard._base import TYPE_CHECKING, Any, FrameType, Iterator, Literal, Record, final, places
from lazyguard._core import clock, daemons, declaration, mode, whole
from lazyguard._core.state import DEGRADED, PENDING, READY, RESOLVING
from lazyguard._guards import frames
from lazyguard._lazy_imports import package
from lazyguard._policies import fallback
from lazyguard.events import describe

if TYPE_CHECKING:
    from lazyguard._core.cell import Cell
    from lazyguard._core.state import Attempt, Snapshot, State
    from lazyguard._lazy_imports.package import LazyAttributes

    Status = Literal["pass", "warn", "fail"]
    CheckState = State | Literal["closed", "open", "half-open"]


@final
class Check(Record):
    """The state of one service, lazy object, guarded function or preload, or of all names of one `attach`.

    Attributes:
        name: Its name, `module:qualname`; for the names of an `attach` the package.
        kind: "service", "critical service", "lazy object", "lazy attribute", "lazy attributes" (of a package),
            "guarded" (a function with a breaker or a fallback) or "preload".
        status: "fail" for a critical service that has failed or is overdue, until it is ready again; also where its
            fallback is refused to all (`max_degraded`, LAZYGUARD_FALLBACK=deny). "warn" for any other failure, and
            while degraded. Else "pass".
        state: "pending", "resolving", "ready", "degraded" or "failed"; of a breaker "closed", "open" or "half-open".
        since: When that state began, in seconds since the epoch; None for the first state.
        cause: Why the status is not "pass": an exception's type and place, or that it is overdue or stuck; else "".
        loop: Where several event loops use an async service: which one's object it is, as "loop 2"; else "".
        generation: How often it was reset, overridden or recovered; how often a breaker has opened since it was closed.
        running: How many attempts have not ended.
        place: Where it was declared, `file:line`.
        fallbacks: While degraded or failed: the fallbacks in their order, each with the "place" of its declaration, its
            "state" ("served", "failed", "hangs", "unused") and the "cause" of that.
        answered: How often the fallbacks have answered since the program began, by the name of the attribute or method.
            It has up to 32 names, and all others as "(others)". Counted without a lock: one may be lost.
        counts: For the names of an `attach`: how many are resolved, and how many there are; else None. The state is
            "ready" when all are resolved, and "pending" before. A name whose last import failed makes the status
            "warn", and is in the cause.
        stacks: Where the attempts hang, each from the factory inwards, as `file:line function`. Empty unless it is
            stuck: as many attempts hang as can run, so no other one begins until one of them ends.
    """

    name: str
    kind: str
    status: Status
    state: CheckState
    place: str
    answered: dict[str, int] = declaration.NOTHING
    since: float | None = None
    cause: str = ""
    loop: str = ""
    generation: int = 0
    running: int = 0
    fallbacks: tuple[dict[str, str], ...] = ()
    counts: tuple[int, int] | None = None
    stacks: tuple[tuple[str, ...], ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the check in the form of health+json."""
        listed: dict[str, Any] = {"componentType": self.kind, "status": self.status, "observedValue": self.state}
        if self.counts is not None:
            listed["observedValue"], total = self.counts
            listed["observedUnit"] = f"of {total} names"
        if self.since is not None:
            import time

            listed["time"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self.since))
        others = {
            "componentId": self.loop,
            "output": self.cause,
            "fallbacks": [dict(one) for one in self.fallbacks],
            "answeredByFallback": dict(self.answered),
            "stacks": [list(stack) for stack in self.stacks],
        }
        return {**listed, **{key: value for key, value in others.items() if value}}

    def __repr__(self) -> str:
        return f"<Check {self.name} {self.status} {self.state}>"


def check(cell: Cell, kind: str, now: float, date: float) -> Check:
    """Return the check of one cell."""
    if not cell.used:
        return Check(name=cell.name, kind=kind, status="pass", state=PENDING, place=cell.place)
    if daemons.refused:
        daemons.try_again()  # a caller that looks may be the only one
    snapshot = cell.now
    cause = describe(snapshot.cause)
    limit = cell.plan.timeout
    if not cause and snapshot.state == RESOLVING and limit is not None and now - snapshot.since > limit:
        cause = f"not built within {limit:g} s"
    stacks: tuple[tuple[str, ...], ...] = ()
    if snapshot.state != READY and snapshot.stuck(now, cell.plan.abandon_after):
        stacks = tuple(stack_of(attempt) for attempt in snapshot.running)
        cause = f"{cause}, and " if cause else ""
        cause += f"stuck: {len(stacks)} attempts hang, and no other one begins until one of them ends"
    status: Status = "pass"
    if cause:  # also while a failed cell is being built again
        refusal = fallback.refusal_to_all(cell, snapshot) if snapshot.state == DEGRADED else ""
        status = "fail" if (snapshot.state != DEGRADED or refusal) and kind == "critical service" else "warn"
        cause = f"{cause}; {refusal}" if refusal else cause
    return Check(
        name=cell.name,
        kind=kind,
        status=status,
        state=snapshot.state,
        since=None if snapshot.state == PENDING else date - (now - snapshot.since),
        cause=cause,
        generation=snapshot.generation,
        running=len(snapshot.running),
        place=cell.place,
        fallbacks=_fallbacks(cell, snapshot, now) if cause else (),
        answered=dict(cell.answered),
        stacks=stacks,
        loop="" if cell.loops is None else cell.loops.name_of(cell),
    )


def stack_of(attempt: Attempt) -> tuple[str, ...]:
    """Return the stack of the thread or task that runs an attempt; empty if it is not available, as for a greenlet."""
    if attempt.task is not None:
        stack = list(_awaiting(attempt.task.get_coro()))
    else:
        stack = [*places.outwards(sys._current_frames().get(attempt.thread or 0))][::-1]
    below = dropwhile(lambda frame: not frames.is_lazyguards(frame), stack)  # without the thread's own frames
    inwards = dropwhile(frames.is_lazyguards, below)
    return tuple(f"{places.of_frame(frame)} {frame.f_code.co_name}" for frame in inwards)


def _awaiting(waits: Any) -> Iterator[FrameType]:
    """Yield the frames of a suspended coroutine inwards, to what it waits for."""
    while waits is not None:
        for kind in ("cr", "gi", "ag"):
            frame = getattr(waits, f"{kind}_frame", None)
            if frame is not None:
                yield frame
                break
        else:
            return
        waits = getattr(waits, "gi_yieldfrom" if kind == "gi" else f"{kind}_await", None)


def check_guard(guard: Any, now: float, date: float) -> Check:
    """Return the check of a guarded function: the state of its breaker."""
    phases = [circuit.now for circuit in guard.circuits()]
    phase = max(phases, key=lambda one: _PROGRESS.index(one.state), default=None)
    answers = guard.answers
    answering = getattr(answers, "since", None) is not None
    times = getattr(answers, "times", 0)
    since, cause = (answers.since, answers.cause) if answering else (None, "")
    if phase is not None and phase.state != "closed":
        since, cause = phase.since, phase.why
        if guard.key is not None:
            cause = f"{sum(one.state != 'closed' for one in phases)} of {len(phases)} keys: {cause}"
    return Check(
        name=guard.name,
        kind="guarded",
        status="pass" if since is None else "warn",
        state="closed" if phase is None else phase.state,
        since=None if since is None else date - (now - since),
        cause=cause,
        generation=0 if phase is None else phase.rounds,
        place=guard.place,
        fallbacks=tuple(
            {"place": one.place, "state": "served" if one is answers.by else "unused", "cause": ""}
            for one in (answers.fallbacks if answering else ())
        ),
        answered={"__call__": times} if times else {},
    )


def _fallbacks(cell: Cell, snapshot: Snapshot, now: float) -> tuple[dict[str, str], ...]:
    """Return the state of each fallback, and why it is not served."""
    served = fallback.serving(cell, snapshot)
    listed = []
    for one in cell.fallbacks:
        state, cause = "unused", describe(one.now.cause)
        if one is served:
            state = "served"
        elif cause:
            state = "failed"
        elif one.now.state == RESOLVING:
            state, cause = "hangs", f"not made within {now - one.now.since:.3g} s"
        listed.append({"place": one.place, "state": state, "cause": cause})
    return tuple(listed)


def check_attributes(attributes: LazyAttributes) -> Check:
    """Return the check of the names that one `attach` has declared."""
    resolved, total = sum(map(attributes.is_resolved, attributes.origins)), len(attributes.origins)
    cause = ", ".join(f"{name}: {why}" for name, why in sorted(attributes.failures.copy().items()))
    return Check(
        name=attributes.package,
        kind="lazy attributes",
        status="warn" if cause else "pass",
        state=READY if resolved == total else PENDING,
        cause=cause,
        place=attributes.place_of(),
        counts=(resolved, total),
    )


def worst(checks: list[Check]) -> Check:
    """Return one check for several cells of a service: that of the cell in the worst state, with the counts of all."""
    if len(checks) == 1:
        return checks[0]
    found = min(checks, key=lambda one: (_BADNESS.index(one.status), -_PROGRESS.index(one.state), one.since or 0.0))
    answered: dict[str, int] = {}
    for one in checks:
        for name, times in one.answered.items():
            answered[name] = answered.get(name, 0) + times
    counts = {name: sum(getattr(one, name) for one in checks) for name in ("generation", "running")}
    return Check(**{**vars(found), **counts, "answered": answered})


_BADNESS = ("fail", "warn", "pass")
_PROGRESS = ("pending", "closed", "ready", "resolving", "half-open", "degraded", "open", "failed")


@final
class Health(Record):
    """The result of `health()`.

    Attributes:
        checks: First the services and the lazy objects of modules, then the guarded functions with a breaker, each in
            the order of declaration. Then one check for the names of each `attach`, and one for each line that has
            called `preload`.
        active: Whether the policies are in force; False after `set_active(False)` and with LAZYGUARD_ACTIVE=0.
        scheduler_late: How many seconds late recoveries and other scheduled work run; 0.0 where nothing is scheduled.
    """

    checks: tuple[Check, ...]
    scheduler_late: float = 0.0
    active: bool = True

    @property
    def status(self) -> Status:
        """The worst status of all checks; at best "warn" while the policies are not in force."""
        found = {one.status for one in self.checks}
        return "fail" if "fail" in found else "warn" if "warn" in found or not self.active else "pass"

    def to_dict(self) -> dict[str, Any]:
        """Return the status and all checks in the form of health+json."""
        checks: dict[str, list[dict[str, Any]]] = {}
        for one in self.checks:
            checks.setdefault(one.name, []).append(one.to_dict())
        listed: dict[str, Any] = {"status": self.status, "checks": checks}
        if not self.active:
            listed["notes"] = ["lazyguard is switched off: set_active(False), or LAZYGUARD_ACTIVE=0"]
        if self.scheduler_late:
            listed["schedulerLate"] = round(self.scheduler_late, 3)
        return listed

    def __repr__(self) -> str:
        return f"<Health {self.status}, {len(self.checks)} checks>"


def health() -> Health:
    """Return the state of every service, lazy object of a module, guarded function with a breaker, and attached name.

    It builds and imports nothing. For each line that calls `preload` it has the state of the latest call: "resolving",
    with the status "warn", until that has ended. Then it is "ready", or "failed" where something could not be built.

    Example:
        >>> import lazyguard
        >>> lazyguard.health().status
        'pass'
    """
    now, date = clock.now(), clock.current.date()
    for cell, _ in declaration.cells():
        if cell.loops is not None:
            cell.loops.prune()
    cells = [check(cell, kind, now, date) for cell, kind in declaration.cells()]
    seen = [guard for guard in declaration.guards() if guard.breaker is not None or guard.answers]
    guards = [check_guard(guard, now, date) for guard in seen]
    preloads = whole("_services.preload")  # not loaded: no preload was called
    begun = () if preloads is None else preloads.checks(now, date)
    scheduler = whole("_core.scheduler")  # not loaded: nothing was ever scheduled
    late = 0.0 if scheduler is None else max(0.0, scheduler.behind())
    checks = (*cells, *guards, *map(check_attributes, package.declared()), *begun)
    return Health(checks=checks, scheduler_late=late, active=mode.is_active())
