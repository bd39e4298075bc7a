"""`Breaker` and its circuit: windows, opening, the probe, which outcomes count, and which come too late."""

from __future__ import annotations

import asyncio
import builtins
import gc
import pickle
import random
import sys
import threading
from typing import Any

import pytest

import lazyguard
from lazyguard import errors
from lazyguard._core import observers
from lazyguard._core.state import lock
from lazyguard._policies import circuit as circuits
from lazyguard._policies.circuit import Circuit
from lazyguard.testing import FakeClock

ExceptionGroup: Any = getattr(builtins, "ExceptionGroup", None)  # since 3.11


@pytest.fixture
def chance(monkeypatch):
    """Let every jittered time be its longest."""
    monkeypatch.setattr(random, "uniform", lambda least, most: most)


@pytest.fixture
def make(clock, chance):
    """Return a function that makes a circuit of a breaker's options."""

    def made(**options) -> Circuit:
        return Circuit(lazyguard.Breaker(**{"open_time": 10.0, **options}), name="db", place="app.py:3")

    return made


def fail(circuit: Circuit, times: int = 1, error: BaseException | None = None) -> None:
    for _ in range(times):
        circuit.admit().ended(error or ConnectionError("secret"))


def succeed(circuit: Circuit, times: int = 1) -> None:
    for _ in range(times):
        circuit.admit().ended()


@pytest.fixture
def opened(make, told):
    """Return an open circuit and a phase of the time when it was closed."""
    circuit = make(failure_threshold=2)
    before = circuit.now
    fail(circuit, 2)
    assert circuit.now.state == "open"
    return circuit, before


# options


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"failure_rate": 0.5}, "give window_calls= or window_seconds="),
        ({"failure_rate": 0.5, "window_calls": 5, "window_seconds": 5.0}, "give window_calls= or window_seconds="),
        ({"failure_rate": 0.5, "failure_threshold": 3, "window_calls": 5}, "give one of them"),
        ({"failure_rate": 0, "window_calls": 5}, "failure_rate=0 is out of range"),
        ({"failure_rate": 1.1, "window_calls": 5}, "failure_rate=1.1 is out of range"),
        ({"failure_rate": True, "window_calls": 5}, "failure_rate=True is out of range"),
        ({"failure_rate": float("nan"), "window_calls": 5}, "failure_rate=nan is out of range"),
        ({"failure_rate": 0.5, "window_calls": 0}, "window_calls=0 .* whole number"),
        ({"failure_rate": 0.5, "window_seconds": 0}, "window_seconds=0 is out of range"),
        ({"failure_rate": 0.5, "window_calls": 5, "minimum_calls": 6}, "minimum_calls=6 is more than window_calls=5"),
        ({"failure_rate": 0.5, "window_calls": 5, "minimum_calls": 0}, "minimum_calls=0 .* whole number"),
        ({"window_calls": 5}, "window_calls=5 has no effect without failure_rate="),
        ({"window_seconds": 5}, "window_seconds=5 has no effect without failure_rate="),
        ({"minimum_calls": 5}, "minimum_calls=5 has no effect without failure_rate="),
        ({"open_time": 0}, "open_time=0 is out of range"),
        ({"max_open_time": float("inf")}, "max_open_time=inf is out of range"),
        ({"open_time": 5, "max_open_time": 4}, "max_open_time=4 is less than open_time=5"),
        ({"half_open_timeout": -1}, "half_open_timeout=-1 is out of range"),
        ({"on": 3}, "on=3 is invalid"),
        ({"ignore": ("OSError",)}, "ignore=.* is invalid"),
    ],
)
def test_options_that_cannot_be_right(options, told):
    """Each bad option is refused when the breaker is made, with what to give."""
    with pytest.raises(errors.ConfigurationError, match=told):
        lazyguard.Breaker(**options)


