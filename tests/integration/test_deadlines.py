"""A deadline handed on to real clients of real servers that do not answer: a socket, Redis, HTTP."""

from __future__ import annotations

import asyncio
import http.client
import http.server
import os
import signal
import socket
import threading
import time
import urllib.parse
import urllib.request

import pytest

import lazyguard

BUDGET = 0.3
# What a call may take beyond its budget on a machine that is busy. A client's own timeout is far longer than both.
SLACK, LONGEST = 5.0, 60.0


@pytest.fixture
def timed():
    """Return a function that runs another under a deadline and holds it to that; returns what it raised."""

    def run(work) -> BaseException:
        start = time.monotonic()
        with lazyguard.deadline(BUDGET), pytest.raises(Exception) as caught:
            work()
        took = time.monotonic() - start
        assert took >= BUDGET * 0.9
        assert took < BUDGET + SLACK
        return caught.value

    return run


@pytest.fixture
def silent():
    """Return the address of a server that accepts and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()


@pytest.fixture
def frozen_redis(make_redis):
    """Return a Redis that is stopped with SIGSTOP: the kernel accepts, nobody answers."""
    server = make_redis()
    server.start()
    os.kill(server.process.pid, signal.SIGSTOP)
    yield server
    os.kill(server.process.pid, signal.SIGCONT)
    server.stop()


@pytest.fixture
def slow_site():
    """Return the URL of an HTTP server that answers when the test is over."""
    over = threading.Event()

    class Slow(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            over.wait(LONGEST)

        def log_message(self, *_: object) -> None: ...

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Slow) as site:
        thread = threading.Thread(target=site.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{site.server_port}/"
        over.set()
        site.shutdown()
        thread.join()


def test_a_socket(silent, timed, limited):
    """Connecting and reading share one budget; the socket's own error passes as it is."""

    def work() -> None:
        with socket.create_connection(silent, timeout=lazyguard.remaining()) as connection:
            connection.settimeout(lazyguard.remaining())
            connection.recv(1)

    error = timed(work)
    assert isinstance(error, TimeoutError)
    assert not isinstance(error, lazyguard.DeadlineExceeded)


def test_redis(frozen_redis, timed, limited):
    """A client of a Redis that stands still gives up with the deadline."""
    redis = pytest.importorskip("redis")

    def work() -> None:
        left = lazyguard.remaining()
        with redis.Redis(
            port=frozen_redis.port, socket_timeout=left, socket_connect_timeout=left, retry=None
        ) as client:
            client.ping()

    assert isinstance(timed(work), redis.exceptions.TimeoutError)


def test_async_redis(frozen_redis, timed, limited):
    """The same for the client of tasks."""
    redis = pytest.importorskip("redis.asyncio")

    async def ping() -> None:
        left = lazyguard.remaining()
        async with redis.Redis(
            port=frozen_redis.port, socket_timeout=left, socket_connect_timeout=left, retry=None
        ) as client:
            await client.ping()

    assert isinstance(timed(lambda: asyncio.run(ping())), redis.TimeoutError)


def test_urllib(slow_site, timed, limited):
    """The standard library's HTTP client gives up with the deadline."""
    assert isinstance(timed(lambda: urllib.request.urlopen(slow_site, timeout=lazyguard.remaining())), TimeoutError)


def test_requests(slow_site, timed, limited):
    """So does requests."""
    requests = pytest.importorskip("requests")
    error = timed(lambda: requests.get(slow_site, timeout=lazyguard.remaining()))
    assert isinstance(error, requests.Timeout)


def test_one_budget_for_all_three(silent, slow_site, timed, limited):
    """What the first one took is not there for the next: the third is not begun."""
    begun = []

    def work() -> None:
        begun.append("socket")
        with socket.create_connection(silent, timeout=lazyguard.remaining()) as connection:
            connection.settimeout(lazyguard.remaining() / 2)
            with pytest.raises(TimeoutError):
                connection.recv(1)
        begun.append("http")
        address = urllib.parse.urlparse(slow_site)
        client = http.client.HTTPConnection(address.hostname, address.port, timeout=lazyguard.remaining())
        client.request("GET", "/")
        with pytest.raises(TimeoutError):
            client.getresponse()
        client.close()
        lazyguard.remaining()
        begun.append("another")

    assert isinstance(timed(work), lazyguard.DeadlineExceeded)
    assert begun == ["socket", "http"]


def test_a_service_and_its_caller(frozen_redis, timed, limited):
    """A service whose client waits far too long holds no caller beyond its deadline."""
    redis = pytest.importorskip("redis")

    @lazyguard.service(timeout=LONGEST, recovery=None)
    def get_cache() -> object:
        client = redis.Redis(port=frozen_redis.port, socket_timeout=10.0, retry=None)
        client.ping()
        return client

    error = timed(lambda: get_cache().ping())
    assert isinstance(error, lazyguard.DeadlineExceeded)
    assert isinstance(error, lazyguard.errors.ResolutionTimeout)
