"""A run of one example, `python -m tests.benchmarks.soak.seen EXAMPLE SECONDS SEED HARSH FILE`: what was seen, as JSON.

What is seen: each request by its client; once a second each worker's memory, threads and descriptors, by /proc; the
notes of `served`; the faults as they were. Lines of JSON on standard output tell how far it is.

How late a request was has three parts. `late` is what its client itself was late meanwhile: the sum of what a task that
sleeps for 10 ms overslept. `waited` is what the threads of its worker waited for a processor meanwhile (schedstat, read
every 50 ms). The rest is what the program took. A busy machine makes the first two large, lazyguard the third.

Invariant: nothing that it has started outlives it, whether it ends, fails, is interrupted, or loses its parent.
"""

from __future__ import annotations

import asyncio
import bisect
import json
import os
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from tests.benchmarks.soak.examples import KINDS, Example
from tests.benchmarks.soak.faults import Trouble, schedule

DEADLINE, CONNECTIONS, PACE = 0.5, 8, 0.2  # each connection asks five times a second
PATIENCE = 20.0
CALM = 20.0
PAGE = os.sysconf("SC_PAGE_SIZE")


class Samples:
    """Of all processes that have answered: once a second memory, threads, descriptors; their waits more often."""

    def __init__(self) -> None:
        self.pids: set[int] = set()
        self.taken: list[dict[str, Any]] = []
        self._waits: dict[int, tuple[list[float], list[float]]] = {}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def end(self) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        due = time.monotonic()
        while not self._over.wait(0.05):
            now = time.monotonic()
            for pid in sorted(self.pids):
                times, waits = self._waits.setdefault(pid, ([], []))
                times.append(now)
                waits.append(waited(pid))
            if now >= due:
                due = now + 1.0
                self.taken += [{"at": now, "pid": pid, **measured(pid)} for pid in sorted(self.pids)]

    def between(self, pid: int, begin: float, end: float) -> float:
        """Return what the threads of a process have waited for a processor then."""
        times, waits = self._waits.get(pid, ([], []))
        if not times:
            return 0.0
        first = max(0, bisect.bisect_right(times, begin) - 1)
        last = min(len(times) - 1, bisect.bisect_left(times, end))
        return max(0.0, waits[last] - waits[first])


def waited(pid: int) -> float:
    """Return how many seconds the threads of a process have waited for a processor."""
    total = 0
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/schedstat", "rb") as stat:
                total += int(stat.read().split()[1])
    except (OSError, IndexError):
        pass
    return total / 1e9


def measured(pid: int) -> dict[str, int]:
    """Return memory in bytes, threads and descriptors of a process; nothing where it has ended."""
    try:
        with open(f"/proc/{pid}/statm", "rb") as statm:
            rss = int(statm.read().split()[1]) * PAGE
        return {
            "rss": rss,
            "threads": len(os.listdir(f"/proc/{pid}/task")),
            "descriptors": len(os.listdir(f"/proc/{pid}/fd")),
        }
    except (OSError, IndexError):
        return {}


class Clients:
    """Several connections' worth of clients, each with a pace; each request on a connection of its own."""

    def __init__(self, example: Example, samples: Samples) -> None:
        self.example, self.samples = example, samples
        self.seen: list[tuple[float, float, str, str, int, float]] = []  # begin, seconds, status, path, worker, its own
        self._late: tuple[list[float], list[float]] = ([], [])  # when, and the sum until then

    async def run(self, until: float) -> None:
        """Ask until then."""
        watch = asyncio.ensure_future(self._watch())
        await asyncio.gather(*(self._one(number, until) for number in range(CONNECTIONS)))
        watch.cancel()

    def late(self, begin: float, end: float) -> float:
        """Return how late the client itself was in that time."""
        times, sums = self._late
        first, last = bisect.bisect_left(times, begin), bisect.bisect_right(times, end + 0.02)
        return (sums[last - 1] if last else 0.0) - (sums[first - 1] if first else 0.0)

    async def _watch(self) -> None:
        total = 0.0
        while True:
            due = time.monotonic() + 0.01
            await asyncio.sleep(0.01)
            over = time.monotonic() - due
            if over > 0.002:
                total += over
                self._late[0].append(time.monotonic())
                self._late[1].append(total)

    async def _one(self, number: int, until: float) -> None:
        due = time.monotonic() + number * PACE / CONNECTIONS
        turn = 0
        while due < until:
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            turn += 1
            path = self.example.path(number, turn)
            began = time.monotonic()
            status, worker, own = await self._ask(path)
            self.seen.append((began, time.monotonic() - began, status, path, worker, own))
            if worker:
                self.samples.pids.add(worker)
            due = max(due + PACE, time.monotonic() - PACE)

    async def _ask(self, path: str) -> tuple[str, int, float]:
        """Return status, the worker's number, and the seconds there; for a status the error, where there is none."""
        asked = f"GET {path} HTTP/1.1\r\nHost: soak\r\nX-Request-Timeout: {DEADLINE}\r\nConnection: close\r\n\r\n"
        try:
            answer = await asyncio.wait_for(self._exchange(asked.encode()), PATIENCE)
        except (OSError, TimeoutError, asyncio.TimeoutError) as error:
            return type(error).__name__, 0, 0.0
        head = answer.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")
        if not head[0].startswith("HTTP/1.1 "):
            return "nothing", 0, 0.0
        named = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:])}
        worker, _, own = named.get("x-worker", "0 0").partition(" ")
        return head[0].split(" ")[1], int(worker), float(own)

    async def _exchange(self, asked: bytes) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.example.web.port)
        try:
            writer.write(asked)
            return await reader.read(-1)
        finally:
            writer.close()


