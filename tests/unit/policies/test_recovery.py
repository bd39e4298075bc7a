"""`Recovery`: when it tries, what must succeed, and what it leaves behind."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import threading
import weakref

import pytest

import lazyguard
from lazyguard._core import scheduler
from lazyguard._core.state import Outcome
from lazyguard._policies import recovery_run


@pytest.fixture
def get(plant, clock, pace):
    """Return a function that declares a degraded service: its factory fails, a fallback serves."""

    def declare(recovery: lazyguard.Recovery, **more):
        plant.fate = OSError()
        more.setdefault("close", lambda thing: thing.close())
        service = lazyguard.service(name="db", recovery=recovery, **more)(plant.make)
        service.fallback(lambda: plant)
        assert service().runs
        return service

    return declare


@pytest.fixture
def settled(clock):
    """Return a function that moves the time, and waits until the due jobs have run."""

    def move(seconds: float) -> None:
        clock.advance(seconds)
        looked = threading.Event()
        scheduler.at(clock.now(), looked.set)
        assert looked.wait(30)

    return move


def attempt_ended(get, eventually) -> None:
    eventually(lambda: get.health().running == 0)


def test_jittered_exponential_waits(get, plant, pace, settled, eventually, limited):
    """A wait is between its half and its whole, doubled after each failure, up to `maximum`."""
    db = get(lazyguard.Recovery(initial=1.0, maximum=6.0))
    for number, bound in enumerate([1.0, 2.0, 4.0, 6.0, 6.0], start=1):
        eventually(lambda number=number: len(pace) == number)
        assert pace[-1] == (bound / 2, bound)
        settled(bound * 0.99)
        assert plant.runs == number
        settled(bound * 0.02)
        plant.until(number + 1)
        attempt_ended(db, eventually)


def test_it_needs_no_traffic(get, plant, clock, story, limited):
    """The live reference shows the real object again without traffic; each transition emits one event."""
    db = get(lazyguard.Recovery(initial=1.0))
    svc = db()
    plant.fate = None
    clock.advance(1.0)
    story.until("failed", "degraded", "recovered")
    assert svc.name == "thing 1"
    assert db.health().generation == 1
    clock.advance(1000.0)
    assert plant.runs == 2


def test_a_tries_failure_is_no_event(get, plant, pace, settled, story, eventually, limited):
    """While tries fail the service stays degraded, with its `since` and the latest cause, without an event a try."""
    db = get(lazyguard.Recovery(initial=1.0, maximum=1.0))
    since = db.health().since
    plant.fate = KeyError("secret")
    for number in range(2, 6):
        eventually(lambda number=number: len(pace) == number - 1)
        settled(1.0)
        plant.until(number)
        attempt_ended(db, eventually)
    assert story.kinds() == ["failed", "degraded"]
    assert db.health().since == pytest.approx(since, abs=1e-3)
    assert db.health().cause.startswith("KeyError at ")
    assert db.health().status == "warn"


def test_a_threshold_without_a_probe(get, plant, settled, story, pace, eventually, limited):
    """Without a probe each try builds anew; the last object is served, and those before are closed once."""
    _held = get(lazyguard.Recovery(initial=1.0, success_threshold=3))
    plant.fate = None
    for number in range(1, 4):
        eventually(lambda number=number: len(pace) == number)
        assert pace[-1] == (0.5, 1.0)  # successes do not make the waits longer
        assert story.kinds() == ["failed", "degraded"]
        settled(1.0)
        plant.until(number + 1)
    story.until("failed", "degraded", "recovered")
    assert [thing.closed for thing in plant.things] == [1, 1, 0]


@pytest.mark.parametrize("more", [{}, {"close": None}], ids=["closed", "left"])
def test_a_threshold_with_a_probe(get, plant, settled, story, pace, eventually, limited, more):
    """With a probe the first try builds, and the others probe its object; that is served, with or without `close`."""
    probed: list[object] = []
    db = get(lazyguard.Recovery(initial=1.0, success_threshold=3), probe=probed.append, **more)
    plant.fate = None
    for number in range(1, 4):
        eventually(lambda number=number: len(pace) == number)
        settled(1.0)
        eventually(lambda number=number: len(probed) == number)
    story.until("failed", "degraded", "recovered")
    assert db().name == "thing 1"
    assert probed == plant.things * 3
    assert plant.things[0].closed == 0


@pytest.mark.parametrize("failure", [OSError(), KeyboardInterrupt()], ids=["failure", "interruption"])
def test_a_row_that_breaks(get, plant, settled, story, pace, eventually, limited, failure):
    """One failed probe, with any exception, begins the row anew and closes the candidate once."""
    fates = [None, failure, None, None]
    probed: list[object] = []

    def probe(thing: object) -> None:
        probed.append(thing)
        fate = fates[len(probed) - 1]
        if fate is not None:
            raise fate

    _held = get(lazyguard.Recovery(initial=1.0, maximum=1.0, success_threshold=2), probe=probe)
    plant.fate = None
    for number in range(1, 5):
        eventually(lambda number=number: len(pace) == number)
        settled(1.0)
        eventually(lambda number=number: len(probed) == number)
    story.until("failed", "degraded", "recovered")
    assert probed == [plant.things[0]] * 2 + [plant.things[1]] * 2
    assert [thing.closed for thing in plant.things] == [1, 0]


@pytest.mark.parametrize("failure", [OSError(), KeyboardInterrupt()], ids=["failure", "interruption"])
def test_a_factory_that_breaks_the_row(get, plant, settled, story, pace, eventually, limited, failure):
    """Any exception of the factory begins the row anew, and the next wait is longer."""
    _held = get(lazyguard.Recovery(initial=1.0, success_threshold=2))
    for number, fate in enumerate([None, failure, None, None], start=1):
        plant.fate = fate
        eventually(lambda number=number: len(pace) == number)
        assert story.kinds() == ["failed", "degraded"]
        settled(2.0)
        plant.until(number + 1)
    story.until("failed", "degraded", "recovered")
    assert [high for _, high in pace] == [1.0, 1.0, 2.0, 1.0]


def test_a_reset_ends_it(get, plant, settled, story, pace, eventually, limited):
    """An object that was built for an older generation is closed and never served."""
    db = get(lazyguard.Recovery(initial=1.0, maximum=1.0, success_threshold=2), probe=lambda thing: None)
    plant.fate = None
    eventually(lambda: len(pace) == 1)
    settled(1.0)
    eventually(lambda: len(pace) == 2)  # one success, its object is the candidate
    db.reset()
    plant.fate = OSError()
    assert db().runs
    assert lazyguard.is_fallback(db)
    plant.fate = None
    eventually(lambda: len(pace) == 3)
    settled(1.0)
    eventually(lambda: len(pace) == 4)
    assert lazyguard.is_fallback(db)
    eventually(lambda: plant.things[0].closed == 1)
    settled(1.0)
    story.until("failed", "degraded", "reset", "failed", "degraded", "recovered")
    assert db().name == "thing 2"
    assert [thing.closed for thing in plant.things] == [1, 0]


def test_a_reset_without_further_use(get, plant, settled, pace, eventually, limited):
    """After a reset without a further use there is no try, and the candidate is closed."""
    db = get(lazyguard.Recovery(initial=1.0, maximum=1.0, success_threshold=2), probe=lambda thing: None)
    plant.fate = None
    eventually(lambda: len(pace) == 1)
    settled(1.0)
    eventually(lambda: len(pace) == 2)
    db.reset()
    settled(100.0)
    eventually(lambda: plant.things[0].closed == 1)
    settled(100.0)
    assert db.health().state == "pending"
    assert plant.runs == 2
    assert db.__lazyguard_cell__().recovery_run is None


def test_an_attempt_of_a_caller(get, plant, settled, pace, story, eventually, limited):
    """While a caller's attempt hangs there is no try, and waits grow; it is stuck after the longest wait."""
    db = get(lazyguard.Recovery(initial=1.0, maximum=8.0))
    cell = db.__lazyguard_cell__()
    attempt, new, _ = cell.find_attempt(cell.now)
    assert new
    for number, bound in enumerate([1.0, 2.0, 4.0, 8.0], start=1):
        eventually(lambda number=number: len(pace) == number)
        assert pace[-1] == (bound / 2, bound)
        assert story.kinds() == ["failed", "degraded"]
        settled(bound)
    story.until("failed", "degraded", "stuck")
    assert plant.runs == 1
    eventually(lambda: len(pace) == 5)
    cell.settle(attempt, Outcome(interrupted=True))
    for number, bound in enumerate([1.0, 2.0, 4.0], start=6):
        eventually(lambda number=number: len(pace) == number)
        assert pace[-1] == (bound / 2, bound)
        settled(bound)
    plant.until(4)
    plant.fate = None
    settled(8.0)
    story.until("failed", "degraded", "stuck", "recovered")


