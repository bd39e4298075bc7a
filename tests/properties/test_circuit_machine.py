"""The running state of a breaker, held to a model of itself on a clock that the test moves."""

from __future__ import annotations

import builtins
import sys
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

import lazyguard
from lazyguard._policies.circuit import Circuit, Phase
from lazyguard.testing import FakeClock

ExceptionGroup: Any = getattr(builtins, "ExceptionGroup", None)  # since 3.11


class Status(Exception):
    """An answer with a status, which a predicate looks at."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


def is_busy(error: Exception) -> bool:
    return error.status >= 500  # type: ignore[attr-defined,no-any-return]  # other errors have none: it raises


# What a call raises -> what that means: True well, False failed, None nothing.
ENDS: dict[str, tuple[BaseException | None, bool | None]] = {
    "well": (None, True),
    "another error": (KeyError(), True),
    "failure": (ConnectionError(), False),
    "ignored": (ConnectionResetError(), None),
    "interrupt": (KeyboardInterrupt(), None),
    "another breaker": (lazyguard.CircuitOpen(), False),
    "an inner service": (lazyguard.ServiceUnavailable(), False),
    "not found": (Status(404), True),
    "busy": (Status(503), False),
}
if sys.version_info >= (3, 11):
    ENDS |= {
        "failures": (ExceptionGroup("", [OSError(), ExceptionGroup("", [Status(500)])]), False),
        "failures and others": (ExceptionGroup("", [OSError(), KeyError()]), None),
        "failures and ignored": (ExceptionGroup("", [OSError(), ConnectionResetError()]), None),
        "others": (ExceptionGroup("", [KeyError(), Status(404)]), True),
        "ignored ones": (ExceptionGroup("", [ConnectionResetError()]), None),
    }
OPEN, LONGEST, LEASE, SLOW = 8.0, 20.0, 4.0, 5.0
BREAKERS = st.one_of(
    st.integers(1, 4).map(lambda many: {"failure_threshold": many}),
    st.fixed_dictionaries(
        {
            "failure_rate": st.sampled_from([0.3, 0.5, 1.0]),
            "window_calls": st.just(5),
            "minimum_calls": st.integers(1, 5),
        }
    ),
    st.fixed_dictionaries(
        {
            "failure_rate": st.sampled_from([0.3, 0.5, 1.0]),
            "window_seconds": st.just(10.0),
            "minimum_calls": st.integers(1, 4),
        }
    ),
)


class Call:
    """A call under way: the phase that let it in, when, and the model's names for that phase and its round."""

    def __init__(self, phase: Phase, began: float, epoch: object, round: object) -> None:
        self.phase = phase
        self.began = began
        self.epoch = epoch
        self.round = round


