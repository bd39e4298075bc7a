"""The cell's transitions where something comes between: they begin again from what is, and show it."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest

from lazyguard._core import cell as cells
from lazyguard._core.cell import Cell
from lazyguard._core.declaration import Plan
from lazyguard._core.state import Attempt, Outcome
from lazyguard._core.threads import resolved
from lazyguard.errors import ResolutionError

pytestmark = pytest.mark.usefixtures("limited")


class Mirror:
    """Shows served targets; does `between` once, outside the lock, before a transition to `state`."""

    def __init__(self, cell: Cell, state: str, between) -> None:
        self.state, self.between = state, between
        self.shown: object = None
        cell.mirror = self

    def is_shown_by(self, _thing: object) -> bool:
        return False

    def load(self, cell: Cell) -> None:
        pass

    def prepare(self, cell: Cell, snapshot):
        if snapshot.state == self.state and self.between is not None:
            between, self.between = self.between, None
            between()
        return (snapshot.target,)

    def publish(self, view):
        before, self.shown = self.shown, view[0]
        return (before,)

    def drop(self, view) -> None:
        pass


def later(cell: Cell) -> None:
    """Change what the cell shows, and nothing that a transition looks at."""
    cell.change(lambda now: now.changed(since=now.since + 1.0))


def test_a_fallback_is_served_though_the_cell_has_changed(told):
    """A transition that another one has overtaken is made again, once, from what there is."""
    cell = Cell(object, name="c", place="p")
    mirror = Mirror(cell, "degraded", lambda: later(cell))
    cell.degrade("fallback", OSError(), 0)
    assert (cell.now.state, cell.now.target, mirror.shown) == ("degraded", "fallback", "fallback")
    assert [event.kind for event in told] == ["degraded"]


@pytest.mark.parametrize("generation", [0, 1])
def test_no_fallback_is_served_beside_an_object(told, generation):
    """What is served already, or another generation, is left alone."""
    cell, fallback = Cell(lambda: "real", name="c", place="p"), Cell(lambda: "fallback", name="f", place="p")
    if generation == 0:
        resolved(cell)
    cell.fallbacks = (fallback,)
    before = cell.now
    cell.degrade(resolved(fallback), OSError(), generation)
    assert cell.now is before
    assert "degraded" not in [event.kind for event in told]
    # What came too late for the object is let go of, and what is only of another generation is not.
    assert fallback.now.state == ("pending" if generation == 0 else "ready")


def test_a_target_is_taken_out_of_service_though_the_cell_has_changed(told):
    """The same for a breaker that opens: it opens, once, and what was served is closed."""
    closed: list[object] = []
    cell = Cell(lambda: "real", name="c", place="p", plan=Plan(close=closed.append))
    resolved(cell)
    cause = OSError()
    Mirror(cell, "failed", lambda: later(cell))
    cell.open(0, cause)
    assert (cell.now.state, cell.now.cause, cell.now.generation) == ("failed", cause, 1)
    assert [event.kind for event in told] == ["ready", "failed"]


def test_only_what_is_served_is_taken_out_of_service():
    """A breaker of another generation, or of what an override covers, opens nothing."""
    cell = Cell(lambda: "real", name="c", place="p")
    cell.open(0, OSError())
    assert cell.now.state == "pending"
    resolved(cell)
    cell.open(1, OSError())
    assert cell.now.state == "ready"
    undo = cell.override("fake")
    cell.open(cell.now.generation, OSError())
    assert cell.now.target == "fake"
    undo()
    assert cell.now.target == "real"


def test_a_target_of_another_loop_is_renewed_once(told, eventually):
    """It is told and what there was is closed, once; who saw the cell before that leaves the new generation alone."""
    closed: list[object] = []
    cell = Cell(lambda: "real", name="c", place="p", plan=Plan(close=closed.append))
    resolved(cell)
    seen = cell.now
    for _ in range(2):
        cell.renew(seen)
        assert (cell.now.state, cell.now.generation) == ("pending", 1)
        assert [event.kind for event in told] == ["ready", "reset"]
        eventually(lambda: closed == ["real"])


class Recovery:
    """Counts how often it was asked to begin."""

    def __init__(self) -> None:
        self.begun = 0

    def begin(self, cell: Cell) -> None:
        self.begun += 1


def test_an_override_that_ends(told):
    """It is told once; a fallback that is served again is what the recovery goes on with, and an object is not."""
    recovery = Recovery()
    cell = Cell(lambda: "real", name="c", place="p", plan=Plan(recovery=recovery))
    resolved(cell)
    undo = cell.override("fake")
    undo()
    undo()
    assert [(event.kind, event.seconds) for event in told[1:]] == [("overridden", 0.0)] * 2
    assert recovery.begun == 0
    cell.reset()
    cell.degrade("fallback", OSError(), cell.now.generation)
    assert recovery.begun == 1
    cell.override("fake")()
    assert cell.now.target == "fallback"
    assert recovery.begun == 2


def test_a_failure_that_does_not_count(told, clock):
    """An attempt of a generation that has ended, or that was interrupted, fails quietly, and no recovery begins."""
    recovery = Recovery()
    cell = Cell(object, name="c", place="p", plan=Plan(recovery=recovery))
    for outcome in (Outcome(error=OSError()), Outcome(interrupted=True)):
        attempt, _, _ = cell.find_attempt(cell.now)
        assert attempt is not None
        if not outcome.interrupted:
            cell.reset()
        cell.settle(attempt, outcome)
        assert cell.now.state == "pending"
    assert [event.kind for event in told] == ["reset"]
    assert recovery.begun == 0


def test_the_seconds_of_an_attempt(told, clock):
    """What is told of an attempt's end, or of its being left to itself, is how long it has run."""
    cell = Cell(object, name="c", place="p", plan=Plan(abandon_after=10.0))
    first, _, _ = cell.find_attempt(cell.now)
    clock.advance(12.0)
    second, _, _ = cell.find_attempt(cell.now)
    assert first is not None
    assert second is not None
    clock.advance(3.0)
    cell.settle(second, Outcome("made"))
    cell.settle(first, Outcome("late"))
    assert [(event.kind, round(event.seconds, 3)) for event in told] == [
        ("abandoned", 12.0),
        ("ready", 3.0),
        ("late", 15.0),
    ]


