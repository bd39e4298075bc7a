"""How cost an item grows with their number: services, keys, listeners, waiting callers. It is to stay flat.

`python -m tests.benchmarks.scale` prints the table, and fails where an item costs more than `ALLOWED` times as much
among 10,000 as among 100.
"""

from __future__ import annotations

import sys

from tests.benchmarks.rows import US, Row, fresh

# Generous: caches of the machine hold 100 of anything, and 10,000 of nothing.
ALLOWED = 3.0
PROGRAM = """
import gc, json, logging, sys, threading
from statistics import median
from time import perf_counter, process_time
import lazyguard
from lazyguard import events
logging.disable(50)
what, count = sys.argv[1], int(sys.argv[2])
gc.disable()  # what it costs is the number of all objects, whosever they are
last = min(count, 200)
def each(work):
    spent = []
    for number in range(count):
        began = perf_counter()
        work(number)
        spent.append(perf_counter() - began)
    return median(spent[-last:])
if what == "services":
    def work(number):
        def make(): return [number]
        len(lazyguard.service(name=f"s{number}", recovery=None)(make)())
    kept = []
    cost = each(work)
elif what == "keys":
    @lazyguard.service(max_keys=count, recovery=None)
    def get(number: int) -> list: return [number]
    cost = each(lambda number: len(get(number)))
elif what == "keys beyond max_keys":
    @lazyguard.service(max_keys=max(1, count // 2), recovery=None)
    def get(number: int) -> list: return [number]
    cost = each(lambda number: len(get(number)))
elif what == "listeners":
    for number in range(count):
        lazyguard.subscribe(lambda event: None)
    event = events.Event(kind="ready", name="n", place="p", before="a", after="b", generation=0)
    spent = []
    for _ in range(20):
        began = process_time()  # however many share the machine: one emission takes longer than a turn of the processor
        events.emit(event, of=1)
        spent.append((process_time() - began) / count)
    cost = min(spent)
elif what == "degraded services":
    def declare(number):
        def make(): raise ConnectionError
        get = lazyguard.service(name=f"s{number}", recovery=lazyguard.Recovery(initial=600, maximum=600))(make)
        get.fallback(lambda: [])
        return get
    services = [declare(number) for number in range(count)]
    cost = each(lambda number: len(services[number]()))
elif what == "waiting callers":
    import asyncio
    @lazyguard.service(timeout=50.0)
    async def get(): await gate.wait(); return [1]
    async def main():
        global gate
        gate = asyncio.Event()
        asked = [asyncio.ensure_future(get.aget()) for _ in range(count)]
        await asyncio.sleep(0)
        gate.set()
        await asyncio.gather(*asked)
    began = process_time()
    asyncio.run(main())
    cost = (process_time() - began) / count
print(json.dumps(cost * 1e6))
"""
ITEMS = ("services", "keys", "keys beyond max_keys", "listeners", "degraded services", "waiting callers")


def rows(quick: bool) -> list[Row]:
    """Return what one of them costs among so many."""
    found: list[Row] = []
    for what in ITEMS:
        for count in (100, 10_000) if quick else (100, 1000, 10_000):
            cost = min(fresh(PROGRAM, what, str(count)) for _ in range(1 if quick else 3))
            found.append(Row(f"cost an item: {what}", f"among {count:,}", cost, US))
    return found


def main() -> int:
    """Print it, and return 1 where it grows."""
    grown = 0
    found = rows(quick=False)
    for few, some, many in zip(found[::3], found[1::3], found[2::3], strict=True):
        factor = many.value / few.value
        grown += factor > ALLOWED
        print(f"{few.table}: {few.value:.1f}, {some.value:.1f}, {many.value:.1f} us, factor {factor:.2f}")
    return 1 if grown else 0


if __name__ == "__main__":
    sys.exit(main())
