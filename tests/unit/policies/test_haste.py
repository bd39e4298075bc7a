"""A caller's haste is that caller's affair: what counts of attempts that had less time than what they call may take."""

from __future__ import annotations

import asyncio
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

import lazyguard
from lazyguard._policies import failures
from lazyguard._policies.circuit import Circuit
from lazyguard.testing import FakeClock

LIMIT = 1.0


@pytest.fixture
def make(clock, monkeypatch):
    """Return a function that makes a circuit of a breaker's options."""
    monkeypatch.setattr(random, "uniform", lambda least, most: most)

    def made(**options) -> Circuit:
        return Circuit(lazyguard.Breaker(**{"open_time": 10.0, **options}), name="db", place="app.py:3")

    return made


def own(seconds: float = LIMIT) -> lazyguard._core.deadlines.Deadline:
    """Return the own deadline of a guard with that timeout."""
    return lazyguard.deadline(seconds)


def attempt(
    circuit: Circuit, clock: FakeClock, left: float, takes: float, error: BaseException, limit: float | None = LIMIT
) -> str:
    """Make an attempt of a caller who has so many seconds left; return the state afterwards."""
    with lazyguard.deadline(left):
        guard, began, phase = None if limit is None else own(limit), clock.now(), circuit.admit()
        clock.advance(takes)
        phase.ended(error, guard, began)
    return circuit.now.state


class LibraryTimeout(Exception):
    """A time-out without a base class that says so, as most libraries have."""


TIMEOUTS = [TimeoutError(), asyncio.TimeoutError(), LibraryTimeout(), lazyguard.DeadlineExceeded("late")]


@pytest.mark.parametrize("error", [*TIMEOUTS, ConnectionError(), OSError(), ValueError(), asyncio.CancelledError()])
@pytest.mark.parametrize("limit", [LIMIT, None])
def test_a_hasty_attempt_counts_for_nothing(make, clock, error, limit):
    """After its caller's deadline, whatever exception tells it, and whether the limit is known or not."""
    circuit = make(failure_threshold=1)
    assert attempt(circuit, clock, 0.01, 0.01, error, limit) == "closed"
    assert attempt(circuit, clock, 0.01, 0.05, error, limit) == "closed"


@pytest.mark.parametrize("error", TIMEOUTS)
def test_a_timeout_shortly_before_the_deadline_is_hasty(make, clock, error):
    """Who asks `remaining()` and keeps a little for itself; also told as the cause of another error."""
    circuit = make(failure_threshold=1)
    assert attempt(circuit, clock, 0.5, 0.4, error) == "closed"
    assert attempt(circuit, clock, 0.5, 0.4, error, None) == "closed"
    told = ConnectionError("told by another")
    told.__cause__ = error
    assert attempt(circuit, clock, 0.5, 0.05, told) == "closed"


def test_what_is_no_haste(make, clock):
    """Another failure before the deadline, enough time, and a limit that is nobody's but the function's."""
    circuit = make(failure_threshold=1)
    for left, takes, error, limit in (
        (0.5, 0.4, ConnectionError(), LIMIT),
        (0.5, 0.4, ConnectionError(), None),
        (1.0, 1.0, TimeoutError(), LIMIT),  # it had all the time
        (2.0, 3.0, TimeoutError(), LIMIT),
        (10.0, 1.0, TimeoutError(), None),  # most of its time is left
    ):
        assert attempt(circuit, clock, left, takes, error, limit) == "open"
        circuit.reset()
    circuit.admit().ended(TimeoutError())  # nobody has a deadline
    assert circuit.now.state == "open"


@pytest.mark.parametrize("error", [KeyError(), KeyboardInterrupt(), asyncio.CancelledError()])
def test_what_counts_for_nothing_stays_so(make, clock, error):
    """What is ignored, no Exception or cancelled from outside is no hasty attempt: a probe's place is free again."""
    circuit = make(failure_threshold=1, ignore=KeyError)
    circuit.admit().ended(ConnectionError())
    clock.advance(10.0)
    assert attempt(circuit, clock, 0.5, 0.1, error) == "half-open"
    assert circuit.admit().state == "half-open"


