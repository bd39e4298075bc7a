"""What trouble costs: a factory that hangs, callers at half-open, many services, a server's return; peers beside us."""

from __future__ import annotations

import threading
from collections.abc import Callable
from time import perf_counter
from typing import Any

from tests.benchmarks.rows import US, Row, fresh, installed

HANGING = """
import json, sys, threading, time
from time import perf_counter
{setup}
began, longest, met = perf_counter(), 0.0, {{}}
for _ in range({calls}):
    start = perf_counter()
    try:
        call()
    except BaseException as error:
        name = type(error).__name__
        met[name] = met.get(name, 0) + 1
    longest = max(longest, perf_counter() - start)
print(json.dumps([perf_counter() - began, longest, threading.active_count() - 1, met, time.time()]), flush=True)
"""
OURS = """
import lazyguard
@lazyguard.service(timeout=0.01, recovery=None)
def get():
    time.sleep(1000)
live = get()
def call():
    live.attribute
"""
HANGERS = {
    "lazyguard.service": ("lazyguard", OURS),
    "func_timeout": (
        "func_timeout",
        "import func_timeout\ndef call():\n    func_timeout.func_timeout(0.01, time.sleep, (1000,))\n",
    ),
    "nopanic": (
        "nopanic",
        "import nopanic\ncall = nopanic.timeout(0.01)(lambda: time.sleep(1000))\n",
    ),
    "concurrent.futures, a pool of 4": (
        "concurrent.futures",
        "from concurrent.futures import ThreadPoolExecutor\npool = ThreadPoolExecutor(4)\n"
        "def call():\n    pool.submit(time.sleep, 5).result(0.01)\n",
    ),
}


def hanging(quick: bool) -> list[Row]:
    """Return threads, the longest wait and the delay of the exit after many calls to what hangs."""
    import os
    import subprocess
    import sys
    import time

    calls = 50 if quick else 1000
    found: list[Row] = []
    title = f"{calls:,} calls to what hangs, each waits 10 ms"
    for name, (module, setup) in HANGERS.items():
        if not installed(module):
            continue
        program = HANGING.format(setup=setup, calls=calls)
        env = {**os.environ, "PYTHONWARNINGS": "ignore"}
        process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, env=env)
        assert process.stdout is not None
        import json

        _, longest, threads, _, ended = json.loads(process.stdout.readline())
        try:
            process.wait(15.0)
            delay = time.time() - ended
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            delay = float("inf")
        found.append(Row(f"{title}: threads left", name, threads, "threads"))
        found.append(Row(f"{title}: the longest wait of a caller", name, longest * 1000, "ms"))
        found.append(Row(f"{title}: until the process has ended", name, delay * 1000, "ms"))
    return found


CALLERS = 50


def _reached(guard: Callable[[Callable[[], None]], Callable[[], Any]], wait: float) -> int:
    """Return how many of the callers that come at half-open reach the dependency."""
    state = {"broken": True}
    reached: list[int] = []
    gate = threading.Event()

    def dependency() -> None:
        if state["broken"]:
            raise ConnectionError
        reached.append(1)
        gate.wait(10)
        raise ConnectionError

    call = guard(dependency)
    for _ in range(20):
        try:
            call()
        except Exception:
            pass
    state["broken"] = False
    threading.Event().wait(wait)  # until it is half-open
    barrier = threading.Barrier(CALLERS + 1)

    def use() -> None:
        barrier.wait()
        try:
            call()
        except Exception:
            pass

    threads = [threading.Thread(target=use) for _ in range(CALLERS)]
    for thread in threads:
        thread.start()
    barrier.wait()
    until = perf_counter() + 5
    while sum(thread.is_alive() for thread in threads) > len(reached) and perf_counter() < until:
        threading.Event().wait(0.01)
    gate.set()
    for thread in threads:
        thread.join()
    return len(reached)


def half_open(quick: bool) -> list[Row]:
    """Return how many of 50 callers reach a dependency at half-open."""
    import lazyguard

    guards: dict[str, Callable[[Callable[[], None]], Callable[[], Any]]] = {
        "lazyguard.guarded": lazyguard.guarded(breaker=lazyguard.Breaker(failure_threshold=5, open_time=0.5)),
    }
    if installed("circuitbreaker"):
        import circuitbreaker

        guards["circuitbreaker"] = circuitbreaker.CircuitBreaker(failure_threshold=5, recovery_timeout=0.5)
    if installed("pybreaker"):
        import pybreaker

        guards["pybreaker"] = pybreaker.CircuitBreaker(fail_max=5, reset_timeout=0.5)
    if installed("nopanic"):
        import nopanic

        guards["nopanic"] = nopanic.circuit_breaker(reset_timeout=0.5)
    if installed("pyresilience"):
        import pyresilience

        config = pyresilience.CircuitBreakerConfig(failure_threshold=5, recovery_timeout=0.5)
        guards["pyresilience"] = pyresilience.resilient(circuit_breaker=config)
    title = f"of {CALLERS} callers at half-open, how many reach the dependency"
    return [Row(title, name, _reached(guard, 0.7), "callers") for name, guard in guards.items()]


