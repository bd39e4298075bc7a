"""What `service` promises: declaring, the live reference, building in time, close, reset, override, forks."""

from __future__ import annotations

import asyncio
import functools
import gc
import inspect
import os
import subprocess
import sys
import threading
import warnings
from pathlib import Path

import pytest

import lazyguard
from lazyguard import errors


class Retry:
    """Somebody else's class of that name."""


NUMBERS = [0, -1, True, "2", float("nan"), float("inf"), object()]
BAD_OPTIONS = [
    *[("timeout", value) for value in NUMBERS],
    *[("abandon_after", value) for value in NUMBERS],
    *[("grace", value) for value in (-1, None, True, "1", float("inf"))],
    *[("failures", value) for value in ([OSError], "redis", "redis.RedisError", "redis:", (1,), int, (OSError, None))],
    *[("retry", value) for value in (3, Retry(), lazyguard.Retry, lazyguard.Recovery())],
    *[("breaker", value) for value in (True, lazyguard.Retry(), lazyguard.Breaker)],
    *[("recovery", value) for value in (True, 5.0, lazyguard.Recovery)],
    *[("probe", value) for value in (True, "ping")],
    *[("close", value) for value in (True, "close")],
    *[("on_fork", value) for value in (None, "forget", [])],
    *[("name", value) for value in (None, 3)],
    *[("critical", value) for value in ("no", None, 1)],
    *[("max_keys", value) for value in (0, -1, True, "2", 1.5)],
]


@pytest.mark.parametrize(("option", "value"), BAD_OPTIONS)
def test_bad_options(option, value):
    """Each is refused where it is written, with the option, its value and what to give."""
    with pytest.raises(errors.ConfigurationError) as caught:
        lazyguard.service(**{option: value})
    assert f"{option}={value!r}" in str(caught.value)
    assert "give" in str(caught.value)


def test_a_breaker_needs_failures():
    """A breaker without failures would never count anything: that is told."""
    with pytest.raises(errors.ConfigurationError, match="give both"):
        lazyguard.service(breaker=lazyguard.Breaker())


def test_good_options():
    """What the docstring allows is allowed."""
    lazyguard.service(timeout=1, abandon_after=0.5, grace=0, failures=OSError, recovery=None, on_fork=print)
    lazyguard.service(failures=(OSError, "redis.exceptions:RedisError"), breaker=lazyguard.Breaker())
    lazyguard.service(probe=len, close=len, critical=True, retry=lazyguard.Retry(), timeout=None)


async def _coroutine(_thing: object = None) -> object: ...
def _generator():
    yield 1


async def _async_generator():
    yield 1


class _AsyncCallable:
    async def __call__(self, *_: object) -> str:
        return "made"


@pytest.mark.parametrize(
    ("factory", "what"),
    [
        (3, "takes the function that makes the object, not int"),
        (lambda self: self, "is a method"),
        (lambda cls, url: url, "is a method"),
        (_generator, "is a generator"),
        (_async_generator, "is a generator"),
        (functools.partial(_generator), "is a generator"),
    ],
)
def test_bad_factories(factory, what):
    """What cannot be called, would keep objects for ever, or makes nothing to keep, is refused at the declaration."""
    with pytest.raises(errors.UsageError, match=what):
        lazyguard.service()(factory)


@pytest.mark.parametrize("label", ["probe", "close"])
@pytest.mark.parametrize("function", [_coroutine, functools.partial(_coroutine), _AsyncCallable()])
def test_async_functions_that_nobody_would_await(label, function):
    """An async probe or close of a sync service would always succeed and do nothing."""
    with pytest.raises(errors.ConfigurationError, match=f"{label}= of .*nothing would await it"):
        lazyguard.service(**{label: function})(object)


@pytest.mark.parametrize("factory", [_AsyncCallable(), functools.partial(_AsyncCallable()), _AsyncCallable().__call__])
def test_async_factories_in_disguise(factory):
    """An object, a partial and a method that are async are awaited like an async def."""
    get = lazyguard.service(name="db")(factory)
    assert asyncio.run(get.aget()) == "made"


def test_declaring_builds_nothing():
    """Declaring, calling, looking: pending all the while."""
    runs: list[int] = []

    @lazyguard.service(timeout=1.0, failures=(OSError,), breaker=lazyguard.Breaker(), retry=lazyguard.Retry())
    def get() -> object:
        runs.append(1)
        return object()

    @get.fallback
    def _() -> object:
        runs.append(2)
        return object()

    repr(get), repr(get()), get.health(), lazyguard.is_fallback(get()), lazyguard.is_resolved(get), lazyguard.health()
    assert not runs
    assert get.health().state == "pending"