def test_an_answer_after_the_deadline_is_an_answer(make, clock):
    """What `on` does not name is a success, late or not."""
    circuit = make(failure_threshold=1, on=ConnectionError)
    circuit.admit().ended(ConnectionError())
    clock.advance(10.0)
    assert attempt(circuit, clock, 0.01, 0.05, LookupError()) == "closed"


def test_the_own_timeout_is_no_haste(make, clock):
    """Also where it is the nearest, and where the attempt is a retry that has little left of it."""
    circuit = make(failure_threshold=1)
    guard = own(1.0)
    clock.advance(0.9)
    with lazyguard.deadline(60.0), guard:
        began, phase = clock.now(), circuit.admit()
        clock.advance(0.1)
        phase.ended(TimeoutError(), guard, began)
    assert circuit.now.state == "open"


def test_a_hasty_probe(make, clock, told):
    """It leaves the breaker open for the same time again; a failed one doubles that, a good one closes it."""
    circuit = make(failure_threshold=1)
    circuit.admit().ended(ConnectionError())
    cause = circuit.now.cause
    for _ in range(3):
        clock.advance(10.0)
        assert attempt(circuit, clock, 0.01, 0.01, TimeoutError(), None) == "open"
        assert circuit.now.until - clock.now() == pytest.approx(10.0)
        assert circuit.now.cause is cause
    clock.advance(10.0)
    circuit.admit().ended(TimeoutError())
    assert circuit.now.until - clock.now() == pytest.approx(20.0)
    clock.advance(20.0)
    assert attempt(circuit, clock, 0.01, 0.01, asyncio.CancelledError(), None) == "open"
    assert circuit.now.until - clock.now() == pytest.approx(20.0)
    clock.advance(20.0)
    circuit.admit().ended()
    assert circuit.now.state == "closed"


@given(
    steps=st.lists(st.sampled_from(["hasty", "good", "failed"]), max_size=60),
    wait=st.sampled_from([0.05, 0.25, 0.5]),
    options=st.sampled_from(
        [
            {"failure_threshold": 3},
            {"failure_rate": 0.5, "window_calls": 4, "minimum_calls": 2},
            {"failure_rate": 0.5, "window_seconds": 1000.0, "minimum_calls": 2},
        ]
    ),
)
def test_hasty_attempts_count_by_what_they_have_waited_in_sum(steps, wait, options):
    """Where none ended otherwise, each limit that they have waited in sum is one failure; the model counts that."""
    with FakeClock() as clock:
        circuit = Circuit(lazyguard.Breaker(**options), name="db", place="app.py:3")
        model = Circuit(lazyguard.Breaker(**options), name="model", place="app.py:3")
        waited = 0.0
        for step in steps:
            if circuit.now.state != "closed":
                break
            if step == "hasty":
                attempt(circuit, clock, wait, wait, TimeoutError())
                waited += wait
                if round(waited, 6) >= LIMIT:
                    model.admit().ended(TimeoutError())
                    waited = 0.0
            else:
                clock.advance(0.01)
                waited = 0.0
                for each in (circuit, model):
                    each.admit().ended(ConnectionError() if step == "failed" else None)
            assert circuit.now.state == model.now.state


def test_a_silent_server_is_found_out(make, clock):
    """Though all its callers are in haste, cancelled ones too; the caller is told what the last one was told."""
    circuit = make(failure_threshold=3)
    for _ in range(29):
        assert attempt(circuit, clock, 0.1, 0.1, asyncio.CancelledError()) == "closed"
    assert attempt(circuit, clock, 0.1, 0.1, asyncio.CancelledError()) == "open"
    assert type(circuit.now.cause) is lazyguard.DeadlineExceeded


