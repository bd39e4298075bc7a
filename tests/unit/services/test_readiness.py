"""The start and the end of a process: `wait_until_ready`, its awaitable twin, and `drain`."""

from __future__ import annotations

import asyncio
import threading

import pytest

import lazyguard
from lazyguard._services import readiness
from lazyguard.testing import FakeClock

pytestmark = pytest.mark.usefixtures("limited")


def down_for(times: int, **options):
    """Return a service whose factory fails so often before it succeeds."""
    tries: list[int] = []

    @lazyguard.service(name=f"down {times} times", recovery=lazyguard.Recovery(initial=0.01, maximum=0.02), **options)
    def get() -> list[int]:
        tries.append(1)
        if len(tries) <= times:
            raise ConnectionError("secret")
        return tries

    return get


def waited(*services, awaited: bool, timeout: float = 30.0) -> None:
    if awaited:
        asyncio.run(lazyguard.await_until_ready(*services, timeout=timeout))
    else:
        lazyguard.wait_until_ready(*services, timeout=timeout)


@pytest.mark.parametrize("awaited", [False, True])
@pytest.mark.parametrize("options", [{}, {"timeout": 5.0}])
def test_all_become_ready(awaited, options):
    """What fails is tried again until the real objects of all are there; lazy objects and references count too."""
    services = [down_for(times, **options) for times in (0, 1, 3)]
    thing = lazyguard.lazy(lambda: [1])
    waited(*services[:2], services[2](), thing, awaited=awaited)
    assert all(one.health().state == "ready" for one in services)
    assert lazyguard.is_resolved(thing)


def test_a_fallback_is_not_ready():
    """A service that serves its fallback is waited for."""
    get = down_for(2)
    get.fallback(lambda: [0])
    assert len(get()) == 1
    lazyguard.wait_until_ready(get, timeout=30.0)
    assert get.health().state == "ready"


def test_async_services():
    """The awaitable twin builds what async factories make."""
    tries = []

    @lazyguard.service(recovery=lazyguard.Recovery(initial=0.01))
    async def get() -> list[int]:
        tries.append(1)
        if len(tries) < 3:
            raise OSError
        return tries

    async def main() -> None:
        await lazyguard.await_until_ready(get, timeout=30.0)
        assert get.health().state == "ready"
        await lazyguard.aclose()

    asyncio.run(main())


@pytest.mark.parametrize("awaited", [False, True])
def test_the_time_is_up(awaited):
    """In the end those that are not ready are named, with place and type of the cause, without its text."""
    ready, failing = down_for(0), down_for(10**9)
    with pytest.raises(lazyguard.ServiceUnavailable) as caught:
        waited(ready, failing, awaited=awaited, timeout=0.1)
    text = str(caught.value)
    assert "down 1000000000 times" in text
    assert "ConnectionError at" in text
    assert f"waited for at {__file__}:" in text
    assert "secret" not in text
    assert "down 0 times" not in text


def test_what_hangs_does_not_hold_it_for_ever():
    """A factory on a thread that hangs is named when the time is up."""
    go = threading.Event()
    get = lazyguard.service(name="hanging", timeout=60.0, recovery=None)(lambda: go.wait(60) and [1])
    with pytest.raises(lazyguard.ServiceUnavailable, match="hanging"):
        lazyguard.wait_until_ready(get, timeout=0.05)
    go.set()


@pytest.mark.parametrize("wrong", [5, "core.services:get", None, print])
def test_what_cannot_be_waited_for(wrong):
    """Anything else is refused, at the line that asks."""
    with pytest.raises(lazyguard.errors.UsageError, match=rf"{__file__}:\d+"):
        lazyguard.wait_until_ready(wrong)
    with pytest.raises(lazyguard.errors.ConfigurationError, match="timeout"):
        lazyguard.wait_until_ready(timeout=0)


@pytest.fixture
def not_drained():
    yield
    readiness._drains = None


@pytest.mark.usefixtures("not_drained")
def test_drain_closes_after_its_delay():
    """It returns at once and serves on; after the delay targets are closed, the last one that was built first."""
    closed, done = [], threading.Event()

    def close(what: list[int]) -> None:
        closed.extend(what)
        if len(closed) == 2:
            done.set()

    first, second = (lazyguard.service(close=close, name=f"n{n}")(lambda n=n: [n]) for n in (1, 2))
    assert (first()[0], second()[0]) == (1, 2)
    with FakeClock() as clock:
        assert not readiness.draining()
        lazyguard.drain(delay=5.0)
        assert readiness.draining()
        clock.advance(4.9)
        assert (first()[0], closed) == (1, [])
        clock.advance(0.2)
        assert done.wait(30)
    assert closed == [2, 1]


@pytest.mark.usefixtures("not_drained")
def test_drain_may_end_the_server_instead(in_child):
    """`then` is called after the delay in place of `close`; a forked child does not drain."""
    ended = threading.Event()
    with FakeClock() as clock:
        lazyguard.drain(delay=1.0, then=ended.set)
        assert not ended.is_set()
        clock.advance(1.0)
        assert ended.wait(30)

    def child() -> None:
        assert not readiness.draining()

    assert in_child(child) == 0
    assert readiness.draining()


@pytest.mark.parametrize("options", [{"delay": -1}, {"delay": "5"}, {"then": 5}])
def test_bad_options_of_drain(options):
    """A bad option is refused, and nothing drains."""
    with pytest.raises(lazyguard.errors.ConfigurationError, match=next(iter(options))):
        lazyguard.drain(**options)
    assert not readiness.draining()
