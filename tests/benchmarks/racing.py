"""The first use by 64 threads at once: how often the factory ran, and how long until all had the object."""

from __future__ import annotations

import threading
from collections.abc import Callable
from time import perf_counter, sleep
from typing import Any

from tests.benchmarks.proxies import Thing, peers
from tests.benchmarks.rows import Row

import lazyguard

THREADS, TAKES = 64, 0.005


def race(make: Callable[[Callable[[], Any]], Any]) -> tuple[int, float, int]:
    """Return how often the factory ran, the milliseconds until the last had it, and how many met an error."""
    runs: list[int] = []
    failed: list[BaseException] = []

    def factory() -> Thing:
        runs.append(1)
        sleep(TAKES)
        return Thing()

    proxy = make(factory)
    barrier = threading.Barrier(THREADS + 1)

    def use() -> None:
        barrier.wait()
        try:
            _ = proxy.attribute
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=use) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    barrier.wait()
    began = perf_counter()
    for thread in threads:
        thread.join()
    return len(runs), (perf_counter() - began) * 1000, len(failed)


def _service(factory: Callable[[], Any]) -> Any:
    return lazyguard.service(timeout=10)(factory)()


def rows(quick: bool) -> list[Row]:
    """Return the most runs of a factory, and the median time, of several races."""
    found: list[Row] = []
    title = f"{THREADS} threads race for the first use of what takes {TAKES * 1000:g} ms to make"
    for name, make in {"lazyguard.lazy": lazyguard.lazy, "lazyguard.service": _service, **peers()}.items():
        races = [race(make) for _ in range(3 if quick else 15)]
        found.append(Row(f"{title}: runs of the factory", name, max(runs for runs, _, _ in races), "runs"))
        found.append(
            Row(f"{title}: until all have it", name, sorted(taken for _, taken, _ in races)[len(races) // 2], "ms")
        )
        failed = max(failures for _, _, failures in races)
        if failed:
            found.append(Row(f"{title}: threads that met an error", name, failed, "threads"))
    return found