def test_the_live_reference(plant):
    """It is one object for ever: before and after building, a fallback, a recovery, a reset."""
    get = lazyguard.service(name="db", recovery=None)(plant.make)
    get.fallback(lambda: plant.things[0])
    svc = get()
    assert get() is svc
    assert svc.name == "thing 1"
    get.reset()
    plant.fate = OSError()
    assert svc.name == "thing 1"
    assert lazyguard.is_fallback(svc)
    assert get() is svc
    assert isinstance(svc, type(plant.things[0]))


def test_a_call_never_blocks(plant):
    """Asking for the live reference does not wait, also while the factory hangs."""
    plant.hanging = True
    get = lazyguard.service(name="db")(plant.make)
    user = threading.Thread(target=lambda: get().name, daemon=True)
    user.start()
    plant.until(1)
    assert get() is get()
    assert get.health().state == "resolving"
    plant.let_go()
    user.join(30)
    assert get().name == "thing 1"


def test_arguments():
    """Where there is one object for all, a caller that asks for its own is told, and not given another one's."""
    get = lazyguard.service(name="db")(lambda: "x")
    assert get() == "x"
    assert get.of() is get
    for call in (lambda: get("y"), lambda: get(tenant="y"), lambda: get.of("y"), lambda: asyncio.run(get.aget("y"))):
        with pytest.raises(errors.UsageError, match=r"was called with arguments.*give the factory some"):
            call()


def test_it_looks_like_its_factory():
    """Signature, name, doc and module are the factory's, so that Depends(get_x) and autodoc work."""

    def make(size: int = 3) -> list[int]:
        """Make a list."""
        return [size]

    get = lazyguard.service()(make)
    assert inspect.signature(get) == inspect.signature(make)
    assert (get.__name__, get.__doc__, get.__module__, get.__wrapped__) == ("make", "Make a list.", __name__, make)
    assert make.__qualname__ in repr(get)
    assert f"{__file__}:{make.__code__.co_firstlineno}" in repr(get)


# Building


def test_who_builds(plant):
    """Without a timeout the caller's own thread does; with one a daemon thread named after the service."""
    assert lazyguard.service(name="db")(plant.make)().name
    assert lazyguard.service(name="db", timeout=30.0)(plant.make)().name
    assert plant.threads == [threading.current_thread().name, "lazyguard db"]


def test_a_failure(plant):
    """It says what failed, where it is declared, and chains what the factory raised, untouched."""
    plant.fate = raised = OSError("secret")
    get = lazyguard.service(name="db", recovery=None)(plant.make)
    with pytest.raises(errors.ResolutionError) as caught:
        get().name
    assert caught.value.__cause__ is raised
    assert "db, declared at " in str(caught.value)
    assert "OSError" in str(caught.value)
    assert "secret" not in str(caught.value)
    plant.fate = None
    assert get().name == "thing 1"


@pytest.mark.parametrize("error", [TimeoutError("its own"), AttributeError("x"), StopIteration(3)])
@pytest.mark.parametrize("timeout", [None, 30.0])
def test_the_factorys_own_errors(plant, error, timeout):
    """A factory's own TimeoutError is no timeout of ours, its AttributeError none of the proxy's."""
    plant.fate = error
    get = lazyguard.service(name="db", timeout=timeout, recovery=None)(plant.make)
    with pytest.raises(errors.ResolutionError) as caught:
        hasattr(get(), "name")
    assert type(caught.value) is errors.ResolutionError
    assert caught.value.__cause__ is error


def test_a_timeout_and_its_late_result(plant, story, limited):
    """The caller is told when its wait ends; the attempt goes on and is adopted, without a second one."""
    plant.hanging = True
    get = lazyguard.service(name="db", timeout=0.01)(plant.make)
    with pytest.raises(errors.ResolutionTimeout, match=r"was not built within 0\.01 s") as caught:
        get().name
    assert isinstance(caught.value, TimeoutError)
    assert caught.value.__cause__ is None
    story.until("timeout")
    plant.let_go()
    story.until("timeout", "ready")
    assert get().name == "thing 1"
    assert plant.runs == 1