def test_a_target_that_cannot_be_shown(told):
    """Where the mirror refuses what was made, that is the attempt's failure, and what was made is closed."""
    closed: list[object] = []
    cell = Cell(lambda: "real", name="c", place="p", plan=Plan(close=closed.append))
    refusal = TypeError("no class for it")

    def refuse() -> None:
        raise refusal

    Mirror(cell, "ready", refuse)
    with pytest.raises(ResolutionError) as caught:
        resolved(cell)
    assert caught.value.__cause__ is refusal
    assert (cell.now.state, closed) == ("failed", ["real"])
    assert resolved(cell) == "real"


def test_a_mirror_that_has_nothing_to_show_for_the_last_transition():
    """A handler that resets the cell as its target is about to be shown: what the mirror shows is its own affair."""
    cell = Cell(lambda: "real", name="c", place="p")
    prepared: list[str] = []

    class Blank(Mirror):
        def prepare(self, cell, snapshot):
            prepared.append(snapshot.state)
            return (snapshot.target,) if snapshot.served else None

        def publish(self, view):
            if self.between is not None:
                self.between = None
                cell.begin_anew()
            return super().publish(view)

    mirror = Blank(cell, "", object)
    attempt, _, _ = cell.find_attempt(cell.now)
    assert attempt is not None
    cell.settle(attempt, Outcome("real"))
    assert cell.now.state == "pending"
    assert prepared == ["ready", "pending", "pending"]
    assert mirror.shown == "real"


def test_an_awaited_cell_needs_no_mirror():
    """A cell that nothing shows is resolved all the same, by threads and by tasks."""
    cell = Cell(object, name="c", place="p")
    target = asyncio.run(cell.aresolve())
    assert cell.resolve() is target


def test_who_asks_an_attempt_after_its_end_is_called_at_once():
    """Callbacks are called once, whether they come before or after the end; the first outcome stays."""
    cell = Cell(object, name="c", place="p")
    attempt = Attempt(cell, 3, 0.0)
    told: list[str] = []
    attempt.on_done(lambda: told.append("before"))
    outcome = Outcome("value")
    attempt.end(outcome)
    attempt.end(Outcome("other"))
    attempt.on_done(lambda: told.append("after"))
    attempt.wait(lambda: told.append("woken"))
    assert told == ["before", "after", "woken"]
    assert attempt.outcome is outcome
    assert repr(attempt) == "<Attempt of c generation=3>"
    assert repr(cell) == "<Cell c pending declared at p>"


