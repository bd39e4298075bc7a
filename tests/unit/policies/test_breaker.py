"""`failures=` and `Breaker`: which calls count, when the breaker opens, and how the service recovers."""

from __future__ import annotations

import asyncio
import inspect
import threading

import pytest

import lazyguard


@pytest.fixture
def make(plant):
    """Return a function that declares the service with a breaker, and its live reference."""

    def declare(threshold: int | None = 3, **more):
        breaker = None if threshold is None else lazyguard.Breaker(failure_threshold=threshold)
        get = lazyguard.service(name="db", failures=(ConnectionError,), breaker=breaker, **{"recovery": None, **more})(
            plant.make
        )
        assert get().name == "thing 1"
        return get

    return declare


def fail(plant, use, times: int = 1, error: BaseException | None = None) -> None:
    """Use the service; it fails so many times."""
    thing = plant.things[-1]
    thing.fate = error or ConnectionError("secret")
    for _ in range(times):
        with pytest.raises(type(thing.fate)) as caught:
            use()
        assert caught.value is thing.fate
    thing.fate = None


async def _entered(svc) -> object:
    return await svc.awork()


USES = {
    "method": lambda svc: svc.work(),
    "async method": lambda svc: asyncio.run(_entered(svc)),
    "property": lambda svc: svc.state,
    "special method": len,
}


@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_so_many_in_a_row(make, plant, story, use):
    """Each call's own error passes untouched; the last failure in the row opens the breaker."""
    get = make()
    fail(plant, lambda: use(get()), 2)
    assert get.health().state == "ready"
    fail(plant, lambda: use(get()), 1)
    assert get.health().state == "failed"
    with pytest.raises(lazyguard.CircuitOpen):
        use(get())
    story.until("ready", "failed")
    assert get.require_real() is plant.things[1]
    assert use(get()) in ("done", "fine", 3)
    assert get().name == "thing 2"


@pytest.mark.parametrize("use", [use for name, use in USES.items() if name != "property"])
def test_a_success_in_between(make, plant, use):
    """A success begins the count anew."""
    get = make()
    for _ in range(3):
        fail(plant, lambda: use(get()), 2)
        use(get())
    assert get.health().state == "ready"


def test_looking_up_ends_no_row(make, plant):
    """Reading attributes between failing calls does not reset the count."""
    get = make()
    for _ in range(3):
        assert get().name
        assert get().work
        fail(plant, get().work)
    assert get.health().state == "failed"


def test_other_errors_do_not_count(make, plant):
    """Only exceptions of `failures=` count, however many others there are."""
    get = make(1)
    fail(plant, get().work, 5, ValueError())
    fail(plant, get().work, 5, KeyboardInterrupt())
    assert get.health().state == "ready"
    fail(plant, get().work, 1, ConnectionResetError())
    assert get.health().state == "failed"


def test_the_default_threshold(make, plant):
    """`failures=` alone opens the breaker after three failures."""
    get = make(None)
    fail(plant, get().work, 2)
    assert get.health().state == "ready"
    fail(plant, get().work, 1)
    assert get.health().state == "failed"


def test_without_failures_nothing_counts(plant):
    """Without `failures=` the live reference is the fast view, which counts nothing."""
    get = lazyguard.service(name="db")(plant.make)
    get().name
    fail(plant, get().work, 10)
    assert get.health().state == "ready"
    assert get.__lazyguard_cell__().calls is None


def test_a_real_objects_life(make, plant, clock, story, limited):
    """The breaker opens, the fallback serves, the service recovers: one event each, with the call's cause."""
    get = make(recovery=lazyguard.Recovery(initial=10.0, maximum=10.0))
    causes: list[BaseException] = []
    get.fallback(lambda cause: causes.append(cause) or plant)
    svc = get()
    fail(plant, svc.work, 3)
    assert svc.runs == 1
    assert lazyguard.is_fallback(svc)
    assert [type(cause) for cause in causes] == [ConnectionError]
    clock.advance(10.0)
    story.until("ready", "failed", "degraded", "recovered")
    assert svc.name == "thing 2"
    assert not lazyguard.is_fallback(svc)
    assert [(event.before, event.after) for event in story.events if event.name == "db"] == [
        ("resolving", "ready"),
        ("ready", "failed"),
        ("failed", "degraded"),
        ("degraded", "ready"),
    ]
    assert "ConnectionError at " in story.events[1].cause
    assert "secret" not in story.events[1].cause