def test_the_timeout_is_the_whole_wait(plant, clock, story, limited, race, eventually):
    """Retries and their waits do not make it longer."""
    plant.fate = OSError()
    retry = lazyguard.Retry(attempts=50, initial=100.0, maximum=100.0)
    get = lazyguard.service(name="db", timeout=10.0, retry=retry, recovery=None)(plant.make)

    def pass_time() -> None:
        plant.until(1)
        while "timeout" not in story.kinds():
            clock.advance(1.0)
            threading.Event().wait(0.005)  # so that who waits by this clock looks at it

    begun = clock.now()
    told, _ = race(lambda: get().name, pass_time)
    assert type(told) is errors.ResolutionTimeout
    assert story.events[0].seconds >= 10.0
    assert clock.now() - begun < 1000.0
    get.reset()
    clock.advance(1000.0)
    eventually(lambda: get.health().running == 0)


def test_retries_in_a_service(plant, clock, limited):
    """Attempts are counted, and the first one that succeeds is served."""
    fates = [OSError(), OSError(), None]

    def make() -> object:
        plant.fate = fates[plant.runs]
        return plant.make()

    retry = lazyguard.Retry(attempts=3, initial=0.0)
    assert lazyguard.service(name="db", retry=retry)(make)().name == "thing 1"
    assert plant.runs == 3


def test_what_is_not_to_be_retried(plant):
    """Only `on=` is tried again; the caller is told of the attempt that failed."""
    plant.fate = raised = ValueError()
    retry = lazyguard.Retry(attempts=5, initial=0.0, on=(OSError,))
    with pytest.raises(errors.ResolutionError) as caught:
        lazyguard.service(name="db", retry=retry, recovery=None)(plant.make)().name
    assert caught.value.__cause__ is raised
    assert plant.runs == 1


def test_attempts_end(plant):
    """After the last attempt the last failure is told."""
    plant.fate = OSError()
    retry = lazyguard.Retry(attempts=4, initial=0.0)
    with pytest.raises(errors.ResolutionError):
        lazyguard.service(name="db", retry=retry, recovery=None)(plant.make)().name
    assert plant.runs == 4


def test_a_probe(plant):
    """What a probe refuses is closed and not served; it is an attempt that failed, tried again like another."""
    probed: list[object] = []

    def probe(thing) -> None:
        probed.append(thing)
        if len(probed) == 1:
            raise ConnectionError

    get = lazyguard.service(
        name="db", probe=probe, close=lambda thing: thing.close(), retry=lazyguard.Retry(initial=0.0)
    )(plant.make)
    assert get().name == "thing 2"
    assert probed == plant.things
    assert [thing.closed for thing in plant.things] == [1, 0]


def test_racing_first_uses(plant, race):
    """However many threads come at once, one attempt runs and all get its object."""
    get = lazyguard.service(name="db", timeout=30.0)(plant.make)
    assert race(*[get.require_real] * 16) == plant.things * 16
    assert plant.runs == 1


def test_require_real(plant, story):
    """It returns the object itself and never a fallback; degraded, it tries at once."""
    get = lazyguard.service(name="db", recovery=None)(plant.make)
    get.fallback(lambda: plant)
    plant.fate = OSError()
    assert get().runs == 1
    with pytest.raises(errors.ResolutionError):
        get.require_real()
    assert lazyguard.is_fallback(get)
    plant.fate = None
    assert get.require_real() is plant.things[0]
    assert not lazyguard.is_fallback(get)
    story.until("failed", "degraded", "recovered")


@pytest.mark.parametrize("timeout", [0, -1, "1", float("nan")])
def test_require_real_with_a_bad_timeout(plant, timeout):
    """A wait that is none is refused."""
    with pytest.raises(errors.ConfigurationError, match="timeout="):
        lazyguard.service()(plant.make).require_real(timeout=timeout)


def test_require_real_in_time(plant, limited):
    """Its own timeout is a bound of its own, above and below the service's."""
    plant.hanging = True
    get = lazyguard.service(name="db", timeout=30.0)(plant.make)
    with pytest.raises(errors.ResolutionTimeout, match=r"within 0\.01 s"):
        get.require_real(timeout=0.01)


# Close, reset, override


def closing(thing) -> None:
    thing.close()


def test_reset_closes(plant, story):
    """What was built is closed once, and the next use builds anew."""
    get = lazyguard.service(name="db", close=closing)(plant.make)
    assert get().name == "thing 1"
    get.reset()
    assert get().name == "thing 2"
    lazyguard.reset(get())
    get.reset()
    assert [thing.closed for thing in plant.things] == [1, 1]
    assert get.health().state == "pending"
    story.until("ready", "reset", "ready", "reset")


