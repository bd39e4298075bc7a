"""One async service and several event loops: each has an object of its own, and no loop is given another one's."""

from __future__ import annotations

import asyncio
import threading
from contextlib import contextmanager
from itertools import count
from typing import TYPE_CHECKING

import pytest

import lazyguard
from lazyguard import errors

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.usefixtures("limited")


_numbers = count()


class Running:
    """An event loop that runs on a thread of its own."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        self.loop.run_forever()
        self.loop.run_until_complete(self.loop.shutdown_asyncgens())
        self.loop.close()

    def do(self, work):
        """Run a function, or an async one, on the loop; return its result."""

        async def doing():
            result = work()
            return await result if asyncio.iscoroutine(result) else result

        return asyncio.run_coroutine_threadsafe(doing(), self.loop).result(30)

    def end(self) -> None:
        if not self.loop.is_closed():
            self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(30)
        assert self.loop.is_closed()


@contextmanager
def running(number: int) -> Iterator[list[Running]]:
    loops = [Running() for _ in range(number)]
    try:
        yield loops
    finally:
        for one in loops:
            one.end()


class Client:
    """What belongs to the loop on which it was made."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.loop = asyncio.get_running_loop()
        self.closed_on: object = None
        self.down = False

    async def whose(self) -> object:
        if self.down:
            raise ConnectionError
        return self.loop

    async def is_here(self) -> bool:
        return await self.whose() is asyncio.get_running_loop()


@pytest.fixture
def made() -> list[Client]:
    return []


@pytest.fixture
def declare(made):
    """Declare an async service of clients; what is left of it at the test's end is closed."""
    services = []

    def make(**options):
        async def close(client: Client) -> None:
            client.closed_on = asyncio.get_running_loop()

        options.setdefault("recovery", None)

        @lazyguard.service(name=f"client {next(_numbers)}", **{"close": close, "grace": 0.0, **options})
        async def get() -> Client:
            await asyncio.sleep(0)
            made.append(Client(len(made)))
            return made[-1]

        services.append(get)
        return get

    yield make
    for get in services:
        get.reset()


def name_of(get) -> str:
    return cell_of(get).name


def cell_of(get):
    return get.__lazyguard_cell__()