def test_the_defaults():
    """The defaults are three failures in a row; for a rate ten calls, or as many as a smaller window holds."""
    assert lazyguard.Breaker().failure_threshold == 3
    assert lazyguard.Breaker(failure_rate=0.5, window_calls=100).minimum_calls == 10
    assert lazyguard.Breaker(failure_rate=0.5, window_calls=4).minimum_calls == 4
    assert lazyguard.Breaker(failure_rate=0.5, window_seconds=60).minimum_calls == 10
    assert lazyguard.Breaker(failure_rate=0.5, window_seconds=60).failure_threshold is None
    assert lazyguard.Breaker(on=OSError, ignore="redis:RedisError").on == (OSError,)


# windows


def test_in_a_row(make):
    """A success begins the row anew."""
    circuit = make(failure_threshold=3)
    for _ in range(4):
        fail(circuit, 2)
        succeed(circuit)
    assert circuit.now.state == "closed"
    fail(circuit, 3)
    assert circuit.now.state == "open"


def test_a_window_of_calls(make):
    """The failure rate of the last calls counts as soon as there are enough of them."""
    circuit = make(failure_rate=0.5, window_calls=10, minimum_calls=4)
    fail(circuit, 3)
    assert circuit.now.state == "closed"
    succeed(circuit, 10)
    fail(circuit, 4)
    assert circuit.now.state == "closed"
    fail(circuit)
    assert circuit.now.state == "open"


def test_a_rate_that_is_no_binary_fraction(make):
    """Seven failures of ten calls reach a rate of 0.7."""
    circuit = make(failure_rate=0.7, window_calls=10)
    succeed(circuit, 3)
    fail(circuit, 6)
    assert circuit.now.state == "closed"
    fail(circuit)
    assert circuit.now.state == "open"


def test_a_window_of_time(make, clock):
    """A call that ended before the window does not count, and takes no memory."""
    circuit = make(failure_rate=0.5, window_seconds=10.0, minimum_calls=4)
    fail(circuit, 3)
    clock.advance(10.001)
    fail(circuit)
    assert circuit.now.state == "closed"
    succeed(circuit, 2)
    fail(circuit)
    assert circuit.now.state == "open"
    clock.advance(10.001)
    succeed(circuit)
    for _ in range(100):
        clock.advance(1.0)
        succeed(circuit)
    assert len(circuit.now._window._tenths) <= 10


@pytest.mark.parametrize("shift", [number * 0.61 for number in range(10)])
def test_the_reach_of_a_window_of_time(make, clock, shift):
    """A call counts for nine tenths of the window at the least, and never longer than the whole."""
    clock.advance(shift)
    for seconds, state in ((18.0, "open"), (20.001, "closed")):
        circuit = make(failure_rate=0.5, window_seconds=20.0, minimum_calls=4)
        succeed(circuit)
        clock.advance(2.0)  # the next tenth, in counts of its own
        fail(circuit, 2)
        succeed(circuit)
        assert clock.now() < circuit.now._window._latest[0] <= clock.now() + 2.001
        clock.advance(seconds)
        fail(circuit)
        assert circuit.now.state == state


def test_a_success_in_a_window_of_time(make):
    """A success lowers the failure rate."""
    circuit = make(failure_rate=0.5, window_seconds=20.0, minimum_calls=4)
    succeed(circuit, 4)
    fail(circuit, 3)
    assert circuit.now.state == "closed"
    fail(circuit)
    assert circuit.now.state == "open"


# opening and closing


def test_open_refuses_at_once(opened, clock):
    """While open, each call is refused; the error has name, place, cause and `retry_after`, and no secret."""
    circuit, _ = opened
    clock.advance(4.0)
    with pytest.raises(lazyguard.CircuitOpen) as caught:
        circuit.admit()
    assert isinstance(caught.value, RuntimeError)
    assert caught.value.retry_after == pytest.approx(6.0)
    assert isinstance(caught.value.__cause__, ConnectionError)
    text = str(caught.value)
    assert "db, declared at app.py:3, is not called" in text
    assert "ConnectionError" in text
    assert "tried again in 6 s" in text
    assert "secret" not in text
    again = pickle.loads(pickle.dumps(caught.value))
    assert (str(again), again.retry_after) == (text, caught.value.retry_after)