def test_a_late_result_is_closed_once(plant, story, eventually, limited):
    """What comes for a generation that has ended is closed and never served."""
    plant.hanging = True
    get = lazyguard.service(name="db", timeout=0.01, close=closing)(plant.make)
    with pytest.raises(errors.ResolutionTimeout):
        get().name
    get.reset()
    plant.let_go()
    story.until("timeout", "reset", "late")
    assert get.require_real(timeout=30.0) is plant.things[1]
    eventually(lambda: [thing.closed for thing in plant.things] == [1, 0])


def test_a_replaced_target_is_closed_after_grace(plant, clock, story, eventually, limited):
    """When calls have opened the breaker, the old object lives on for `grace` seconds, for who still uses it."""
    get = lazyguard.service(
        name="db",
        failures=OSError,
        breaker=lazyguard.Breaker(failure_threshold=1),
        grace=7.0,
        close=closing,
        recovery=None,
    )(plant.make)
    assert get().work() == "done"
    plant.things[0].fate = OSError()
    with pytest.raises(OSError):
        get().work()
    with pytest.raises(errors.CircuitOpen):
        get().name
    assert get.require_real() is plant.things[1]
    assert get().name == "thing 2"
    clock.advance(6.9)
    probe = threading.Event()
    from lazyguard._core import scheduler

    scheduler.at(clock.now(), probe.set)
    assert probe.wait(30)
    assert plant.things[0].closed == 0
    clock.advance(0.2)
    eventually(lambda: plant.things[0].closed == 1)
    clock.advance(100.0)
    assert [thing.closed for thing in plant.things] == [1, 0]


def test_a_close_that_fails(plant, story):
    """It is told as an event and hurts nobody."""

    def close(thing: object) -> None:
        raise OSError("secret")

    get = lazyguard.service(name="db", close=close)(plant.make)
    get().name
    get.reset()
    assert get().name == "thing 2"
    story.until("ready", "reset", "close-failed", "ready")
    get.reset()  # or it would be told in the midst of another test, when this service has gone
    assert story.events[2].cause.startswith("OSError at ")
    assert "secret" not in story.events[2].cause


def test_override(plant, story):
    """In its block all who hold the live reference see the fake; afterwards what there was, not built again."""
    get = lazyguard.service(name="db", close=closing)(plant.make)
    svc = get()
    assert svc.name == "thing 1"
    with get.override(plant) as nothing:
        assert nothing is None
        assert svc.runs == 1
        with lazyguard.override(get, "text"):
            assert svc.upper() == "TEXT"
        assert svc.runs == 1
    assert svc.name == "thing 1"
    assert plant.things[0].closed == 0
    story.until("ready", *["overridden"] * 4)


def test_an_override_of_what_is_degraded(plant, clock, story, limited):
    """Afterwards the fallback is served again, and recovery goes on without traffic."""
    plant.fate = OSError()
    get = lazyguard.service(name="db", recovery=lazyguard.Recovery(initial=10.0, maximum=10.0))(plant.make)
    get.fallback(lambda: plant)
    assert get().runs == 1
    with get.override("text"):
        assert not lazyguard.is_fallback(get)
        clock.advance(20.0)
    assert lazyguard.is_fallback(get)
    plant.fate = None
    clock.advance(10.0)
    story.until("failed", "degraded", "overridden", "overridden", "recovered")


# async


def test_async_factories(plant):
    """`aget` awaits the factory and returns the live reference; then it is used like any other."""

    @lazyguard.service(name="db", timeout=30.0)
    async def get() -> object:
        await asyncio.sleep(0)
        return plant.make()

    async def use() -> str:
        svc = await get.aget()
        assert svc is get()
        many = await asyncio.gather(*[get.aget() for _ in range(50)])
        assert {id(one) for one in many} == {id(svc)}
        return svc.name

    assert asyncio.run(use()) == "thing 1"
    assert plant.runs == 1


def test_sync_factories_beside_the_loop(plant, limited):
    """`aget` of a sync service runs its factory on a thread of its own, and the loop goes on."""
    plant.hanging = True
    get = lazyguard.service(name="db")(plant.make)

    async def use() -> str:
        waiting = asyncio.create_task(get.aget())
        while not plant.runs:
            await asyncio.sleep(0)
        plant.let_go()
        return (await waiting).name

    assert asyncio.run(use()) == "thing 1"
    assert plant.threads == ["lazyguard db"]