def test_any_number_of_threads_with_loops_build_once_each(declare, made):
    """However their first uses meet, each loop has one object, its own, and keeps it."""
    get = declare()
    client = get()
    barrier = threading.Barrier(4)
    seen: list[list[bool]] = []

    async def use(*, asks: bool) -> None:
        seen.append([])
        own = seen[-1]
        for _ in range(50):
            held = await get.aget() if asks or not own else client
            own.append(await held.is_here())
            await asyncio.sleep(0)

    def work(index: int) -> None:
        barrier.wait(30)
        asyncio.run(until_all(index))

    async def until_all(index: int) -> None:
        await use(asks=bool(index % 2))
        await asyncio.to_thread(barrier.wait, 30)  # no loop ends before the others have used theirs

    threads = [threading.Thread(target=work, args=(index,)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert [all(own) and len(own) == 50 for own in seen] == [True] * 4
    assert len(made) == 4


def test_a_held_reference_is_each_loops_own(declare, made):
    """One reference, awaited on each loop once, is what that loop made, for attributes and special methods."""
    get = declare()
    client = get()
    with running(2) as (one, two):
        for loop in (one, two):
            assert loop.do(get.aget) is client
        for loop, own in ((one, made[0]), (two, made[1]), (one, made[0])):
            assert loop.do(lambda: client.number) == own.number
            assert loop.do(lambda own=own: client == own)
            assert loop.do(lambda own=own: lazyguard.resolve(client) is own)
            assert loop.do(lambda: lazyguard.aresolve(get)) is own
        kept = one.do(lambda: client.is_here)
        assert [loop.do(kept) for loop in (one, two)] == [True, False]  # a bound method is of where it was taken
        assert isinstance(client, Client)
        assert "Client" in repr(client)
        assert "whose" in dir(client)


def test_a_loop_that_only_stands_still_keeps_its_object(declare, made):
    """Loops that run now and then, in turns, have an object each as well."""
    get = declare()
    loops = [asyncio.new_event_loop() for _ in range(2)]

    async def use() -> bool:
        return await (await get.aget()).is_here()

    assert all(loop.run_until_complete(use()) for _ in range(3) for loop in loops)
    assert len(made) == 2
    for loop in loops:
        loop.close()


def test_one_loop_after_another_is_as_ever(declare, made):
    """Where the loop before has closed there is one object at a time, and nothing is looked up."""
    get = declare()

    async def use() -> bool:
        return await (await get.aget()).is_here()

    assert [asyncio.run(use()) for _ in range(3)] == [True] * 3
    assert len(made) == 3
    assert cell_of(get).loops is None


@pytest.mark.parametrize("first", [True, False])
def test_a_loop_that_has_closed_is_forgotten(declare, made, eventually, first):
    """Its object is dropped and closed; the other loop keeps its own, as the only one, whichever came first."""
    closed: list[object] = []
    get = declare(close=closed.append)
    client = get()
    with running(2) as (one, two):
        for loop in (one, two):
            loop.do(get.aget)
        gone, left = (one, two) if first else (two, one)
        mine = made[1 if first else 0]
        gone.end()
        assert left.do(lambda: {client.number for _ in range(100)}) == {mine.number}
        eventually(lambda: closed == [made[0 if first else 1]])
        assert cell_of(get).loops is None
        assert [check.loop for check in lazyguard.health().checks if check.name == name_of(get)] == [""]
        assert get.health().state == "ready"
        assert left.do(client.is_here)
        assert client.number == mine.number  # without a loop too
        assert len(made) == 2
        left.do(lazyguard.aclose)
        assert closed == made if first else closed == made[::-1]


def test_a_loop_may_come_after_one_has_gone(declare, made):
    """The places of loops that have closed are taken again, however many come and go beside one that stays."""
    get = declare()
    client = get()
    with running(1) as (stays,):
        stays.do(get.aget)
        for _ in range(3):
            with running(2) as (one, two):
                for loop in (one, two):
                    loop.do(get.aget)
                assert all(loop.do(lambda: client.is_here()) for loop in (stays, one, two))
        assert stays.do(lambda: {client.number for _ in range(100)}) == {0}
        assert made[0].closed_on is None
        assert len(made) == 7
        assert cell_of(get).loops is None


def test_use_without_a_loop(declare):
    """With one loop a plain thread is served; with two it cannot be known whose object is meant."""
    get = declare()
    client = get()
    with running(2) as (one, two):
        one.do(get.aget)
        assert client.number == 0
        two.do(get.aget)
        for use in (lambda: client.number, lambda: lazyguard.resolve(client), lambda: get.override(1).__enter__()):
            with pytest.raises(errors.UsageError, match=r"client \d+, declared at .* each of 2 event loops"):
                use()
        assert lazyguard.is_resolved(get)
        assert not lazyguard.is_fallback(client)
        two.end()
        assert client.number == 0


def test_health_shows_loops_where_there_are_several(declare):
    """Each has a check with its number; the service's own is the worst of them."""
    get = declare()

    def shown() -> list[tuple[str, object]]:
        checks = [check for check in lazyguard.health().checks if check.name == name_of(get)]
        return [(check.loop, check.to_dict().get("componentId")) for check in checks]

    with running(2) as (one, two):
        one.do(get.aget)
        assert shown() == [("", None)]
        two.do(get.aget)
        assert shown() == [("loop 1", "loop 1"), ("loop 2", "loop 2")]
    assert lazyguard.health()
    assert shown() == [("", None)]


def test_a_reset_is_for_all_loops(declare, made, eventually):
    """Each object is closed on its own loop, and each loop builds its own again."""
    get = declare()
    client = get()
    with running(2) as (one, two):
        for loop in (one, two):
            loop.do(get.aget)
        get.reset()
        eventually(lambda: [client.closed_on for client in made] == [one.loop, two.loop])
        for loop in (one, two):
            loop.do(get.aget)
            assert loop.do(lambda: client.is_here())
        assert len(made) == 4


def test_pinned_and_override_are_of_the_loop_on_which_they_began(declare, made):
    """A block on one loop changes nothing for another one."""
    get = declare()
    client = get()
    fakes: list[Client] = []
    blocks: list[object] = []  # a block that nothing holds has ended

    async def begin():
        fakes.append(Client(100))
        blocks.append(get.override(fakes[0]))
        blocks[0].__enter__()
        return client.number

    async def pin():
        async with lazyguard.pinned(client) as kept:
            return kept.number

    with running(2) as (one, two):
        for loop in (one, two):
            loop.do(get.aget)
        assert two.do(begin) == 100
        assert [loop.do(lambda: client.number) for loop in (one, two)] == [0, 100]
        assert [loop.do(pin) for loop in (one, two)] == [0, 100]


@pytest.mark.parametrize("awaited", [True, False])
def test_each_loop_falls_back_and_recovers_for_itself(declare, made, awaited, clock, eventually):
    """A loop whose object fails is served its own fallback; the other one goes on with its real object."""
    get = declare(
        failures=(ConnectionError,),
        breaker=lazyguard.Breaker(failure_threshold=1),
        recovery=lazyguard.Recovery(initial=1.0, maximum=1.0),
    )

    class Offline(Client):
        async def whose(self) -> object:
            return "offline"

        def __init__(self, loop: object) -> None:
            self.loop = loop  # type: ignore[assignment]

    if awaited:

        @get.fallback
        async def _() -> Client:
            return Offline(asyncio.get_running_loop())

    else:
        get.fallback(lambda: Offline(None))

    client = get()
    with running(2) as (one, two):
        for loop in (one, two):
            loop.do(get.aget)
        made[1].down = True
        with pytest.raises(ConnectionError):
            two.do(lambda: client.whose())

        async def until_served() -> object:
            while True:
                try:
                    return await client.whose()
                except errors.ServiceUnavailable:
                    await asyncio.sleep(0)

        assert two.do(until_served) == "offline"
        assert two.do(lambda: lazyguard.is_fallback(client))
        assert not one.do(lambda: lazyguard.is_fallback(client))
        assert one.do(lambda: client.is_here())

        def recovered() -> bool:
            clock.advance(1.0)
            return not two.do(lambda: lazyguard.is_fallback(client))

        eventually(recovered)
        assert two.do(lambda: client.is_here())
        assert len(made) == 3


def test_each_key_has_its_loops(made):
    """A service with keys has one object for each key and loop."""

    @lazyguard.service(name="client", recovery=None)
    async def get(tenant: str) -> Client:
        made.append(Client(len(made)))
        return made[-1]

    with running(2) as (one, two):
        for _ in range(2):
            for loop in (one, two):
                for tenant in ("a", "b"):
                    loop.do(lambda tenant=tenant: get.aget(tenant))
                    assert loop.do(lambda tenant=tenant: get(tenant).is_here())
        assert len(made) == 4
    get.reset()


def test_a_child_of_a_fork_has_no_loop_of_its_parent(declare, in_child):
    """Where two loops ran in the parent, the child begins with none: its own builds, and health shows one object."""
    get = declare(close=None)
    with running(2) as (one, two):
        for loop in (one, two):
            loop.do(get.aget)

        def work() -> None:
            assert [check.loop for check in lazyguard.health().checks if check.name == name_of(get)] == [""]
            assert get.health().state == "pending"

            async def use() -> bool:
                return await (await get.aget()).is_here()

            assert asyncio.run(use())
            assert cell_of(get).loops is None

        assert in_child(work) == 0
        assert two.do(lambda: get().is_here())
