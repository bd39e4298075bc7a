"""A service of a real Redis client: refused, killed, silent and back again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import lazyguard

redis = pytest.importorskip("redis", reason="the extra `demo` has redis")

pytestmark = pytest.mark.usefixtures("limited")
# Its first try comes after the fallback, also where that has to wait for a processor.
RECOVERY = lazyguard.Recovery(initial=0.5, maximum=0.5)
SLACK = 10.0  # for a busy machine; what is not bounded lasts a minute here


def client(url: str, timeout: float = 5.0):
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    made = redis.Redis.from_url(
        url, socket_timeout=timeout, socket_connect_timeout=timeout, retry=Retry(NoBackoff(), 0)
    )
    made.ping()
    return made


class Offline:
    """A fallback for the client."""

    def get(self, key: str) -> bytes:
        return b"offline"


@pytest.fixture
def server(make_redis):
    """Return a Redis that is not started yet."""
    made = make_redis()
    yield made
    made.stop()


@pytest.fixture
def declare(server):
    """Return a function that declares a service of the server's client, with a fallback; none outlives its test."""
    declared = []

    def make(**options):
        get = lazyguard.service(name="db", close=lambda made: made.close(), **options)(lambda: client(server.url))
        get.fallback(lambda: Offline())
        declared.append(get)
        return get

    yield make
    for get in declared:
        get.reset()


def test_refused_and_back(server, declare, story):
    """Nobody listens: the fallback serves and says so. The server is started: it is back without traffic."""
    get = declare(recovery=RECOVERY)
    svc = get()
    assert svc.get("x") == b"offline"
    assert get.health().state == "degraded"
    assert "ConnectionError" in get.health().cause
    server.start()
    story.until("failed", "degraded", "recovered")
    assert svc.set("x", "1") is True
    assert svc.get("x") == b"1"
    assert get.health().status == "pass"


def test_killed_after_construction(server, declare, story):
    """Calls that fail open the breaker, the fallback takes over, and the restarted server is found without traffic."""
    server.start()
    get = declare(
        recovery=RECOVERY, failures=("redis:RedisError",), breaker=lazyguard.Breaker(failure_threshold=2), grace=0.0
    )
    svc = get()
    assert svc.set("x", "1") is True
    server.stop()
    for _ in range(2):
        assert get.health().state == "ready"
        with pytest.raises(redis.ConnectionError):
            svc.get("x")
    assert svc.get("x") == b"offline"
    assert lazyguard.is_fallback(svc)
    server.start()
    story.until("ready", "failed", "degraded", "recovered")
    assert svc.get("x") is None  # a real answer, from an empty server
    assert not lazyguard.is_fallback(svc)


def test_silent(server, declare, story):
    """It accepts and never answers: a caller waits no longer than the timeout; the late client is adopted."""
    server.start()
    server.process.send_signal(signal.SIGSTOP)
    get = lazyguard.service(name="db", timeout=0.3, recovery=None)(lambda: client(server.url, 60.0))
    begun = time.monotonic()
    with pytest.raises(lazyguard.errors.ResolutionTimeout):
        get().get("x")
    assert 0.3 <= time.monotonic() - begun < 0.3 + SLACK
    get.fallback(lambda: Offline())
    assert get().get("x") == b"offline"
    assert get.health().running == 1
    server.process.send_signal(signal.SIGCONT)
    story.until("timeout", "timeout", "degraded", "recovered")
    assert get().get("x") is None
    get.reset()


HANGING = """
import sys
import redis
import lazyguard

@lazyguard.service(name="db", timeout=0.2)
def get():
    made = redis.Redis.from_url(sys.argv[1], socket_timeout=60, socket_connect_timeout=60)
    print("asking", flush=True)
    made.ping()
    print("answered", flush=True)

try:
    get().get("x")
except lazyguard.errors.ResolutionTimeout:
    print("leaving", flush=True)
"""


def test_exit_while_the_factory_hangs(server):
    """The process ends at once, whatever hangs in it."""
    server.start()
    server.process.send_signal(signal.SIGSTOP)
    environment = {**os.environ, "PYTHONPATH": str(Path(lazyguard.__file__).parents[1])}
    command = [sys.executable, "-c", HANGING, server.url]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert [process.stdout.readline(), process.stdout.readline()] == ["asking\n", "leaving\n"]
        left = time.monotonic()
        assert process.wait(60) == 0
        assert time.monotonic() - left < SLACK
        assert process.stdout.read() == ""


def test_a_thousand_calls_leave_two_threads(server):
    """However many callers time out on a factory that hangs, at most two threads are at it."""
    server.start()
    server.process.send_signal(signal.SIGSTOP)
    get = lazyguard.service(name="hanging", timeout=0.01, abandon_after=0.05, recovery=None)(
        lambda: client(server.url, 60.0)
    )
    told: list[object] = []
    most: list[int] = []

    def call() -> None:
        for _ in range(100):
            try:
                get().get("x")
            except BaseException as error:
                told.append(error)
            most.append(sum(thread.name == "lazyguard hanging" for thread in threading.enumerate()))

    callers = [threading.Thread(target=call) for _ in range(10)]
    begun = time.monotonic()
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(60)
    assert time.monotonic() - begun < 100 * 0.01 + SLACK
    assert {type(error) for error in told} == {lazyguard.errors.ResolutionTimeout}
    assert len(told) == 1000
    assert max(most) == 2
    assert get.health().running == 2
    get.reset()
    server.process.send_signal(signal.SIGCONT)
