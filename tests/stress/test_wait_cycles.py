"""Law 3 under stress: rings of any size over threads, tasks, loops and import locks; and what only looks like one."""

from __future__ import annotations

import asyncio
import importlib
import signal
import sys
import threading

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, given, settings

from lazyguard._core import wait_cycles
from lazyguard._core.cell import Cell
from lazyguard._core.declaration import Plan
from lazyguard._core.tasks import aresolved
from lazyguard._core.threads import resolved
from lazyguard.errors import CircularResolutionError, ResolutionError

# How a cell is built, and how its factory asks for the next one.
SYNC = ("plain", "timed", "loop", "gathering loop")
ASYNC = ("await", "gather", "wait", "wait_for", "shield", "child")


async def through(kind: str, awaitable):
    """Await in the way that `kind` names; each is one that programs use."""
    if kind in ("gather", "gathering loop"):
        return (await asyncio.gather(asyncio.sleep(0), awaitable))[1]
    if kind == "wait":
        (done,), _ = await asyncio.wait([asyncio.ensure_future(awaitable)])
        return done.result()
    if kind == "wait_for":
        return await asyncio.wait_for(awaitable, 3600)
    if kind == "shield":
        return await asyncio.shield(awaitable)
    if kind == "child":
        return await asyncio.ensure_future(asyncio.wait_for(asyncio.shield(awaitable), 3600))
    return await awaitable


class Ring:
    """Cells of which each asks for the next inside its factory; where all meet, each is being built by then."""

    def __init__(self, kinds: list[str], meet: bool) -> None:
        self.begun: set[int] = set()
        self.size, self.meet = len(kinds), meet
        self.all_begun = threading.Event()
        self.cells = [
            Cell(
                self.afactory_of(index, kind) if kind in (*ASYNC, "blocking") else self.factory_of(index, kind),
                name=f"c{index}",
                place=f"here:{index}",
                plan=Plan(awaited=kind in (*ASYNC, "blocking"), timeout=3600.0 if kind == "timed" else None),
            )
            for index, kind in enumerate(kinds)
        ]

    def begin(self, index: int) -> None:
        self.begun.add(index)
        if not self.meet or len(self.begun) == self.size:
            self.all_begun.set()

    def next(self, index: int) -> Cell:
        return self.cells[(index + 1) % self.size]

    def factory_of(self, index: int, kind: str):
        async def await_next():
            return await through(kind, aresolved(self.next(index)))

        def factory():
            self.begin(index)
            self.all_begun.wait()
            if wait_cycles.current_loop() is None and (
                kind in ("loop", "gathering loop") or self.next(index).plan.awaited
            ):
                return [asyncio.run(await_next())]
            return [resolved(self.next(index))]

        return factory

    def afactory_of(self, index: int, kind: str):
        async def factory():
            self.begin(index)
            while not self.all_begun.is_set():
                await asyncio.sleep(0)
            if kind == "blocking":
                return [resolved(self.next(index))]
            return [await through(kind, aresolved(self.next(index)))]

        return factory


def causes(error: BaseException | None) -> list[BaseException]:
    found = []
    while error is not None:
        found.append(error)
        error = error.__cause__
    return found


def circle_in(error: BaseException | None) -> CircularResolutionError:
    circles = [cause for cause in causes(error) if isinstance(cause, CircularResolutionError)]
    assert circles, error
    return circles[0]


def ask_on_threads(race, cells: list[Cell]) -> list[object]:
    """Ask for each cell on a thread of its own, which has a loop of its own where it needs one."""

    def asker(cell: Cell):
        return lambda: asyncio.run(aresolved(cell)) if cell.plan.awaited else resolved(cell)

    return race(*map(asker, cells))


def ask_in_tasks(cells: list[Cell]) -> list[object]:
    """Ask for each cell in a task of one loop."""

    async def main():
        return await asyncio.gather(*map(aresolved, cells), return_exceptions=True)

    return asyncio.run(main())


