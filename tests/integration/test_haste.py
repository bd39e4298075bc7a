"""Callers in haste beside patient ones, with a real Redis and a real PostgreSQL that stand still for a while."""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

import lazyguard
from lazyguard.integrations.redis import aredis_client, redis_client
from lazyguard.integrations.sqlalchemy import make_engine

redis = pytest.importorskip("redis", reason="the extra `redis` has it")

pytestmark = pytest.mark.usefixtures("limited")
HASTY, PATIENT, HASTE = 1000, 10, 0.01
CROWD = 20  # threads that are in haste at the same time
TASKS = 5  # the same on one loop, which has to make all their connections anew within the 10 ms


@pytest.fixture(scope="module")
def server(make_redis):
    """Return a Redis that runs."""
    made = make_redis()
    made.start()
    return made


@pytest.fixture(scope="module")
def postgres(make_postgres):
    """Return a PostgreSQL that runs."""
    pytest.importorskip("psycopg", reason="the group `integration` has it")
    pytest.importorskip("sqlalchemy", reason="the extra `sqlalchemy` has it")
    made = make_postgres()
    made.start()
    return made


@pytest.fixture(autouse=True)
def closed():
    """Close what a test made."""
    yield
    lazyguard.close()


def in_haste(ask, *, times=HASTY):
    """Let many callers with 10 ms ask, some at a time; return how many of them failed."""

    def hasty(_: int) -> bool:
        try:
            with lazyguard.deadline(HASTE):
                ask()
        except Exception:  # each library has its own
            return True
        return False

    with ThreadPoolExecutor(CROWD) as pool:
        return sum(pool.map(hasty, range(times)))


def patiently(ask, done: threading.Event, answers: list[object]) -> None:
    """Ask without a deadline until it is over."""
    while not done.is_set():
        answers.append(ask())


@pytest.fixture
def cache(server):
    """Return a service of a Redis client, whose calls are counted."""

    @lazyguard.service(
        failures=("redis:RedisError",), breaker=lazyguard.Breaker(failure_threshold=3, open_time=60.0), recovery=None
    )
    def get_cache() -> redis.Redis:
        return redis_client(server.url, socket_timeout=1.0, retry=None, max_connections=200)

    yield get_cache
    server.thaw()


def test_a_well_server_is_not_taken_away(cache, server):
    """A thousand callers in haste ask what takes longer than they have; ten patient ones are all answered."""
    done, answers = threading.Event(), []
    client = cache()

    def ask() -> object:
        return client.blpop("nothing", timeout=0.03)

    with ThreadPoolExecutor(PATIENT) as pool:
        for _ in range(PATIENT):
            pool.submit(patiently, ask, done, answers)
        try:
            failed = in_haste(ask)
        finally:
            done.set()
    assert failed > HASTY / 2
    assert len(answers) > 3 * PATIENT
    assert cache.health().state == "ready"
    assert client.ping() is True


def test_a_silent_server_is_found_out(cache, server):
    """Though all its callers are in haste."""
    client = cache()
    client.ping()
    server.freeze()
    assert in_haste(client.ping) == HASTY
    assert cache.health().state == "failed"
    assert "Timeout" in cache.health().cause


# redis-py hands its coroutine to wait_for, which may give up before it has begun
@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_silent_server_is_found_out_on_a_loop(server):
    """Callers that are cancelled by their deadline, in asyncio."""

    async def main() -> str:
        @lazyguard.guarded(timeout=1.0, breaker=lazyguard.Breaker(failure_threshold=3, open_time=60.0))
        async def ask() -> object:
            return await client.ping()

        async def hasty() -> None:
            for _ in range(HASTY // TASKS):
                try:
                    with lazyguard.deadline(HASTE):
                        await ask()
                except Exception:
                    pass

        async def patient() -> None:
            while not over:
                await ask()

        over: list[None] = []
        client = await aredis_client(server.url)
        await ask()
        others = [asyncio.create_task(patient()) for _ in range(PATIENT)]
        await asyncio.gather(*(hasty() for _ in range(TASKS)))
        over.append(None)
        await asyncio.gather(*others)
        assert ask.health().state == "closed", ask.health()
        server.freeze()
        try:
            await asyncio.gather(*(hasty() for _ in range(TASKS)))
            return str(ask.health().state)
        finally:
            server.thaw()
            await lazyguard.aclose()

    assert asyncio.run(main()) == "open"


def test_connections_of_a_database(postgres):
    """Connecting keeps the deadline: neither a well PostgreSQL nor a silent one is judged by a caller's 10 ms alone."""
    sqlalchemy = pytest.importorskip("sqlalchemy")
    url = f"postgresql+psycopg://postgres@127.0.0.1:{postgres.port}/postgres"
    # So long a limit that a well server answers one of the patient ones in time, however busy the machine is.
    engine = make_engine(url, connect_timeout=5.0, poolclass=sqlalchemy.pool.NullPool)

    @lazyguard.guarded(breaker=lazyguard.Breaker(failure_threshold=3, open_time=60.0))
    def ask() -> object:
        with engine.connect():
            return time.monotonic()

    ask()
    postgres.freeze()
    try:
        assert in_haste(ask, times=10) == 10
        assert ask.health().state == "closed"
        in_haste(ask, times=4 * HASTY)
        assert ask.health().state == "open"
    finally:
        postgres.thaw()
    ask.reset()
    ask()  # the server is well when it has met all that gave up meanwhile
    done, answers = threading.Event(), []
    with ThreadPoolExecutor(PATIENT) as pool:
        for _ in range(PATIENT):
            pool.submit(patiently, ask, done, answers)
        try:
            in_haste(ask)
        finally:
            done.set()
    assert ask.health().state == "closed"
    assert len(answers) > PATIENT
