"""Real servers that fail in every way, under the blocking and the async clients of Redis and of PostgreSQL.

One matrix: a service degrades within its timeout, says so, and recovers by itself once the server is back.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

import lazyguard
from lazyguard import events

TIMEOUT = 0.2
RECOVERY = lazyguard.Recovery(initial=0.1, maximum=1.0)
# What anything may take beyond its bound on a machine that is busy; a client's patience before the fault is longer.
SLACK, FOR_EVER = 10.0, 120.0
pytestmark = pytest.mark.usefixtures("limited")


@dataclass(frozen=True)
class Kind:
    """A client library: how to connect, to ask something of the server, and to close; all three awaitable or none."""

    name: str
    library: str
    server: str
    failures: tuple[Any, ...]
    connect: Callable[[int, float], Any]
    ask: Callable[[Any], Any]
    shut: Callable[[Any], Any]
    awaited: bool = False
    gives_up: bool = True  # whether a question has a time-out of its own


def redis_connect(port: int, patience: float):
    import redis

    made = redis.Redis(port=port, socket_timeout=patience, socket_connect_timeout=patience, retry=None)
    try:
        made.ping()
    except BaseException:
        made.close()
        raise
    return made


async def redis_aconnect(port: int, patience: float):
    import redis.asyncio as redis

    made = redis.Redis(port=port, socket_timeout=patience, socket_connect_timeout=patience, retry=None)
    try:
        await made.ping()
    except BaseException:
        await made.aclose()
        raise
    return made


def psycopg_options(port: int, patience: float) -> dict[str, Any]:
    plain = {"sslmode": "disable", "gssencmode": "disable"}  # one connection a try
    return {"host": "127.0.0.1", "port": port, "user": "postgres", "connect_timeout": max(2, int(patience)), **plain}


def psycopg_connect(port: int, patience: float):
    import psycopg

    return psycopg.connect(**psycopg_options(port, patience), autocommit=True)


async def psycopg_aconnect(port: int, patience: float):
    import psycopg

    return await psycopg.AsyncConnection.connect(**psycopg_options(port, patience), autocommit=True)


async def asyncpg_connect(port: int, patience: float):
    import asyncpg

    return await asyncpg.connect(
        host="127.0.0.1", port=port, user="postgres", ssl=False, timeout=patience, command_timeout=patience
    )


async def asyncpg_shut(made) -> None:
    made.terminate()


def select(made):
    return made.execute("select 1")


# the last one is for a connection that breaks amid an answer
OF_ASYNCPG = (
    OSError,
    "asyncio:TimeoutError",
    "asyncpg:PostgresError",
    "asyncpg:InterfaceError",
    "asyncpg:InternalClientError",
)
# psycopg waits for its server's answer without end, and a cancelled task of it does so too: its users give what they
# ask a limit at the server, which does not help when that stands still.
KINDS = [
    Kind("redis", "redis", "redis", ("redis:RedisError",), redis_connect, lambda r: r.ping(), lambda r: r.close()),
    Kind(
        "aredis",
        "redis.asyncio",
        "redis",
        ("redis:RedisError",),
        redis_aconnect,
        lambda r: r.ping(),
        lambda r: r.aclose(),
        True,
    ),
    Kind(
        "psycopg", "psycopg", "postgres", ("psycopg:Error",), psycopg_connect, select, lambda p: p.close(), False, False
    ),
    Kind(
        "apsycopg",
        "psycopg",
        "postgres",
        ("psycopg:Error",),
        psycopg_aconnect,
        select,
        lambda p: p.close(),
        True,
        False,
    ),
    Kind("asyncpg", "asyncpg", "postgres", OF_ASYNCPG, asyncpg_connect, select, asyncpg_shut, True),
]


class Client:
    """What the service's factory makes: a connection that has answered."""

    def __init__(self, kind: Kind, raw: object) -> None:
        self._kind, self._raw = kind, raw

    def ask(self) -> str:
        self._kind.ask(self._raw)
        return "real"


class AsyncClient(Client):
    """The same for tasks."""

    async def ask(self) -> str:
        await self._kind.ask(self._raw)
        return "real"


class Offline:
    """A fallback for the client."""

    def ask(self) -> str:
        return "offline"


class AsyncOffline:
    """A fallback for the client of tasks."""

    async def ask(self) -> str:
        return "offline"


class World:
    """A server, what stands before it, and a service of its client."""

    def __init__(self, kind: Kind, server, front, on_loop) -> None:
        self.kind, self.server, self.front, self._on_loop = kind, server, front, on_loop
        self.told: list[tuple[str, float]] = []
        self._raws: list[object] = []
        self.get: Any = None

    def hear(self, event: events.Event) -> None:
        if event.name == "db":
            self.told.append((event.kind, time.monotonic()))

    def declare(self, port: int, patience: float, **options: Any) -> None:
        kind = self.kind

        def connect() -> Client:
            self._raws.append(kind.connect(port, patience))
            return Client(kind, self._raws[-1])

        async def aconnect() -> AsyncClient:
            self._raws.append(await kind.connect(port, patience))
            return AsyncClient(kind, self._raws[-1])

        def offline() -> Offline:
            return Offline()

        async def aoffline() -> AsyncOffline:
            return AsyncOffline()

        declared = lazyguard.service(name="db", timeout=TIMEOUT, **{"recovery": RECOVERY, **options})
        self.get = declared(aconnect if kind.awaited else connect)
        self.get.fallback(aoffline if kind.awaited else offline)

    def ask(self) -> str:
        """Use the service as its users do."""
        if not self.kind.awaited:
            return self.get().ask()

        async def asking() -> str:
            return await (await self.get.aget()).ask()

        return self._on_loop(asking())

    def is_real(self) -> bool:
        """Whether the real server answers; on a busy machine it may do so after the client's patience."""
        try:
            return self.ask() == "real"
        except Exception:
            return False

    def admits(self) -> None:
        """Hold the service to saying what it serves, since when and why: once."""
        assert self.ask() == "offline"
        assert lazyguard.is_fallback(self.get())
        health = self.get.health()
        assert (health.state, health.status) == ("degraded", "warn")
        assert health.cause
        assert [kind for kind, _ in self.told].count("degraded") == 1
        assert "recovered" not in dict(self.told)

    def recovery(self, returned: float, eventually) -> float:
        """Return how long after the server's return the service was back, which it is without traffic."""
        eventually(lambda: "recovered" in dict(self.told), RECOVERY.maximum + SLACK)
        took = max(0.0, next(moment for kind, moment in self.told if kind == "recovered") - returned)
        eventually(self.is_real)
        assert not lazyguard.is_fallback(self.get())
        return took

    def end(self, eventually) -> None:
        if self.get is not None:
            self.get.reset()
            eventually(lambda: self.get.health().running == 0)
        for raw in self._raws:
            shut = self.kind.shut(raw)
            if self.kind.awaited:
                self._on_loop(shut)


