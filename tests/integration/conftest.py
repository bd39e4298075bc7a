"""For all integration tests: real servers, on loopback and a free port, that a test starts, stops and starts again.

Invariant: no server outlives its test. Where a server's program is missing the test is skipped with the reason;
LAZYGUARD_REQUIRE_SERVERS=1 makes that a failure.
"""

from __future__ import annotations

import glob
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from typing import Any

import pytest


class Server:
    """A server's process on a port of its own. `start` returns when it answers; `stop` kills it, as a crash does."""

    user: str | None = None
    patience = 20.0

    def __init__(self, program: str, directory: str) -> None:
        self.program, self.directory = program, directory
        self._held: list[socket.socket] = []
        self.port: int = self.hold_port()
        self.process: subprocess.Popen[bytes] | None = None

    def hold_port(self) -> int:
        """Return a port that is held without listening until the end: no other process is given it meanwhile."""
        held = socket.socket()
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind(("127.0.0.1", 0))
        port: int = held.getsockname()[1]
        if sys.platform != "linux":
            held.close()  # only there a server can listen beside it
        self._held.append(held)
        return port

    def options(self) -> list[str]:
        raise NotImplementedError

    def environment(self) -> dict[str, str]:
        return {}

    def hello(self) -> tuple[bytes, bytes]:
        """Return what to send, and how the answer of a server that serves begins."""
        raise NotImplementedError

    def start(self) -> None:
        self.process = subprocess.Popen(
            [self.program, *self.options()],
            cwd=self.directory,
            env={**os.environ, **self.environment()},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            **as_user(self.user),
        )
        until = time.monotonic() + self.patience
        while not self.answers():
            assert self.process.poll() is None, f"{self.program} ended at its start"
            assert time.monotonic() < until, f"{self.program} does not answer"
            time.sleep(0.02)

    def answers(self) -> bool:
        question, answer = self.hello()
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1.0) as connection:
                connection.sendall(question)
                return connection.recv(16).startswith(answer)
        except OSError:
            return False

    def freeze(self) -> None:
        """Let it stand still: the kernel goes on to accept for it, and nobody answers."""
        self._signal(signal.SIGSTOP, "TZX")

    def thaw(self) -> None:
        self._signal(signal.SIGCONT, "RSDIZX")

    def stop(self) -> None:
        if self.process is not None:
            self._signal(signal.SIGKILL, "ZX")
            self.process.wait()
            self.process = None

    def end(self) -> None:
        """Stop for good, and leave the port to others."""
        self.stop()
        for held in self._held:
            held.close()

    def _signal(self, number: int, states: str) -> None:
        """Send a signal to the server and what it has started, and wait until all are in one of these states."""
        if self.process is None:
            return
        # its children first: those of one that has been killed are no longer known for its own
        known = {self.process.pid: "S", **states_of([self.process.pid])}
        until = time.monotonic() + 20.0
        while True:
            for pid in known:
                try:
                    os.kill(pid, number)
                except ProcessLookupError:
                    pass
            now = states_of(known)
            if now.keys() <= known.keys() and all(state in states for state in now.values()):
                return
            known.update(now)
            assert time.monotonic() < until, now
            time.sleep(0.001)


def states_of(pids: Iterable[int]) -> dict[int, str]:
    """Return the states of these processes and their children, as Linux names them; where there is no /proc, none."""
    found: dict[int, str] = {}
    for path in glob.glob("/proc/[0-9]*/stat"):
        try:
            with open(path) as stat:
                pid, _, rest = stat.read().partition(" (")
        except OSError:
            continue  # it has ended
        state, parent = rest.rpartition(") ")[2].split()[:2]
        if int(pid) in pids or int(parent) in pids:
            found[int(pid)] = state
    return found


class RedisServer(Server):
    """A redis-server that keeps nothing."""

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def options(self) -> list[str]:
        of_memory = ["--save", "", "--appendonly", "no"]
        return ["--port", str(self.port), "--bind", "127.0.0.1", *of_memory, "--dir", self.directory]

    def hello(self) -> tuple[bytes, bytes]:
        return b"PING\r\n", b"+PONG"