def test_an_attempt_that_was_lost(get, plant, settled, eventually, limited):
    """If the thread of an attempt has gone, the next try begins at once, not a wait later."""
    db = get(lazyguard.Recovery(initial=1.0))
    cell = db.__lazyguard_cell__()
    attempt, _, _ = cell.find_attempt(cell.now)
    attempt.running = True  # and no thread runs it
    plant.fate = None
    settled(1.0)
    eventually(lambda: not lazyguard.is_fallback(db))
    assert db().name == "thing 1"


def test_a_try_that_outlives_its_generation(get, plant, settled, pace, story, eventually, limited):
    """An old attempt that ends after a reset and a new failure is closed, and does not end the new recovery."""
    db = get(lazyguard.Recovery(initial=1.0))
    plant.fate, plant.hanging = None, True
    eventually(lambda: len(pace) == 1)
    settled(1.0)
    plant.until(2)
    db.reset()
    plant.fate, plant.hanging = OSError(), False
    assert db().runs
    assert lazyguard.is_fallback(db)
    run = db.__lazyguard_cell__().recovery_run
    plant.let_go()
    eventually(lambda: plant.things and plant.things[0].closed == 1)
    assert db.__lazyguard_cell__().recovery_run is run
    plant.fate = None
    settled(1.0)
    eventually(lambda: not lazyguard.is_fallback(db))
    assert db().name == "thing 2"


