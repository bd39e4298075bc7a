"""Laws 1, 2, 5 and 10 on one cell: a model small enough to be read, and whatever order hypothesis thinks of."""

from __future__ import annotations

import threading
import time
from collections import Counter
from itertools import count

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from lazyguard import errors, events
from lazyguard._core import closing
from lazyguard._core.cell import Cell
from lazyguard._core.declaration import Plan
from lazyguard._core.threads import resolved
from lazyguard.testing import FakeClock

PATIENCE, GRACE, LIMIT = 30.0, 5.0, 30.0
NUMBERS = count(1)


class Thing:
    """A target; equal to itself only."""


class Attempt:
    """One run of the factory: hangs until the machine says how it ends."""

    def __init__(self) -> None:
        self.thing = Thing()
        self.error: Exception | None = None
        self.go = threading.Event()

    def end(self, error: Exception | None) -> None:
        self.error = error
        self.go.set()


class Running:
    """The model's view of an attempt."""

    def __init__(self, attempt: Attempt, generation: int, started: float) -> None:
        self.attempt = attempt
        self.generation = generation
        self.started = started
        self.current = True


class OneCell(RuleBasedStateMachine):
    """A cell with a timeout, an abandonment, a close and a fallback, beside the model of it."""

    with_fallback = True

    def __init__(self) -> None:
        super().__init__()
        self.clock = FakeClock()
        self.clock.__enter__()
        self.changed = threading.Condition()
        self.name = f"cell {next(NUMBERS)}"  # what the last example's threads tell late is not heard here
        self.attempts: list[Attempt] = []
        self.told: list[events.Event] = []
        self.closed: list[object] = []
        self.ended: list[object] = []
        self.cell = Cell(
            self.build,
            name=self.name,
            place="here:1",
            plan=Plan(timeout=9.0, abandon_after=PATIENCE, close=self.close, grace=GRACE),
        )
        if self.with_fallback:
            self.cell.fallbacks = (
                Cell(Thing, name=f"fallback of {self.name}", place="here:2", plan=Plan(close=self.close)),
            )
        self.unsubscribe = events.subscribe(self.listen)
        closing.PendingClose.end = self.end_noted()
        # the model
        self.state = "pending"
        self.generation = 0
        self.served: object = None
        self.fallback: object = None
        self.running: list[Running] = []
        self.expected: list[str] = []
        self.to_close: list[object] = []
        self.released: list[tuple[float, object]] = []
        self.overrides: list[tuple[object, object]] = []
        self.held: tuple[str, object] = ("pending", None)
        self.ready_in: dict[int, object] = {}

    # what the cell calls

    def note(self, where: list[object], what: object) -> None:
        with self.changed:
            where.append(what)
            self.changed.notify_all()

    def build(self) -> Thing:
        attempt = Attempt()
        self.note(self.attempts, attempt)
        attempt.go.wait()
        if attempt.error is not None:
            raise attempt.error
        return attempt.thing

    def close(self, thing: object) -> None:
        self.note(self.closed, thing)

    def end_noted(self):
        """Return `PendingClose.end` with a note: a clock that jumps on must not report a close that has returned."""
        end = self.end_of_a_debt = closing.PendingClose.end

        def end_and_note(pending: closing.PendingClose) -> None:
            end(pending)
            if pending.name in (self.name, f"fallback of {self.name}"):
                self.note(self.ended, pending)

        return end_and_note

    def listen(self, event: events.Event) -> None:
        if event.name == self.name:
            self.note(self.told, event)

    def until(self, condition) -> None:
        give_up = time.monotonic() + LIMIT
        with self.changed:
            while not condition():
                assert time.monotonic() < give_up, (self.cell, self.expected, self.told)
                self.changed.wait(0.002)  # an end that nobody is told of is seen at the next look

    # what may happen

    def begin(self) -> None:
        """The model of `find_attempt`, and what comes of it."""
        if self.running:
            old = self.clock.now() - self.running[-1].started >= PATIENCE
            if len(self.running) > 1 or not (old or self.running[-1].generation != self.generation):
                return
            self.expected.append("abandoned")
        for attempt in self.running:
            attempt.current = False
        known = len(self.attempts)
        self.ask_for_attempt = known + 1
        self.running.append(Running(None, self.generation, self.clock.now()))  # type: ignore[arg-type]
        if self.state != "degraded":
            self.state = "resolving"

    def ask(self, real: bool) -> None:
        self.ask_for_attempt = 0
        expected: object = self.served
        if self.state == "ready" or (self.state == "degraded" and not real):
            pass
        elif self.state == "failed" and self.with_fallback and not real:
            expected = self.degrade()
        else:
            self.begin()
            self.expected.append("timeout")
            expected = errors.ResolutionTimeout if real or not self.with_fallback else self.degrade()
        try:
            answer: object = resolved(self.cell, wait=0.0, real=real)
        except errors.LazyguardError as error:
            answer = type(error)
        if self.ask_for_attempt:
            self.until(lambda: len(self.attempts) == self.ask_for_attempt)
            self.running[-1].attempt = self.attempts[-1]
        if expected is Thing:  # a fallback that was not there before
            assert isinstance(answer, Thing)
            assert answer not in self.closed
            self.served = self.fallback = answer
        else:
            assert answer is expected

    def degrade(self) -> object:
        self.state = "degraded"
        self.expected.append("degraded")
        self.served = self.fallback
        return Thing if self.fallback is None else self.fallback

    @rule()
    def use(self) -> None:
        self.ask(real=False)

    @rule()
    def use_the_real_one(self) -> None:
        self.ask(real=True)

    @precondition(lambda self: self.running)
    @rule(data=st.data(), fails=st.booleans())
    def end_an_attempt(self, data: st.DataObject, fails: bool) -> None:
        attempt = data.draw(st.sampled_from(self.running))
        self.running.remove(attempt)
        counts = self.state != "ready" and attempt.generation == self.generation
        if fails:
            if counts and self.state != "degraded" and not any(other.current for other in self.running):
                self.state = "failed"
                self.expected.append("failed")
        elif not counts:
            self.expected.append("late")
            self.to_close.append(attempt.attempt.thing)
        else:
            self.expected.append("recovered" if self.state in ("degraded", "failed") else "ready")
            self.generation += self.state != "resolving"
            self.state, self.served = "ready", attempt.attempt.thing
            assert self.generation not in self.ready_in, "a second result in one generation"
            self.ready_in[self.generation] = self.served
            for other in self.running:
                other.current = False
            if self.fallback is not None:
                self.released.append((self.clock.now() + GRACE, self.fallback))
                self.fallback = None
        attempt.attempt.end(ConnectionError("away") if fails else None)
        self.until(lambda: len(self.cell.now.running) == len(self.running))

    def new_generation(self) -> None:
        self.generation += 1
        for attempt in self.running:
            attempt.current = False

    @rule()
    def reset(self) -> None:
        self.new_generation()
        state, target = self.held if self.overrides else (self.state, self.served)
        if self.overrides:
            self.held = ("pending", None)
        else:
            self.state, self.served = "pending", None
        if state != "pending":
            self.expected.append("reset")
        if state == "ready":
            self.to_close.append(target)
        if self.fallback is not None:
            self.to_close.append(self.fallback)
            self.fallback = None
        self.cell.reset()

    @precondition(lambda self: len(self.overrides) < 3)
    @rule()
    def override(self) -> None:
        value = Thing()
        if not self.overrides:
            self.held = (self.state, self.served) if self.state in ("ready", "degraded") else ("pending", None)
        self.overrides.append((value, self.cell.override(value)))
        self.state, self.served = "ready", value
        self.new_generation()
        self.expected.append("overridden")

    @precondition(lambda self: self.overrides)
    @rule(data=st.data(), again=st.booleans())
    def end_an_override(self, data: st.DataObject, again: bool) -> None:
        override = data.draw(st.sampled_from(self.overrides))
        self.overrides.remove(override)
        self.state, self.served = ("ready", self.overrides[-1][0]) if self.overrides else self.held
        self.new_generation()
        self.expected.append("overridden")
        override[1]()
        if again:
            override[1]()

    @rule(older=st.integers(0, 1))
    def open(self, older: int) -> None:
        generation = self.generation - older
        if self.state == "ready" and not older and not self.overrides:
            self.released.append((self.clock.now() + GRACE, self.served))
            self.state, self.served = "failed", None
            self.new_generation()
            self.expected.append("failed")
        self.cell.open(generation, ConnectionError("gone"))

    @rule(seconds=st.sampled_from([1.0, GRACE, PATIENCE]))
    def let_time_pass(self, seconds: float) -> None:
        self.clock.advance(seconds)
        now = self.clock.now()
        self.to_close += [thing for due, thing in self.released if due <= now]
        self.released = [(due, thing) for due, thing in self.released if due > now]

    # what always holds

    @invariant()
    def as_the_model_says(self) -> None:
        self.until(lambda: len(self.told) >= len(self.expected) and len(self.ended) >= len(self.to_close))
        now = self.cell.now
        assert (now.state, now.generation) == (self.state, self.generation)
        assert now.target is self.served
        assert len(now.running) == len(self.running) <= 2

    @invariant()
    def each_is_closed_once_and_not_served(self) -> None:
        assert Counter(map(id, self.closed)) == Counter(map(id, self.to_close))
        assert not any(thing is self.cell.now.target for thing in self.closed)

    @invariant()
    def events_are_in_line(self) -> None:
        assert [event.kind for event in self.told] == self.expected
        generations = [event.generation for event in self.told]
        assert generations == sorted(generations)

    def teardown(self) -> None:
        for attempt in self.attempts:
            attempt.end(None)
        self.until(lambda: not self.cell.now.running)
        self.clock.advance(GRACE)
        self.unsubscribe()
        closing.PendingClose.end = self.end_of_a_debt
        self.clock.__exit__(None, None, None)


class OneCellWithoutFallback(OneCell):
    """The same, for a cell that has no fallback."""

    with_fallback = False


@pytest.mark.usefixtures("limited")
@pytest.mark.parametrize("machine", [OneCell, OneCellWithoutFallback])
def test_one_cell_does_what_the_model_says(machine):
    """Whatever happens to a cell, in whatever order: one result a generation, two attempts, each loser closed once."""
    from hypothesis.stateful import run_state_machine_as_test

    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=settings.default.max_examples * 2 // 5,
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
