"""`make load-async`: the FastAPI example under uvicorn while its servers stand still, are killed and come back.

    python -m tests.benchmarks.load_async [SECONDS]

Two workers of uvicorn on uvloop; a real Redis, a real PostgreSQL and an HTTP server on loopback. Twelve connections of
an async client ask for a minute, each request for a tea that is in no cache, so that it touches all three. Each has
0.5 s, by its header. A connection asks so many times a second at the most: a shop that answers at once has no more work
then than one whose requests wait. What is printed is what the client saw, and how late the workers' loops were: beside
those of the same shop without lazyguard, which has the same minute before. Writes its section of docs/benchmarks.md and
docs/load-async.svg.
"""

from __future__ import annotations

import asyncio
import http.server
import os
import platform
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections import Counter
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from typing import Any

from tests.benchmarks.audit_packages import ROOT, put
from tests.benchmarks.load import draw, postgres_in
from tests.benchmarks.soak.supplier import Supplier
from tests.integration.conftest import RedisServer

EXAMPLE = ROOT / "docs" / "examples" / "fastapi"
DEADLINE, GRACE, CONNECTIONS, WORKERS, A_SECOND = 0.5, 0.05, 12, 2, 20
# Of the whole run: what is away, and from when.
PHASES = (
    ("all up", 0.0),
    ("Redis stopped", 0.1),
    ("all up again", 0.2),
    ("Redis killed", 0.3),
    ("supplier silent", 0.4),
    ("supplier flapping", 0.5),
    ("PostgreSQL stopped", 0.6),
    ("PostgreSQL killed", 0.7),
    ("all up in the end", 0.8),
)


class SilentSupplier(Supplier):
    """Answers with a price, unless it is to be silent."""

    speaks = threading.Event()

    def do_GET(self) -> None:
        self.speaks.wait()
        super().do_GET()


async def client(url: str, until: float, number: int, seen: list[tuple[float, float, str]]) -> None:
    """Ask one question after another over one connection, and note when, how long and what came."""
    import httpx

    asked = 0
    limits = httpx.Limits(max_connections=1)
    async with httpx.AsyncClient(base_url=url, timeout=20.0, limits=limits) as connection:
        while (began := time.monotonic()) < until:
            asked += 1
            try:
                path = f"/teas/{number}-{asked}"
                answer = await connection.get(path, headers={"X-Request-Timeout": str(DEADLINE)})
                told = str(answer.status_code)
            except httpx.HTTPError as error:
                told = type(error).__name__
            seen.append((began, time.monotonic() - began, told))
            await asyncio.sleep(began + 1 / A_SECOND - time.monotonic())


def until_ready(url: str) -> None:
    """Wait until it answers."""
    until = time.monotonic() + 60.0
    while True:
        try:
            with urllib.request.urlopen(f"{url}/startupz", timeout=5.0):
                return
        except OSError:
            assert time.monotonic() < until, "it does not answer"
            time.sleep(0.1)


def flap(until: float) -> None:
    """Let the supplier be silent and speak in turns."""
    while time.monotonic() < until:
        SilentSupplier.speaks.clear()
        time.sleep(0.3)
        SilentSupplier.speaks.set()
        time.sleep(0.3)


def away(postgres: Any, redis: Any, begin: float, seconds: float) -> None:
    """Let the servers go and come, by the phases."""
    for (name, share), (_, end) in pairwise((*PHASES[1:], ("", 1.0))):
        time.sleep(max(0.0, begin + share * seconds - time.monotonic()))
        SilentSupplier.speaks.set()
        if name == "Redis stopped":
            redis.freeze()
        elif name == "all up again":
            redis.thaw()
        elif name == "Redis killed":
            redis.stop()
        elif name == "supplier silent":
            redis.start()
            SilentSupplier.speaks.clear()
        elif name == "supplier flapping":
            flap(begin + end * seconds - 0.6)
        elif name == "PostgreSQL stopped":
            postgres.freeze()
        elif name == "PostgreSQL killed":
            postgres.stop()
        else:
            postgres.start()