def test_one_probe(opened, clock):
    """After the open time one caller is the probe; the errors of the others say so."""
    circuit, _ = opened
    clock.advance(10.001)
    probe = circuit.admit()
    assert circuit.now.state == "half-open"
    with pytest.raises(lazyguard.CircuitOpen, match="is half-open.*One call probes"):
        circuit.admit()
    probe.ended()
    assert circuit.now.state == "closed"
    fail(circuit)
    assert circuit.now.state == "closed"


def test_open_times_grow(opened, clock):
    """Each failed probe doubles the open time, up to the longest; a success begins anew."""
    circuit, _ = opened
    found = []
    for _ in range(6):
        found.append(circuit.now.until - clock.now())
        clock.advance(found[-1] + 0.001)
        fail(circuit)
    assert found == pytest.approx([10.0, 20.0, 40.0, 80.0, 120.0, 120.0])
    clock.advance(120.001)
    succeed(circuit)
    fail(circuit, 2)
    assert circuit.now.until - clock.now() == pytest.approx(10.0)


def test_open_times_are_jittered(clock):
    """Each open time is between its half and its whole."""
    circuit = Circuit(lazyguard.Breaker(failure_threshold=1, open_time=10.0), name="db", place="app.py:3")
    found = []
    for _ in range(100):
        fail(circuit)
        found.append(circuit.now.until - clock.now())
        circuit.reset()
    assert all(4.999 <= wait <= 10.001 for wait in found)
    assert len(set(found)) > 50


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(), asyncio.CancelledError(), GeneratorExit()])
def test_an_interrupted_probe(opened, clock, error):
    """A cancelled probe gives its place back: the next caller is the probe, and nothing else has changed."""
    circuit, _ = opened
    clock.advance(10.001)
    circuit.admit().ended(error)
    assert circuit.now.state == "half-open"
    circuit.admit().ended(ConnectionError())
    assert circuit.now.state == "open"
    assert circuit.now.until - clock.now() == pytest.approx(20.0)


def test_a_lost_probe(make, clock):
    """A probe that does not end within `half_open_timeout` loses its place; its failure does not count then."""
    circuit = make(failure_threshold=1, half_open_timeout=5.0)
    fail(circuit)
    clock.advance(10.001)
    lost = circuit.admit()
    clock.advance(5.001)
    heir = circuit.admit()
    lost.released()
    lost.ended(ConnectionError())
    assert circuit.now is heir
    heir.ended()
    assert circuit.now.state == "closed"


def test_a_lost_probe_that_succeeds(make, clock):
    """The success of a probe that has lost its place closes the breaker; not in a later round."""
    circuit = make(failure_threshold=1, half_open_timeout=5.0)
    fail(circuit)
    clock.advance(10.001)
    lost = circuit.admit()
    clock.advance(5.001)
    heir = circuit.admit()
    heir.ended(ConnectionError())
    clock.advance(20.001)
    last = circuit.admit()
    lost.ended()
    assert circuit.now is last
    clock.advance(5.001)
    circuit.admit()
    last.ended()
    assert circuit.now.state == "closed"


def test_probes_in_a_row(make, clock):
    """`success_threshold` probes have to succeed, one after the other; a lost one counts among them."""
    circuit = make(failure_threshold=1, half_open_timeout=5.0, success_threshold=3)
    fail(circuit)
    clock.advance(10.001)
    lost = circuit.admit()
    clock.advance(5.001)
    succeed(circuit)
    probe = circuit.admit()
    lost.ended()
    assert circuit.now is probe
    with pytest.raises(lazyguard.CircuitOpen):
        circuit.admit()
    probe.ended()
    assert circuit.now.state == "closed"