@settings(max_examples=settings.default.max_examples * 4 // 5, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    kinds=st.lists(st.sampled_from(SYNC + ASYNC), min_size=2, max_size=5),
    meet=st.booleans(),
    tasks=st.booleans(),
)
def test_a_cycle_of_any_kinds_is_told_whole(within, race, eventually, kinds, meet, tasks):
    """Whatever the two to five cells are and whoever asks: all are told, one of them with every link and its place."""
    with within():
        made = Ring(kinds, meet)
        asked = made.cells if meet else made.cells[:1]
        results = ask_in_tasks(asked) if tasks else ask_on_threads(race, asked)
        assert all(isinstance(result, ResolutionError) for result in results), results
        circles = {str(circle_in(result)) for result in results}
        assert any(all(f"c{i} (here:{i})" in text for i in range(made.size)) for text in circles), circles
        eventually(lambda: not wait_cycles.waiting and not wait_cycles.running and not wait_cycles.children)


@pytest.mark.usefixtures("limited")
@pytest.mark.parametrize("timed", [0, 1, 2])
@pytest.mark.parametrize("size", [2, 3, 4, 5])
def test_a_cycle_through_a_blocked_loop_is_told_whole(size, timed):
    """An async factory that uses a sync object, and so blocks its loop, closes a ring: whole, and `await` is named."""
    kinds = ["timed" if timed and index % timed == 0 else "plain" for index in range(size - 1)]
    made = Ring(["blocking", *kinds], meet=False)
    (result,) = ask_in_tasks(made.cells[:1])
    circle = str(circle_in(result))
    assert all(f"c{i} (here:{i})" in circle for i in range(size)), circle


@pytest.mark.usefixtures("limited")
@pytest.mark.parametrize("kind", [*ASYNC, "gathering loop"])
def test_a_child_task_that_nobody_waits_for_is_no_ring(kind):
    """A factory starts a task that uses its own service later, and goes on: that is no ring, and both are served."""
    later: list[asyncio.Task[object]] = []

    async def keep_alive():
        return await through(kind, aresolved(cell))

    async def factory():
        later.append(asyncio.ensure_future(keep_alive()))
        while not any(attempt is cell.now.attempt for attempt in wait_cycles.waiting.values()):
            await asyncio.sleep(0)
        await through(kind, asyncio.sleep(wait_cycles.FIRST_LOOK * 2))  # it looks, more than once
        return "built"

    cell = Cell(factory, name="c", place="here:1", plan=Plan(awaited=True))

    async def main():
        return await aresolved(cell), await later[0]

    assert asyncio.run(main()) == ("built", "built")


@pytest.mark.usefixtures("limited")
def test_gathered_services_without_a_cycle_are_built():
    """A factory that gathers many others, which share one, is built."""
    shared = Cell(lambda: "shared", name="shared", place="here:0")

    def part_of(index: int) -> Cell:
        async def factory():
            return index, await aresolved(shared)

        return Cell(factory, name=f"part{index}", place="here:1", plan=Plan(awaited=True))

    parts = [part_of(index) for index in range(50)]

    async def factory():
        return await asyncio.gather(*map(aresolved, parts), *map(aresolved, parts))

    whole = Cell(factory, name="whole", place="here:2", plan=Plan(awaited=True))
    assert asyncio.run(aresolved(whole)) == [(index, "shared") for index in range(50)] * 2


@pytest.mark.usefixtures("limited")
@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="this platform has no signals for threads")
def test_a_handler_on_top_of_a_wait_is_no_ring(eventually):
    """A handler builds another cell while its thread waits; who is waited for needs that cell, and gets it."""
    handling = threading.Event()

    def handler(_number, _frame) -> None:
        resolved(inner)

    def build_inner():
        handling.set()
        eventually(lambda: builder.ident in wait_cycles.waiting)  # who builds the outer one waits for this
        return "inner"

    def build_outer():
        eventually(lambda: main in wait_cycles.waiting)
        signal.pthread_kill(main, signal.SIGUSR1)
        assert handling.wait(20)
        return "outer", resolved(inner)

    inner = Cell(build_inner, name="inner", place="here:1")
    outer = Cell(build_outer, name="outer", place="here:2")
    main = threading.get_ident()
    before = signal.signal(signal.SIGUSR1, handler)
    builder = threading.Thread(target=resolved, args=(outer,), daemon=True)
    try:
        builder.start()
        eventually(lambda: bool(cell_runs(outer)))
        assert resolved(outer) == ("outer", "inner")
    finally:
        signal.signal(signal.SIGUSR1, before)
    builder.join(20)
    assert not wait_cycles.waiting