def test_a_try_that_hangs(get, plant, settled, story, pace, eventually, limited):
    """A hanging attempt is replaced once after `abandon_after`; then the service is stuck until one succeeds."""
    db = get(lazyguard.Recovery(initial=1.0, maximum=10.0), timeout=5.0, abandon_after=50.0)
    plant.fate, plant.hanging = None, True
    eventually(lambda: len(pace) == 1)
    settled(1.0)
    plant.until(2)
    settled(49.0)
    assert plant.runs == 2
    settled(1.0)
    plant.until(3)
    story.until("failed", "degraded", "abandoned")
    assert db.health().running == 2
    settled(50.0)
    story.until("failed", "degraded", "abandoned", "stuck")
    for _ in range(20):
        settled(10.0)
    assert plant.runs == 3
    eventually(lambda: story.kinds()[3:] == ["stuck", "reminder"])  # once, and then now and then
    assert db.health().running == 2
    assert [len(attempt._done) for attempt in db.__lazyguard_cell__().now.running] == [
        1,
        1,
    ]  # however often it has looked
    plant.let_go()
    eventually(lambda: "recovered" in story.kinds())
    eventually(lambda: "late" in story.kinds())
    assert db().work() == "done"
    assert sorted(thing.closed for thing in plant.things) == [0, 1]