def test_slow_calls(make, clock):
    """A call that takes longer than `slow_call_duration` has failed, unless it does not count at all."""
    circuit = make(failure_threshold=2, slow_call_duration=0.5, on=(OSError,), ignore=(PermissionError,))
    for error in (PermissionError(), None, KeyError()):
        phase, began = circuit.admit(), clock.now()
        clock.advance(0.6)
        phase.ended(error, began=began)
    assert circuit.now.state == "open"
    assert isinstance(circuit.now.cause, TimeoutError)
    assert "slow_call_duration=0.5" in str(circuit.now.cause)
    clock.advance(10.001)
    phase, began = circuit.admit(), clock.now()
    clock.advance(0.5)
    phase.ended(began=began)
    assert circuit.now.state == "closed"


def test_isolation(make, clock, told):
    """What is isolated stays open until it is reset, whatever comes of earlier calls, and says so."""
    circuit = make(failure_threshold=1)
    before = circuit.admit()
    circuit.isolate()
    circuit.isolate()
    before.ended()
    clock.advance(1e6)
    with pytest.raises(
        lazyguard.CircuitOpen, match=r"isolate\(\) has opened its breaker. reset\(\) closes it"
    ) as caught:
        circuit.admit()
    assert caught.value.retry_after == 120.0
    assert [(event.kind, event.cause) for event in told] == [("opened", "isolate()")]
    circuit.reset()
    succeed(circuit)
    assert circuit.now.state == "closed"


def is_busy(error: Exception) -> bool:
    return getattr(error, "status", 0) >= 500


class Status(Exception):
    """An answer with a status."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


def test_predicates(make):
    """A predicate tells 503 from 404, beside types and names."""
    circuit = make(failure_threshold=2, on=(OSError, is_busy), ignore=lambda error: getattr(error, "status", 0) == 429)
    fail(circuit)
    fail(circuit, 1, Status(404))
    fail(circuit)
    fail(circuit, 5, Status(429))
    assert circuit.now.state == "closed"
    fail(circuit, 1, Status(503))
    assert circuit.now.state == "open"


def test_a_predicate_that_raises(make, caplog):
    """What a predicate raises is told once, and it means nothing."""
    circuit = make(failure_threshold=1, on=lambda error: error.status == 500, ignore=lambda error: 1 / 0)
    fail(circuit, 3, KeyError())
    assert circuit.now.state == "closed"
    fail(circuit, 1, Status(500))
    assert circuit.now.state == "open"
    raised = [record.getMessage() for record in caplog.records if "predicate" in record.getMessage()]
    assert len(raised) == 2
    assert all("so it means nothing" in text for text in raised)


@pytest.mark.skipif(sys.version_info < (3, 11), reason="there are no exception groups")
def test_exception_groups(make):
    """A group counts as its leaves do, if all do alike, else not at all; a group's own type may be named."""
    group = lambda *inside: ExceptionGroup("", inside)  # noqa: E731
    circuit = make(failure_threshold=2, on=(OSError,), ignore=(PermissionError,))
    fail(circuit)
    for one in (group(OSError(), KeyError()), group(PermissionError()), group(PermissionError(), OSError())):
        fail(circuit, 3, one)
        assert circuit.now.state == "closed"
    fail(circuit, 1, group(OSError(), group(ConnectionError(), OSError())))
    assert circuit.now.state == "open"
    circuit.reset()
    fail(circuit)
    fail(circuit, 1, group(KeyError(), group(ValueError())))
    fail(circuit)
    assert circuit.now.state == "closed"
    named = make(failure_threshold=1, on=(ExceptionGroup,))
    fail(named, 1, KeyError())
    assert named.now.state == "closed"
    fail(named, 1, group(KeyError()))
    assert named.now.state == "open"


def test_what_is_inside_is_not_there(make):
    """What an inner service or breaker raises because it is not there counts, unless it is ignored."""
    gone = errors.ResolutionError()
    gone.__cause__ = ConnectionError()
    broken = errors.ResolutionError()
    broken.__cause__ = KeyError()
    for error, counts in (
        (errors.ServiceUnavailable(), True),
        (errors.ServiceCircuitOpen(), True),
        (lazyguard.CircuitOpen(), True),
        (errors.ResolutionTimeout(), True),
        (gone, True),
        (broken, False),
    ):
        circuit = make(failure_threshold=1, on=(OSError,))
        fail(circuit, 1, error)
        assert (circuit.now.state == "open") is counts
        circuit = make(failure_threshold=1, on=(OSError,), ignore=(errors.ResolutionError, lazyguard.CircuitOpen))
        fail(circuit, 1, error)
        assert circuit.now.state == "closed"


