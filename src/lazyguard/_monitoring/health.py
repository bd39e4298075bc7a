"""Health: what is ready, degraded or failed, all in one call.

The form is that of "Health Check Response Format for HTTP APIs" (draft-inadarei-api-health-check-06), health+json.
Invariant: it builds nothing and waits for nothing.
"""

from __future__ import annotations

import sys

from lazyguard._base.typing import final
from lazyguard._core import clock, daemons, registry
from lazyguard._core.loading import whole
from lazyguard._core.state import DEGRADED, PENDING, READY, RESOLVING
from lazyguard._lazy_imports import package
from lazyguard.events import describe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Literal, Protocol

    from lazyguard._core.cell import Cell
    from lazyguard._core.state import Snapshot, State
    from lazyguard._lazy_imports.package import LazyAttributes
    from lazyguard._policies.circuit import Circuit

    Status = Literal["pass", "warn", "fail"]
    Shown = State | Literal["closed", "open", "half-open"]

    class Guard(Protocol):
        """What guards a function, as far as is looked at here."""

        name: str
        place: str
        circuit: Circuit | None


@final
class Check:
    """One service or lazy object, or all names that one `attach` has declared for a package.

    Attributes:
        name: Its name, `module:qualname`; of a package's names the package.
        kind: "service", "critical service", "lazy object", "lazy attribute", "lazy attributes" of a package,
            "guarded", a function with a breaker, or "preload".
        status: "fail" for a critical service that has failed or has not come in time, and until it is there again,
            also where its fallback may not be served any more (`max_degraded`, LAZYGUARD_FALLBACK=deny); "warn" for
            another one, and for what is degraded; else "pass".
        state: "pending", "resolving", "ready", "degraded" or "failed"; of a breaker "closed", "open" or "half-open".
        since: When it came into that state, in seconds since the epoch; None where it always was.
        cause: Why the status is not "pass": an exception's type and place, or that it is overdue or stuck; else "".
        generation: How often it was reset, overridden or recovered; how often a breaker has opened since it was closed.
        running: How many attempts have not ended.
        place: Where it is declared, `file:line`.
        fallbacks: Of what is degraded or has failed: its fallbacks in their order, each with the "place" of its
            declaration, its "state" ("served", "failed", "hangs", "unused") and the "cause" of that.
        answered: How often its fallbacks have answered since the program began, by the name of what was asked of them.
            Up to 32 names, all others as "(others)". Counted without a lock: one may be lost now and then.
        counts: Of a package's names how many are resolved, and how many there are; else None. All of them are "ready"
            together, before that they are "pending". A name whose import failed at its last use makes the status
            "warn", and is named in the cause.
        stacks: Where its attempts hang, each from the factory inwards, as `file:line function`; empty unless it is
            stuck: as many attempts hang as may run, so that no other one begins until one of them ends.
    """

    __slots__ = (
        "answered",
        "cause",
        "counts",
        "fallbacks",
        "generation",
        "kind",
        "name",
        "place",
        "running",
        "since",
        "stacks",
        "state",
        "status",
    )

    def __init__(
        self,
        *,
        name: str,
        kind: str,
        status: Status,
        state: Shown,
        since: float | None,
        cause: str,
        generation: int,
        running: int,
        place: str,
        fallbacks: tuple[dict[str, str], ...] = (),
        answered: dict[str, int] | None = None,
        counts: tuple[int, int] | None = None,
        stacks: tuple[tuple[str, ...], ...] = (),
    ) -> None:
        self.name: str = name
        self.kind: str = kind
        self.status = status
        self.state: Shown = state
        self.since: float | None = since
        self.cause: str = cause
        self.generation: int = generation
        self.running: int = running
        self.place: str = place
        self.fallbacks: tuple[dict[str, str], ...] = fallbacks
        self.answered: dict[str, int] = answered or {}
        self.counts: tuple[int, int] | None = counts
        self.stacks: tuple[tuple[str, ...], ...] = stacks

    def to_dict(self) -> dict[str, Any]:
        """Return the check as health+json has it."""
        told: dict[str, Any] = {"componentType": self.kind, "status": self.status, "observedValue": self.state}
        if self.counts is not None:
            told["observedValue"], total = self.counts
            told["observedUnit"] = f"of {total} names"
        if self.since is not None:
            import time

            told["time"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self.since))
        if self.cause:
            told["output"] = self.cause
        if self.fallbacks:
            told["fallbacks"] = [dict(one) for one in self.fallbacks]
        if self.answered:
            told["answeredByFallback"] = dict(self.answered)
        if self.stacks:
            told["stacks"] = [list(stack) for stack in self.stacks]
        return told

    def __repr__(self) -> str:
        return f"<Check {self.name} {self.status} {self.state}>"


def check(cell: Cell, kind: str, now: float, date: float) -> Check:
    """Return what there is to say about one cell."""
    if daemons.refused:
        daemons.try_again()  # it is what looks while nobody uses what is degraded
    seen = cell.now
    cause = describe(seen.cause)
    limit = cell.plan.timeout
    if not cause and seen.state == RESOLVING and limit is not None and now - seen.since > limit:
        cause = f"not built within {limit:g} s"
    stacks: tuple[tuple[str, ...], ...] = ()
    if seen.state != READY and cell.stuck(seen, now):
        from lazyguard._monitoring import stacks as stack_of

        stacks = tuple(stack_of.of_attempt(attempt) for attempt in seen.running)
        cause = f"{cause}, and " if cause else ""
        cause += f"stuck: {len(stacks)} attempts hang, and no other one begins until one of them ends"
    status: Status = "pass"
    if cause:  # also while a failed one is being built again
        over = _refused_to_all(cell, seen) if seen.state == DEGRADED else ""
        status = "fail" if (seen.state != DEGRADED or over) and kind == "critical service" else "warn"
        cause = f"{cause}; {over}" if over else cause
    return Check(
        name=cell.name,
        kind=kind,
        status=status,
        state=seen.state,
        since=None if seen.state == PENDING else date - (now - seen.since),
        cause=cause,
        generation=seen.generation,
        running=len(seen.running),
        place=cell.place,
        fallbacks=_fallbacks(cell, seen, now) if cause else (),
        answered=dict(cell.answered),
        stacks=stacks,
    )