class CircuitMachine(RuleBasedStateMachine):
    """Calls that begin and end in any order, beside a model that knows nothing of phases but a token for each."""

    @initialize(options=BREAKERS, needed=st.integers(1, 3), slow=st.sampled_from([None, SLOW]))
    def declare(self, options: dict[str, object], needed: int, slow: float | None) -> None:
        self.clock = FakeClock()
        self.clock.__enter__()
        self.kinds: list[str] = []
        self.undo = lazyguard.subscribe(lambda event: event.name == "db" and self.kinds.append(event.kind))
        self.options = options
        self.circuit = Circuit(
            lazyguard.Breaker(
                **options,  # type: ignore[arg-type]
                open_time=OPEN,
                max_open_time=LONGEST,
                half_open_timeout=LEASE,
                success_threshold=needed,
                slow_call_duration=slow,
                on=(OSError, is_busy),
                ignore=(ConnectionResetError,),
            ),
            name="db",
            place="app.py:3",
        )
        self.calls: list[Call] = []
        self.needed, self.slow = needed, slow
        self.state, self.epoch, self.rounds = "closed", object(), 0
        self.round, self.good, self.isolated = object(), 0, False
        self.outcomes: list[tuple[float, bool]] = []
        self.least = self.most = self.half_open_timeout = 0.0  # when somebody is let in: not before, surely after
        self.wanted: list[str] = []

    def teardown(self) -> None:
        if hasattr(self, "undo"):
            self.undo()
            self.clock.__exit__(None, None, None)

    # the model

    def become(self, state: str) -> None:
        if state != self.state:
            self.wanted.append("opened" if state == "open" else state)
            self.round, self.good = object(), 0
        self.state, self.epoch = state, object()
        now = self.clock.now()
        if state == "closed":
            self.outcomes, self.rounds = [], 0
        elif state == "open":
            longest = min(LONGEST, OPEN * 2**self.rounds)
            self.rounds += 1
            self.least, self.most = now + longest / 2, now + longest
        else:
            self.least = self.most = now + LEASE

    def tripped(self) -> bool:
        if "failure_threshold" in self.options:
            many = self.options["failure_threshold"]
            last = [well for _, well in self.outcomes[-many:]]
            return len(last) == many and not any(last)
        looked_at = [well for _, well in self.outcomes]
        if "window_calls" in self.options:
            looked_at = looked_at[-self.options["window_calls"] :]
        else:
            tenth = int(self.clock.now())
            looked_at = [well for at, well in self.outcomes if int(at) > tenth - 10]
        failed = looked_at.count(False)
        return (
            len(looked_at) >= self.options["minimum_calls"] and failed / len(looked_at) >= self.options["failure_rate"]
        )

    # what happens

    @rule(seconds=st.sampled_from([0.25, 1.0, 3.0, 4.0, 8.0, 20.0]))
    def time_passes(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @rule()
    def a_call_begins(self) -> None:
        now = self.clock.now()
        refused = None
        try:
            phase = self.circuit.admit()
        except lazyguard.CircuitOpen as error:
            refused = error
        if refused is not None:
            assert self.state != "closed"
            assert now < self.most
            assert 0 < refused.retry_after <= min(self.most - now, LONGEST)
            return
        if self.state != "closed":
            assert now >= self.least
            self.become("half-open")
        self.calls.append(Call(phase, now, self.epoch, self.round))

    @precondition(lambda self: self.calls)
    @rule(which=st.integers(0, 50), end=st.sampled_from(sorted(ENDS)))
    def a_call_ends(self, which: int, end: str) -> None:
        call = self.calls.pop(which % len(self.calls))
        error, meaning = ENDS[end]
        call.phase.ended(error, began=call.began)
        if meaning and self.slow is not None and self.clock.now() - call.began > self.slow:
            meaning = False
        if meaning and self.state == "half-open" and call.round is self.round:
            self.good += 1  # also that of a probe which has lost its place
            if self.good >= self.needed:
                self.become("closed")
            elif call.epoch is self.epoch:
                self.epoch = object()
                self.least = self.most = self.clock.now()
            return
        if call.epoch is not self.epoch:
            return  # out of date
        if self.state == "closed" and meaning is not None:
            self.outcomes.append((self.clock.now(), meaning))
            if not meaning and self.tripped():
                self.become("open")
        elif self.state == "half-open":
            if meaning is None:
                self.epoch = object()
                self.least = self.most = self.clock.now()
            else:
                self.become("open")

    @rule(end=st.sampled_from(["well", "another error"]))
    def a_call_takes_long(self, end: str) -> None:
        before = len(self.calls)
        self.a_call_begins()
        if len(self.calls) > before:
            self.clock.advance(1.5 * SLOW)
            self.a_call_ends(before, end)

    @precondition(lambda self: self.calls)
    @rule(which=st.integers(0, 50))
    def a_caller_is_in_haste(self, which: int) -> None:
        """It times out by its caller's deadline, which gave it less than it may take, where that is known."""
        call = self.calls.pop(which % len(self.calls))
        with lazyguard.deadline(SLOW / 2):
            call.phase.ended(TimeoutError(), began=self.clock.now())
        if call.epoch is not self.epoch:
            return
        if self.slow is None:
            self.outcomes.append((self.clock.now(), False))
        if self.state == "closed" and self.slow is None and self.tripped():
            self.become("open")
        elif self.state == "half-open":
            self.rounds -= self.slow is not None  # it has shown nothing: the same time again
            self.become("open")

    @precondition(lambda self: self.state == "open" and self.most < float("inf"))
    @rule()
    def a_probe_is_in_haste(self) -> None:
        self.clock.advance(LONGEST)
        self.a_call_begins()
        self.a_caller_is_in_haste(len(self.calls) - 1)

    @precondition(lambda self: self.calls)
    @rule(which=st.integers(0, 50))
    def a_call_is_lost(self, which: int) -> None:
        self.calls.pop(which % len(self.calls))

    @rule(ends=st.lists(st.sampled_from(sorted(ENDS)), min_size=1, max_size=4))
    def calls_follow_each_other(self, ends: list[str]) -> None:
        for end in ends:
            before = len(self.calls)
            self.a_call_begins()
            if len(self.calls) > before:
                self.a_call_ends(before, end)

    @precondition(lambda self: self.state != "closed" and self.most < float("inf"))
    @rule(ends=st.lists(st.sampled_from(["well", "well", *sorted(ENDS)]), max_size=4), late=st.booleans())
    def it_is_time_for_a_probe(self, ends: list[str], late: bool) -> None:
        """Where it is `late`, the probe has lost its place to another one when it ends."""
        self.clock.advance(max(0.0, self.most - self.clock.now()))
        before = len(self.calls)
        if late:
            self.a_call_begins()
            self.clock.advance(LEASE)
        self.calls_follow_each_other(ends)
        if late and len(self.calls) > before:
            self.a_call_ends(before, "well")

    @rule(what=st.sampled_from(["reset", "isolate", "", "", ""]))
    def by_hand(self, what: str) -> None:
        if what == "reset" or self.most == float("inf"):
            self.circuit.reset()
            self.become("closed")
        elif what == "isolate":
            self.circuit.isolate()
            rounds = self.rounds
            self.become("open")
            self.rounds, self.least, self.most = rounds, float("inf"), float("inf")

    # what always holds

    @invariant()
    def it_shows_what_the_model_shows(self) -> None:
        if hasattr(self, "undo"):
            assert self.circuit.now.state == self.state
            assert self.circuit.now.rounds == self.rounds
            assert self.kinds == self.wanted

    @invariant()
    def one_probe_at_the_most(self) -> None:
        if hasattr(self, "undo") and self.state == "half-open":
            assert sum(call.epoch is self.epoch for call in self.calls) <= 1


CircuitMachine.TestCase.settings = settings(
    max_examples=settings.default.max_examples * 3 // 2, stateful_step_count=40, deadline=None
)


class TestCircuit(CircuitMachine.TestCase):
    """Windows, opening, probes, leases and stale outcomes, in any order."""

    pytestmark = [pytest.mark.usefixtures("limited")]
