"""What a cell is at one moment: an immutable Snapshot, and the transitions from one to the next.

Invariants: a snapshot never changes once a cell shows it; every transition makes a new one, so a reader needs no lock;
the generation never falls; at most one result is served a generation.
"""

from __future__ import annotations

from itertools import count

from lazyguard._base.typing import final

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Literal, Protocol

    from lazyguard._core.attempt import Attempt
    from lazyguard._core.cell import Cell

    class Gate(Protocol):
        """What is asked before an attempt begins to replace a target that calls have taken out of service."""

        def admit(self, cell: Cell) -> Callable[[Outcome], object] | None:
            """Return what is to be told how the attempt ended; raise where none may begin. None: join what runs."""
            ...

    State = Literal["pending", "resolving", "ready", "degraded", "failed"]

PENDING: State = "pending"
RESOLVING: State = "resolving"
READY: State = "ready"
DEGRADED: State = "degraded"
FAILED: State = "failed"
# Numbers what is built, in its order.
builds = count(1)


@final
class Outcome:
    """How user code ended, as a value: what it returned, what it raised, or that it was interrupted.

    `final` marks a failure that no retry can mend, such as a factory that returned None.
    """

    __slots__ = ("error", "final", "interrupted", "value")

    def __init__(
        self,
        value: Any = None,
        error: BaseException | None = None,
        *,
        interrupted: bool = False,
        final: bool = False,
    ) -> None:
        self.value: Any = value
        self.error: BaseException | None = error
        self.interrupted: bool = interrupted
        self.final: bool = final

    @property
    def ok(self) -> bool:
        """Whether there is a value to use."""
        return self.error is None and not self.interrupted