def test_two_event_loops(plant, story):
    """What an async factory made belongs to its loop: on the next one it is built anew, and the old one released."""

    @lazyguard.service(name="db", close=closing, grace=0.0)
    async def get() -> object:
        return plant.make()

    async def use() -> str:
        return (await get.aget()).name

    assert [asyncio.run(use()), asyncio.run(use())] == ["thing 1", "thing 2"]
    story.until("ready", "reset", "ready")


def test_sync_use_of_a_pending_async_service():
    """It is told which awaitable way to go."""

    @lazyguard.service(name="db")
    async def get() -> str:
        return "made"

    with pytest.raises(errors.UsageError, match="use `await`"):
        get().upper()


def test_an_async_timeout(plant, story, limited):
    """The caller's wait ends; the task goes on and its result is adopted."""

    async def use() -> str:
        gate = asyncio.Event()

        @lazyguard.service(name="db", timeout=0.01)
        async def get() -> object:
            await gate.wait()
            return plant.make()

        with pytest.raises(errors.ResolutionTimeout):
            await get.aget()
        gate.set()
        while "ready" not in story.kinds():
            await asyncio.sleep(0)
        return (await get.aget()).name

    assert asyncio.run(use()) == "thing 1"


def test_an_async_fallback(plant):
    """An async service may have one, and its cause is handed over."""

    @lazyguard.service(name="db", recovery=None)
    async def get() -> object:
        raise OSError("away")

    @get.fallback
    async def _(cause: Exception) -> object:
        await asyncio.sleep(0)
        return [cause]

    async def use() -> object:
        return (await get.aget())[0]

    assert str(asyncio.run(use())) == "away"


def test_async_recovery(plant, clock, story, limited):
    """An async service comes back by itself, on the loop that it was used on."""
    loops: list[object] = []

    @lazyguard.service(name="db", recovery=lazyguard.Recovery(initial=1.0))
    async def get() -> object:
        loops.append(asyncio.get_running_loop())
        return plant.make()

    get.fallback(lambda: plant)

    async def use() -> str:
        plant.fate = OSError()
        svc = await get.aget()
        assert lazyguard.is_fallback(svc)
        plant.fate = None
        clock.advance(1.0)
        while "recovered" not in story.kinds():
            await asyncio.sleep(0)
        return svc.name

    assert asyncio.run(use()) == "thing 1"
    assert len(loops) == 2
    assert loops[0] is loops[1]


def test_async_recovery_of_a_loop_that_has_gone(plant, clock, story, eventually, limited):
    """Its service stays degraded, without a try and without an attempt left open, and comes back on the next loop."""

    @lazyguard.service(name="db", recovery=lazyguard.Recovery(initial=1.0, maximum=1.0))
    async def get() -> object:
        return plant.make()

    get.fallback(lambda: plant)
    plant.fate = OSError()
    asyncio.run(get.aget())
    for _ in range(3):
        clock.advance(1.0)
    assert plant.runs == 1
    eventually(lambda: get.health().running == 0)
    assert lazyguard.is_fallback(get)
    assert plant.runs == 1
    plant.fate = None

    async def use() -> None:
        assert lazyguard.is_fallback(await get.aget())
        clock.advance(1.0)
        while "recovered" not in story.kinds():
            await asyncio.sleep(0)

    asyncio.run(use())
    assert plant.runs == 2


# forks


@pytest.mark.parametrize(("on_fork", "name", "state"), [("reset", "thing 2", "pending"), ("keep", "thing 1", "ready")])
def test_a_fork(plant, in_child, on_fork, name, state):
    """A child builds its own object, or keeps the parent's; what the parent uses is not closed there."""
    get = lazyguard.service(name="db", on_fork=on_fork, close=closing)(plant.make)
    assert get().name == "thing 1"

    def work() -> None:
        assert get.health().state == state
        assert get().name == name
        assert plant.things[0].closed == 0

    assert in_child(work) == 0
    assert get().name == "thing 1"


def test_a_function_on_fork(plant, in_child):
    """It is called in the child with the object, which is then kept."""
    here = os.getpid()
    called: list[object] = []
    get = lazyguard.service(name="db", on_fork=lambda thing: called.append((os.getpid() != here, thing.name)))(
        plant.make
    )
    get().name

    def work() -> None:
        assert called == [(True, "thing 1")]
        assert get().name == "thing 1"

    assert in_child(work) == 0
    assert not called


