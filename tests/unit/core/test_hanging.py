"""Law 5 where attempts hang: who waits for what, who is told at once, and what wakes those who wait."""

from __future__ import annotations

import asyncio
import json
import threading

import pytest

import lazyguard
from lazyguard._core import scheduler, wait_cycles

pytestmark = pytest.mark.usefixtures("limited")


@pytest.fixture
def get(plant):
    """Return a service of the plant that waits for 5 s, gives up on an attempt after 50 s, and is not recovered."""
    return lazyguard.service(name="db", timeout=5.0, abandon_after=50.0, recovery=None)(plant.make)


@pytest.fixture
def asking(eventually):
    """Return a function that uses a service on a thread which has begun to wait when it returns."""
    threads = []

    def ask(use):
        told: list[object] = []

        def call() -> None:
            try:
                told.append(use())
            except lazyguard.LazyguardError as error:
                told.append(type(error))

        thread = threading.Thread(target=call, daemon=True)
        thread.start()
        threads.append(thread)
        eventually(lambda: thread.ident in wait_cycles.waiting)
        return told

    yield ask
    for thread in threads:
        thread.join(30)


@pytest.fixture
def stuck(get, plant, clock, asking, eventually):
    """Return the service with two attempts that hang and may not be replaced."""
    plant.hanging = True
    for runs in (1, 2):
        told = asking(lambda: get().name)
        plant.until(runs)
        clock.advance(50.0)
        eventually(lambda told=told: told == [lazyguard.errors.ResolutionTimeout])
    return get


def test_a_reset_is_not_held_up_by_what_ran_before_it(get, plant, asking, eventually):
    """The use after a reset begins an attempt of its own at once; what ended late is closed and never served."""
    plant.hanging = True
    before = asking(lambda: get().name)
    plant.until(1)
    plant.hanging = False
    get.reset()
    assert get().name == "thing 1"
    eventually(lambda: before == ["thing 1"])  # who waited for the old attempt waits no longer
    assert plant.runs == 2
    plant.let_go()
    eventually(lambda: get.health().running == 0)
    assert get().name == "thing 1"


def test_resets_start_no_third_attempt(get, plant, asking, eventually):
    """However many generations begin, two attempts run; the next one begins as soon as one of them ends."""
    plant.hanging = True
    told = []
    for runs in (1, 2):
        told.append(asking(lambda: get().name))
        plant.until(runs)
        get.reset()
    third = asking(lambda: get().name)
    assert get.health().running == 2
    plant.let_go()
    eventually(lambda: third and all(told))
    assert plant.runs <= 4  # both of the old generations, and what came after
    assert get.health().state == "ready"


def test_two_that_hang_are_told_at_once(stuck, plant, clock):
    """A thousand callers are told in no time: nobody waits for what two have waited for in vain."""
    before = clock.now()
    for _ in range(1000):
        with pytest.raises(lazyguard.errors.ResolutionTimeout, match="two attempts hang"):
            stuck().name
    assert clock.now() == before
    assert plant.runs == 2


def test_who_gives_a_timeout_of_its_own_waits(stuck, plant, asking, eventually):
    """require_real(timeout=) was asked to wait, and has the object as soon as there is one."""
    told = asking(lambda: stuck.require_real(timeout=1000.0))
    plant.let_go()
    eventually(lambda: told)
    assert told[0] in plant.things


def test_a_stuck_service_with_a_fallback_serves_it_at_once(stuck, plant):
    """It is degraded, says why, and is served the late object when an attempt ends after all."""
    stuck.fallback(lambda: plant)
    assert stuck().runs == 2
    assert lazyguard.is_fallback(stuck())
    assert "ResolutionTimeout" in stuck.health().cause


def test_tasks_are_told_at_once_too(stuck):
    """The same for those who await."""

    async def main() -> list[object]:
        return await asyncio.gather(*[stuck.aget() for _ in range(100)], return_exceptions=True)

    assert {type(told) for told in asyncio.run(main())} == {lazyguard.errors.ResolutionTimeout}


def test_health_shows_where_they_hang(stuck, plant, eventually):
    """Stuck, with each attempt's places from the factory inwards, until one has given its place back."""
    check = stuck.health()
    assert check.status == "warn"
    assert "stuck: 2 attempts hang" in check.cause
    assert len(check.stacks) == 2
    for stack in check.stacks:
        assert stack[0].startswith(plant.make.__code__.co_filename)
        assert stack[0].endswith(" make")
        assert " wait" in stack[-1]
        assert not any("lazyguard/_" in place for place in stack)
    assert json.loads(json.dumps(check.to_dict()))["stacks"] == [list(stack) for stack in check.stacks]
    plant.let_go()
    eventually(lambda: stuck.health().running == 0)
    assert stuck.health().stacks == ()
    assert "stacks" not in stuck.health().to_dict()


