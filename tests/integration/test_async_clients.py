"""Services of async clients against real servers that are stopped, silent and back: their breakers see every way in."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

import lazyguard
from lazyguard import errors

asyncpg = pytest.importorskip("asyncpg")
pytest.importorskip("greenlet")
aioredis = pytest.importorskip("redis.asyncio")

from sqlalchemy import text  # noqa: E402
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker  # noqa: E402

from lazyguard.integrations.sqlalchemy import dispose_async, make_async_engine, ping_async  # noqa: E402

OPTIONS = {
    "timeout": 10.0,
    "critical": True,
    "breaker": lazyguard.Breaker(failure_threshold=2),
    "recovery": lazyguard.Recovery(initial=0.05, maximum=0.2),
}
WAIT = 0.5


@pytest.fixture(scope="module")
def postgres(make_postgres):
    return make_postgres()


@pytest.fixture(scope="module")
def redis(make_redis):
    return make_redis()


async def engine_connect(engine):
    async with engine.connect() as connection:
        await connection.execute(text("select 1"))


async def engine_await(engine):
    connection = await engine.connect()
    await connection.execute(text("select 1"))
    await connection.close()


async def engine_begin(engine):
    async with engine.begin() as connection:
        await connection.execute(text("select 1"))


async def engine_stream(engine):
    async with engine.connect() as connection, connection.stream(text("select 1")) as rows:
        assert [row async for row in rows] == [(1,)]


async def session(engine):
    async with async_sessionmaker(engine)() as one:
        await one.execute(text("select 1"))


async def session_of_a_connection(engine):
    async with engine.connect() as connection, AsyncSession(bind=connection) as one:
        await one.execute(text("select 1"))


async def pool_fetch(pool):
    assert await pool.fetchval("select 1", timeout=WAIT) == 1


async def pool_acquire(pool):
    async with pool.acquire(timeout=WAIT) as connection, connection.transaction():
        assert await connection.fetchval("select 1", timeout=WAIT) == 1


async def pool_release(pool):
    connection = await pool.acquire(timeout=WAIT)
    await pool.release(connection, timeout=WAIT)


async def redis_get(client):
    await client.get("x")


async def redis_pipeline(client):
    async with client.pipeline() as pipe:
        assert len(await pipe.get("x").get("y").execute()) == 2


async def redis_pipeline_alone(client):
    pipe = client.pipeline(transaction=False)
    pipe.get("x")
    await pipe.execute()


async def redis_pubsub(client):
    async with client.pubsub() as channel:
        await channel.subscribe("news")


def of_engine(server):
    @lazyguard.service(
        name="engine", failures=(OSError, "sqlalchemy.exc:DBAPIError"), probe=ping_async, close=dispose_async, **OPTIONS
    )
    async def get() -> AsyncEngine:
        url = f"postgresql+asyncpg://postgres@127.0.0.1:{server.port}/postgres"
        return make_async_engine(url, connect_timeout=WAIT, connect_args={"command_timeout": WAIT})

    return get


def of_pool(server):
    async def close(pool) -> None:
        pool.terminate()

    @lazyguard.service(name="pool", failures=(OSError, TimeoutError, "asyncpg:PostgresError"), close=close, **OPTIONS)
    async def get() -> asyncpg.Pool:
        return await asyncpg.create_pool(
            f"postgresql://postgres@127.0.0.1:{server.port}/postgres", timeout=WAIT, command_timeout=WAIT, min_size=1
        )

    return get


def of_redis(server):
    async def ping(client) -> None:
        await client.ping()

    async def close(client) -> None:
        await client.aclose()

    @lazyguard.service(name="cache", failures=("redis:RedisError",), probe=ping, close=close, **OPTIONS)
    async def get() -> aioredis.Redis:
        return aioredis.Redis(port=server.port, socket_timeout=WAIT, socket_connect_timeout=WAIT, retry=None)

    return get


WAYS = [
    *(
        (of_engine, "postgres", way)
        for way in (engine_connect, engine_await, engine_begin, engine_stream, session, session_of_a_connection)
    ),
    *((of_pool, "postgres", way) for way in (pool_fetch, pool_acquire, pool_release)),
    *((of_redis, "redis", way) for way in (redis_get, redis_pipeline, redis_pipeline_alone, redis_pubsub)),
]


# A pool gives what is idle without asking the server: then its silence is not met.
MET = [(*way, fault) for way in WAYS for fault in ("stopped", "silent") if (way[2], fault) != (pool_release, "silent")]


@pytest.mark.parametrize(
    ("declare", "server", "way", "fault"), MET, ids=[f"{way.__name__}-{fault}" for _, _, way, fault in MET]
)
def test_a_breaker_sees_what_an_async_client_meets(declare, server, way, fault, request, within):
    """The server goes while a reference is held: the service fails, readiness with it, and comes back by itself."""
    within(60)
    server = request.getfixturevalue(server)
    server.stop()
    server.start()
    get = declare(server)

    async def use(times: int) -> None:
        for _ in range(times):
            await way(held)

    async def main() -> None:
        nonlocal held
        held = await get.aget()
        await use(3)
        assert get.health().state == "ready"
        (server.stop if fault == "stopped" else server.freeze)()
        async with asyncio_timeout(30):
            while get.health().state != "failed":
                with contextlib.suppress(Exception):
                    await way(held)
        assert get.health().status == "fail"
        with pytest.raises(errors.ServiceUnavailable):
            await way(held)
        (server.start if fault == "stopped" else server.thaw)()
        async with asyncio_timeout(30):
            while get.health().state != "ready":
                await asyncio.sleep(0.01)
        await use(1)
        assert get.health().status == "pass"
        await lazyguard.aclose()

    held = None
    asyncio.run(main())


@contextlib.asynccontextmanager
async def asyncio_timeout(seconds: float):
    task = asyncio.current_task()
    assert task is not None
    handle = asyncio.get_running_loop().call_later(seconds, task.cancel)
    try:
        yield
    finally:
        handle.cancel()
