"""What a counted call returns and what works later: it counts once, when it has done its work, and is like itself."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import inspect

import pytest

import lazyguard
from lazyguard import errors

pytestmark = pytest.mark.usefixtures("limited")


class Pool:
    """The clients of the field: each method fails late, in the way of one of them."""

    down = True

    def _work(self) -> str:
        if self.down:
            raise ConnectionError
        return "done"

    def awaitable(self) -> Awaited:
        return Awaited(self)

    def acquire(self) -> Acquiring:
        return Acquiring(self)

    def connection(self) -> Connection:
        return Connection(self)

    def pipeline(self) -> Pipeline:
        return Pipeline(self)

    @contextlib.asynccontextmanager
    async def stream(self):
        yield self._work()

    @contextlib.contextmanager
    def begin(self):
        yield self._work()

    def rows(self) -> Rows:
        return Rows(self)

    def future(self) -> asyncio.Future[str]:
        return asyncio.ensure_future(self._later())

    def pooled(self) -> concurrent.futures.Future[str]:
        future: concurrent.futures.Future[str] = concurrent.futures.Future()
        try:
            future.set_result(self._work())
        except ConnectionError as error:
            future.set_exception(error)
        return future

    async def _later(self) -> str:
        await asyncio.sleep(0)
        return self._work()


class Awaited:
    def __init__(self, pool: Pool) -> None:
        self.pool = pool

    def __await__(self):
        return self.pool._later().__await__()


class Acquiring(Awaited):
    """As asyncpg's: awaited or entered, it gives another object, which its pool knows by identity."""

    async def __aenter__(self):
        await self.pool._later()
        return Session(self.pool)

    async def __aexit__(self, *_: object) -> None: ...


class Session:
    def __init__(self, pool: Pool) -> None:
        self.pool = pool

    async def fetch(self) -> str:
        return await self.pool._later()


class Connection(Awaited):
    """As SQLAlchemy's: awaited or entered, it is itself, and works all the same."""

    def __await__(self):
        return self._start().__await__()

    async def _start(self) -> Connection:
        await self.pool._later()
        return self

    async def __aenter__(self) -> Connection:
        return await self._start()

    async def __aexit__(self, *_: object) -> None: ...

    async def fetch(self) -> str:
        return await self.pool._later()


class Pipeline:
    """As redis': entered without any work, which `execute` does."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.commands: list[str] = []

    def __len__(self) -> int:
        return len(self.commands)

    async def __aenter__(self) -> Pipeline:
        return self

    async def __aexit__(self, *_: object) -> None: ...

    def get(self, key: str) -> Pipeline:
        self.commands.append(key)
        return self

    async def execute(self) -> str:
        return await self.pool._later()


class Rows:
    """An async iterator with further methods."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool

    def __aiter__(self) -> Rows:
        return self

    async def __anext__(self) -> str:
        await self.pool._later()
        raise StopAsyncIteration

    def position(self) -> int:
        return 0


async def by_awaitable(pool):
    return await pool.awaitable()


async def by_acquire(pool):
    async with pool.acquire() as session:
        return await session.fetch()


async def by_await_acquire(pool):
    return await pool.acquire()


async def by_connection(pool):
    async with pool.connection() as connection:
        return await connection.fetch()


async def by_await_connection(pool):
    return await (await pool.connection()).fetch()


async def by_pipeline(pool):
    async with pool.pipeline() as pipe:
        return await pipe.get("a").get("b").execute()


async def by_stream(pool):
    async with pool.stream() as text:
        return text


async def by_begin(pool):
    with pool.begin() as text:
        return text


async def by_rows(pool):
    return [row async for row in pool.rows()] or "done"


async def by_future(pool):
    return await pool.future()


async def by_pooled(pool):
    return pool.pooled().result()


WAYS = [
    by_awaitable,
    by_acquire,
    by_await_acquire,
    by_connection,
    by_await_connection,
    by_pipeline,
    by_stream,
    by_begin,
    by_rows,
    by_future,
    by_pooled,
]


@pytest.fixture
def declare():
    made = []

    def make(threshold: int):
        @lazyguard.service(
            name="pool",
            failures=(ConnectionError,),
            breaker=lazyguard.Breaker(failure_threshold=threshold),
            recovery=None,
        )
        async def get() -> Pool:
            return Pool()

        made.append(get)
        return get

    yield make
    for get in made:
        get.reset()


def shape(way):
    return way.__name__


@pytest.mark.parametrize("way", WAYS, ids=shape)
def test_a_failure_counts_once_when_the_work_is_done(declare, way):
    """Two failures do not open a breaker of three, and the third one does."""
    get = declare(3)

    async def main() -> None:
        pool = await get.aget()
        for state in ("ready", "ready", "failed"):
            with pytest.raises(ConnectionError):
                await way(pool)
            await asyncio.sleep(0)
            assert get.health().state == state
        with pytest.raises(errors.CircuitOpen):
            await way(pool)

    asyncio.run(main())


@pytest.mark.parametrize("way", WAYS, ids=shape)
def test_what_works_is_as_without_a_breaker(declare, way):
    """The answers are those of the object itself."""
    get = declare(1)

    async def main() -> None:
        pool = await get.aget()
        get.__lazyguard_cell__().now.target.down = False
        assert type(await way(pool)) is type(await way(lazyguard.resolve(pool)))
        assert get.health().state == "ready"

    asyncio.run(main())


def test_views_are_like_themselves(declare):
    """`isinstance` holds, special methods are those of the object, futures keep their type."""
    get = declare(1)

    async def main() -> None:
        pool = await get.aget()
        get.__lazyguard_cell__().now.target.down = False
        pipe = pool.pipeline()
        assert isinstance(pipe, Pipeline)
        assert not pipe
        assert pipe.get("a") is pipe
        assert (len(pipe), pipe.commands) == (1, ["a"])
        assert not inspect.isawaitable(pipe)
        assert inspect.isawaitable(pool.connection())
        assert isinstance(pool.rows(), Rows)
        assert pool.rows().position() == 0
        assert type(pool.future()) is asyncio.Task
        connection = pool.connection()
        assert await connection is connection
        async with connection as entered:
            assert entered is connection
        async with pool.acquire() as session:
            assert isinstance(session, Session)

    asyncio.run(main())


def test_a_block_that_fails_for_another_reason_counts_nothing(declare):
    """What the caller's own lines raise in a block is no failure of the object."""
    get = declare(1)

    async def main() -> None:
        pool = await get.aget()
        get.__lazyguard_cell__().now.target.down = False
        for enter in (pool.acquire, pool.connection, pool.pipeline, pool.stream):
            with pytest.raises(ConnectionError):
                async with enter():
                    raise ConnectionError("another server's")
        assert get.health().state == "ready"

    asyncio.run(main())


def test_a_future_that_nobody_asks_is_told_as_ever(declare, caplog):
    """Counting does not take a failure as retrieved; a cancelled one counts nothing."""
    get = declare(2)

    async def main() -> None:
        pool = await get.aget()
        future = pool.future()
        future.cancel()
        await asyncio.sleep(0)
        left = pool.future()
        while not left.done():
            await asyncio.sleep(0)
        assert left._log_traceback
        left.exception()
        await asyncio.sleep(0)
        assert get.health().state == "ready"

    asyncio.run(main())