def test_a_fork_while_it_hangs(plant, in_child, limited):
    """The child waits for no thread that it does not have: it builds its own."""
    plant.hanging = True
    get = lazyguard.service(name="db", timeout=20.0)(plant.make)
    user = threading.Thread(target=lambda: get().name, daemon=True)
    user.start()
    plant.until(1)

    def work() -> None:
        plant.hanging = False
        assert get().name == "thing 1"
        assert plant.runs == 2

    assert in_child(work) == 0
    plant.let_go()
    user.join(30)


def test_a_fork_of_what_is_degraded(plant, story, in_child, limited):
    """A child that keeps the fallback tries the real object again by itself."""
    plant.fate = OSError()
    recovery = lazyguard.Recovery(initial=0.001, maximum=0.001)
    get = lazyguard.service(name="db", on_fork="keep", recovery=recovery)(plant.make)
    get.fallback(lambda: plant)
    assert get().runs >= 1  # the recovery may have tried by now

    def work() -> None:
        assert lazyguard.is_fallback(get)
        plant.fate = None
        with story._heard:
            assert story._heard.wait_for(lambda: "recovered" in story.kinds(), 15)

    try:
        assert in_child(work) == 0
    finally:
        get.reset()


# what it costs and leaves behind

DECLARING = """
import sys
before = set(sys.modules)
import lazyguard

@lazyguard.service(timeout=2.0, retry=lazyguard.Retry(attempts=3), breaker=lazyguard.Breaker(), probe=len, close=len,
                   critical=True, recovery=lazyguard.Recovery(), failures=(ConnectionError, "redis:RedisError"))
def get() -> str:
    return "made"

@get.fallback(max_degraded=300)
def _(cause: Exception) -> str:
    return "a fallback"

get()
print(*sorted(set(sys.modules) - before))
"""

USING = """
import sys
import lazyguard
error = None
@lazyguard.service(retry=lazyguard.Retry(attempts=2, initial=0.0), recovery=None)
def get() -> list:
    global error
    failed, error = error, None
    if failed:
        raise failed
    return [1]
assert len(get()) == 1
print("tenacity" in sys.modules, "wrapt" in sys.modules)
get.reset()
error = OSError()
assert len(get()) == 1
print("tenacity" in sys.modules, "wrapt" in sys.modules)
"""


def fresh(code: str, *options: str, **more: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(Path(errors.__file__).parents[1]), **more}
    result = subprocess.run(
        [sys.executable, *options, "-c", code], env=environment, capture_output=True, text=True, timeout=60
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_what_declaring_loads():
    """In a fresh process a declaration with every option loads nothing dear, nor the library of its failures."""
    dear = "wrapt tenacity asyncio typing inspect dataclasses logging re threading importlib.metadata redis"
    assert not set(dear.split()) & set(fresh(DECLARING, "-S").split())


def test_the_first_attempt_is_bare():
    """tenacity is not loaded until an attempt has failed; a plain service needs wrapt never."""
    assert fresh(USING).split() == ["False", "False", "True", "False"]


def checks_named(name):
    return [check for check in lazyguard.health().checks if check.name == name]


def test_a_service_that_is_dropped(plant):
    """Nothing keeps a service, its object or its place in health when nobody holds it any more."""
    get = lazyguard.service(name="dropped", failures=OSError)(plant.make)
    get().work()
    assert checks_named("dropped")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        del get
        gc.collect()
    assert not checks_named("dropped")


def test_resolve_gives_the_real_object_or_fails(plant):
    """`resolve` of a degraded service never returns its fallback."""
    plant.fate = OSError()
    get = lazyguard.service(name="db", recovery=None)(plant.make)
    get.fallback(lambda: plant)
    assert get().runs
    assert lazyguard.is_fallback(get)
    with pytest.raises(lazyguard.ResolutionError):
        lazyguard.resolve(get())
    plant.fate = None
    assert lazyguard.resolve(get) is lazyguard.resolve(get())
    assert not lazyguard.is_fallback(get)


def test_without_parentheses():
    """`@service` alone declares as `@service()` does; what is no function is refused where it is written."""

    @lazyguard.service
    def get() -> list[int]:
        return [1]

    assert len(get()) == 1
    assert get.health().state == "ready"
    assert ":" in get.health().place
    with pytest.raises(lazyguard.errors.UsageError, match=r"test_service\.py:\d+\) takes the function"):
        lazyguard.service(5)


def test_an_async_factory_without_parentheses():
    """An `async def` is declared so too."""

    @lazyguard.service
    async def get() -> list[int]:
        return [1]

    async def main() -> int:
        return len(await get.aget())

    assert asyncio.run(main()) == 1