def test_patience_of_two_attempts(clock):
    """An attempt is replaced when it is as old as `abandon_after`; two that are as old, and no fewer, are stuck."""
    cell = Cell(object, name="c", place="p", plan=Plan(abandon_after=10.0))
    first, new, now = cell.find_attempt(cell.now)
    assert new
    clock.advance(9.0)
    assert cell.find_attempt(cell.now) == (first, False, now)
    clock.advance(1.0)
    assert not cell.now.stuck(cell.now.since + 10.0, cell.plan.abandon_after)
    second, new, now = cell.find_attempt(cell.now)
    assert new
    assert now.running == (first, second)
    clock.advance(9.0)
    assert not now.stuck(clock.now(), cell.plan.abandon_after)
    clock.advance(1.0)
    assert now.stuck(clock.now(), cell.plan.abandon_after)
    assert cell.find_attempt(now) == (second, False, now)
    plain = Cell(object, name="c", place="p")
    assert not now.stuck(clock.now(), plain.plan.abandon_after)
    for attempt in (first, second):
        cell.settle(attempt, Outcome(interrupted=True))
    assert not cells.active
    assert cell.now.state == "pending"


def test_who_waits_for_an_attempt_looks_again_when_its_cell_changes():
    """Each change wakes them, at once: what they wait for may be of no use to them any more."""
    cell = Cell(object, name="c", place="p")
    attempt, _, _ = cell.find_attempt(cell.now)
    assert attempt is not None
    woken: list[str] = []
    attempt.wait(lambda: woken.append("by an override"))
    undo = cell.override("fake")
    attempt.wait(lambda: woken.append("by its ending"))
    undo()
    assert woken == ["by an override", "by its ending"]
    cell.settle(attempt, Outcome(interrupted=True))


def test_fallbacks_begin_anew_with_their_cell():
    """A reset, and an object that comes, reset the fallbacks: what they had made is made again where it is needed."""
    cell, fallback = (Cell(object, name=name, place="p") for name in ("c", "f"))
    cell.fallbacks = (fallback,)
    resolved(fallback)
    cell.reset()
    assert fallback.now.state == "pending"
    resolved(fallback)
    resolved(cell)
    assert fallback.now.state == "pending"


class Interleaved(Cell):
    """A cell that lets something happen just before its next transition."""

    before: Callable[[], object] = bool

    def swap(self, *transition: Any) -> bool:
        before, self.before = self.before, bool
        before()
        return super().swap(*transition)


@pytest.fixture
def degraded():
    """Return a cell that serves its fallback, the fallback's cell, and a function that lets the real object come.

    That function takes what happens just before the fallback is let go of for it.
    """
    cell, fallback = Cell(lambda: "real", name="c", place="p"), Interleaved(object, name="f", place="p")
    cell.fallbacks = (fallback,)
    cell.degrade(resolved(fallback), OSError(), 0, fallback)

    def comes(before: Callable[[], object]) -> None:
        fallback.before = before
        attempt, _, _ = cell.find_attempt(cell.now, recovery=True)
        assert attempt is not None
        cell.settle(attempt, Outcome("real"))

    return cell, fallback, comes


def test_a_fallback_of_a_later_failure_is_not_let_go_of(degraded):
    """The object has come and failed anew before its follow-ups were done: what was made for that is kept."""
    cell, fallback, comes = degraded
    made = []

    def fail_again() -> None:
        cell.reset()
        later(cell)
        made.append(resolved(fallback))
        cell.degrade(made[0], OSError(), cell.now.generation, fallback)

    comes(fail_again)
    assert cell.now.state == "degraded"
    assert fallback.now.target is cell.now.target is made[0]


def test_a_fallback_that_is_served_again_while_it_is_let_go_of(degraded):
    """The object has failed once more meanwhile: what is about to be closed is served no longer."""
    cell, fallback, comes = degraded
    first = fallback.now.target

    def fail_again() -> None:
        cell.open(cell.now.generation, OSError())
        cell.degrade(first, OSError(), cell.now.generation)

    comes(fail_again)
    assert cell.now.state == fallback.now.state == "pending"


def test_a_fallback_that_was_let_go_of_before_it_was_served():
    """A caller has found what was let go of before it could serve it: it is not served."""
    cell, fallback = Cell(lambda: "real", name="c", place="p"), Cell(object, name="f", place="p")
    cell.fallbacks = (fallback,)
    found = resolved(fallback)
    fallback.reset()
    cell.degrade(found, OSError(), 0, fallback)
    assert cell.now.state == "pending"


