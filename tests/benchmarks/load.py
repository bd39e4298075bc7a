"""`make load`: mediahost's `after` under gunicorn and wrk while its Redis stands still, is silent, is killed.

    python -m tests.benchmarks.load [SECONDS]

Two workers of eight threads, a real Redis and a real PostgreSQL on loopback, eight connections of wrk for a minute.
Each request has a deadline; three in four ask for a preview (Redis, which has a fallback), one for the list of meetings
(PostgreSQL). What the client waited is wrk's; what each request took, and who answered it, each worker writes down.
Writes its section of docs/benchmarks.md and docs/load.svg.
"""

from __future__ import annotations

import json
import os
import platform
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from tests.benchmarks.audit_packages import ROOT, put
from tests.integration.conftest import PostgresServer, RedisServer

AFTER = ROOT / "docs" / "examples" / "mediahost" / "after"
DEADLINE, GRACE = 0.5, 0.05
RECOVERY = 5.0  # core.services.SOON.maximum
# Of the whole run: what happens to Redis, and when.
PHASES = (("up", 0.0), ("stopped", 0.12), ("up", 0.3), ("silent", 0.38), ("killed", 0.55), ("up", 0.72))

# What gunicorn serves: the program, under a deadline, and a line for each request: when it began, how long it took, its
# status, and who answered.
WSGI = f"""
import os
import time

import lazyguard
from core import wsgi
from core.services import get_transcription_service

log = None


def application(environ, start_response):
    global log
    log = log or open(f"requests-{{os.getpid()}}.log", "a", buffering=1)
    began, clock, told = time.time(), time.perf_counter(), []

    def start(status, headers, *rest):
        told.append(status[:3])
        return start_response(status, headers, *rest)

    with lazyguard.deadline({DEADLINE}):
        body = list(wsgi.application(environ, start))
    served = "fallback" if lazyguard.is_fallback(get_transcription_service) else "real"
    log.write(f"{{began}} {{time.perf_counter() - clock}} {{told[-1]}} {{served}} {{os.getpid()}}\\n")
    return body
"""
TABLES = """
from core.database import init_db, transaction
from core.models import Meeting

init_db()
with transaction() as session:
    session.add(Meeting(title="talk", recording="talk.vtt"))
"""
MIX = """
local turn = 0
request = function()
  turn = turn + 1
  if turn % 4 == 0 then return wrk.format("GET", "/admin/meetings") end
  return wrk.format("GET", "/admin/meetings/1/preview")
end
done = function(summary, latency, requests)
  io.write(string.format('FIGURES {"requests": %d, "errors": %d, "status": %d, "p50": %f, "p99": %f, "max": %f}\\n',
    summary.requests, summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout,
    summary.errors.status, latency:percentile(50) / 1e6, latency:percentile(99) / 1e6, latency.max / 1e6))
end
"""


class Request(NamedTuple):
    """When it began since the start, seconds, status, who answered, in which worker."""

    at: float
    seconds: float
    status: int
    served: str
    worker: str


class Redis:
    """The Redis of the run, and what stands in its place at the same port."""

    def __init__(self, directory: str) -> None:
        self.server = RedisServer("redis-server", directory)
        self.listener: socket.socket | None = None

    def become(self, phase: str) -> None:
        if self.listener is not None:
            self.listener.close()
            self.listener = None
        if phase == "stopped":
            self.server.freeze()
        elif phase == "silent":
            self.server.stop()
            self.listener = socket.socket()
            self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self.listener.bind(("127.0.0.1", self.server.port))
            self.listener.listen(512)
        elif phase == "killed":
            self.server.stop()
        elif self.server.process is None:
            self.server.start()
        else:
            self.server.thaw()


def get(port: int, path: str) -> bytes:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
        return bytes(answer.read())


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def wait_for(port: int, log: Path) -> None:
    until = time.monotonic() + 30
    while True:
        try:
            get(port, "/health")
            return
        except OSError as error:
            if time.monotonic() > until:
                raise SystemExit(f"the program does not come up: {error}; {log.read_text()[-3000:]}") from error
            time.sleep(0.05)


