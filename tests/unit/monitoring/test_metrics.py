"""The measures are right for any metrics library, and without a meter they cost nothing."""

from __future__ import annotations

import gc

import pytest

import lazyguard
from lazyguard._core import observers
from lazyguard._monitoring.metrics import Measures, Names

pytestmark = pytest.mark.usefixtures("limited")


class Meter:
    """Record everything."""

    def __init__(self) -> None:
        self.attempts: list[tuple[str, str, float]] = []
        self.imports: list[tuple[str, float]] = []
        self.moves = 0

    def attempted(self, name, ended, seconds):
        self.attempts.append((name, ended, seconds))

    def transitioned(self):
        self.moves += 1

    def imported(self, package, seconds):
        self.imports.append((package, seconds))


@pytest.fixture
def meter():
    """Return a meter that receives everything during the test."""
    gc.collect()
    found = Meter()
    measures = Measures(found, 10_000)  # a run of all tests has many services
    measures.begin()
    found.measures = measures
    yield found
    measures.end()
    assert not observers.observers


class Db:
    def get(self, key: str) -> str:
        return key


def test_attempts_by_their_ends(meter, plant, clock, race):
    """Attempts that succeed, fail or end too late are each recorded once, with their seconds."""
    get_db = lazyguard.service(name="db", timeout=5.0, recovery=None)(plant.make)
    plant.fate = ConnectionError()
    with pytest.raises(lazyguard.ResolutionError):
        get_db().name
    plant.fate = None
    plant.hanging = True

    def meanwhile() -> None:
        plant.until(2)
        clock.advance(6.0)

    late, _ = race(lambda: get_db().name, meanwhile)
    assert isinstance(late, lazyguard.errors.ResolutionTimeout)
    assert meter.measures.abandoned() == {"db": 1}
    get_db.reset()
    plant.let_go()
    assert get_db().name
    ends = sorted(ended for name, ended, _ in meter.attempts if name == "db")
    assert ends[0] == "failed"
    assert set(ends[1:]) <= {"late", "ok"}
    assert meter.measures.transitions()["db", "timeout"] == 1
    assert meter.moves


def test_time_degraded_over_several_periods(meter, plant, clock):
    """Degraded seconds count from the event on, without a read in between, and from before the measuring began."""
    get_db = lazyguard.service(name="db", recovery=None)(plant.make)
    get_db.fallback(lambda cause: Db())
    plant.fate = ConnectionError()
    for seconds in (2.0, 3.0):
        get_db().get("x")
        clock.advance(seconds)
        get_db.reset()
        clock.advance(100.0)
    assert meter.measures.degraded()["db"] == 5.0
    get_db().get("x")
    clock.advance(1.0)
    late = Measures(Meter(), 50)
    clock.advance(1.0)
    assert late.degraded()["db"] == pytest.approx(2.0)
    assert meter.measures.degraded()["db"] == 7.0


def test_calls_of_a_fallback_and_of_a_breaker(meter):
    """Answers of a fallback, refusals and probes are counted."""

    @lazyguard.guarded(name="fetch", breaker=lazyguard.Breaker(failure_threshold=1, open_time=0.001))
    def fetch(fails: bool) -> str:
        if fails:
            raise ConnectionError
        return "fetched"

    with pytest.raises(ConnectionError):
        fetch(True)
    assert fetch.health().state == "open"
    fetch.fallback(lambda fails: "fallback")
    while fetch(False) == "fallback":
        pass
    calls = meter.measures.calls()
    assert calls["fetch", "failed"] == calls["fetch", "ok"] == 1
    assert calls.get(("fetch", "refused"), 0) == calls.get(("fetch", "fallback"), 0)


def test_the_success_path_is_what_it_was(meter):
    """Without a meter a breaker's count is its window's own; it is again after the last meter has ended."""

    @lazyguard.guarded(name="quick", breaker=lazyguard.Breaker())
    def quick() -> None: ...

    quick()
    circuit = quick.fallback.__self__.circuit
    assert meter.measures.calls()["quick", "ok"] == 1
    meter.measures.end()
    assert circuit.now.count == circuit.now._window.count
    quick()
    assert meter.measures.calls()["quick", "ok"] == 1


def test_states_of_all_kinds(meter):
    """Services, lazy objects of a module and breakers have states; names of packages and preloads have none."""

    @lazyguard.service(name="plain")
    def get_plain() -> Db:
        return Db()

    @lazyguard.service(name="vital", critical=True)
    def get_vital() -> Db:
        return Db()

    get_vital().get("x")
    states = meter.measures.states()
    assert states["plain", "service", "pending"] == 1
    assert states["vital", "critical service", "ready"] == 1
    assert sum(value for (name, _, _), value in states.items() if name in ("plain", "vital")) == 2


def test_breakers_of_one_name(meter):
    """Guarded functions of the same name are shown as one, in the worst state."""

    def guard(fate: Exception | None):
        @lazyguard.guarded(breaker=lazyguard.Breaker(failure_threshold=1))
        def call_it() -> None:
            if fate is not None:
                raise fate

        return call_it

    quiet, failing = guard(None), guard(OSError())
    name = quiet.health().name
    assert meter.measures.states()[name, "guarded", "closed"] == 1
    with pytest.raises(OSError):
        failing()
    states = meter.measures.states()
    assert (states[name, "guarded", "open"], states[name, "guarded", "closed"]) == (1, 0)


def test_counts_in_a_finaliser_and_from_threads(meter, race):
    """Calls on many threads are all counted, without a wait."""

    @lazyguard.guarded(name="counted", breaker=lazyguard.Breaker())
    def counted() -> None: ...

    class Closing:
        def __del__(self) -> None:
            counted()

    race(*[lambda: [(counted(), Closing()) for _ in range(300)]] * 6)
    assert meter.measures.calls()["counted", "ok"] == 3600


def test_names_beyond_the_bound():
    """The first names are shown as they are, later ones as "(others)"."""
    names = Names(2)
    assert [names(name) for name in ("a", "b", "c", "a", "d")] == ["a", "b", "(others)", "a", "(others)"]


def test_imports_by_package(meter, program):
    """Each execution of a module is recorded under its top-level package."""
    program({"measured/__init__.py": "import measured.sub\n", "measured/sub.py": ""})
    with lazyguard.track_imports():
        import measured  # type: ignore[import-not-found]  # noqa: F401
    assert [package for package, _ in meter.imports if package == "measured"] == ["measured"] * 2


def test_a_fork_begins_with_nothing_spent(meter, plant, clock, in_child):
    """A forked child does not count the parent's degraded seconds."""
    get_db = lazyguard.service(name="db", recovery=None)(plant.make)
    get_db.fallback(lambda cause: Db())
    plant.fate = ConnectionError()
    get_db().get("x")
    clock.advance(3.0)
    meter.measures.degraded()

    def work() -> None:
        meter.measures.forked()
        assert meter.measures.degraded().get("db", 0.0) == 0.0

    assert in_child(work) == 0
    assert meter.measures.degraded()["db"] == 3.0
