"""A held reference of an async service lives through every transition: no second `aget` is needed."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

import lazyguard
from lazyguard import errors

pytestmark = pytest.mark.usefixtures("limited")


class Client:
    """What the service makes; a call fails while it is down."""

    def __init__(self, name: str) -> None:
        self.name = name

    async def get(self) -> str:
        if World.down:
            raise ConnectionError
        return self.name


class Offline(Client):
    async def get(self) -> str:
        return self.name


class World:
    """Whether calls fail, and what the factory waits for."""

    down = False
    refuses = False
    gate: asyncio.Event


@pytest.fixture(autouse=True)
def world():
    World.down = World.refuses = False


def declare(**options):
    built: list[object] = []

    @lazyguard.service(name="client", **{"recovery": None, **options})
    async def get() -> Client:
        await asyncio.sleep(0)
        if World.refuses:
            raise ConnectionError
        built.append(asyncio.get_running_loop())
        return Client(f"real {len(built)}")

    return get


BREAKER = {"failures": (ConnectionError,), "breaker": lazyguard.Breaker(failure_threshold=1, open_time=10.0)}
RECOVERY = lazyguard.Recovery(initial=1.0, maximum=1.0)


async def answer(client: Client) -> tuple[str, set[type]]:
    """Use a held reference until it answers; return that, and the types of what it has raised before."""
    told: set[type] = set()
    end = time.monotonic() + 20
    while time.monotonic() < end:
        try:
            return await client.get(), told
        except Exception as error:
            told.add(type(error))
            await asyncio.sleep(0)
    raise AssertionError(f"never answered: {told}")


def only_unavailable(told: set[type]) -> bool:
    return all(issubclass(one, errors.ServiceUnavailable) and not issubclass(one, errors.UsageError) for one in told)


@pytest.mark.parametrize("awaited", [True, False])
@pytest.mark.parametrize("number", [1, 2])
def test_it_is_served_the_fallback_and_the_real_one_again(awaited, number, clock):
    """Failed calls, one fallback or two of which the first fails, the recovery: nobody awaits, and all is served."""
    get = declare(recovery=RECOVERY, **BREAKER)
    if number == 2:

        @get.fallback
        async def _() -> Client:
            raise OSError

    if awaited:

        @get.fallback
        async def _() -> Client:
            await asyncio.sleep(0)
            return Offline("offline")

    else:
        get.fallback(lambda: Offline("offline"))

    async def main() -> None:
        client = await get.aget()
        World.down = True
        with pytest.raises(ConnectionError):
            await client.get()
        said, told = await answer(client)
        assert said == "offline"
        assert only_unavailable(told)
        assert get.health().state == "degraded"
        World.down = False
        while lazyguard.is_fallback(client):
            clock.advance(1.0)
            await asyncio.sleep(0)
        assert await answer(client) == ("real 2", set())

    asyncio.run(main())


def test_it_is_built_again_after_a_reset():
    """The first use after it begins the build in the background and is told so; a use some time later has it."""
    get = declare()

    async def main() -> None:
        client = await get.aget()
        get.reset()
        with pytest.raises(errors.ServiceUnavailable, match=r"await.*or wait"):
            _ = client.name
        said, told = await answer(client)
        assert said == "real 2"
        assert only_unavailable(told)

    asyncio.run(main())


def test_it_outlives_an_override_of_what_was_pending():
    """What comes after an override begins anew where nothing was built before."""
    get = declare()

    async def main() -> None:
        client = await get.aget()
        get.reset()
        with get.override(Offline("fake")):
            assert await client.get() == "fake"
        said, told = await answer(client)
        assert said == "real 2"
        assert only_unavailable(told)

    asyncio.run(main())


def test_it_comes_back_after_max_degraded(clock):
    """Once its fallback is not served any longer, a use is refused until the recovery has the real one."""
    get = declare(recovery=RECOVERY, **BREAKER)

    @get.fallback(max_degraded=5.0)
    async def _() -> Client:
        return Offline("offline")

    async def main() -> None:
        client = await get.aget()
        World.down = World.refuses = True
        with pytest.raises(ConnectionError):
            await client.get()
        assert (await answer(client))[0] == "offline"
        for _ in range(10):
            clock.advance(1.0)
            await asyncio.sleep(0)
        with pytest.raises(errors.ServiceUnavailable, match="max_degraded=5"):
            await client.get()
        World.down = World.refuses = False
        while get.health().state != "ready":
            clock.advance(1.0)
            await asyncio.sleep(0)
        assert (await answer(client))[0].startswith("real")

    asyncio.run(main())


def test_without_a_fallback_the_breaker_speaks(clock):
    """While it is open the use says until when; after that one use begins the build, and later ones have it."""
    get = declare(**BREAKER)

    async def main() -> None:
        client = await get.aget()
        World.down = True
        with pytest.raises(ConnectionError):
            await client.get()
        with pytest.raises(errors.ServiceCircuitOpen):
            await client.get()
        World.down = False
        clock.advance(10.0)
        said, told = await answer(client)
        assert said == "real 2"
        assert only_unavailable(told)

    asyncio.run(main())


def test_a_thread_waits_for_what_the_loop_builds():
    """A thread without a loop can wait, so it has the object that its use lets the loop build."""
    get = declare(timeout=20.0)

    async def main() -> None:
        client = await get.aget()
        get.reset()
        assert await asyncio.to_thread(lambda: client.name) == "real 2"

    asyncio.run(main())


def test_many_uses_begin_one_build():
    """However many uses meet while it is being built, one attempt is made."""
    get = declare()

    async def main() -> None:
        client = await get.aget()
        get.reset()
        for _ in range(100):
            with pytest.raises(errors.ServiceUnavailable):
                _ = client.name
        assert get.health().running == 1
        assert (await answer(client))[0] == "real 2"

    asyncio.run(main())


def test_a_service_that_was_never_awaited_says_await():
    """The first use of all cannot know on which loop it is to be: the error says how to begin."""
    get = declare()

    async def main() -> None:
        with pytest.raises(errors.UsageError, match="use `await`"):
            _ = get().name

    asyncio.run(main())


def test_a_use_inside_its_own_factory_is_a_circle_still():
    """That can never be had by waiting: the error tells the circle."""

    @lazyguard.service(name="client", recovery=None)
    async def get() -> Client:
        return Client(get().name)

    with pytest.raises(errors.ResolutionError) as caught:
        asyncio.run(get.aget())
    cause = caught.value if isinstance(caught.value, errors.CircularResolutionError) else caught.value.__cause__
    assert isinstance(cause, errors.CircularResolutionError)
    assert not isinstance(cause, errors.ServiceUnavailable)


def test_a_loop_that_closes_before_it_has_begun():
    """A thread whose use has asked a loop for a build that ends first is told, and waits for nothing."""
    get = declare(timeout=20.0)
    loop = asyncio.new_event_loop()
    loop.run_until_complete(get.aget())
    client, asked = get(), threading.Event()
    get.reset()
    refusals: list[BaseException] = []

    def use() -> None:
        asked.set()
        try:
            _ = client.name
        except errors.LazyguardError as error:
            refusals.append(error)

    async def end() -> None:
        thread.start()
        assert asked.wait(20)
        while not get.health().running and thread.is_alive():
            pass  # the loop stands still, so that it cannot begin
        loop.stop()

    thread = threading.Thread(target=use)
    loop.call_soon(lambda: loop.create_task(end()))
    loop.run_forever()
    for task in asyncio.all_tasks(loop):
        task.cancel()
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()
    thread.join(20)
    assert not thread.is_alive()