def test_a_try_that_hangs_without_abandon_after(get, plant, settled, story, pace, eventually, limited):
    """Without `abandon_after` a hanging attempt is not replaced; after the longest wait the service is stuck."""
    db = get(lazyguard.Recovery(initial=1.0, maximum=10.0))
    plant.fate, plant.hanging = None, True
    eventually(lambda: len(pace) == 1)
    settled(1.0)
    plant.until(2)
    settled(10.0)
    story.until("failed", "degraded", "stuck")
    plant.let_go()
    eventually(lambda: "recovered" in story.kinds())
    assert db().name == "thing 1"
    assert plant.runs == 2


def test_without_a_fallback(plant, clock, story, limited):
    """A failed service recovers too, without a caller."""
    plant.fate = OSError()
    get = lazyguard.service(name="db", recovery=lazyguard.Recovery(initial=1.0))(plant.make)
    with pytest.raises(lazyguard.ResolutionError):
        get().name
    assert get.health().state == "failed"
    plant.fate = None
    clock.advance(1.0)
    story.until("failed", "recovered")
    assert plant.runs == 2


def test_none_means_never(plant, clock, limited, settled):
    """`recovery=None` leaves a service degraded until a reset or a `require_real`."""
    plant.fate = OSError()
    get = lazyguard.service(name="db", recovery=None)(plant.make)
    get.fallback(lambda: plant)
    assert get().runs == 1
    plant.fate = None
    settled(10_000.0)
    assert lazyguard.is_fallback(get)
    assert plant.runs == 1


def test_its_context_is_empty(plant, clock, story, limited):
    """A try has no context variables of a caller; the first attempt has them."""
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("request", default="none")
    seen: list[str] = []

    def make() -> object:
        seen.append(variable.get())
        return plant.make()

    plant.fate = OSError()
    get = lazyguard.service(name="db", timeout=30.0, recovery=lazyguard.Recovery(initial=1.0))(make)
    get.fallback(lambda: plant)
    token = variable.set("a request")
    assert get().runs == 1
    plant.fate = None
    clock.advance(1.0)
    story.until("failed", "degraded", "recovered")
    variable.reset(token)
    assert seen == ["a request", "none"]


def test_one_scheduler_thread(plant, clock, eventually, limited):
    """One scheduler thread serves all degraded services; it ends with the last."""
    others = set(threading.enumerate())  # of earlier tests, whose jobs may be due in years
    scheduler.renew()
    plant.fate = OSError()
    services = [lazyguard.service(name="db", recovery=lazyguard.Recovery())(plant.make) for _ in range(50)]
    for get in services:
        get.fallback(lambda: plant)
        assert get().runs

    def running() -> int:
        return sum(thread.name == "lazyguard scheduler" for thread in set(threading.enumerate()) - others)

    assert running() == 1
    plant.fate = None
    clock.advance(1.0)
    eventually(lambda: not any(lazyguard.is_fallback(get) for get in services))
    clock.advance(100_000.0)
    # a look at the listeners comes again each second for as long as one of them is being told
    eventually(lambda: clock.advance(1.0) or running() == 0)


def test_it_is_begun_once(get, plant, pace, eventually, limited):
    """Beginning a recovery run again while it is under way changes nothing."""
    db = get(lazyguard.Recovery(initial=1.0))
    cell = db.__lazyguard_cell__()
    run = cell.recovery_run
    assert type(run) is recovery_run.RecoveryRun
    for _ in range(5):
        cell.recover()
    assert cell.recovery_run is run
    assert len(pace) == 1


def test_a_reminder_now_and_then(get, plant, pace, settled, eventually, told, limited):
    """While a service stays degraded an event reminds of it every five minutes, not at each try."""
    _held = get(lazyguard.Recovery(initial=60, maximum=60))
    for number in range(1, 12):
        eventually(lambda number=number: len(pace) == number)
        settled(60.001)  # a sum of sixties may round to a little less than five minutes
        plant.until(number + 1)
    eventually(lambda: [event.kind for event in told].count("reminder") == 2)
    assert [event.seconds for event in told if event.kind == "reminder"] == pytest.approx([300.0, 600.0], abs=1.0)