def run(seconds: float, home: Path) -> dict[str, Any]:
    """Run it once, and return what was seen."""
    (home / "redis").mkdir()
    (home / "postgres").mkdir()
    (home / "app.py").write_text(WSGI)
    (home / "mix.lua").write_text(MIX)
    (home / "talk.vtt").write_text("WEBVTT\n\n1\n00:00.000 --> 00:01.000\nGood morning to all of you.\n")
    redis, port = Redis(str(home / "redis")), free_port()
    postgres = postgres_in(home / "postgres")
    gunicorn = None
    try:
        redis.server.start()
        postgres.start()
        env = os.environ | {
            "MEDIAHOST_REDIS_URL": redis.server.url,
            "MEDIAHOST_DATABASE_URL": f"postgresql+psycopg://postgres@127.0.0.1:{postgres.port}/postgres",
            "MEDIAHOST_DATA_DIR": str(home),
            "PYTHONPATH": f"{AFTER}:{home}",
        }
        # Once: two workers that make the same tables at the same moment disturb each other.
        subprocess.run([sys.executable, "-c", TABLES], cwd=home, env=env, check=True)
        command = ["-m", "gunicorn", "app:application", "--workers", "2", "--threads", "8", "--keep-alive", "75"]
        command += ["--bind", f"127.0.0.1:{port}", "--reuse-port", "--log-level", "error"]
        errors = (home / "errors.log").open("wb")
        gunicorn = subprocess.Popen([sys.executable, *command], cwd=home, env=env, stderr=errors, stdout=errors)
        wait_for(port, home / "errors.log")
        time.sleep(10.0)  # what both workers preload in the background is loaded
        return driven(redis, port, home, seconds)
    finally:
        if gunicorn is not None:
            gunicorn.send_signal(signal.SIGTERM)
            gunicorn.wait(20)
        for server in (redis.server, postgres):
            server.stop()


def postgres_in(directory: Path) -> PostgresServer:
    """Return a PostgreSQL of this directory, not started yet."""
    import glob
    import shutil

    found = sorted(glob.glob("/usr/lib/postgresql/*/bin/postgres")) or [shutil.which("postgres") or "postgres"]
    user = "postgres" if os.geteuid() == 0 else None
    if user is not None:
        shutil.chown(directory, user)
        for above in directory.parents:
            if above.stat().st_uid == os.geteuid() and str(above).startswith(tempfile.gettempdir() + "/"):
                above.chmod(0o755)
    return PostgresServer(found[-1], str(directory), user)


def driven(redis: Redis, port: int, home: Path, seconds: float) -> dict[str, Any]:
    """Let wrk ask while Redis changes."""
    wrk = ["wrk", "-t1", "-c8", f"-d{seconds:.0f}s", "--timeout", "20s", "--latency", "-s", str(home / "mix.lua")]
    began = time.time()
    phases: list[tuple[str, float]] = [("up", 0.0)]

    def change() -> None:
        for phase, share in PHASES[1:]:
            time.sleep(max(0.0, began + share * seconds - time.time()))
            redis.become(phase)
            phases.append((phase, time.time() - began))

    changes = threading.Thread(target=change, daemon=True)
    changes.start()
    done = subprocess.run([*wrk, f"http://127.0.0.1:{port}"], capture_output=True, text=True, check=True)
    changes.join()
    figures = re.search(r"FIGURES (.*)", done.stdout)
    assert figures is not None, done.stdout
    return {"client": json.loads(figures[1]), "phases": phases, "requests": read(home, began)}


def read(home: Path, began: float) -> list[Request]:
    """Return the requests that the workers wrote down since then."""
    found: list[Request] = []
    for log in home.glob("requests-*.log"):
        for line in log.read_text().splitlines():
            at, took, status, served, worker = line.split(" ")
            found.append(Request(float(at) - began, float(took), int(status), served, worker))
    return sorted(request for request in found if request.at >= 0)


def recovered(requests: list[Request], back: float) -> dict[str, float]:
    """Return, for each worker, after how many seconds of Redis being back it answered with the real service."""
    found: dict[str, float] = {}
    degraded = {request.worker for request in requests if request.served == "fallback" and request.at < back}
    for request in requests:
        if request.worker in degraded and request.at >= back and request.served == "real":
            found.setdefault(request.worker, request.at - back)
    return found


