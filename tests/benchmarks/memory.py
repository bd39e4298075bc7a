"""What proxies weigh, pending and resolved, and what many resolved ones add to a full garbage collection."""

from __future__ import annotations

import gc
import sys
import tracemalloc
from collections.abc import Callable
from time import perf_counter
from typing import Any

from tests.benchmarks.proxies import Thing, peers
from tests.benchmarks.rows import US, Row

import lazyguard
from lazyguard._base import places
from lazyguard._core.cell import Cell
from lazyguard._proxies import proxy

COUNT = 10_000


def _thing() -> Thing:
    return Thing()


def _weight(make: Callable[[], Any], count: int) -> float:
    """Return the bytes that one of many keeps allocated."""
    make()  # what the first one brings for all
    gc.collect()
    kept: list[Any] = [None] * count
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for index in range(count):
        kept[index] = make()
    gc.collect()
    after = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    return (after - before) / count


def _bound() -> Any:
    """Make what a declaration at module level makes: a class for each target."""
    return proxy.make(Cell(_thing, name="thing", place=places.of_callable(_thing, "")), proxy.bound)


def _collection() -> float:
    return min(_timed(gc.collect) for _ in range(5))


def _timed(work: Callable[[], object]) -> float:
    began = perf_counter()
    work()
    return (perf_counter() - began) * 1e6


def rows(quick: bool) -> list[Row]:
    """Return bytes a proxy, microseconds a resolution, and milliseconds that a collection takes longer."""
    count = 500 if quick else COUNT
    found: list[Row] = []
    pending, resolved = "bytes of a pending proxy", "bytes that a resolved one adds to its target"
    cell = _weight(lambda: Cell(_thing, name="thing", place=""), count)
    whole = _weight(lambda: lazyguard.lazy(_thing), count)
    found.append(Row(pending, "lazyguard.lazy, the proxy alone", sys.getsizeof(lazyguard.lazy(_thing)) + 16, "bytes"))
    found.append(Row(pending, "lazyguard.lazy, with its cell", whole, "bytes"))
    found.append(Row(pending, "a cell alone", cell, "bytes"))
    for name, make in peers().items():
        found.append(Row(pending, name, _weight(lambda make=make: make(_thing), count), "bytes"))
    makers: dict[str, Callable[[], Any]] = {
        "lazyguard.lazy (a class for the target)": _bound,
        "lazyguard.lazy in a function (a class for the type)": lambda: lazyguard.lazy(_thing),
        **{name: lambda make=make: make(_thing) for name, make in peers().items()},
    }
    target = _weight(_thing, count)
    empty = _collection()
    for name, make in makers.items():

        def used(make: Callable[[], Any] = make) -> Any:
            one = make()
            _ = one.attribute
            return one

        found.append(Row(resolved, name, _weight(used, count) - target, "bytes"))
        made = [make() for _ in range(count)]
        taken = _timed(lambda made=made: [one.attribute for one in made])
        found.append(Row("the first use, a resolution", name, taken / count, US))
        found.append(
            Row(f"a full collection with {count:,} resolved, more by", name, (_collection() - empty) / 1000, "ms")
        )
        del made
        gc.collect()
    return found