def run(shop: str, seconds: float, home: Path) -> tuple[float, list[tuple[float, float, str]]]:
    """Return when it began, and what the client saw; the workers' notes of their loops are left in `lag`."""
    for name in ("redis", "postgres", "lag"):
        (home / name).mkdir()
    redis = RedisServer(str(shutil.which("redis-server")), str(home / "redis"))
    postgres = postgres_in(home / "postgres")
    redis.start()
    postgres.start()
    SilentSupplier.speaks.set()
    supplier = http.server.ThreadingHTTPServer(("127.0.0.1", 0), SilentSupplier)
    supplier.handle_error = lambda *_: None  # type: ignore[method-assign]  # its clients have gone
    threading.Thread(target=supplier.serve_forever, daemon=True).start()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "src"), str(EXAMPLE)]),
        "SHOP": shop,
        "LAG": str(home / "lag"),
        "DATABASE": f"postgresql://postgres@127.0.0.1:{postgres.port}/postgres",
        "CACHE": redis.url,
        "SUPPLIER": f"http://127.0.0.1:{supplier.server_port}",
    }
    served = subprocess.Popen(
        [sys.executable, "-m", "uvicorn", "tests.benchmarks.loop_lag:app", "--port", str(port), "--workers",
         str(WORKERS), "--loop", "uvloop", "--log-level", "critical"],
        env=environment, start_new_session=True, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    seen: list[tuple[float, float, str]] = []
    try:
        url = f"http://127.0.0.1:{port}"
        until_ready(url)
        asyncio.run(client(url, time.monotonic() + 5.0, 999, []))  # until both workers are warm
        begin = time.monotonic()
        thread = threading.Thread(target=away, args=(postgres, redis, begin, seconds))
        thread.start()

        async def crowd() -> None:
            await asyncio.gather(*(client(url, begin + seconds, number, seen) for number in range(CONNECTIONS)))

        asyncio.run(crowd())
        thread.join()
    finally:
        os.killpg(served.pid, signal.SIGKILL)
        served.wait()
        supplier.shutdown()
        redis.end()
        postgres.end()
    return begin, seen


def lags(home: Path) -> list[float]:
    """Return how late the workers' loops were, in milliseconds, least first."""
    found: list[float] = []
    for notes in (home / "lag").iterdir():
        loop, *late = notes.read_text(encoding="utf-8").splitlines()
        assert loop.startswith("uvloop"), loop
        found += [1000 * float(one) for one in late if one]
    return sorted(found)


def section(begin: float, seen: list[tuple[float, float, str]], seconds: float, late: dict[str, Any]) -> list[str]:
    """Return the lines of the page."""
    names = ", ".join(
        f"{name} {version(name)}" for name in ("uvloop", "uvicorn", "fastapi", "asyncpg", "redis", "httpx")
    )
    lines = [
        "## The FastAPI example while its servers are away",
        "",
        f"CPython {platform.python_version()}, {WORKERS} workers of uvicorn, {CONNECTIONS} connections, each of which "
        f"asks {A_SECOND} times a second at the most, {seconds:g} s, client and servers on {os.cpu_count()} "
        f"processors; {names}. Each request has {DEADLINE} s. Made by `make load-async`. A request without PostgreSQL "
        "has no fallback; 503 is its answer.",
        "",
        "| | requests a second | answered with | median, ms | 99 %, ms | longest, ms | beyond the deadline + 50 ms |",
        "|---|---|---|---|---|---|---|",
    ]
    for (name, share), (_, end) in zip(PHASES, (*PHASES[1:], ("", 1.0)), strict=True):
        of = [one for one in seen if share * seconds <= one[0] - begin < end * seconds]
        took = sorted(1000 * one[1] for one in of) or [0.0]
        told = ", ".join(f"{code} {number}" for code, number in sorted(Counter(one[2] for one in of).items()))
        beyond = sum(one > 1000 * (DEADLINE + GRACE) for one in took)
        rate = len(of) / ((end - share) * seconds)
        ninety_nine = took[int(0.99 * (len(took) - 1))]
        figures = f"{took[len(took) // 2]:.0f} | {ninety_nine:.0f} | {took[-1]:.0f}"
        lines.append(f"| {name} | {rate:.0f} | {told} | {figures} | {beyond} |")
    back = PHASES[-1][1] * seconds
    refused = [at - begin - back for at, _, told in seen if told != "200" and at - begin >= back]
    lines += [
        "",
        f"The last refusal came {max(refused, default=0.0):.2f} s after all servers were up again. How late the loops "
        "of the workers were, in milliseconds:",
        "",
        "| | median | 99 % | 99.9 % | longest |",
        "|---|---|---|---|---|",
    ]
    for name, of in late.items():
        shares = (0.5, 0.99, 0.999, 1.0)
        lines.append(f"| {name} | " + " | ".join(f"{of[int(share * (len(of) - 1))]:.1f}" for share in shares) + " |")
    return [*lines, "", "![Requests over time](load-async.svg)", ""]


def plot(begin: float, seen: list[tuple[float, float, str]], seconds: float, file: Path) -> None:
    """Draw what each request took, over time, and what was away meanwhile."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    matplotlib.rcParams.update({"svg.hashsalt": "lazyguard", "svg.fonttype": "none"})
    figure, axes = pyplot.subplots(figsize=(9, 3.6))
    for index, ((name, share), (_, end)) in enumerate(pairwise((*PHASES, ("", 1.0)))):
        axes.axvspan(share * seconds, end * seconds, color="#ffffff" if index % 2 else "#f0ece2", zorder=0)
        axes.text((share + end) / 2 * seconds, 1.1, name.replace(" ", "\n", 1), ha="center", fontsize=7, va="top")
    draw(axes, [(at - begin, took) for at, took, _ in seen], DEADLINE)
    axes.set(xlim=(0, seconds), ylim=(5e-4, 1.3))
    axes.legend(loc="lower right", fontsize=7)
    figure.tight_layout()
    figure.savefig(file, metadata={"Date": None})


def main(arguments: list[str]) -> None:
    """Run, and write the page's section."""
    seconds = float(arguments[0]) if arguments else 60.0
    late: dict[str, list[float]] = {}
    for name, shop in (("without lazyguard", "tests.benchmarks.plain_teas:app"), ("with lazyguard", "teas:app")):
        with tempfile.TemporaryDirectory(prefix="load-async-") as home:
            begin, seen = run(shop, seconds, Path(home))
            late[name] = lags(Path(home))
    lines = section(begin, seen, seconds, late)
    print("\n".join(lines))
    if not arguments:
        put("load-async", lines)
        plot(begin, seen, seconds, ROOT / "docs" / "load-async.svg")


if __name__ == "__main__":
    main(sys.argv[1:])
