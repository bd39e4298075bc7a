"""Pinned blocks keep one object from their begin to their end, whatever happens to the service."""

from __future__ import annotations

import asyncio
import threading

import pytest

import lazyguard
from lazyguard import errors


def closing(thing) -> None:
    thing.close()


@pytest.mark.parametrize("failures", [(), (ConnectionError,)])
def test_it_keeps_its_object(plant, failures):
    """Reset and override affect the live reference, not the block; the object is closed after its end."""
    get = lazyguard.service(name="db", close=closing, failures=failures)(plant.make)
    with lazyguard.pinned(get()) as kept:
        (thing,) = plant.things
        assert lazyguard.resolve(kept) is thing
        assert lazyguard.is_resolved(kept)
        assert isinstance(kept, type(thing))
        with get.override(plant):
            assert get().runs == 1
            assert kept.name == "thing 1"
        get.reset()
        assert get().name == "thing 2"
        assert kept.work() == "done"
        assert len(kept) == 3
        assert thing.closed == 0
        with lazyguard.pinned(get) as other:
            assert other.name == "thing 2"
        assert thing.closed == 0
    _until_closed(thing)
    assert get().name == "thing 2"
    assert plant.things[1].closed == 0


def _until_closed(thing) -> None:
    for _ in range(3000):
        if thing.closed:
            break
        threading.Event().wait(0.01)
    assert thing.closed == 1


def test_nested_blocks_hold_one_object(plant):
    """The object of nested blocks is closed after the last of them."""
    get = lazyguard.service(name="db", close=closing)(plant.make)
    with lazyguard.pinned(get()):
        with lazyguard.pinned(get()) as inner:
            get.reset()
            assert inner.name == "thing 1"
        assert plant.things[0].closed == 0
    _until_closed(plant.things[0])


def test_calls_count(plant, clock, story, limited):
    """Failures in the block open the breaker; the block still keeps the object, past its grace."""
    get = lazyguard.service(
        name="db",
        failures=ConnectionError,
        close=closing,
        grace=1.0,
        recovery=lazyguard.Recovery(initial=10.0, maximum=10.0),
    )(plant.make)
    get.fallback(lambda: plant)
    svc = get()
    with lazyguard.pinned(svc) as kept:
        plant.things[0].fate = ConnectionError()
        with pytest.raises(ConnectionError):
            svc.work()
        for _ in range(2):
            with pytest.raises(ConnectionError):
                kept.work()
        assert get.health().state == "failed"
        assert svc.runs == 1
        clock.advance(10.0)
        story.until("ready", "failed", "degraded", "recovered")
        assert svc.work() == "done"
        for _ in range(5):
            with pytest.raises(ConnectionError):
                kept.work()
        plant.things[0].fate = None
        assert kept.name == "thing 1"
        assert plant.things[0].closed == 0
        assert get.health().state == "ready"
    _until_closed(plant.things[0])


def test_a_fallback_is_kept(plant, clock, story, limited):
    """A block keeps the fallback through the recovery; it is counted, and refused where fallbacks are."""
    plant.fate = OSError()
    get = lazyguard.service(name="db", recovery=lazyguard.Recovery(initial=1.0))(plant.make)
    get.fallback(lambda: plant)
    svc = get()
    with lazyguard.pinned(svc) as kept:
        assert kept.runs == 1
        plant.fate = None
        clock.advance(1.0)
        story.until("failed", "degraded", "recovered")
        assert svc.work() == "done"
        assert not lazyguard.is_fallback(svc)
        assert lazyguard.is_fallback(kept)
        assert kept.runs == 2
        with lazyguard.fallbacks("deny"), pytest.raises(errors.ServiceUnavailable):
            kept.runs
        with pytest.raises(errors.ServiceUnavailable, match="does not implement 'work'"):
            kept.work()
        with pytest.raises(errors.ResolutionError):
            lazyguard.resolve(kept)
        assert lazyguard.is_fallback(kept)
    assert get.health().answered == {"runs": 2}


