"""Snapshots: what each transition keeps, what it changes, and what the world sees of it."""

from __future__ import annotations

import importlib.util

import pytest

from lazyguard._core import state
from lazyguard._core.cell import Cell
from lazyguard._core.state import DEGRADED, FAILED, PENDING, READY, RESOLVING, Attempt, Outcome, Snapshot

CELL = Cell(object, name="c", place="p")
CAUSE, GATE = OSError(), object()


def attempt(generation: int = 0, *, recovery: bool = False) -> Attempt:
    return Attempt(CELL, generation, 0.0, recovery=recovery)


def fields(snapshot: Snapshot, *names: str) -> list[object]:
    return [getattr(snapshot, name) for name in names]


@pytest.mark.parametrize(
    ("outcome", "ok"),
    [
        (Outcome("value"), True),
        (Outcome(), True),
        (Outcome(error=CAUSE), False),
        (Outcome(interrupted=True), False),
        (Outcome(error=CAUSE, interrupted=True), False),
    ],
)
def test_what_an_outcome_is(outcome, ok):
    """There is a value to use unless something was raised or interrupted; None is one, and nothing is final unsaid."""
    assert outcome.ok is ok
    assert outcome.final is False


def test_what_is_new_is_pending():
    """A new cell serves nothing, runs nothing and is in generation 0."""
    new = Snapshot()
    assert fields(new, "state", "generation", "since", "target", "made") == [PENDING, 0, 0.0, None, None]
    assert fields(new, "running", "overrides", "held", "gate", "served") == [(), (), None, None, False]


@pytest.mark.parametrize("state", [PENDING, RESOLVING, READY, DEGRADED, FAILED])
def test_what_is_served(state):
    """What is ready or degraded has a target to use, and nothing else has."""
    assert Snapshot(state).served is (state in (READY, DEGRADED))


def test_what_the_world_sees():
    """The same is seen where nothing is served, or the same target in the same role and generation."""
    one, other = object(), object()
    ready = Snapshot(READY, target=one, generation=1)
    assert Snapshot(PENDING).shows(Snapshot(FAILED, generation=5))
    assert ready.shows(Snapshot(READY, target=one, generation=1, since=9.0))
    assert not ready.shows(Snapshot(READY, target=other, generation=1))
    assert not ready.shows(Snapshot(READY, target=one, generation=2))
    assert not ready.shows(Snapshot(DEGRADED, target=one, generation=1))
    assert not ready.shows(Snapshot(PENDING))
    assert not Snapshot(PENDING).shows(ready)
    assert not Snapshot(READY, generation=1).shows(Snapshot(PENDING, generation=1))


def test_whose_result_counts():
    """That of an attempt which runs for this generation, an abandoned attempt too, as long as nothing is ready."""
    old, counted, alien = attempt(), attempt(), attempt(1)
    now = Snapshot(RESOLVING, attempt=counted, abandoned=(old, alien))
    assert now.counts(counted)
    assert now.counts(old)
    assert not now.counts(alien)
    assert not now.counts(attempt())
    assert not now.changed(state=READY).counts(counted)
    assert now.running == (old, alien, counted)
    assert now.changed(attempt=None).running == (old, alien)


@pytest.mark.parametrize("state", [PENDING, FAILED])
def test_a_launch(state):
    """A new attempt makes the cell resolving, keeps cause and gate, and abandons what ran before it."""
    before, began = attempt(), attempt()
    now = Snapshot(state, generation=3, cause=CAUSE, gate=GATE, attempt=before, since=1.0)
    new = now.launched(began, 2.0)
    assert fields(new, "state", "generation", "since", "cause", "gate") == [RESOLVING, 3, 2.0, CAUSE, GATE]
    assert fields(new, "attempt", "abandoned") == [began, (before,)]


