"""The example host application as real processes: a web server and Celery workers, ended with their whole groups."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

import lazyguard

EXAMPLE = Path(__file__).resolve().parents[3] / "docs" / "examples" / "mediahost"
SOURCES = str(Path(lazyguard.__file__).resolve().parents[1])
LIMIT = 40.0
"""Seconds that anything here may take; what takes longer will not come."""

SERVE = """
from werkzeug.serving import make_server
from core.wsgi import application
server = make_server("127.0.0.1", 0, application, threaded=True)
print(server.port, flush=True)
server.serve_forever()
"""


@pytest.fixture(scope="session")
def checks():
    """Return the example's checks.py as a module."""
    sys.path.insert(0, str(EXAMPLE))
    try:
        spec = importlib.util.spec_from_file_location("mediahost_checks", EXAMPLE / "checks.py")
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(EXAMPLE))
    return module


@pytest.fixture(scope="session")
def example():
    """Return the directory of the example."""
    return EXAMPLE


@pytest.fixture(scope="session")
def child_environment():
    """Return the function that makes a child's environment."""
    return environment


def environment(**settings: str) -> dict[str, str]:
    """The environment of a child in which lazyguard is found."""
    path = os.pathsep.join(filter(None, [SOURCES, os.environ.get("PYTHONPATH")]))
    return {**os.environ, "PYTHONPATH": path, **settings}


class Program:
    """One installation of the program: its settings, its data, its processes."""

    def __init__(self, directory: Path, redis_url: str, broker_url: str = "", side: str = "after") -> None:
        self.directory = directory
        self.path = EXAMPLE / side
        self.env = environment(
            MEDIAHOST_REDIS_URL=redis_url,
            MEDIAHOST_BROKER_URL=broker_url or redis_url,
            MEDIAHOST_DATA_DIR=str(directory),
            MEDIAHOST_DATABASE_URL=f"sqlite:///{directory}/mediahost.db",
        )
        self.processes: list[subprocess.Popen[str]] = []
        self.port = 0

    def recording(self, name: str, *sentences: str) -> str:
        """Write captions; the path of the recording."""
        lines = ["WEBVTT", ""]
        for at, sentence in enumerate(sentences):
            lines += [f"00:{at:02}.000 --> 00:{at + 1:02}.000", sentence, ""]
        path = self.directory / name
        path.write_text("\n".join(lines), encoding="utf-8")
        return str(path)

    def _start(self, log: str, *arguments: str) -> subprocess.Popen[str]:
        with open(self.directory / log, "w", encoding="utf-8") as file:
            process = subprocess.Popen(
                [sys.executable, *arguments],
                cwd=self.path,
                env=self.env,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE if log == "web.log" else file,
                stderr=file,
                text=True,
                start_new_session=True,
            )
        self.processes.append(process)
        return process

    def start_web(self) -> subprocess.Popen[str]:
        process = self._start("web.log", "-c", SERVE)
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.strip().isdigit(), self.log("web.log")
        self.port = int(line)
        return process

    def start_worker(self) -> subprocess.Popen[str]:
        quiet = ("--without-mingle", "--without-gossip", "--without-heartbeat")
        process = self._start(
            "worker.log",
            *("-m", "celery", "-A", "core.tasks", "worker", "-P", "prefork", "-c", "2", "-l", "INFO", *quiet),
        )
        self.wait(lambda: "ready." in self.log("worker.log"))
        return process

    def log(self, name: str) -> str:
        return (self.directory / name).read_text(encoding="utf-8", errors="replace")

    def request(self, path: str, body: object = None, method: str = "") -> tuple[int, str]:
        """Status and text of the web server's answer."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}",
            data=data,
            headers={"Content-Type": "application/json"},
            method=method or ("GET" if body is None else "POST"),
        )
        try:
            with urllib.request.urlopen(request, timeout=LIMIT) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def json(self, path: str) -> dict[str, object]:
        status, text = self.request(path)
        assert status == 200, text
        return json.loads(text)

    def run(self, code: str) -> str:
        """What the lines print in a process of their own."""
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=self.path,
            env=self.env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=LIMIT,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def wait(self, condition, limit: float = LIMIT) -> None:
        """Wait for what another process does, which tells nobody when it is done."""
        until = time.monotonic() + limit
        while not condition():
            for process in self.processes:
                assert process.poll() is None, f"a process ended: {process.args}"
            assert time.monotonic() < until, "it did not happen"
            time.sleep(0.05)

    def end(self) -> None:
        for process in self.processes:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            if process.stdout is not None:
                process.stdout.close()
        self.processes.clear()


@pytest.fixture(scope="module")
def make_program(tmp_path_factory):
    """Return a function that makes an installation of the program; its processes end with the module."""
    made: list[Program] = []

    def make(redis_url: str, **options: str) -> Program:
        made.append(Program(tmp_path_factory.mktemp("mediahost"), redis_url, **options))
        return made[-1]

    yield make
    for program in made:
        program.end()