@final
class Snapshot:
    """State, target and bookkeeping of a cell at one moment.

    Attributes:
        target: What is served: the real object when ready, the fallback when degraded, else None.
        cause: Why it is failed or degraded.
        since: When it came into this state, by the cell's clock.
        attempt: The attempt whose result would count.
        abandoned: Flights that are still running although nobody waits for their result any more.
        home: The event loop to which what an async function made belongs.
        made: The place of the target in the order of construction; 0 where there is none.
        overrides: The overrides in force, each a list of one value, the latest last.
        held: What the overrides cover.
        gate: What is asked before an attempt begins, where calls on the target have failed.
    """

    __slots__ = (
        "abandoned",
        "attempt",
        "cause",
        "gate",
        "generation",
        "held",
        "home",
        "made",
        "overrides",
        "since",
        "state",
        "target",
    )

    def __init__(
        self,
        state: State = PENDING,
        *,
        generation: int = 0,
        since: float = 0.0,
        target: Any = None,
        cause: BaseException | None = None,
        attempt: Attempt | None = None,
        abandoned: tuple[Attempt, ...] = (),
        home: Any = None,
        made: int = 0,
        overrides: tuple[list[Any], ...] = (),
        held: Snapshot | None = None,
        gate: Gate | None = None,
    ) -> None:
        self.state: State = state
        self.generation: int = generation
        self.since: float = since
        self.target: Any = target
        self.cause: BaseException | None = cause
        self.attempt: Attempt | None = attempt
        self.abandoned: tuple[Attempt, ...] = abandoned
        self.home: Any = home
        self.made: int = made
        self.overrides: tuple[list[Any], ...] = overrides
        self.held: Snapshot | None = held
        self.gate: Gate | None = gate

    @property
    def served(self) -> bool:
        """Whether there is a target to use."""
        return self.state == READY or self.state == DEGRADED

    def shows(self, other: Snapshot) -> bool:
        """Whether the world sees the same as with `other`: nothing, or the same target in the same role."""
        if not self.served and not other.served:
            return True
        return (self.state, self.generation) == (other.state, other.generation) and self.target is other.target

    @property
    def running(self) -> tuple[Attempt, ...]:
        """All attempts that have not ended, oldest first."""
        return self.abandoned if self.attempt is None else (*self.abandoned, self.attempt)

    def counts(self, attempt: Attempt) -> bool:
        """Return whether the result of `attempt` would be served."""
        return self.state != READY and self.generation == attempt.generation and attempt in self.running

    def launched(self, attempt: Attempt, since: float) -> Snapshot:
        """Start `attempt`; one that was running is abandoned. Nothing else changes during a recovery."""
        if self.state == DEGRADED or attempt.recovery:
            return self.changed(attempt=attempt, abandoned=self.running)
        return Snapshot(
            RESOLVING,
            generation=self.generation,
            since=since,
            cause=self.cause,
            attempt=attempt,
            abandoned=self.running,
            gate=self.gate,
        )

    def ready(self, target: Any, ended: Attempt, since: float) -> Snapshot:
        """Serve `target`, made by `ended`. After a fallback was served this is a new generation."""
        return Snapshot(
            READY,
            generation=self.generation + (self.state != RESOLVING),
            since=since,
            target=target,
            abandoned=tuple(attempt for attempt in self.running if attempt is not ended),
            home=ended.home,
            made=next(builds),
        )

    def failed(self, cause: BaseException, ended: Attempt, since: float) -> Snapshot:
        """Note the failure of `ended`; what else runs, and a fallback that is served, stay."""
        left = self.without(ended)
        if left.state == DEGRADED:
            return left.changed(cause=cause)
        if left.attempt is not None:
            return left  # a replacement is on its way: it decides
        if left.state == FAILED:
            since = left.since
        return Snapshot(
            FAILED, generation=self.generation, since=since, cause=cause, abandoned=left.abandoned, gate=self.gate
        )

    def opened(self, cause: BaseException, since: float, gate: Gate | None) -> Snapshot:
        """Take a ready target out of service because calls on it fail; from now on `gate` lets attempts begin."""
        return Snapshot(
            FAILED, generation=self.generation + 1, since=since, cause=cause, abandoned=self.running, gate=gate
        )

    def degraded(self, target: Any, cause: BaseException, since: float, home: Any = None) -> Snapshot:
        """Serve a fallback; an attempt that still runs goes on and is adopted if it ends well."""
        return Snapshot(
            DEGRADED,
            generation=self.generation,
            since=since,
            target=target,
            cause=cause,
            attempt=self.attempt,
            abandoned=self.abandoned,
            home=home,
        )

    def fresh(self, since: float) -> Snapshot:
        """Begin a new generation with nothing in it (below the overrides); what runs is out of date from now on."""
        if self.overrides:
            return self.changed(generation=self.generation + 1, held=Snapshot())
        return Snapshot(PENDING, generation=self.generation + 1, since=since, abandoned=self.running)

    def overridden(self, override: list[Any], since: float) -> Snapshot:
        """Begin a new generation that serves the value of an override."""
        held = self if self.served else Snapshot()
        return Snapshot(
            READY,
            generation=self.generation + 1,
            since=since,
            target=override[0],
            abandoned=self.running,
            overrides=(*self.overrides, override),
            held=self.held if self.overrides else held.changed(attempt=None, abandoned=()),
        )

    def restored(self, override: list[Any], since: float) -> Snapshot:
        """End an override: the latest of the others counts, or what they cover."""
        left = tuple(other for other in self.overrides if other is not override)
        if len(left) == len(self.overrides) or self.held is None:
            return self
        generation = self.generation + 1
        if left:
            return self.changed(generation=generation, since=since, target=left[-1][0], overrides=left)
        return self.held.changed(generation=generation, since=since, abandoned=self.running)

    def without(self, ended: Attempt) -> Snapshot:
        """Forget an attempt that has ended and whose result does not count."""
        abandoned = tuple(attempt for attempt in self.abandoned if attempt is not ended)
        if self.attempt is not ended:
            return self.changed(abandoned=abandoned)
        state = PENDING if self.state == RESOLVING else self.state
        return self.changed(state=state, attempt=None, abandoned=abandoned)

    def changed(self, **changes: Any) -> Snapshot:
        """Return a snapshot that differs in `changes` alone."""
        fields: dict[str, Any] = {name: getattr(self, name) for name in self.__slots__}
        fields.update(changes)
        return Snapshot(**fields)

    def __repr__(self) -> str:
        return f"<Snapshot {self.state} generation={self.generation} running={len(self.running)}>"
