"""Several fallbacks of one service: their order, their time limits, the cause, and the recovery."""

from __future__ import annotations

import asyncio
import threading

import pytest

import lazyguard
from lazyguard import errors


class Replica:
    """A fallback that returns its name."""

    def __init__(self, name: str) -> None:
        self.name = name


@pytest.fixture
def get(plant):
    """Return a service whose factory fails, with a time limit and without a recovery."""
    plant.fate = OSError("secret")
    return lazyguard.service(name="db", timeout=30.0, recovery=None)(lambda: plant.make())


def test_the_order_of_declaration(get):
    """The first fallback that can be built is served; those after it are not built."""
    built: list[str] = []

    def failing() -> Replica:
        built.append("failing")
        raise KeyError

    get.fallback(failing)
    get.fallback(lambda: built.append("cache") or Replica("cache"))
    get.fallback(lambda: built.append("fallback") or Replica("fallback"))
    assert get().name == "cache"
    assert get().name == "cache"
    assert built == ["failing", "cache"]


def test_each_gets_the_cause(get, plant):
    """Each fallback gets the cause of the real object's failure."""
    told: list[Exception] = []

    @get.fallback
    def _(cause: Exception) -> Replica:
        told.append(cause)
        raise KeyError

    @get.fallback
    def _(cause: Exception) -> Replica:
        told.append(cause)
        return Replica("cache")

    assert get().name == "cache"
    assert told == [plant.fate, plant.fate]


def test_when_all_fail(get):
    """The error names each fallback with its place, without exception texts; the last exception is chained."""
    for number in range(3):

        def failing(number: int = number) -> Replica:
            raise KeyError(f"password {number}")

        get.fallback(failing)
    with pytest.raises(errors.ServiceUnavailable) as caught:
        get().name
    text = str(caught.value)
    assert "it failed with OSError" in text
    assert text.count(f"declared at {__file__}:{failing.__code__.co_firstlineno}, failed too") == 3
    assert "password" not in text
    assert "secret" not in text
    assert caught.value.__cause__.__cause__.args == ("password 2",)


def test_the_same_one_twice(get):
    """The same fallback twice is refused: it would fail again."""

    def cache() -> Replica:
        return Replica("cache")

    get.fallback(cache)
    with pytest.raises(errors.ConfigurationError, match=r"has this fallback already \(.*test_chain"):
        get.fallback(cache)
    assert get().name == "cache"


def test_time_for_the_real_object_is_left(plant):
    """Fallbacks that take more than nine tenths of the timeout are refused, with the sum."""
    get = lazyguard.service(name="db", timeout=10.0)(plant.make)
    get.fallback(timeout=8.0)(lambda: Replica("replica"))
    with pytest.raises(errors.ConfigurationError, match=r"take 10 s of its timeout=10 with this one .* at least 1 s"):
        get.fallback(timeout=2.0)(lambda: Replica("cache"))
    get.fallback(lambda: Replica("fallback"))


def test_back_to_the_real_one(plant, clock, story, limited):
    """The service recovers from any fallback, and the next failure begins with the first one."""
    fates = [OSError(), None]
    built: list[str] = []
    plant.fate = fates[0]
    get = lazyguard.service(name="db", recovery=lazyguard.Recovery(initial=1.0))(lambda: plant.make())

    def replica() -> Replica:
        built.append("replica")
        if len(built) == 1:
            raise OSError
        return Replica("replica")

    get.fallback(replica)
    get.fallback(lambda: built.append("fallback") or Replica("fallback"))
    svc = get()
    assert svc.name == "fallback"
    plant.fate = None
    clock.advance(1.0)
    story.until("failed", "degraded", "recovered")
    assert svc.name == "thing 1"
    plant.fate = OSError()
    get.reset()
    assert svc.name == "replica"
    assert built == ["replica", "fallback", "replica"]


def test_max_degraded_of_the_one_that_is_served(get, clock):
    """Each fallback has its own `max_degraded`, from the begin of the degraded state."""

    @get.fallback(max_degraded=10.0)
    def _() -> Replica:
        raise OSError

    get.fallback(max_degraded=100.0)(lambda: Replica("cache"))
    assert get().name == "cache"
    clock.advance(99.0)
    assert get().name == "cache"
    clock.advance(2.0)
    with pytest.raises(errors.ServiceUnavailable, match="max_degraded=100"):
        get().name