def test_an_attempt_that_cannot_be_boarded_is_not_new():
    """Where the cell has changed, or its attempt was lost, there is none to launch: whoever asks looks again."""
    cell = Cell(object, name="c", place="p")
    seen = cell.now
    later(cell)
    assert cell.find_attempt(seen) == (None, False, seen)
    assert not cells.active
    lost, _, now = cell.find_attempt(cell.now)
    assert lost is not None
    lost.running = True  # and no thread runs it
    assert cell.find_attempt(now) == (None, False, now)
    assert lost.outcome is not None
    assert cell.now.state == "pending"


@pytest.mark.parametrize("recovery", [False, True])
def test_an_object_that_comes_after_a_failure_is_a_recovery(told, recovery):
    """Whoever has built it; the first one of all is "ready"."""
    cell = Cell(object, name="c", place="p")
    for cause in (None, OSError()):
        if cause is not None:
            cell.reset()
            cell.degrade("fallback", cause, cell.now.generation)
        attempt, _, _ = cell.find_attempt(cell.now, recovery=recovery and cause is not None)
        assert attempt is not None
        cell.settle(attempt, Outcome("made"))
    assert [event.kind for event in told] == ["ready", "reset", "degraded", "recovered"]


def test_the_last_of_two_nested_transitions_is_shown_and_the_others_are_let_go():
    """A handler overrides the cell as its target is about to be shown: each view before the last is dropped."""
    cell = Cell(lambda: "real", name="c", place="p")
    dropped: list[object] = []

    class Nested(Mirror):
        def publish(self, view):
            if self.between is not None:
                self.between = None
                cell.override("the handler's")
            return super().publish(view)

        def drop(self, view) -> None:
            dropped.append(view[0])

    mirror = Nested(cell, "", object)
    attempt, _, _ = cell.find_attempt(cell.now)
    assert attempt is not None
    cell.settle(attempt, Outcome("real"))
    assert cell.now.target == mirror.shown == "the handler's"
    assert dropped == [None, "the handler's", "real"]


def test_who_is_interrupted_before_the_launch_ends_its_own_attempt_alone():
    """Other cells' attempts, and those that somebody runs, go on."""
    cell, other = (Cell(object, name=name, place="p") for name in ("own", "other"))
    own, _, _ = cell.find_attempt(cell.now)
    foreign, _, _ = other.find_attempt(other.now)
    assert own is not None
    assert foreign is not None
    own.running = True
    cell.end_unlaunched()
    assert own.outcome is None
    own.running, own.thread = False, None
    cell.end_unlaunched()
    assert own.outcome is None
    own.thread = threading.get_ident()
    cell.end_unlaunched()
    assert own.outcome is not None
    assert own.outcome.interrupted
    assert foreign.outcome is None
    other.end_unlaunched()
    assert not cells.active


def test_events_are_told_in_the_order_of_the_transitions(told):
    """A thread that is held up just after its transition is told of before the next thread's, which is not held up."""
    cell = Cell(object, name="c", place="p")
    resolved(cell)
    made, go_on = threading.Event(), threading.Event()
    mirror = Mirror(cell, "never", None)

    def drop(_view) -> None:
        if threading.current_thread() is held:
            made.set()
            go_on.wait(30)

    mirror.drop = drop
    held = threading.Thread(target=cell.reset, daemon=True)
    held.start()
    assert made.wait(30)
    resolved(cell)
    assert [event.kind for event in told] == ["ready", "reset", "ready"]
    go_on.set()
    held.join(30)
    assert [event.kind for event in told] == ["ready", "reset", "ready"]


def test_no_race_tells_of_an_older_generation_after_a_newer(told, race):
    """However many threads reset, override and build: the generations that a listener hears of never fall."""
    cell = Cell(object, name="c", place="p")

    def reset() -> None:
        for _ in range(100):
            resolved(cell)
            cell.reset()

    def override() -> None:
        for _ in range(100):
            cell.override("other")()

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        assert race(reset, override, reset, override) == [None] * 4
    finally:
        sys.setswitchinterval(before)
    heard = [event.generation for event in told]
    assert heard == sorted(heard)
    assert len(heard) >= 200  # those of the overrides, at least