def test_a_fallback_that_is_denied(plant):
    """A block is not entered where fallbacks are denied."""
    plant.fate = OSError()
    get = lazyguard.service(name="db", recovery=None)(plant.make)
    get.fallback(lambda: plant)
    assert get().runs
    with (
        lazyguard.fallbacks("deny"),
        pytest.raises(errors.ServiceUnavailable),
        lazyguard.pinned(get()),
    ):
        raise AssertionError


def test_async(plant):
    """`async with` builds without blocking the event loop, and keeps the object."""

    @lazyguard.service(name="db", timeout=30.0, close=closing)
    async def get() -> object:
        await asyncio.sleep(0)
        return plant.make()

    async def use() -> None:
        async with lazyguard.pinned(get()) as kept:
            get.reset()
            assert await kept.awork() == "done"
            assert kept.name == "thing 1"
            assert plant.things[0].closed == 0
            assert (await get.aget()).name == "thing 2"
            assert kept.name == "thing 1"

    asyncio.run(use())
    get.reset()


def test_keys(plant):
    """The object of a key is kept, also if the key is evicted meanwhile."""

    @lazyguard.service(name="db", max_keys=1)
    def get(tenant: str) -> list[str]:
        return [tenant]

    with lazyguard.pinned(get("a")) as kept, lazyguard.pinned(get.of("b")) as other:
        get("c").append("d")
        get.reset()
        assert (list(kept), list(other)) == (["a"], ["b"])
    with pytest.raises(errors.UsageError, match="tenant"), lazyguard.pinned(get):
        pass


def test_lazy_objects():
    """Lazy objects of modules and of functions can be pinned."""
    made: list[list[int]] = []

    def make() -> list[int]:
        made.append([len(made)])
        return made[-1]

    numbers = lazyguard.lazy(make)
    with lazyguard.pinned(numbers) as kept:
        lazyguard.reset(numbers)
        assert numbers == [1]
        assert kept == [0]


@pytest.mark.parametrize("value", [3, None, "x", "os:path", object(), len])
def test_nothing_else(value):
    """Any other object is refused at once, with its type."""
    with pytest.raises(errors.UsageError, match=rf"{type(value).__name__}: give what the service returns"):
        lazyguard.pinned(value)


def test_once(plant):
    """A block is entered once, and its reference cannot be reset or overridden."""
    get = lazyguard.service(name="db")(plant.make)
    block = lazyguard.pinned(get())
    with block as kept:
        with pytest.raises(errors.UsageError, match="entered before"), block:
            pass
        with pytest.raises(errors.UsageError, match="reset would change nothing"):
            lazyguard.reset(kept)
        with pytest.raises(errors.UsageError, match="override would change nothing"), lazyguard.override(kept, 3):
            pass
    with pytest.raises(errors.UsageError, match="entered before"), block:
        pass


def test_what_fails_holds_nothing(plant):
    """Entering raises the factory's error; the next block works."""
    plant.fate = OSError()
    get = lazyguard.service(name="db", recovery=None)(plant.make)
    with pytest.raises(errors.ResolutionError), lazyguard.pinned(get()):
        raise AssertionError
    plant.fate = None
    with lazyguard.pinned(get()) as kept:
        assert kept.work() == "done"


def test_it_races_with_resets(plant, race, limited):
    """However threads enter, reset and leave, no block sees a closed object, and all replaced ones are closed."""
    get = lazyguard.service(name="db", close=closing)(plant.make)
    seen: list[int] = []

    def use() -> None:
        for _ in range(50):
            with lazyguard.pinned(get()) as kept:
                seen.append(kept.closed)
                get.reset()
                seen.append(kept.closed)

    assert race(*[use] * 6) == [None] * 6
    assert set(seen) == {0}
    get.reset()
    for thing in plant.things:
        _until_closed(thing)