class Hanging:
    """Fallbacks that hang until the test ends."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.runs = 0
        self.begun = threading.Event()

    def __call__(self) -> Replica:
        self.runs += 1
        self.begun.set()
        assert self.gate.wait(60)
        return Replica("late")


@pytest.fixture
def hanging(eventually):
    """Return a function that hangs until the test has ended."""
    made = Hanging()
    yield made
    made.gate.set()
    eventually(lambda: not threads_of("the fallback of db"))


def threads_of(name: str) -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == f"lazyguard {name}"]


def waits(monkeypatch) -> list[tuple[str, float]]:
    """Return the list of waits for attempts: the cell, and the end of the wait, in seconds from now."""
    from lazyguard._core import clock, threads

    seen: list[tuple[str, float]] = []
    join, begun = threads._join, clock.now()

    def joining(effect):
        seen.append((effect.attempt.cell.name, round(effect.until - begun, 3)))
        return join(effect)

    monkeypatch.setattr(threads, "_join", joining)
    return seen


def test_the_timeout_is_the_whole_wait(plant, hanging, monkeypatch, clock, race, limited):
    """A caller waits no longer than the service's timeout, if the real object or fallbacks hang."""
    plant.hanging = True
    asked = waits(monkeypatch)
    get = lazyguard.service(name="db", timeout=10.0, recovery=None)(plant.make)
    get.fallback(timeout=3.0)(lambda: hanging())
    get.fallback(lambda: hanging())

    def pass_time() -> None:
        plant.until(1)
        for seconds, runs in ((6.0, 1), (3.0, 2)):  # ten, less three, less a tenth; then three
            clock.advance(seconds)
            while hanging.runs < runs:
                threading.Event().wait(0.001)
        clock.advance(1.0)

    begun = clock.now()
    told, _ = race(lambda: get().name, pass_time)
    assert type(told) is errors.ServiceUnavailable
    assert str(told).count("took too long") == 2
    assert round(clock.now() - begun, 3) == 10.0
    assert asked == [("db", 6.0), ("the fallback of db", 9.0), ("the fallback of db", 10.0)]


def test_what_a_failure_leaves_is_the_fallbacks(plant, clock, monkeypatch, get):
    """When the real object fails early, a fallback has the rest of the time, less the shares of those after it."""
    asked = waits(monkeypatch)

    def failing() -> Replica:
        clock.advance(2.0)
        raise OSError

    def failing_too() -> Replica:
        raise OSError

    get.fallback(failing)
    get.fallback(timeout=5.0)(failing_too)
    get.fallback(lambda: Replica("fallback"))
    assert get().name == "fallback"
    fallback = "the fallback of db"
    assert asked == [("db", 19.0), (fallback, 22.0), (fallback, 2.0 + 5.0), (fallback, 30.0)]


def test_the_message_of_a_shorter_wait(plant, clock, race, limited):
    """The cause of a timeout has the real object's time, and the time that is kept for fallbacks."""
    plant.hanging = True
    told: list[Exception] = []
    get = lazyguard.service(name="db", timeout=10.0, recovery=None)(plant.make)
    get.fallback(lambda cause: told.append(cause) or Replica("fallback"))
    answer, _ = race(lambda: get().name, lambda: (plant.until(1), clock.advance(9.0)))
    assert answer == "fallback"
    assert "was not built within 9 s (1 s are kept for a fallback)" in str(told[0])


def test_a_clock_that_jumps(plant, clock, race, limited):
    """A fallback has its share of the wait, also if the real object's wait ended too late on a busy machine."""
    plant.hanging = True
    get = lazyguard.service(name="db", timeout=10.0, recovery=None)(plant.make)
    get.fallback(lambda: Replica("fallback"))
    answer, _ = race(lambda: get().name, lambda: (plant.until(1), clock.advance(500.0)))
    assert answer == "fallback"


def test_a_hanging_fallback_holds_one_thread(plant, hanging, limited):
    """However many callers wait, there are two threads for the real object, and one for each fallback."""
    plant.hanging = True
    get = lazyguard.service(name="db", timeout=0.003, abandon_after=0.01, recovery=None)(plant.make)
    get.fallback(lambda: hanging())
    get.fallback(timeout=0.001)(lambda: hanging())
    for _ in range(100):
        with pytest.raises(errors.ServiceUnavailable, match="took too long"):
            get().name
    assert len(threads_of("db")) <= 2
    assert len(threads_of("the fallback of db")) == 2


def test_its_own_timeout_without_one_of_the_service(plant, hanging, clock, race, limited):
    """A fallback can have a timeout although its service has none: a thread of its own builds it."""
    plant.fate = OSError()
    get = lazyguard.service(name="db", recovery=None)(plant.make)
    get.fallback(timeout=3.0)(lambda: hanging())
    get.fallback(lambda: Replica(threading.current_thread().name))

    def pass_time() -> None:
        assert hanging.begun.wait(30)
        clock.advance(3.0)

    caller = []
    told, _ = race(lambda: caller.append(threading.current_thread().name) or get().name, pass_time)
    assert told == caller[0]


def test_a_late_fallback(plant, hanging, clock, race, eventually, limited):
    """A late fallback is not served in place of the next one."""
    plant.fate = OSError()
    get = lazyguard.service(name="db", timeout=10.0, recovery=None)(plant.make)
    get.fallback(timeout=3.0)(lambda: hanging())
    get.fallback(lambda: Replica("fallback"))
    told, _ = race(lambda: get().name, lambda: (hanging.begun.wait(30), clock.advance(3.0)))
    assert told == "fallback"
    hanging.gate.set()
    eventually(lambda: not threads_of("the fallback of db"))
    assert get().name == "fallback"


def test_a_chain_of_async_ones(limited):
    """An async service can have async and plain fallbacks, in any order; a task awaits them."""

    @lazyguard.service(name="adb", timeout=30.0, recovery=None)
    async def get() -> Replica:
        raise OSError

    @get.fallback
    async def _(cause: Exception) -> Replica:
        await asyncio.sleep(0)
        raise cause

    @get.fallback
    def _() -> Replica:
        raise KeyError

    @get.fallback
    async def _() -> Replica:
        await asyncio.sleep(0)
        return Replica("async")

    async def use() -> str:
        return (await get.aget()).name

    assert asyncio.run(use()) == "async"