def cell_runs(cell: Cell) -> bool:
    return any(attempt.running for attempt in cell.now.running)


@pytest.fixture
def modules(tmp_path, monkeypatch, eventually):
    """Return a function that writes modules by name and source, forgotten after the test."""
    names: list[str] = []
    monkeypatch.syspath_prepend(str(tmp_path))

    def write(**sources: str) -> None:
        for name, source in sources.items():
            (tmp_path / f"{name}.py").write_text(source)
            names.append(name)
        importlib.invalidate_caches()

    yield write
    eventually(lambda: not wait_cycles.running)  # attempts on threads of their own, of which nobody waits any more
    for name in names:
        sys.modules.pop(name, None)


@pytest.mark.usefixtures("limited")
@pytest.mark.parametrize("timeout", ["", "timeout=3600.0"])
@pytest.mark.parametrize("size", [2, 3, 4, 5])
def test_services_of_modules_that_import_each_other_in_their_factories(modules, race, size, timeout):
    """Each module's factory imports the next module and uses its service: every user is told, with the whole ring."""
    # Names of its own: an attempt of the test before may still be importing.
    wait_cycles = f"stress_ring_{size}{'_beside' if timeout else ''}_"
    modules(
        **{
            f"{wait_cycles}{i}": f"""
import lazyguard

@lazyguard.service({timeout}{", " if timeout else ""}recovery=None)
def get_it() -> list:
    from {wait_cycles}{(i + 1) % size} import get_it as get_next
    return [len(get_next())]
"""
            for i in range(size)
        }
    )

    def user_of(index: int):
        return lambda: len(importlib.import_module(f"{wait_cycles}{index}").get_it())

    results = race(*[user_of(index) for index in range(size)])
    assert all(isinstance(result, ResolutionError) for result in results), results
    whole = [str(circle_in(result)) for result in results]
    assert any(all(f"{wait_cycles}{i}.py:4" in text for i in range(size)) for text in whole), whole


@pytest.mark.usefixtures("limited")
@pytest.mark.parametrize("timeout", ["", "timeout=3600.0"])
@pytest.mark.parametrize("size", [2, 3, 4])
def test_modules_whose_bodies_and_factories_wait_for_each_other(modules, race, size, timeout):
    """Each module's body uses a service whose factory imports the next module: told through the import locks.

    Where the importing threads build themselves, the ring is one of import locks alone, and the interpreter tells it.
    """
    meet = sys._stress_meet = threading.Barrier(size)  # type: ignore[attr-defined]
    modules(
        stress_services=f"""
import lazyguard
from importlib import import_module

def declare(index):
    @lazyguard.service({timeout}{", " if timeout else ""}recovery=None, name=f"s{{index}}")
    def get_it() -> list:
        return [import_module(f"stress_body{{(index + 1) % {size}}}").value]
    return get_it

services = [declare(index) for index in range({size})]
""",
        **{
            f"stress_body{i}": f"""
import sys
from stress_services import services
if sys._stress_meet is not None:
    sys._stress_meet.wait(20)
value = len(services[{i}]())
"""
            for i in range(size)
        },
    )
    importlib.import_module("stress_services")

    def importer_of(index: int):
        return lambda: importlib.import_module(f"stress_body{index}")

    def bring_in(index: int):
        try:
            return importer_of(index)()
        finally:
            sys._stress_meet = None  # type: ignore[attr-defined]  # who tries again meets nobody

    results = race(*[lambda index=index: bring_in(index) for index in range(size)])
    assert meet.n_waiting == 0
    assert all(isinstance(result, ResolutionError) for result in results), results
    if timeout:
        texts = [str(circle_in(result)) for result in results]
        assert any("the import of 'stress_body" in text for text in texts), texts
    else:
        assert any("deadlock detected" in str(cause) for result in results for cause in causes(result)), results