@pytest.mark.parametrize(("state", "recovery"), [(DEGRADED, False), (DEGRADED, True), (FAILED, True)])
def test_a_launch_in_the_background(state, recovery):
    """A recovery, and whatever runs while a fallback is served, changes nothing but what runs."""
    before, began = attempt(), attempt(recovery=recovery)
    now = Snapshot(state, generation=3, target="fallback", cause=CAUSE, gate=GATE, attempt=before, since=1.0)
    new = now.launched(began, 2.0)
    assert fields(new, "state", "generation", "since", "cause", "gate") == [state, 3, 1.0, CAUSE, GATE]
    assert fields(new, "target", "attempt", "abandoned") == ["fallback", began, (before,)]


@pytest.mark.parametrize(("state", "generation"), [(RESOLVING, 3), (DEGRADED, 4), (FAILED, 4), (PENDING, 4)])
def test_a_result(state, generation):
    """It is ready, with the loop of its attempt; a new generation begins where the old one showed something else."""
    ended, old = attempt(3), attempt(3)
    ended.home = object()
    now = Snapshot(state, generation=3, attempt=ended, abandoned=(old,), cause=CAUSE, gate=GATE)
    ended.made = object()
    new = now.ready("target", ended, 5.0)
    assert fields(new, "state", "generation", "since", "target") == [READY, generation, 5.0, "target"]
    assert fields(new, "running", "cause", "gate", "home") == [(old,), None, None, ended.home]
    assert new.made is new.closes is ended.made


def test_a_failure():
    """It fails now, for that reason; what failed before has failed since then; cause and gate are told."""
    ended, old = attempt(), attempt()
    now = Snapshot(RESOLVING, generation=3, attempt=ended, abandoned=(old,), gate=GATE, since=1.0)
    new = now.failed(CAUSE, ended, 5.0)
    assert fields(new, "state", "generation", "since", "cause") == [FAILED, 3, 5.0, CAUSE]
    assert fields(new, "attempt", "abandoned", "gate") == [None, (old,), GATE]
    again = Snapshot(FAILED, attempt=ended, since=1.0).failed(CAUSE, ended, 5.0)
    assert fields(again, "state", "since", "cause") == [FAILED, 1.0, CAUSE]


def test_a_failure_behind_a_fallback():
    """A fallback that is served stays, with the new cause."""
    ended = attempt()
    now = Snapshot(DEGRADED, target="fallback", cause=OSError(), attempt=ended, since=1.0)
    new = now.failed(CAUSE, ended, 5.0)
    assert fields(new, "state", "target", "cause", "since", "running") == [DEGRADED, "fallback", CAUSE, 1.0, ()]


def test_a_failure_beside_a_replacement():
    """A abandoned attempt that fails leaves the decision to the attempt that has replaced it."""
    old, replacement = attempt(), attempt()
    now = Snapshot(RESOLVING, attempt=replacement, abandoned=(old,), since=1.0)
    new = now.failed(CAUSE, old, 5.0)
    assert fields(new, "state", "cause", "since", "attempt", "abandoned") == [RESOLVING, None, 1.0, replacement, ()]


def test_a_breaker_that_opens():
    """What was served has failed, in a new generation; from now on the gate is asked, and what runs is abandoned."""
    runs = attempt(3)
    now = Snapshot(READY, generation=3, target="target", attempt=runs, made=7)
    new = now.opened(CAUSE, 5.0, GATE)
    assert fields(new, "state", "generation", "since", "cause", "gate") == [FAILED, 4, 5.0, CAUSE, GATE]
    assert fields(new, "target", "attempt", "abandoned", "made") == [None, None, (runs,), None]


def test_a_fallback():
    """It is served in the same generation, and what runs goes on."""
    old, runs = attempt(), attempt()
    new = Snapshot(FAILED, generation=3, attempt=runs, abandoned=(old,)).degraded("fallback", CAUSE, 5.0)
    assert fields(new, "state", "generation", "since", "target", "cause") == [DEGRADED, 3, 5.0, "fallback", CAUSE]
    assert fields(new, "attempt", "abandoned") == [runs, (old,)]