def section(seen: dict[str, Any], seconds: float) -> list[str]:
    """Return the section of the page."""
    client, requests = seen["client"], seen["requests"]
    limit = DEADLINE + GRACE
    late = sum(request.seconds > limit for request in requests)
    failed = sum(request.status >= 500 for request in requests)
    backs = [at for phase, at in seen["phases"][1:] if phase == "up"]
    workers = {request.worker for request in requests}
    longest = max(request.seconds for request in requests)
    waits = ", ".join(f"{client[name]:.3f} s" for name in ("p50", "p99", "max"))
    names = ", ".join(f"{name} {version(name)}" for name in ("gunicorn", "redis", "SQLAlchemy", "Flask"))
    lines = [
        "## mediahost under load while its Redis fails",
        "",
        f"CPython {platform.python_version()}, {os.cpu_count()} processors for gunicorn (2 workers of 8 threads), wrk "
        f"(8 connections, {seconds:.0f} s), redis-server and PostgreSQL together; {names}. Each request has a deadline "
        f"of {DEADLINE} s; three in four need Redis, and have a fallback; one in four needs PostgreSQL. Redis stood "
        "still (SIGSTOP), was silent (accepted connections, never answered), was killed, and came back.",
        "",
        "| | measured | goal |",
        "|---|---|---|",
        f"| requests | {client['requests']} | |",
        f"| failed with 5xx, or without an answer | {failed + client['errors']} | 0 |",
        f"| the longest request, in the worker | {longest:.3f} s | {limit:.2f} s |",
        f"| requests longer than that | {late} | 0 |",
        f"| the client's wait: median, 99 %, longest | {waits} | |",
    ]
    for back in backs:
        took = recovered(requests, back)
        text = ", ".join(f"{value:.2f}" for value in sorted(took.values()))
        lines.append(
            f"| workers back after Redis came back at {back:.0f} s, seconds | {text} | each below {RECOVERY} |"
        )
    lines += ["", f"{len(workers)} workers answered. Over time:", "", "![Requests over time](load.svg)"]
    return lines


def draw(
    axes: Any,
    requests: list[tuple[float, float]],
    deadline: float,
    width: float = 0.25,
    of: str = "a quarter of a second",
) -> None:
    """Draw what requests took that began at these seconds, and their deadline; a point for each `width` seconds."""
    bins: dict[int, list[float]] = {}
    for at, took in requests:
        bins.setdefault(int(at // width), []).append(took)
    times = [index * width for index in sorted(bins)]
    axes.plot(times, [max(bins[index]) for index in sorted(bins)], label=f"longest in {of}", lw=1)
    axes.plot(times, [sorted(bins[i])[len(bins[i]) // 2] for i in sorted(bins)], label="median", lw=1)
    axes.axhline(deadline, ls=":", lw=1, color="black", label="deadline")
    axes.set(yscale="log", xlabel="seconds", ylabel="seconds a request")


def plot(seen: dict[str, Any], seconds: float, file: Path) -> None:
    """Draw what each request took, over time, and what Redis did meanwhile."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    matplotlib.rcParams["svg.hashsalt"] = "lazyguard"
    figure, axes = pyplot.subplots(figsize=(9, 3.6))
    phases = [*seen["phases"], ("", seconds)]
    colours = {"up": "#ffffff", "stopped": "#f3d9d6", "silent": "#f6e6c8", "killed": "#e3dcef"}
    for (phase, start), (_, end) in pairwise(phases):
        axes.axvspan(start, end, color=colours[phase], zorder=0)
        axes.text((start + end) / 2, 1.3, phase, ha="center", fontsize=8)
    draw(axes, [(request.at, request.seconds) for request in seen["requests"]], DEADLINE)
    axes.set(xlim=(0, seconds), ylim=(5e-4, 2))
    axes.legend(loc="lower right", fontsize=8)
    figure.tight_layout()
    figure.savefig(file, metadata={"Date": None})


def main(arguments: list[str]) -> None:
    """Run, and write the page's section."""
    seconds = float(arguments[0]) if arguments else 60.0
    with tempfile.TemporaryDirectory(prefix="load-") as home:
        seen = run(seconds, Path(home))
    lines = section(seen, seconds)
    print("\n".join(lines))
    if not arguments:
        put("load", lines)
        plot(seen, seconds, ROOT / "docs" / "load.svg")


if __name__ == "__main__":
    main(sys.argv[1:])
