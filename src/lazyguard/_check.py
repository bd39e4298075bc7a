"""One check: the state of a service or a lazy object, since when and why. Looks at what is there and touches nothing.

Invariant: it carries names, places and exception types, never an exception's text, an argument or a URL.
"""

from __future__ import annotations

from lazyguard._core.state import DEGRADED, PENDING, RESOLVING
from lazyguard._typing import final
from lazyguard.events import describe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Literal

    from lazyguard._core.cell import Cell
    from lazyguard._core.state import State

    Status = Literal["pass", "warn", "fail"]


@final
class Check:
    """One service or lazy object.

    Attributes:
        name: Its name, `module:qualname`.
        kind: "service", "critical service" or "lazy object".
        status: "fail" for a critical service that has failed or has not come in time, and until it is there again;
            "warn" for another one, and for what is degraded; else "pass".
        state: "pending", "resolving", "ready", "degraded" or "failed".
        since: When it came into that state, in seconds since the epoch; None where it always was.
        cause: Why the status is not "pass": an exception's type and place, or that it is overdue; else "".
        generation: How often it was reset, overridden or recovered.
        running: How many attempts have not ended.
        place: Where it is declared, `file:line`.
    """

    __slots__ = ("cause", "generation", "kind", "name", "place", "running", "since", "state", "status")

    def __init__(
        self,
        *,
        name: str,
        kind: str,
        status: Status,
        state: State,
        since: float | None,
        cause: str,
        generation: int,
        running: int,
        place: str,
    ) -> None:
        self.name = name
        self.kind = kind
        self.status = status
        self.state = state
        self.since = since
        self.cause = cause
        self.generation = generation
        self.running = running
        self.place = place

    def to_dict(self) -> dict[str, Any]:
        """Return the check as health+json has it."""
        told: dict[str, Any] = {"componentType": self.kind, "status": self.status, "observedValue": self.state}
        if self.since is not None:
            import time

            told["time"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self.since))
        if self.cause:
            told["output"] = self.cause
        return told

    def __repr__(self) -> str:
        return f"<Check {self.name} {self.status} {self.state}>"


def check(cell: Cell, kind: str, now: float, date: float) -> Check:
    """Return what there is to say about one cell."""
    seen = cell.now
    cause = describe(seen.cause)
    limit = cell.plan.timeout
    if not cause and seen.state == RESOLVING and limit is not None and now - seen.since > limit:
        cause = f"not built within {limit:g} s"
    status: Status = "pass"
    if cause:  # also while a failed one is being built again
        status = "fail" if seen.state != DEGRADED and kind == "critical service" else "warn"
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
    )
