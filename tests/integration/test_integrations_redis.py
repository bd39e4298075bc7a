"""`lazyguard.integrations.redis` with a real Redis: deadlines on every wait, one pool for each URL, forks, services."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time

import pytest

import lazyguard
from lazyguard.integrations.redis import aredis_client, lazy_redis, redis_client

redis = pytest.importorskip("redis", reason="the extra `redis` has it")

pytestmark = pytest.mark.usefixtures("limited")
BUDGET, SLACK = 0.2, 5.0
LONG = 60.0  # what a client's own options allow where the deadline is to be the one that ends it


@pytest.fixture(scope="module")
def server(make_redis):
    """Return a Redis that runs."""
    made = make_redis()
    made.start()
    return made


@pytest.fixture
def frozen(server):
    """Return the same Redis, which accepts and does not answer until the test is over."""
    server.freeze()
    yield server
    server.thaw()


@pytest.fixture(autouse=True)
def closed():
    """Close the pools that a test made."""
    yield
    lazyguard.close()


def test_importing_and_declaring_loads_no_redis():
    """The module that declares a client does not pay for redis, nor for asyncio."""
    lines = """
import sys, lazyguard
from lazyguard.integrations.redis import lazy_redis
cache = lazy_redis("redis://127.0.0.1:1/0", socket_timeout=1.0)
repr(cache), lazyguard.health()
print(sorted({"redis", "asyncio", "typing", "threading", "inspect", "logging"} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-S", "-c", f"import sys; sys.path[:0] = {sys.path!r}{lines}"],
                          capture_output=True, text=True, timeout=60, check=True)  # fmt: skip
    assert done.stdout == "[]\n"


def test_a_missing_redis_is_told_with_the_command(monkeypatch):
    """Without the library the error says what to install."""
    monkeypatch.setitem(sys.modules, "redis", None)
    with pytest.raises(lazyguard.errors.MissingModuleError, match="to install it: .*redis"):
        redis_client("redis://127.0.0.1:1/0")


def test_a_lazy_client_is_a_redis_client(server):
    """It is built at its first use, names its declaration, and passes for a redis.Redis."""
    cache = lazy_redis(lambda: server.url, decode_responses=True, name="cache")
    assert "test_integrations_redis.py" in repr(cache)
    assert not lazyguard.is_resolved(cache)
    assert isinstance(cache, redis.Redis)
    assert cache.set("greeting", "hello") is True
    assert cache.get("greeting") == "hello"
    with cache.pipeline() as pipeline:
        assert pipeline.incr("count").incr("count").execute() == [1, 2]


def test_one_pool_for_each_url_and_its_options(server):
    """Clients that are made alike share their connections, others do not."""
    one, same = redis_client(server.url), redis_client(server.url)
    other = redis_client(server.url, socket_timeout=1.0)
    assert one.connection_pool is same.connection_pool
    assert one.connection_pool is not other.connection_pool


def test_close_ends_the_pools(server):
    """`lazyguard.close` leaves no connection, and a later client has a pool of its own."""
    watching = redis.Redis.from_url(server.url, socket_timeout=LONG)
    client = redis_client(server.url, client_name="pooled")
    client.ping()
    assert "pooled" in {one["name"] for one in watching.client_list()}
    lazyguard.close()
    assert "pooled" not in {one["name"] for one in watching.client_list()}
    assert redis_client(server.url, client_name="pooled").connection_pool is not client.connection_pool
    watching.close()


def test_a_deadline_ends_reading_and_leaves_the_client_right(server):
    """A command that is not answered ends with the deadline; its late answer is no answer to the next one."""
    client = redis_client(server.url, socket_timeout=LONG)
    client.set("x", "1")
    server.freeze()
    start = time.monotonic()
    with lazyguard.deadline(BUDGET), pytest.raises(redis.TimeoutError):
        client.incr("x")
    assert BUDGET * 0.9 <= time.monotonic() - start < BUDGET + SLACK
    server.thaw()
    assert client.ping() is True
    assert client.connection_pool.make_connection().socket_timeout == LONG


def test_a_deadline_ends_connecting(frozen):
    """So does the handshake of a new connection."""
    client = redis_client(frozen.url, socket_timeout=LONG)
    start = time.monotonic()
    with lazyguard.deadline(BUDGET), pytest.raises(redis.RedisError):
        client.ping()
    assert time.monotonic() - start < BUDGET + SLACK


def test_a_connection_made_under_a_deadline_outlives_it(server):
    """What was left when it was made is not its time-out for ever."""
    client = redis_client(server.url, socket_timeout=LONG)
    with lazyguard.deadline(30.0):
        client.ping()
    [connection] = client.connection_pool._available_connections
    assert connection.socket_timeout == LONG
    client.ping()
    assert connection._sock.gettimeout() == LONG


def test_what_passed_before_the_command_is_an_error_at_once(server):
    """A deadline that is over already lets nothing be sent, and costs no more than its connection."""
    client = redis_client(server.url)
    client.set("x", "1")
    with lazyguard.testing.FakeClock() as clock, lazyguard.deadline(1.0):
        clock.advance(2.0)
        with pytest.raises(redis.TimeoutError, match="deadline of 1 s"):
            client.incr("x")
    assert client.get("x") == b"1"


def test_a_retry_begins_no_wait_beyond_the_deadline(frozen):
    """redis-py's own Retry goes on while there is time, and then raises what it had."""
    from redis.backoff import ConstantBackoff
    from redis.retry import Retry

    client = redis_client(frozen.url, socket_timeout=0.02, retry=Retry(ConstantBackoff(LONG), 5))
    start = time.monotonic()
    with lazyguard.deadline(LONG / 2), pytest.raises(redis.TimeoutError):
        client.ping()
    assert time.monotonic() - start < SLACK


def test_pubsub_waits_no_longer_than_the_deadline(server):
    """get_message's own time-out is cut as well, and the subscription goes on afterwards."""
    client = redis_client(server.url)
    with client.pubsub() as listening:
        listening.subscribe("news")
        assert listening.get_message(timeout=LONG)["type"] == "subscribe"
        client.publish("news", "late")
        assert listening.get_message(timeout=LONG)["data"] == b"late"


def test_a_forked_child_has_connections_of_its_own(server, in_child):
    """The parent's socket is not used in the child, and the parent goes on with it."""
    client = redis_client(server.url)
    number = client.client_id()

    def child() -> None:
        assert client.client_id() != number
        assert redis_client(server.url).client_id() != number

    assert in_child(child) == 0
    assert client.client_id() == number


def test_the_async_client(server):
    """Deadlines hold, late answers are lost with their connection, and a pool belongs to its loop."""

    async def main() -> object:
        client = await aredis_client(server.url, socket_timeout=LONG)
        assert isinstance(client, redis.asyncio.Redis)
        assert (await aredis_client(server.url, socket_timeout=LONG)).connection_pool is client.connection_pool
        await client.set("x", "async")
        server.freeze()
        try:
            start = time.monotonic()
            with lazyguard.deadline(BUDGET), pytest.raises(redis.TimeoutError):
                await client.incr("y")
            assert BUDGET * 0.9 <= time.monotonic() - start < BUDGET + SLACK
        finally:
            server.thaw()
        assert await client.get("x") == b"async"
        await lazyguard.aclose()
        return client.connection_pool

    assert asyncio.run(main()) is not asyncio.run(main())


def test_the_async_client_sends_nothing_when_the_time_is_over(server):
    """A deadline that is over already lets nothing be sent."""

    async def main() -> None:
        client = await aredis_client(server.url)
        await client.set("z", "1")
        with lazyguard.testing.FakeClock() as clock, lazyguard.deadline(1.0):
            clock.advance(2.0)
            with pytest.raises(redis.TimeoutError):
                await client.incr("z")
        assert await client.get("z") == b"1"
        await lazyguard.aclose()

    asyncio.run(main())


def test_as_a_service(server, eventually):
    """In a service its failures open the breaker, the fallback serves, and the restarted server is found again."""

    @lazyguard.service(
        name="db", failures=("redis:RedisError",), probe=lambda client: client.ping(), grace=0.0,
        breaker=lazyguard.Breaker(failure_threshold=1), recovery=lazyguard.Recovery(initial=0.05, maximum=0.1),
    )  # fmt: skip
    def get_cache():
        return redis_client(server.url)

    @get_cache.fallback
    def _offline():
        return lazyguard.mock_service(redis.Redis, returns={"get": b"offline"})

    cache = get_cache()
    assert cache.set("x", "1") is True
    server.stop()
    try:
        with pytest.raises(redis.ConnectionError):
            cache.get("x")
        assert cache.get("x") == b"offline"
    finally:
        server.start()
    eventually(lambda: get_cache.health().state == "ready")
    assert cache.get("x") is None  # a real answer, from an empty server
    get_cache.reset()


def test_on_uvloop_a_reset_connection_is_an_error_of_redis(server):
    """There a write to one raises RuntimeError, which no `on=(RedisError,)` names; what else is one stays one."""
    uvloop = pytest.importorskip("uvloop", reason="the group `integration` has it")

    async def main() -> None:
        client = await aredis_client(server.url)
        connection = client.connection_pool.make_connection()
        await connection.connect()
        try:
            connection._writer.transport.abort()  # as the loop does when it hears of a reset
            await asyncio.sleep(0)
            with pytest.raises(redis.ConnectionError, match="closed"):
                await connection.send_command("PING", check_health=False)
            await connection.connect()
            with pytest.raises(RuntimeError, match="one of the program's own"):
                await connection.send_packed_command(raising())
            assert await client.ping()
        finally:
            await connection.disconnect()
            await lazyguard.aclose()

    def raising():
        raise RuntimeError("one of the program's own")
        yield b""

    loop = uvloop.new_event_loop()
    try:
        loop.run_until_complete(main())
    finally:
        loop.close()
