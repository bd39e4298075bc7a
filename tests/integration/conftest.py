"""For all integration tests: real servers, on loopback and a free port, that a test starts, stops and starts again.

Invariant: no server outlives its test. Where a server's program is missing the test is skipped with the reason;
LAZYGUARD_REQUIRE_SERVERS=1 makes that a failure.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time

import pytest


class RedisServer:
    """A redis-server on a port of its own. `start` returns when it answers; `stop` kills it."""

    def __init__(self, program: str, directory: str) -> None:
        self.program, self.directory = program, directory
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        self.process = subprocess.Popen(
            [self.program, *options, "--dir", self.directory],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        until = time.monotonic() + 20.0
        while not self.answers():
            assert self.process.poll() is None, "redis-server ended at its start"
            assert time.monotonic() < until, "redis-server does not answer"
            time.sleep(0.02)

    def answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1.0) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(16).startswith(b"+PONG")
        except OSError:
            return False

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Let a skip be a failure where LAZYGUARD_REQUIRE_SERVERS=1 says that all there is to test with is here."""
    report = yield
    if report.skipped and not hasattr(report, "wasxfail") and os.environ.get("LAZYGUARD_REQUIRE_SERVERS") == "1":
        report.outcome = "failed"
        report.longrepr = f"skipped, which LAZYGUARD_REQUIRE_SERVERS=1 forbids: {report.longrepr[-1]}"
    return report


@pytest.fixture(scope="session")
def redis_program():
    """Return the path of redis-server, or skip."""
    found = shutil.which("redis-server")
    if found is None:
        pytest.skip("redis-server is not installed")
    return found


@pytest.fixture(scope="module")
def make_redis(redis_program, tmp_path_factory):
    """Return a function that makes a Redis, not started yet; all are stopped at the end of the module."""
    made: list[RedisServer] = []

    def make() -> RedisServer:
        made.append(RedisServer(redis_program, str(tmp_path_factory.mktemp("redis"))))
        return made[-1]

    yield make
    for server in made:
        server.stop()