def test_health_shows_where_tasks_hang(clock):
    """The same for async factories, whose stack is that of what they await."""

    async def inner() -> None:
        await asyncio.get_running_loop().create_future()

    @lazyguard.service(name="db", timeout=5.0, abandon_after=50.0, recovery=None)
    async def get() -> object:
        await inner()
        return object()

    async def main() -> lazyguard.types.Check:
        for _ in range(2):
            waits = asyncio.ensure_future(get.aget())
            await asyncio.sleep(0.01)
            clock.advance(50.0)
            with pytest.raises(lazyguard.errors.ResolutionTimeout):
                await waits
        return get.health()

    stacks = asyncio.run(main()).stacks
    assert [[place.rpartition(" ")[2] for place in stack] for stack in stacks] == [["get", "inner"]] * 2
    get.reset()


def test_an_override_wakes_those_who_wait(get, plant, asking, eventually):
    """Who waits for an attempt that hangs gets what was put in its place."""
    plant.hanging = True
    told = asking(lambda: get().runs)
    with get.override(plant):
        eventually(lambda: told == [1])
    assert get.health().running == 1


def test_what_another_degraded_wakes_those_who_wait(get, plant, clock, asking, eventually):
    """Once one caller has got the fallback the others that wait get it too, except those who want the real object."""
    plant.hanging = True
    first = asking(lambda: get().runs)
    get.fallback(lambda: plant)
    clock.advance(4.0)
    second, real = asking(lambda: get().runs), asking(lambda: get.require_real().name)
    clock.advance(1.5)
    eventually(lambda: (first, second) == ([1], [1]))
    assert real == []
    plant.let_go()
    eventually(lambda: real == ["thing 1"])


def test_the_older_attempts_result_wakes_those_who_wait_for_the_newer(plant, clock, asking, eventually):
    """A replacement that hangs holds nobody whose object the attempt before it has made after all."""
    gates = [threading.Event(), threading.Event()]
    runs = iter(gates)

    def make() -> str:
        assert next(runs).wait(60)
        return "made"

    get = lazyguard.service(name="db", timeout=500.0, abandon_after=50.0, recovery=None)(make)
    told = [asking(lambda: get().upper())]
    clock.advance(50.0)
    told.append(asking(lambda: get().upper()))
    eventually(lambda: get.health().running == 2)
    gates[0].set()
    eventually(lambda: told == [["MADE"], ["MADE"]])
    gates[1].set()
    eventually(lambda: get.health().running == 0)


def test_recovery_looks_soon_after_a_place_is_free(plant, clock, eventually, pace, asking):
    """Stuck for hours, its waits at their longest, it tries again `initial` seconds after an attempt has ended."""
    get = lazyguard.service(
        name="db", timeout=5.0, abandon_after=50.0, recovery=lazyguard.Recovery(initial=1.0, maximum=1000.0)
    )(plant.make)
    get.fallback(lambda: plant)
    plant.hanging = True
    plant.fate = ConnectionError()
    told = asking(lambda: get().runs)
    plant.until(1)
    clock.advance(5.0)
    eventually(lambda: told == [1])
    for _ in range(30):
        clock.advance(1000.0)
        looked = threading.Event()
        scheduler.at(clock.now(), looked.set)
        assert looked.wait(30)
    plant.until(2)
    assert plant.runs == 2
    assert pace[-1][1] == 1000.0
    assert get.health().stacks
    plant.fate = None
    plant.let_go()
    eventually(lambda: get.health().running == 0)
    eventually(lambda: pace[-1][1] <= 2.0)
    clock.advance(2.0)
    eventually(lambda: get.health().state == "ready")

    def is_idle() -> bool:
        clock.advance(1000.0)  # also for what the end of the recovery schedules only now
        return not scheduler._scheduler.runs  # its thread; one of an earlier test's scheduler may still wait

    eventually(is_idle)  # nothing is due any more: the scheduler's thread ends before the clock is put back


def test_a_build_on_the_loops_own_thread_is_told(plant, clock, told):
    """Without a timeout a first use by attribute blocks the loop for as long as the factory takes: an event says so."""
    get = lazyguard.service(name="db", recovery=None)(lambda: clock.advance(1.0) or plant.make())

    async def main() -> str:
        return get().name

    assert asyncio.run(main()) == "thing 1"
    assert "blocked-loop" in [event.kind for event in told if event.name == "db"]
    get.reset()
    told.clear()
    assert get().name == "thing 2"
    assert [event.kind for event in told if event.name == "db"] == ["ready"]


def test_an_attempt_lost_with_its_loop_gives_its_place_back(clock, plant):
    """What a closed event loop was building holds nobody up: the next use builds at once."""
    hang = True

    @lazyguard.service(name="db", timeout=5.0, recovery=None)
    async def get() -> str:
        if hang:
            await asyncio.get_running_loop().create_future()
        return "made"

    loop = asyncio.new_event_loop()
    waits = loop.create_task(get.aget())
    for _ in range(5):
        loop.run_until_complete(asyncio.sleep(0))
    assert get.health().running == 1
    waits.cancel()
    with pytest.raises(asyncio.CancelledError):
        loop.run_until_complete(waits)
    loop.close()
    hang = False

    async def main() -> str:
        return (await get.aget()).upper()

    assert asyncio.run(main()) == "MADE"