SCALE = """
import json, sys, threading, tracemalloc
from time import perf_counter, process_time
import lazyguard
count = int(sys.argv[1])
def declare(number):
    def make():
        raise ConnectionError
    get = lazyguard.service(name=f"s{number}", timeout=5.0, recovery=lazyguard.Recovery(initial=60, maximum=600))(make)
    get.fallback(lambda: [])
    return get
declare("first")().clear
lazyguard.health()
began = perf_counter()
services = [declare(number) for number in range(count)]
declared = (perf_counter() - began) / count
tracemalloc.start()
weighed = [declare(number) for number in range(count)]
weight = tracemalloc.get_traced_memory()[0] / count
tracemalloc.stop()
del weighed
began = perf_counter()
for get in services:
    get().clear
degraded = (perf_counter() - began) / count
peak = threading.active_count() - 1
began = perf_counter()
lazyguard.health()
seen = perf_counter() - began
until = perf_counter() + 5
while threading.active_count() > 2 and perf_counter() < until:
    threading.Event().wait(0.01)
idle = threading.active_count() - 1
began = process_time()
threading.Event().wait(1.0)
print(json.dumps([declared * 1e6, weight, degraded * 1e6, seen * 1000, idle, (process_time() - began) * 1000]))
"""


def scale(quick: bool) -> list[Row]:
    """Return how cost grows from one service to a thousand, all of them degraded and recovering."""
    found: list[Row] = []
    for count in (1, 10, 100) if quick else (1, 10, 100, 1000):
        values = fresh(SCALE, str(count))
        for (what, unit), value in zip(
            (
                ("a declaration", "us"),
                ("memory of one", "bytes"),
                ("the first use of one, to its fallback", "us"),
                ("health() of all", "ms"),
                ("threads while all wait for recovery", "threads"),
                ("processor time a second while all wait", "ms"),
            ),
            values,
            strict=True,
        ):
            found.append(Row(f"many services: {what}", f"{count:,} services", value, unit))
    return found


def _return() -> float:
    """Return the milliseconds from a dependency's return until its service is itself again."""
    import lazyguard

    state = {"up": False}

    @lazyguard.service(recovery=lazyguard.Recovery(initial=0.05, maximum=0.2))
    def get() -> list[int]:
        if not state["up"]:
            raise ConnectionError
        return [1]

    @get.fallback
    def _none() -> list[int]:
        return []

    back = threading.Event()
    undo = lazyguard.subscribe(lambda event: event.kind == "recovered" and back.set())
    assert len(get()) == 0
    threading.Event().wait(0.3)
    began = perf_counter()
    state["up"] = True
    assert back.wait(10)
    undo()
    return (perf_counter() - began) * 1000


def recovery(quick: bool) -> list[Row]:
    """Return how long after a dependency's return its service is itself again, without traffic."""
    taken = sorted(_return() for _ in range(5 if quick else 40))
    title = "from a dependency's return to the real object, Recovery(initial=0.05, maximum=0.2), no traffic"
    return [Row(title, "median", taken[len(taken) // 2], "ms"), Row(title, "longest", taken[-1], "ms")]


SCHEDULE = """
import json, sys, threading
from time import perf_counter
from lazyguard._core import clock, scheduler
waiting, timed = int(sys.argv[1]), 10_000
for number in range(waiting):
    scheduler.at(clock.now() + 1000.0 + number, list)
def until_done(due):
    done = threading.Event()
    scheduler.at(due, done.set)
    assert done.wait(60)
until_done(clock.now())  # what waits has been put in order
began, due = perf_counter(), clock.now()
for _ in range(timed):
    scheduler.at(due, list)
until_done(due)
a_job = (perf_counter() - began) / timed
for _ in range(100_000):
    scheduler.closings().at(clock.now() + 0.5, list)
late = threading.Event()
due = clock.now() + 0.5
scheduler.at(due, lambda: (seen.append(clock.now() - due), late.set()))
seen = []
assert late.wait(60)
print(json.dumps([a_job * 1e6, seen[0] * 1000]))
"""


def schedule(quick: bool) -> list[Row]:
    """Return what a scheduled job costs beside others that wait, and how late one is beside 100,000 closings."""
    found: list[Row] = []
    for waiting in (10, 1000) if quick else (10, 100, 1000, 10_000, 100_000):
        a_job, late = fresh(SCHEDULE, str(waiting))
        name = f"{waiting:,} others wait"
        found.append(Row("the scheduler: a job, from its order to its end", name, a_job, US))
        found.append(Row("the scheduler: how late a job is beside 100,000 closings that are due", name, late, "ms"))
    return found


def rows(quick: bool) -> list[Row]:
    """Return all of it."""
    return [*hanging(quick), *half_open(quick), *scale(quick), *schedule(quick), *recovery(quick)]