def test_a_new_generation_that_hangs(get, plant, settled, pace, eventually, limited):
    """While the use after a reset hangs, an older candidate is not taken for the new object."""
    db = get(
        lazyguard.Recovery(initial=1.0, maximum=1.0, success_threshold=2), probe=lambda thing: None, abandon_after=50.0
    )
    plant.fate = None
    eventually(lambda: len(pace) == 1)
    settled(1.0)
    eventually(lambda: len(pace) == 2)  # one success, its object is the candidate
    db.reset()
    plant.hanging = True
    user = threading.Thread(target=lambda: db().name, daemon=True)
    user.start()
    plant.until(3)
    for _ in range(60):
        settled(1.0)
    eventually(lambda: plant.things[0].closed == 1)
    assert db.health().state == "resolving"
    plant.let_go()
    user.join(30)
    assert db().name == "thing 2"


def test_a_loop_that_stands_still(plant, clock, settled, eventually, limited):
    """An async service is tried again only while its loop runs; without it no attempt waits."""
    loop = asyncio.new_event_loop()

    @lazyguard.service(name="db", recovery=lazyguard.Recovery(initial=1.0, maximum=1.0))
    async def db() -> object:
        return plant.make()

    db.fallback(lambda: plant)
    plant.fate = OSError()
    loop.run_until_complete(db.aget())
    plant.fate = None
    for _ in range(5):
        settled(1.0)
        eventually(lambda: db.health().running == 0)
    assert plant.runs == 1
    assert db.health().cause.startswith("OSError at ")

    async def stay() -> None:
        while lazyguard.is_fallback(db):
            clock.advance(1.0)
            await asyncio.sleep(0)

    loop.run_until_complete(stay())
    assert plant.runs == 2
    loop.close()


class Leaving(asyncio.SelectorEventLoop):
    """A loop that is closed right after `is_running`, on the scheduler's thread."""

    thread: threading.Thread

    def is_running(self) -> bool:
        running = super().is_running()
        if running and threading.current_thread().name == "lazyguard scheduler":
            self.call_soon_threadsafe(self.stop)
            self.thread.join(30)
            self.close()
        return running


def test_a_loop_that_is_closed_under_a_try(plant, clock, pace, settled, eventually, limited):
    """If the loop closes just before the try, the try has failed, none is under way, and the next is due."""
    loop = Leaving()

    @lazyguard.service(name="db", recovery=lazyguard.Recovery(initial=1.0))
    async def db() -> object:
        return plant.make()

    db.fallback(lambda: plant)
    plant.fate = OSError()
    loop.thread = threading.Thread(target=loop.run_forever, daemon=True)
    loop.thread.start()
    asyncio.run_coroutine_threadsafe(db.aget(), loop).result(30)
    assert db.health().running == 0
    settled(1.0)
    assert loop.is_closed()
    assert not db.__lazyguard_cell__().now.running
    eventually(lambda: len(pace) == 2)
    assert pace[1] == (1.0, 2.0)
    assert plant.runs == 1
    assert db.health().cause.startswith("OSError at ")


@pytest.mark.parametrize("successes", [0, 1])
def test_a_service_without_references(get, plant, settled, eventually, successes, limited):
    """A service without references is not tried or kept, and its candidate is closed."""
    db = get(lazyguard.Recovery(initial=1.0, success_threshold=2))
    plant.fate = None  # its traceback holds what it passed through
    if successes:
        settled(1.0)
        attempt_ended(db, eventually)
    runs, cell = plant.runs, weakref.ref(db._cell)
    del db
    gc.collect()
    assert cell() is None
    settled(600.0)
    assert plant.runs == runs
    eventually(lambda: [thing.closed for thing in plant.things] == [1] * successes)
