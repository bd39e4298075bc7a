"""What a cell is at one moment: an immutable Snapshot, the attempts that run, and how each ended.

Invariants: a snapshot never changes once a cell shows it; every transition makes a new one, so a reader needs no lock;
the generation never falls; at most one result is served a generation. An attempt ends once; each waiter is woken once,
from the thread that ends it and outside every lock; an attempt knows which thread or task runs it, so that a wait cycle
can be seen.
"""

from __future__ import annotations

import _thread

from lazyguard._base.interpreter import Lock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _weakref import ref

    from lazyguard._base import Any, Callable, Iterable, Literal, Protocol

    class Gate(Protocol):
        """What is asked before an attempt begins to replace a target that calls have taken out of service."""

        by_hand: bool  # it lets nothing begin, not even what asks for the real object, nor a recovery

        def admit(self, cell: Any) -> Callable[[Outcome], object] | None:
            """Return what is told how the attempt ended; raise where none may begin. None: join what runs."""
            ...

    # Given, before anything changes, what undoes it, which may be called twice.
    Note = Callable[[Callable[[], None]], object]
    State = Literal["pending", "resolving", "ready", "degraded", "failed"]

PENDING: State = "pending"
RESOLVING: State = "resolving"
READY: State = "ready"
DEGRADED: State = "degraded"
FAILED: State = "failed"
# What has left service and is not closed: it is put here in the step in which it leaves.
to_close: dict[Any, None] = {}
# A cell that was interrupted: None. A key of its own for each block: see `interruptions`.
owed: dict[Any, tuple[ref[Any], Callable[[], object], int] | None] = {}
# Numbers what is built, in its order. As atomic as itertools.count, and there already.
builds = iter(range(1, 2**62))
# What has no higher number was made by a parent of this process, before a fork.
made_by_parents = 0
# The one lock of all cells: held for a few statements, and never while user code runs.
lock = Lock()


class Outcome:
    """How user code ended, as a value: what it returned, what it raised, or that it was interrupted.

    `final` marks a failure that no retry can mend, such as a factory that returned None, and an interruption after
    which no waiting caller builds anew.
    """

    __slots__ = ("error", "final", "interrupted", "value")

    def __init__(
        self, value: Any = None, error: BaseException | None = None, *, interrupted: bool = False, final: bool = False
    ) -> None:
        self.value: Any = value
        self.error: BaseException | None = error
        self.interrupted: bool = interrupted
        self.final: bool = final

    @property
    def ok(self) -> bool:
        """Whether there is a value to use."""
        return self.error is None and not self.interrupted


class Attempt:
    """A run of a cell's factory, with its retries.

    Attributes:
        generation: The generation for which it runs; its result counts for no other.
        started: When it began, by the clock.
        thread: The thread that runs it, or is about to; None while another one is being started for it.
        running: Whether somebody runs it, who will end it.
        asked_by: The line of the program that asked for it; "" unless LAZYGUARD_TRACE is set.
        begun_in: The attempt whose factory asked for it, if any.
        task: The asyncio task that runs it; None for one that a thread runs.
        home: The event loop that its target will belong to; None unless the factory is async.
        made: The PendingClose of the target that it makes; None where nothing does.
        recovery: Whether it runs in the background, to bring a real object back.
    """

    def __init__(self, cell: Any, generation: int, started: float, *, recovery: bool = False) -> None:
        self.cell: Any = cell
        self.generation: int = generation
        self.started: float = started
        self.recovery: bool = recovery
        self.thread: int | None = _thread.get_ident()
        self.running: bool = False
        self.asked_by: str = ""
        self.begun_in: ref[Attempt] | None = None
        self.task: Any = None
        self.home: Any = None
        self.made: Any = None
        self.outcome: Outcome | None = None
        self._done: list[Callable[[], object]] = []
        self._waiting: list[Callable[[], object]] = []

    def on_done(self, callback: Callable[[], object]) -> None:
        """Call back once when the attempt has ended; at once if it has."""
        self._done.append(callback)
        if self.outcome is not None:
            call(self._done)

    def wait(self, wake: Callable[[], object]) -> None:
        """Wake once when the attempt has ended, or when its cell has changed; at once if the attempt has ended."""
        self._waiting.append(wake)
        if self.outcome is not None:
            self.wake_all()

    def forget(self, wake: Callable[[], object]) -> None:
        """Take back what is to be woken no more."""
        try:
            self._waiting.remove(wake)
        except ValueError:
            pass  # it is being called, or was

    def end(self, outcome: Outcome) -> None:
        """End the attempt and tell all who wait; the first outcome stays."""
        if self.outcome is None:
            self.outcome = outcome
        self.wake_all()
        call(self._done)

    def wake_all(self) -> None:
        """Let all who wait for the attempt look again."""
        call(self._waiting)

    def __repr__(self) -> str:
        return f"<Attempt of {self.cell.name} generation={self.generation}>"