def check_guard(guard: Guard, now: float, date: float) -> Check:
    """Return what there is to say about a guarded function: the state of its breaker."""
    phase = None if guard.circuit is None else guard.circuit.now
    closed = phase is None or phase.state == "closed"
    return Check(
        name=guard.name,
        kind="guarded",
        status="pass" if closed else "warn",
        state="closed" if phase is None else phase.state,
        since=None if phase is None or closed else date - (now - phase.since),
        cause="" if phase is None else describe(phase.cause),
        generation=0 if phase is None else phase.rounds,
        running=0,
        place=guard.place,
    )


def _refused_to_all(cell: Cell, seen: Snapshot) -> str:
    if not cell.fallbacks:
        return ""
    from lazyguard._policies import fallback

    return fallback.refusal_to_all(cell, seen) or ""


def _fallbacks(cell: Cell, seen: Snapshot, now: float) -> tuple[dict[str, str], ...]:
    """Return what is served, and why those before it are not."""
    if not cell.fallbacks:
        return ()
    from lazyguard._policies import fallback

    served = fallback.serving(cell, seen)
    told = []
    for one in cell.fallbacks:
        state, cause = "unused", describe(one.now.cause)
        if one is served:
            state = "served"
        elif cause:
            state = "failed"
        elif one.now.state == RESOLVING:
            state, cause = "hangs", f"not made within {now - one.now.since:.3g} s"
        told.append({"place": one.place, "state": state, "cause": cause})
    return tuple(told)


def check_attributes(attributes: LazyAttributes) -> Check:
    """Return what there is to say about the names that one `attach` has declared."""
    resolved, total = sum(map(attributes.is_resolved, attributes.origins)), len(attributes.origins)
    cause = ", ".join(f"{name}: {why}" for name, why in sorted(attributes.failures.copy().items()))
    return Check(
        name=attributes.package,
        kind="lazy attributes",
        status="warn" if cause else "pass",
        state=READY if resolved == total else PENDING,
        since=None,
        cause=cause,
        generation=0,
        running=0,
        place=attributes.place,
        counts=(resolved, total),
    )


def worst(checks: list[Check]) -> Check:
    """Return what there is to say about several cells of one service: the check of the one that is worst off."""
    if len(checks) == 1:
        return checks[0]
    found = min(checks, key=lambda one: (_BADNESS.index(one.status), -_PROGRESS.index(one.state), one.since or 0.0))
    fields: dict[str, Any] = {name: getattr(found, name) for name in Check.__slots__}
    fields["generation"] = sum(one.generation for one in checks)
    fields["running"] = sum(one.running for one in checks)
    answered: dict[str, int] = {}
    for one in checks:
        for name, times in one.answered.items():
            answered[name] = answered.get(name, 0) + times
    fields["answered"] = answered
    return Check(**fields)


_BADNESS = ("fail", "warn", "pass")
_PROGRESS = ("pending", "closed", "ready", "resolving", "half-open", "degraded", "open", "failed")


@final
class Health:
    """What `health()` returns.

    Attributes:
        status: The worst status of all checks.
        checks: Every service and every lazy object that a module declares, then the guarded functions that have a
            breaker, each in the order of declaration; then one check for the names of each `attach`, and one for each
            line that has called `preload`.
        scheduler_late: How many seconds late recoveries and whatever else is scheduled run; 0.0 where nothing is.
    """

    __slots__ = ("checks", "scheduler_late", "status")

    def __init__(self, checks: tuple[Check, ...], scheduler_late: float = 0.0) -> None:
        self.checks: tuple[Check, ...] = checks
        self.scheduler_late: float = scheduler_late
        found = {one.status for one in checks}
        self.status: Status = "fail" if "fail" in found else "warn" if "warn" in found else "pass"

    def to_dict(self) -> dict[str, Any]:
        """Return the whole as health+json has it."""
        checks: dict[str, list[dict[str, Any]]] = {}
        for one in self.checks:
            checks.setdefault(one.name, []).append(one.to_dict())
        told: dict[str, Any] = {"status": self.status, "checks": checks}
        if self.scheduler_late:
            told["schedulerLate"] = round(self.scheduler_late, 3)
        return told

    def __repr__(self) -> str:
        return f"<Health {self.status}, {len(self.checks)} checks>"


def health() -> Health:
    """Return the state of every service, lazy object of a module, guarded function with a breaker, and attached name.

    It builds and imports nothing. Of each line that calls `preload` it has the latest one's state: "resolving", with
    the status "warn", until that has ended; then "ready", or "failed" where something could not be built.

    Example:
        >>> import lazyguard
        >>> lazyguard.health().status
        'pass'
    """
    now, date = clock.now(), clock.current.date()
    cells = [check(cell, kind, now, date) for cell, kind in registry.cells()]
    guards = [check_guard(guard, now, date) for guard in registry.guards()]
    preloads = sys.modules.get("lazyguard._services.preload")  # not loaded: nobody has called it
    begun = () if preloads is None else preloads.checks(now, date)
    scheduler = whole("_core.scheduler")  # not loaded: nothing was ever scheduled
    late = 0.0 if scheduler is None else max(0.0, scheduler.behind())
    return Health((*cells, *guards, *map(check_attributes, package.declared()), *begun), late)