class Run:
    """One run, with its parts: calm until `failing`, failures for `seconds`, calm again until `end`."""

    def __init__(self, name: str, seconds: float, seed: int, harsh: bool, home: Path) -> None:
        self.example = KINDS[name](home)
        self.seconds, self.seed, self.harsh, self.home = seconds, seed, harsh, home
        self.samples = Samples()
        self.clients = Clients(self.example, self.samples)
        self.faults: list[Any] = []

    def go(self) -> dict[str, Any]:
        """Run it, and return what was seen; times are seconds since the first failure may be."""
        self.example.start()
        zero = time.monotonic() + CALM
        end = self.seconds + self.example.recovery + CALM
        faults = schedule(self.seed, self.example.name, self.example.needed, self.seconds, self.harsh)
        trouble = Trouble(self.example.servers, faults, zero, self.seed)
        parent = os.getppid()

        async def all_of_it() -> None:
            task = asyncio.ensure_future(self.clients.run(zero + end))
            while not task.done():
                await asyncio.wait([task], timeout=5.0)
                self._tell(time.monotonic() - zero, end)
                if trouble.errors:
                    raise trouble.errors[0]
                if os.getppid() != parent:
                    raise SystemExit("the parent has gone")
            await task

        try:
            trouble.start()
            asyncio.run(all_of_it())
        finally:
            trouble.end()
        return self._seen(zero, end, trouble)

    def _tell(self, at: float, end: float) -> None:
        seen = self.clients.seen
        slow = sum(one[1] > DEADLINE + 0.05 for one in seen)
        last = self.samples.taken[-len(self.samples.pids) :] if self.samples.pids else []
        memory = max((one.get("rss", 0) for one in last), default=0)
        told = {"at": at, "end": end, "requests": len(seen), "slow": slow, "memory": memory}
        print(json.dumps({"example": self.example.name, **told}), flush=True)

    def _seen(self, zero: float, end: float, trouble: Trouble) -> dict[str, Any]:
        self.samples.end()
        requests = []
        for at, took, status, path, worker, own in self.clients.seen:
            late = waits = 0.0
            if took > DEADLINE:
                late = self.clients.late(at, at + took)
                waits = self.samples.between(worker, at, at + took)
            requests.append([at - zero, took, status, path, worker, own, late, waits])
        notes: dict[str, list[dict[str, Any]]] = {}
        for file in (self.home / "notes").iterdir():
            lines = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines() if line.endswith("}")]
            notes[file.name] = [{**line, "at": line["at"] - zero} for line in lines]
        log = self.home / "log"
        return {
            "example": self.example.name, "seconds": self.seconds, "seed": self.seed, "harsh": self.harsh, "end": end,
            "recovery": self.example.recovery,
            "faults": [list(fault) for fault in sorted(trouble.done, key=lambda one: one.begin)],
            "requests": requests, "notes": notes,
            "samples": [{**one, "at": one["at"] - zero} for one in self.samples.taken],
            "log": log.read_text(encoding="utf-8", errors="replace")[-20_000:] if log.exists() else "",
        }  # fmt: skip


def main(arguments: list[str]) -> None:
    """Run, and write what was seen."""
    name, seconds, seed, harsh, file = arguments
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    with tempfile.TemporaryDirectory(prefix=f"soak-{name}-", ignore_cleanup_errors=True) as directory:
        home = Path(directory)
        home.chmod(0o711)  # PostgreSQL's user goes through it
        run = Run(name, float(seconds), int(seed), harsh == "harsh", home)
        try:
            found = run.go()
        finally:
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, signal.SIG_IGN)  # what ends is not interrupted
            run.example.end()
    Path(file).write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except KeyboardInterrupt:
        raise SystemExit(130) from None