@pytest.fixture(scope="module")
def servers():
    """Return the servers of this module by name; each is made at its first use."""
    return {}


@pytest.fixture
def world(request, servers, make_front, on_loop, eventually):
    """Return a world of the kind of client that the test is run for, its server running."""
    kind: Kind = request.param
    pytest.importorskip(kind.library)  # here, not in the service's time
    if kind.server not in servers:
        servers[kind.server] = request.getfixturevalue(f"make_{kind.server}")()
    server = servers[kind.server]
    if server.process is None:
        server.start()
    made = World(kind, server, make_front(server.port), on_loop)
    undo = events.subscribe(made.hear)
    yield made
    server.thaw()
    made.front.replace()
    if server.process is None:
        server.start()
    made.end(eventually)
    undo()


@dataclass(frozen=True)
class Fault:
    """What goes wrong, and how it ends; behind the front, or of the server itself."""

    name: str
    begin: Callable[[World], None]
    end: Callable[[World], None]
    of_front: bool = False
    hangs: bool = True


REFUSING = Fault("refusing", lambda w: w.server.stop(), lambda w: w.server.start(), hangs=False)
KILLED = Fault("killed", lambda w: w.server.stop(), lambda w: w.server.start(), hangs=False)
FROZEN = Fault("frozen", lambda w: w.server.freeze(), lambda w: w.server.thaw())
SILENT = Fault("silent", lambda w: w.front.silence(), lambda w: w.front.replace(), of_front=True)
SLOW = Fault("slow", lambda w: w.front.slow(), lambda w: w.front.speed(), of_front=True)


def cases(*faults: Fault, client_waits: bool):
    """Return the matrix; where a client has to give up by itself, without those that never do."""
    return pytest.mark.parametrize(
        ("world", "fault"),
        [
            pytest.param(kind, fault, id=f"{kind.name}-{fault.name}")
            for kind in KINDS
            for fault in faults
            if client_waits or kind.gives_up or not fault.hangs
        ],
        indirect=["world"],
    )


@cases(REFUSING, FROZEN, SILENT, SLOW, client_waits=True)
def test_at_the_first_use(world, fault, eventually):
    """However long a client would wait for its server: the fallback comes within the timeout, the real one after."""
    world.declare(world.front.port if fault.of_front else world.server.port, patience=FOR_EVER)
    fault.begin(world)
    begun = time.monotonic()
    assert world.ask() == "offline"
    took = time.monotonic() - begun
    assert took < TIMEOUT + SLACK
    world.admits()
    fault.end(world)
    print(f"recovered after {world.recovery(time.monotonic(), eventually):.3f} s")
    print(f"degraded after {took:.3f} s")


@cases(KILLED, FROZEN, SILENT, SLOW, client_waits=False)
def test_in_use(world, fault, eventually):
    """A call that fails opens the breaker; those after it have the fallback, until the server is back."""
    world.declare(
        world.front.port if fault.of_front else world.server.port,
        patience=0.5,
        failures=world.kind.failures,
        breaker=lazyguard.Breaker(failure_threshold=1),
        grace=0.0,
    )
    eventually(world.is_real)
    world.told.clear()
    fault.begin(world)
    with pytest.raises(Exception) as caught:
        world.ask()
    assert not isinstance(caught.value, lazyguard.LazyguardError)  # the client's own, untouched
    begun = time.monotonic()
    world.admits()
    took = time.monotonic() - begun
    assert took < TIMEOUT + SLACK
    fault.end(world)
    print(f"recovered after {world.recovery(time.monotonic(), eventually):.3f} s")
    print(f"degraded after {took:.3f} s")


@pytest.mark.parametrize("world", KINDS, ids=lambda kind: kind.name, indirect=True)
def test_flapping(world, eventually):
    """A server that is there for every second connection brings nobody back and forth: two in a row are asked for."""
    world.front.manner = lambda number: "cut" if number % 2 else "pass"
    steady = lazyguard.Recovery(initial=0.02, maximum=0.04, success_threshold=2)
    world.declare(world.front.port, patience=FOR_EVER, recovery=steady, abandon_after=FOR_EVER)
    assert world.ask() == "offline"
    eventually(lambda: world.front.connections >= 8)
    world.admits()
    world.front.manner = lambda number: "pass"
    print(f"recovered after {world.recovery(time.monotonic(), eventually):.3f} s")
