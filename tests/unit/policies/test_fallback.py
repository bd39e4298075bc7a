"""Fallbacks: declaring them, the cause, which callers they are served to and for how long."""

from __future__ import annotations

import asyncio
import sys
import threading
import types

import pytest

import lazyguard
from lazyguard import errors
from lazyguard._policies import fallback as module


class Fallback:
    """A fallback with less than the real object has."""

    def __init__(self, cause: object = None) -> None:
        self.cause = cause

    def state_of(self) -> str:
        return "offline"

    @classmethod
    def made(cls) -> Fallback:
        return cls()


@pytest.fixture
def get(plant):
    """Return a service whose factory fails, without a recovery."""
    plant.fate = OSError("secret")
    return lazyguard.service(name="db", recovery=None)(lambda: plant.make())


def test_with_the_cause(get, plant):
    """A function with a parameter gets the exception itself."""
    get.fallback(lambda cause: Fallback(cause))
    assert get().cause is plant.fate


@pytest.mark.parametrize("fallback", [lambda cause: Fallback(cause), lambda cause=None, url="x": Fallback(cause)])
def test_what_takes_the_cause(get, plant, fallback):
    """The cause goes to a parameter without a default, or to one that is called `cause`."""
    get.fallback(fallback)
    assert get().cause is plant.fate


@pytest.mark.parametrize(
    "fallback",
    [lambda: Fallback(), Fallback.made, lambda *, cause=None: Fallback(cause), lambda kept=None: Fallback(kept)],
)
def test_without_the_cause(get, fallback):
    """A function without such a parameter, or a bound method, is called without arguments, and keeps its defaults."""
    get.fallback(fallback)
    assert get().cause is None


def test_it_is_a_decorator(get):
    """The decorator works with and without options, and returns the function."""

    @get.fallback(max_degraded=3.0)
    def offline() -> Fallback:
        return Fallback()

    assert type(offline()) is Fallback
    assert get().state_of() == "offline"


def test_it_is_called_once_a_degradation(get, plant):
    """A fallback is made once, not for each use, and anew after the real object was ready."""
    made: list[object] = []
    get.fallback(lambda: made.append(Fallback()) or made[-1])
    for _ in range(3):
        assert get().state_of() == "offline"
    assert len(made) == 1
    plant.fate = None
    assert get.require_real().work() == "done"
    get.reset()
    plant.fate = OSError()
    assert get().state_of() == "offline"
    assert len(made) == 2


def test_one_that_ends_after_the_real_object(plant, clock, limited):
    """A fallback that ends after the real object is not served; another one is made for the next failure."""
    plant.hanging = True
    get = lazyguard.service(name="db", timeout=10.0, failures=(ConnectionError,), recovery=None)(plant.make)
    causes: list[type] = []
    begun, gate = threading.Event(), threading.Event()

    @get.fallback
    def _(cause: Exception) -> object:
        causes.append(type(cause))
        begun.set()
        assert gate.wait(30)
        return Fallback(cause)

    used: list[object] = []
    user = threading.Thread(target=lambda: used.append(get().work()), daemon=True)
    user.start()
    plant.until(1)
    clock.advance(9.5)
    assert begun.wait(30)
    plant.let_go()
    user.join(30)
    assert used == ["done"]  # it does not wait for the fallback any more
    gate.set()
    while get.health().state == "ready":
        plant.things[-1].fate = ConnectionError()
        with pytest.raises(ConnectionError):
            get().work()
    plant.fate = OSError()
    clock.advance(600.0)
    assert get().state_of() == "offline"
    assert causes[1:] == [ConnectionError]


def test_one_that_returns_the_service_itself(get):
    """A fallback that returns the service itself is refused."""
    get.fallback(lambda: get())
    with pytest.raises(errors.ServiceUnavailable) as caught:
        get().state_of()
    assert "returned the service itself" in str(caught.value.__cause__.__cause__)


def test_a_generators_block_that_ends_in_its_callers():
    """A generator's block ends its own permission; that of its caller, which began later, goes on."""

    def parts():
        with lazyguard.fallbacks("allow"):
            yield

    work = parts()
    next(work)
    with lazyguard.fallbacks("deny"):
        work.close()
        assert module.denied()
    assert not module.denied()


async def _coroutine() -> Fallback: ...


def _generator():
    yield Fallback()