class PostgresServer(Server):
    """A PostgreSQL that trusts everybody on loopback; it refuses to be run by root, so root runs it as `postgres`."""

    def __init__(self, program: str, directory: str, user: str | None) -> None:
        super().__init__(program, directory)
        self.user = user
        initdb = [os.path.join(os.path.dirname(program), "initdb"), "-D", "data", "-U", "postgres"]
        subprocess.run(
            [*initdb, "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync"],
            cwd=directory,
            check=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            **as_user(user),
        )

    def options(self) -> list[str]:
        here = ["-D", os.path.join(self.directory, "data"), "-p", str(self.port)]
        return [*here, "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=", "-c", "fsync=off"]

    def hello(self) -> tuple[bytes, bytes]:
        asked = b"user\0postgres\0\0"
        return struct.pack("!II", len(asked) + 8, 3 << 16) + asked, b"R"  # protocol 3.0; R: authentication


class RabbitServer(Server):
    """A RabbitMQ, with a port mapper of its own, so that it meets no other one and leaves none behind."""

    patience = 120.0

    def __init__(self, program: str, directory: str) -> None:
        super().__init__(program, directory)
        self._nodes, self._mapped = self.hold_port(), self.hold_port()
        self._mapper: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"amqp://guest:guest@127.0.0.1:{self.port}//"

    def environment(self) -> dict[str, str]:
        here = self.directory
        return {
            "HOME": here, "ERL_EPMD_PORT": str(self._mapped), "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": "test@localhost", "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port), "RABBITMQ_DIST_PORT": str(self._nodes),
            "RABBITMQ_MNESIA_BASE": f"{here}/data", "RABBITMQ_LOG_BASE": f"{here}/log",
            "RABBITMQ_PID_FILE": f"{here}/pid", "RABBITMQ_ENABLED_PLUGINS_FILE": f"{here}/plugins",
            "RABBITMQ_CONFIG_FILE": f"{here}/conf", "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-start_epmd false +S 1:1",
        }  # fmt: skip

    def options(self) -> list[str]:
        return []

    def hello(self) -> tuple[bytes, bytes]:
        return b"AMQP\0\0\x09\x01", b"\x01"  # a frame with a method

    def start(self) -> None:
        with open(os.path.join(self.directory, "plugins"), "w") as file:
            file.write("[].\n")
        if self._mapper is None:
            self._mapper = subprocess.Popen(["epmd", "-address", "127.0.0.1", "-port", str(self._mapped)])
        super().start()

    def end(self) -> None:
        super().end()
        if self._mapper is not None:
            self._mapper.kill()
            self._mapper.wait()


def as_user(user: str | None) -> dict[str, Any]:
    """Return what lets `subprocess` run a program as that user."""
    return {} if user is None else {"user": user, "group": user, "extra_groups": []}


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
        server.end()


@pytest.fixture(scope="module")
def make_rabbit(tmp_path_factory):
    """Return a function that makes a RabbitMQ, not started yet; all are stopped at the end of the module."""
    # that on the PATH of Debian's changes the user
    found = shutil.which("rabbitmq-server", path=f"/usr/lib/rabbitmq/bin:{os.environ.get('PATH', '')}")
    if found is None or shutil.which("epmd") is None:
        pytest.skip("RabbitMQ's server is not installed")
    made: list[RabbitServer] = []

    def make() -> RabbitServer:
        made.append(RabbitServer(found, str(tmp_path_factory.mktemp("rabbit"))))
        return made[-1]

    yield make
    for server in made:
        server.end()


@pytest.fixture(scope="session")
def postgres_program():
    """Return the path of the newest PostgreSQL's server, or skip."""
    packaged = sorted(
        glob.glob("/usr/lib/postgresql/*/bin/postgres"),  # where Debian has it, beside the PATH
        key=lambda path: [int(number) for number in re.findall(r"\d+", path)],
    )
    found = shutil.which("postgres") or (packaged[-1] if packaged else None)
    if found is None:
        pytest.skip("PostgreSQL's server is not installed")
    return found


@pytest.fixture(scope="module")
def make_postgres(postgres_program):
    """Return a function that makes a PostgreSQL, not started yet; all are stopped at the end of the module."""
    user = "postgres" if os.geteuid() == 0 else None
    made: list[PostgresServer] = []
    with tempfile.TemporaryDirectory() as above:  # not pytest's own: only root may enter that
        if user is not None:
            os.chmod(above, 0o711)

        def make() -> PostgresServer:
            directory = tempfile.mkdtemp(dir=above)
            if user is not None:
                shutil.chown(directory, user, user)
            made.append(PostgresServer(postgres_program, directory, user))
            return made[-1]

        yield make
        for server in made:
            server.end()