def test_a_kept_bound_method_keeps_its_target(make, plant):
    """`send = svc.send` keeps its object, and its failures do not count for a later one."""
    get = make(1)
    kept = get().work
    first = plant.things[0]
    fail(plant, kept)
    assert get.require_real().name == "thing 2"
    assert kept("still") == "still"
    first.fate = ConnectionError()
    for _ in range(3):
        with pytest.raises(ConnectionError):
            kept()
    assert get.health().state == "ready"
    assert get().name == "thing 2"


def test_a_call_keeps_its_target(make, plant, race):
    """A call that is under way while the breaker opens ends on its first object."""
    get = make(1)
    inside, leave = threading.Event(), threading.Event()

    def slow() -> str:
        inside.set()
        assert leave.wait(30)
        return plant.things[0].name

    plant.things[0].slow = slow

    def open_it() -> str:
        assert inside.wait(30)
        fail(plant, get().work)
        found = get.require_real().name
        leave.set()
        return found

    assert race(lambda: get().slow(), open_it) == ["thing 1", "thing 2"]


def test_a_stale_failure(make, plant):
    """An async call that began before a reset, and fails after it, does not count."""
    get = make(1)
    pending = get().awork()
    get.reset()
    assert get().name == "thing 2"
    plant.things[0].fate = ConnectionError()
    with pytest.raises(ConnectionError):
        pending.send(None)
    assert get.health().state == "ready"


def test_an_override_does_not_count(make, plant):
    """The failures of an override do not open the breaker."""
    get = make(1)
    fake = type(plant.things[0])("fake")
    with get.override(fake):
        fake.fate = ConnectionError()
        for _ in range(3):
            with pytest.raises(ConnectionError):
                get().work()
        assert get.health().state == "ready"
    assert get.health().state == "ready"
    fail(plant, get().work)
    assert get.health().state == "failed"


def test_counted_methods_look_like_themselves(make, plant):
    """A counted method has its own name, docstring, signature, async kind and equality; classes are not wrapped."""
    svc = make()()
    thing = plant.things[0]
    assert svc.work.__name__ == "work"
    assert inspect.signature(svc.work) == inspect.signature(thing.work)
    assert inspect.iscoroutinefunction(svc.awork)
    assert not inspect.iscoroutinefunction(svc.work)
    assert svc.work == thing.work
    assert svc.work.__self__ is thing
    assert svc.__class__ is type(thing)
    thing.kind = dict
    assert svc.kind is dict
    assert "work" in dir(svc)
    svc.name = "renamed"
    assert thing.name == "renamed"


def test_the_first_call_counts_too(plant):
    """The call that builds the object counts like any other, also a special method."""
    for use in (lambda svc: svc.work(), len):
        get = lazyguard.service(
            name="db",
            failures=ConnectionError,
            breaker=lazyguard.Breaker(failure_threshold=1),
            probe=lambda thing: setattr(thing, "fate", ConnectionError()),
            recovery=None,
        )(plant.make)
        with pytest.raises(ConnectionError):
            use(get())
        assert get.health().state == "failed"


def test_failing_without_a_fallback(make, plant, clock):
    """After the open time the next caller builds the real object anew, or gets the factory's error."""
    get = make(1)
    fail(plant, get().work)
    plant.fate = OSError()
    clock.advance(10.0)
    with pytest.raises(lazyguard.ResolutionError):
        get().work()
    plant.fate = None
    with pytest.raises(lazyguard.CircuitOpen):
        get().work()
    clock.advance(20.0)
    assert get().work() == "done"