def test_its_own_refusal(make):
    """A refusal by the very same breaker does not count: a function that calls itself probes with one call."""
    circuit = make(failure_threshold=1)
    fail(circuit)
    with pytest.raises(lazyguard.CircuitOpen) as caught:
        circuit.admit()
    circuit.reset()
    fail(circuit, 1, caught.value)
    assert circuit.now.state == "closed"


def test_given_back_twice(opened, clock):
    """Releasing a probe that has ended changes nothing."""
    circuit, _ = opened
    clock.advance(10.001)
    probe = circuit.admit()
    probe.ended()
    closed = circuit.now
    probe.released()
    probe.ended(ConnectionError())
    assert circuit.now is closed


# what counts


def test_a_stale_outcome(opened, clock):
    """A call that began before a transition counts neither as a success nor as a failure."""
    circuit, before = opened
    before.ended()
    before.ended(ConnectionError())
    assert circuit.now.state == "open"
    clock.advance(10.001)
    circuit.admit()
    before.ended()
    assert circuit.now.state == "half-open"
    circuit.reset()
    for _ in range(5):
        before.ended(ConnectionError())
    assert circuit.now.state == "closed"


def test_which_failures_count(make):
    """Exceptions of `on` count as failures, those of `ignore` not at all, all others as successes."""
    circuit = make(failure_threshold=2, on=(OSError,), ignore=(PermissionError,))
    for error in (PermissionError(), KeyboardInterrupt(), asyncio.CancelledError()):
        fail(circuit)
        fail(circuit, 5, error)
        assert circuit.now.state == "closed"
        succeed(circuit)
    fail(circuit)
    fail(circuit, 1, ValueError())
    fail(circuit)
    assert circuit.now.state == "closed"
    fail(circuit, 1, PermissionError())
    fail(circuit)
    assert circuit.now.state == "open"


def test_what_is_no_exception_never_counts(make):
    """What is no Exception never counts, not even if `on` has it."""
    circuit = make(failure_threshold=1, on=BaseException)
    for error in (KeyboardInterrupt(), SystemExit(), asyncio.CancelledError(), GeneratorExit()):
        fail(circuit, 3, error)
    assert circuit.now.state == "closed"


def test_failures_by_name(make):
    """Exceptions that are given by name count once their library is loaded."""
    circuit = make(failure_threshold=1, on=("no_such_library:Error", "decimal:InvalidOperation"))
    import decimal

    fail(circuit, 1, ValueError())
    assert circuit.now.state == "closed"
    fail(circuit, 1, decimal.InvalidOperation())
    assert circuit.now.state == "open"


# events, races, forks


def test_events(opened, clock, told):
    """A transition emits one event, with its states, the cause's type and the rounds; a released place emits none."""
    circuit, _ = opened
    clock.advance(10.001)
    circuit.admit().released()
    fail(circuit)
    clock.advance(20.001)
    succeed(circuit)
    assert [(event.kind, event.before, event.after, event.generation) for event in told] == [
        ("opened", "closed", "open", 1),
        ("half-open", "open", "half-open", 1),
        ("opened", "half-open", "open", 2),
        ("half-open", "open", "half-open", 2),
        ("closed", "half-open", "closed", 0),
    ]
    assert {(event.name, event.place) for event in told} == {("db", "app.py:3")}
    assert told[0].cause == "ConnectionError"
    assert told[2].seconds == 0.0
    assert told[3].seconds == pytest.approx(20.001)