@given(left=st.sampled_from([0.05, 0.25, 0.5, 1.0, 1.5, 5.0]), callers=st.integers(1, 30))
def test_patience_finds_it_out_no_later_than_haste(left, callers):
    """Deadlines that are longer than a call may take end it as well: each round of them is a failure."""
    with FakeClock() as clock:
        circuit = Circuit(lazyguard.Breaker(failure_threshold=3, slow_call_duration=LIMIT), name="db", place="app.py:3")
        began = clock.now()
        while circuit.now.state == "closed" and clock.now() - began < 100.0:
            with lazyguard.deadline(left):
                phases = [circuit.admit() for _ in range(callers)]
                since = clock.now()
                clock.advance(left)
                for phase in phases:
                    phase.ended(asyncio.CancelledError(), None, since)
        assert circuit.now.state == "open"
        assert clock.now() - began <= 3 * max(left, LIMIT) + 1e-6


def test_with_the_limit_unknown_never(make, clock):
    """How long such a call may take nobody has said."""
    circuit = make(failure_threshold=1)
    for _ in range(1000):
        assert attempt(circuit, clock, 1.0, 1.0, TimeoutError(), None) == "closed"


def test_a_crowd_makes_no_long_silence_of_a_short_one(make, clock):
    """A thousand callers who wait at the same time: a tenth of the limit has to pass for one failure."""
    circuit = make(failure_threshold=3)

    def crowd() -> str:
        with lazyguard.deadline(0.05):
            began = clock.now()
            phases = [circuit.admit() for _ in range(1000)]
            clock.advance(0.05)
            for phase in phases:
                phase.ended(TimeoutError(), own(), began)
        return circuit.now.state

    for _ in range(3):
        circuit.admit().ended()
        assert crowd() == "closed"
    circuit.admit().ended()
    assert [crowd() for _ in range(6)].count("closed") == 5


def test_what_an_integration_declares(make, clock):
    """The limit of the wait that failed, and its begin, also behind another error; a guard's timeout is first."""
    circuit = make(failure_threshold=1)

    def wait(left: float, declared: float, guard: lazyguard._core.deadlines.Deadline | None = None) -> str:
        circuit.reset()
        with lazyguard.deadline(10.0):
            began, phase = clock.now(), circuit.admit()
            clock.advance(10.0 - left)  # the function's own work
            error, told = TimeoutError(), ConnectionError()
            told.__context__ = error
            with pytest.raises(TimeoutError), failures.Wait(declared):
                clock.advance(min(left, declared))
                raise error
            phase.ended(told, guard, None if guard is None else began)
        return circuit.now.state

    assert wait(0.5, declared=1.0) == "closed"
    assert wait(5.0, declared=1.0) == "open"
    assert wait(0.5, declared=1.0, guard=own(10.0)) == "open"
    circuit.reset()
    for _ in range(2):
        assert circuit.now.state == "closed"
        with lazyguard.deadline(0.5):
            with pytest.raises(TimeoutError) as caught, failures.Wait(1.0):
                clock.advance(0.5)
                raise TimeoutError
            circuit.admit().ended(caught.value)
    assert circuit.now.state == "open"


def test_a_guard_knows_the_haste_of_its_callers(clock):
    """With a timeout of its own, the deadline of a caller is haste, that of the guard is none."""

    @lazyguard.guarded(timeout=2.0, breaker=lazyguard.Breaker(failure_threshold=1))
    def call(seconds: float) -> None:
        clock.advance(seconds)
        raise ConnectionError if seconds == 0 else TimeoutError

    for _ in range(3):
        with lazyguard.deadline(0.5), pytest.raises(TimeoutError):
            call(0.5)
    assert call.health().state == "closed"
    with lazyguard.deadline(0.5), pytest.raises(TimeoutError):
        call(0.5)
    assert call.health().state == "open"
    call.reset()
    with lazyguard.deadline(0.5), pytest.raises(ConnectionError):
        call(0.0)
    assert call.health().state == "open"
    call.reset()
    with lazyguard.deadline(5.0), pytest.raises(TimeoutError):
        call(2.0)
    assert call.health().state == "open"