@pytest.mark.parametrize(
    ("fallback", "what"),
    [
        (3, "must be a function, not one of type int"),
        (dict, "must be a function, not one of type type"),
        (Fallback, "must be a function, not one of type type"),
        (lambda cause, other: 1, "needs cause, other"),
        (lambda *, cause: 1, "needs cause"),
        (_generator, "is a generator"),
        (_coroutine, "is an `async def`, but its service is not"),
    ],
)
def test_bad_fallbacks(get, fallback, what):
    """A fallback that could not be called is refused at the declaration, and another one can take its place."""
    with pytest.raises(errors.ConfigurationError, match=what):
        get.fallback(fallback)
    get.fallback(Fallback.made)


@pytest.mark.parametrize("value", [0, -1, True, "3", float("nan")])
@pytest.mark.parametrize("option", ["max_degraded", "timeout"])
def test_bad_options(get, option, value):
    """`timeout` and `max_degraded` are seconds, and are checked before there is a function."""
    with pytest.raises(errors.ConfigurationError, match=f"{option}="):
        get.fallback(**{option: value})


def test_a_fallback_that_fails(get, plant):
    """The error says that both failed, with both places and without their texts."""

    @get.fallback
    def _() -> Fallback:
        raise KeyError("password")

    with pytest.raises(errors.ServiceUnavailable) as caught:
        get().work()
    assert "failed with OSError" in str(caught.value)
    assert "failed too" in str(caught.value)
    assert not {"secret", "password"} & set(str(caught.value).replace("'", " ").split())
    assert isinstance(caught.value.__cause__.__cause__, KeyError)
    assert get.health().state == "failed"


def test_what_it_does_not_implement(get):
    """A missing method raises ServiceUnavailable, for `hasattr` too: the real object may have it."""
    get.fallback(Fallback.made)
    for use in (lambda: get().work(), lambda: hasattr(get(), "work")):
        with pytest.raises(errors.ServiceUnavailable, match="does not implement 'work'"):
            use()


def test_after_a_timeout(plant, story, clock, limited):
    """While a factory hangs the fallback serves; the late result is adopted and reaches the live reference."""
    plant.hanging = True
    get = lazyguard.service(name="db", timeout=10.0)(plant.make)
    get.fallback(lambda cause: Fallback(cause))
    svc = get()
    answers: list[object] = []
    caller = threading.Thread(target=lambda: answers.append(svc.state_of()), daemon=True)
    caller.start()
    plant.until(1)
    clock.advance(9.5)  # the last second is kept for the fallback, however slow this machine is
    caller.join(30)
    assert answers == ["offline"]
    assert type(svc.cause) is errors.ResolutionTimeout
    plant.let_go()
    story.until("timeout", "degraded", "recovered")
    assert svc.work() == "done"


# who may be served one


def test_deny_and_allow(get):
    """The permission of the innermost block counts, until that block ends."""
    get.fallback(Fallback.made)
    svc = get()
    with lazyguard.fallbacks("deny"):
        with pytest.raises(errors.ServiceUnavailable, match=r'fallbacks\("deny"\) forbids'):
            svc.state_of()
        assert get.health().state == "failed"
        with lazyguard.fallbacks("allow"):
            assert svc.state_of() == "offline"
        with pytest.raises(errors.ServiceUnavailable) as caught:
            svc.state_of()
        assert type(caught.value.__cause__) is OSError
    assert svc.state_of() == "offline"


def test_deny_lets_the_real_one_pass(get, plant):
    """A denial does not affect a ready service."""
    plant.fate = None
    get.fallback(Fallback.made)
    with lazyguard.fallbacks("deny"):
        assert get().work() == "done"


def test_one_block_on_many_threads(get, race):
    """A block in a variable can be used by many threads at once, and nested."""
    get.fallback(Fallback.made)
    svc = get()
    denied = lazyguard.fallbacks("deny")
    met = threading.Barrier(4)

    def use() -> str:
        with denied:
            met.wait(30)
            with denied, pytest.raises(errors.ServiceUnavailable):
                svc.state_of()
            met.wait(30)
        return svc.state_of()

    assert race(use, use, use, use) == ["offline"] * 4