def test_observers_see_calls(make, clock):
    """Observers see each call from their begin on, a probe by its outcome, and refusals."""
    counted: list[str] = []

    class Counter:
        def counter(self, name: str, ended: str):
            return lambda: counted.append(f"{name} {ended}")

        def attempted(self, name: str, ended: str, seconds: float) -> None: ...

    circuit = make(failure_threshold=1)
    end = observers.observe(Counter())
    succeed(circuit)
    fail(circuit)
    with pytest.raises(lazyguard.CircuitOpen):
        circuit.admit()
    for finish in (fail, succeed):
        clock.advance(20.001)
        finish(circuit)
    assert counted == ["db ok", "db failed", "db refused", "db failed", "db ok"]
    end()
    succeed(circuit)
    assert len(counted) == 5


def test_only_the_present_phase_is_followed(make):
    """`follow` on a phase that is no longer present returns False and changes nothing."""
    circuit = make(failure_threshold=1)
    before = circuit.now
    fail(circuit)
    after = circuit.now
    assert not circuit.follow(before, before)
    assert circuit.now is after
    assert circuit.follow(after, before)
    assert circuit.now is before


def test_a_clock_that_goes_back(told, chance):
    """At the end of a fake clock no event has negative seconds."""
    circuit = Circuit(lazyguard.Breaker(failure_threshold=1), name="db", place="app.py:3")
    with FakeClock() as clock:
        clock.advance(1000.0)
        fail(circuit)
    circuit.reset()
    assert [event.kind for event in told] == ["opened", "closed"]
    assert told[1].seconds == 0.0


def test_the_log(clock, chance, caplog):
    """An opening is logged as a warning; one after a failed probe is logged only now and then."""
    caplog.set_level("WARNING", "lazyguard")
    circuit = Circuit(lazyguard.Breaker(failure_threshold=1), name="db", place="the log's")
    for _ in range(4):
        fail(circuit)
        clock.advance(200.0)
    assert [record.levelname for record in caplog.records if "opened" in record.message] == ["WARNING"]
    assert "db is open (opened, ConnectionError), declared at the log's" in caplog.text
    assert "secret" not in caplog.text


def test_no_lock_while_listeners_run(make):
    """A transition is reported after the lock has been released."""
    free = []

    def look() -> None:
        free.append(lock.acquire(timeout=30))
        lock.release()

    def changed(event) -> None:
        thread = threading.Thread(target=look)
        thread.start()
        thread.join()

    undo = lazyguard.subscribe(changed)
    fail(make(failure_threshold=1))
    undo()
    assert free == [True]


def test_a_race_for_the_probe(opened, clock, race, limited):
    """Of 50 threads at half-open one is let through, each time."""
    circuit, _ = opened
    for _ in range(8):
        clock.advance(200.0)
        found = race(*[circuit.admit] * 50)
        probes = [each for each in found if not isinstance(each, lazyguard.CircuitOpen)]
        assert len(probes) == 1
        probes[0].ended(ConnectionError())


def test_a_race_to_open(make, race, limited, told):
    """However many calls fail at one moment, the circuit opens once, and no failure in a row is lost."""
    for _ in range(20):
        circuit = make(failure_threshold=50)
        race(*[lambda circuit=circuit: fail(circuit)] * 50)
        assert circuit.now.state == "open"
        assert circuit.now.rounds == 1
    assert [event.kind for event in told] == ["opened"] * 20


def test_a_fork(opened, clock, in_child):
    """In a forked child a circuit begins anew, closed; calls of the parent do not count, and no lock is held."""
    circuit, _ = opened
    clock.advance(10.001)
    probe = circuit.admit()

    def work() -> None:
        assert circuit.now.state == "closed"
        assert lock.acquire(timeout=0)
        lock.release()
        probe.ended(ConnectionError())
        assert circuit.now.state == "closed"
        fail(circuit, 2)
        assert circuit.now.state == "open"

    with lock:
        assert in_child(work) == 0
    assert circuit.now is probe


def test_a_circuit_is_forgotten(make):
    """A circuit is kept by its owner alone."""
    gc.collect()
    before = len(circuits._circuits)
    circuit = make()
    assert len(circuits._circuits) == before + 1
    del circuit
    gc.collect()
    assert len(circuits._circuits) == before