def test_a_fresh_beginning():
    """Nothing is left but what runs, out of date; under an override that stays, only what it covers begins anew."""
    runs = attempt(3)
    new = Snapshot(READY, generation=3, target="target", attempt=runs, made=7).fresh(5.0)
    assert fields(new, "state", "generation", "since", "target", "made") == [PENDING, 4, 5.0, None, None]
    assert fields(new, "attempt", "abandoned") == [None, (runs,)]
    over = Snapshot(READY, generation=3, target="target", made=7, since=1.0).overridden(["fake"], 2.0).fresh(5.0)
    assert fields(over, "state", "generation", "since", "target") == [READY, 5, 2.0, "fake"]
    assert over.held is not None
    assert fields(over.held, "state", "target", "made") == [PENDING, None, None]


def test_overrides_nest():
    """The latest counts, whichever ends first; when all have ended there is what there was, in a new generation."""
    runs = attempt()
    now = Snapshot(READY, generation=3, target="target", made=7, home="loop", attempt=runs)
    one, two = ["one"], ["two"]
    first = now.overridden(one, 1.0)
    assert fields(first, "state", "generation", "since", "target", "home") == [READY, 4, 1.0, "one", None]
    assert fields(first, "running", "overrides") == [(runs,), (one,)]
    assert first.held is not None
    assert fields(first.held, "state", "target", "made", "running") == [READY, "target", 7, ()]
    assert first.made is None
    assert first.closes == 7
    second = first.overridden(two, 2.0)
    assert fields(second, "generation", "target", "overrides", "held") == [5, "two", (one, two), first.held]
    inner = second.restored(one, 3.0)
    assert fields(inner, "generation", "since", "target", "overrides") == [6, 3.0, "two", (two,)]
    assert inner.restored(one, 4.0) is inner  # it has ended already
    last = inner.restored(two, 4.0)
    assert fields(last, "state", "generation", "since", "target", "made") == [READY, 7, 4.0, "target", 7]
    assert fields(last, "running", "overrides", "held", "home") == [(runs,), (), None, "loop"]
    assert last.restored(two, 5.0) is last


@pytest.mark.parametrize("state", [PENDING, RESOLVING, FAILED])
def test_an_override_covers_what_serves_nothing(state):
    """Where nothing was served, what comes after the override is pending."""
    covered = Snapshot(state, attempt=attempt(), cause=CAUSE).overridden(["fake"], 1.0).held
    assert covered is not None
    assert fields(covered, "state", "cause", "running") == [PENDING, None, ()]


@pytest.mark.parametrize(("state", "after"), [(RESOLVING, PENDING), (DEGRADED, DEGRADED), (FAILED, FAILED)])
def test_an_attempt_that_is_forgotten(state, after):
    """Without its attempt what was resolving is pending, and nothing else changes; an abandoned attempt goes alone."""
    old, other, runs = attempt(), attempt(), attempt()
    now = Snapshot(state, generation=3, attempt=runs, abandoned=(old, other), since=1.0)
    without = now.without(runs)
    assert fields(without, "state", "generation", "attempt", "abandoned") == [after, 3, None, (old, other)]
    assert fields(now.without(old), "state", "attempt", "abandoned") == [state, runs, (other,)]
    assert repr(now) == f"<Snapshot {state} generation=3 running=3>"


def test_the_latest_of_many_overrides_counts():
    """Whichever of them ends, the one that began last of those that are left is served."""
    one, two, three = ["one"], ["two"], ["three"]
    now = Snapshot()
    for override in (one, two, three):
        now = now.overridden(override, 0.0)
    assert now.restored(three, 1.0).target == "two"
    assert now.restored(one, 1.0).target == now.restored(two, 1.0).target == "three"


def test_the_first_that_is_built_has_the_number_one():
    """Zero says that no parent has made anything, so it is the number of none."""
    fresh = importlib.util.module_from_spec(state.__spec__)
    state.__spec__.loader.exec_module(fresh)
    assert next(fresh.builds) == fresh.made_by_parents + 1