def call(callbacks: list[Callable[[], object]]) -> None:
    """Call each of these back once, whoever else does: pop() hands each to one thread, with or without a GIL."""
    while True:
        try:
            callback = callbacks.pop()
        except IndexError:
            return
        callback()


class Snapshot:
    """State, target and bookkeeping of a cell at one moment.

    Attributes:
        target: What is served: the real object when ready, the fallback when degraded, else None.
        cause: Why it is failed or degraded.
        since: When it came into this state, by the cell's clock.
        attempt: The attempt whose result would count.
        abandoned: Flights that are still running although nobody waits for their result any more.
        home: The event loop to which what an async function made belongs.
        made: The PendingClose of the target; None where nothing does.
        overrides: The overrides in force, each a list of one value, the latest last.
        held: What the overrides cover.
        gate: What is asked before an attempt begins, where calls on the target have failed.
        uses: Yields the target for each of the uses that a proxy in a shared class counts; see `views.shared`.
    """

    state: State = PENDING
    generation: int = 0
    since: float = 0.0
    target: Any = None
    cause: BaseException | None = None
    attempt: Attempt | None = None
    abandoned: tuple[Attempt, ...] = ()
    home: Any = None
    made: Any = None
    overrides: tuple[list[Any], ...] = ()
    held: Snapshot | None = None
    gate: Gate | None = None
    uses: Iterable[Any] = ()

    def __init__(self, state: State = PENDING, **fields: Any) -> None:
        self.state = state
        for name, value in fields.items():  # not by its dict, which would be made for that: it takes more room
            setattr(self, name, value)

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
    def closes(self) -> Any:
        """What will close the target, if it leaves service; that of an override is not closed."""
        return self.made if self.held is None else self.held.made

    @property
    def running(self) -> tuple[Attempt, ...]:
        """All attempts that have not ended, oldest first."""
        return self.abandoned if self.attempt is None else (*self.abandoned, self.attempt)

    def stuck(self, moment: float, patience: float | None) -> bool:
        """Return whether no attempt can begin because as many as may run have hung for longer than that."""
        if patience is None or len(self.running) < 2:
            return False
        return all(moment - attempt.started >= patience for attempt in self.running)

    def counts(self, attempt: Attempt) -> bool:
        """Return whether the result of `attempt` would be served."""
        return self.state != READY and self.generation == attempt.generation and attempt in self.running

    def launched(self, attempt: Attempt, since: float) -> Snapshot:
        """Start `attempt`; one that was running is abandoned. Nothing else changes during a recovery."""
        if self.state == DEGRADED or attempt.recovery:
            return self.changed(attempt=attempt, abandoned=self.running)
        return self.changed(state=RESOLVING, since=since, attempt=attempt, abandoned=self.running)

    def ready(self, target: Any, ended: Attempt, since: float) -> Snapshot:
        """Serve `target`, made by `ended`. After a fallback was served this is a new generation."""
        return Snapshot(
            READY,
            generation=self.generation + (self.state != RESOLVING),
            since=since,
            target=target,
            abandoned=tuple(attempt for attempt in self.running if attempt is not ended),
            home=ended.home,
            made=ended.made,
        )

    def failed(self, cause: BaseException, ended: Attempt, since: float) -> Snapshot:
        """Note the failure of `ended`; what else runs, and a fallback that is served, stay."""
        left = self.without(ended)
        if left.state == DEGRADED:
            return left.changed(cause=cause)
        if left.attempt is not None:
            return left  # a replacement is on its way: it decides
        return left.changed(state=FAILED, since=left.since if left.state == FAILED else since, cause=cause)

    def opened(self, cause: BaseException, since: float, gate: Gate | None) -> Snapshot:
        """Take a ready target out of service because calls on it fail; from now on `gate` lets attempts begin."""
        return Snapshot(
            FAILED, generation=self.generation + 1, since=since, cause=cause, abandoned=self.running, gate=gate
        )

    def degraded(self, target: Any, cause: BaseException, since: float, home: Any = None) -> Snapshot:
        """Serve a fallback; an attempt that still runs goes on and is adopted if it ends well."""
        return self.changed(state=DEGRADED, target=target, cause=cause, since=since, home=home)

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
        return Snapshot(**{**vars(self), **changes})

    def __repr__(self) -> str:
        return f"<Snapshot {self.state} generation={self.generation} running={len(self.running)}>"


# What every cell is before its first use.
UNUSED = Snapshot()