def test_a_block_is_of_its_context(get, race):
    """A task that is started in a block has its permission; other tasks and threads do not."""
    get.fallback(Fallback.made)
    svc = get()

    def answer() -> str:
        try:
            return svc.state_of()
        except errors.ServiceUnavailable:
            return "denied"

    async def use() -> list[str]:
        async def asks() -> str:
            await asyncio.sleep(0)
            return answer()

        neighbour = asyncio.ensure_future(asks())
        with lazyguard.fallbacks("deny"):
            child = asyncio.ensure_future(asks())
            beside = asyncio.to_thread(answer)
            told = [await neighbour, await child, await beside, *race(answer)]
        return [*told, await asks()]

    assert asyncio.run(use()) == ["offline", "denied", "denied", "offline", "offline"]


@pytest.mark.parametrize("permission", [None, "denied", "DENY", True])
def test_a_bad_permission(permission):
    """Any other permission is refused."""
    with pytest.raises(errors.ConfigurationError, match='give "allow" or "deny"'):
        lazyguard.fallbacks(permission)


def test_the_environment(get, monkeypatch):
    """LAZYGUARD_FALLBACK=deny forbids all fallbacks at every use, also in an allowing block."""
    get.fallback(Fallback.made)
    assert get().state_of() == "offline"
    monkeypatch.setenv("LAZYGUARD_FALLBACK", "deny")
    with lazyguard.fallbacks("allow"), pytest.raises(errors.ServiceUnavailable, match="LAZYGUARD_FALLBACK=deny"):
        get().state_of()
    monkeypatch.delenv("LAZYGUARD_FALLBACK")
    assert get().state_of() == "offline"


@pytest.mark.parametrize(("value", "serves"), [("DENY", False), ("denied", False), ("", True), ("allow", True)])
def test_an_unknown_value_of_the_environment_forbids(get, monkeypatch, value, serves):
    """A misspelt LAZYGUARD_FALLBACK forbids all fallbacks, and the error shows its value."""
    get.fallback(Fallback.made)
    monkeypatch.setenv("LAZYGUARD_FALLBACK", value)
    if serves:
        assert get().state_of() == "offline"
        return
    with pytest.raises(errors.ServiceUnavailable, match=f"LAZYGUARD_FALLBACK={value} forbids its fallback"):
        get().state_of()


def test_inside_a_celery_task(get):
    """A Celery task is not served a fallback, so that it is not acknowledged; a block can allow it."""
    celery = pytest.importorskip("celery", reason="the extra `demo` has Celery")
    app = celery.Celery(set_as_current=False)
    app.conf.task_always_eager = True
    get.fallback(Fallback.made)
    assert get().state_of() == "offline"

    @app.task
    def task(allowed: bool) -> str:
        if not allowed:
            return get().state_of()
        with lazyguard.fallbacks("allow"):
            return get().state_of()

    with pytest.raises(errors.ServiceUnavailable, match="inside a Celery task"):
        task.delay(False).get()
    assert task.delay(True).get() == "offline"
    assert get().state_of() == "offline"


def test_while_celery_is_being_imported(get, monkeypatch):
    """A Celery that is still being imported does not count as being in a task."""
    monkeypatch.setitem(sys.modules, "celery._state", types.ModuleType("celery._state"))
    get.fallback(Fallback.made)
    assert get().state_of() == "offline"


def test_max_degraded(get, plant, clock, eventually):
    """After `max_degraded` the fallback is no longer served; the real object is, once it has recovered."""
    get.fallback(max_degraded=300)(Fallback.made)
    svc = get()
    assert svc.state_of() == "offline"
    clock.advance(299.0)  # not the very moment: sums of floats are not exact
    assert svc.state_of() == "offline"
    clock.advance(2.0)
    with pytest.raises(errors.ServiceUnavailable, match="max_degraded=300") as caught:
        svc.state_of()
    assert caught.value.__cause__ is plant.fate
    eventually(lambda: get.health().running == 0)  # a try of the recovery fails as well
    plant.fate = None
    get.require_real()
    assert svc.work() == "done"


def test_is_fallback(get):
    """`is_fallback` answers for references and services, builds nothing, and is False for any other object."""
    get.fallback(Fallback.made)
    assert not lazyguard.is_fallback(get())
    get().state_of()
    assert lazyguard.is_fallback(get())
    assert lazyguard.is_fallback(get)
    with get.override(Fallback()):
        assert not lazyguard.is_fallback(get)
    assert not lazyguard.is_fallback(Fallback())
    assert not lazyguard.is_fallback(lazyguard.lazy(list))
    get.reset()
    assert not lazyguard.is_fallback(get)
