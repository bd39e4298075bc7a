"""Law 3: no silent deadlock, over threads, tasks and import locks, whoever comes last."""

from __future__ import annotations

import asyncio
import importlib
import sys
import threading
import types

import pytest

from lazyguard._core import ring
from lazyguard._core.adrive import aresolved
from lazyguard._core.cell import Cell
from lazyguard._core.drive import resolved
from lazyguard._core.plan import Plan
from lazyguard.errors import CircularResolutionError, ResolutionError

pytestmark = pytest.mark.usefixtures("limited")


def ring_of(size: int, timeout: float | None, barrier: threading.Barrier | None = None) -> list[Cell]:
    """Return cells of which each asks for the next inside its factory; all meet at the barrier first."""
    cells: list[Cell] = []

    def factory_of(index: int):
        def factory():
            if barrier is not None:
                barrier.wait(10)
            return [resolved(cells[(index + 1) % size])]

        return factory

    cells += [Cell(factory_of(i), name=f"c{i}", place=f"here:{i}", plan=Plan(timeout=timeout)) for i in range(size)]
    return cells


def circle_in(error: BaseException | None) -> CircularResolutionError:
    while error is not None and not isinstance(error, CircularResolutionError):
        error = error.__cause__
    assert isinstance(error, CircularResolutionError)
    return error


@pytest.mark.parametrize("timeout", [None, 30.0])
@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_a_ring_on_one_thread_is_told_with_all_its_links(eventually, size, timeout):
    """A cell that ends up inside its own factory raises at once and names every link with its place."""
    cells = ring_of(size, timeout)
    with pytest.raises(ResolutionError) as caught:
        resolved(cells[0])
    text = str(circle_in(caught.value))
    assert all(f"c{i} (here:{i})" in text for i in range(size))
    eventually(lambda: all(cell.now.state == "failed" for cell in cells))


@pytest.mark.parametrize("timeout", [None, 30.0])
@pytest.mark.parametrize("size", [2, 3, 4])
def test_a_ring_over_threads_is_told_to_all(race, eventually, size, timeout):
    """Threads that each build a cell and wait for the next thread's: every one of them gets an error, none hangs."""
    cells = ring_of(size, timeout, threading.Barrier(size))
    results = race(*[lambda cell=cell: resolved(cell) for cell in cells])
    assert all(isinstance(result, ResolutionError) for result in results), results
    assert any(isinstance(result, CircularResolutionError) for result in results)
    eventually(lambda: not ring.waiting and not ring.running)


@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_a_ring_over_tasks_is_told_to_all(size):
    """Async factories that await one another in a ring raise, whichever of them was asked for first."""
    cells: list[Cell] = []

    def factory_of(index: int):
        async def factory():
            await asyncio.sleep(0)
            return [await aresolved(cells[(index + 1) % size])]

        return factory

    cells += [Cell(factory_of(i), name=f"c{i}", place=f"here:{i}", plan=Plan(awaited=True)) for i in range(size)]

    async def main():
        return await asyncio.gather(*map(aresolved, cells), return_exceptions=True)

    results = asyncio.run(main())
    assert all(isinstance(result, ResolutionError) for result in results), results
    assert "c0 (here:0)" in str(circle_in(results[0]))
    assert not ring.waiting


def test_sync_access_in_the_task_that_builds_names_the_awaitable_way():
    """Attribute access on the loop's thread, to what a task of that loop builds, raises and says `await`."""

    async def factory():
        return resolved(cell)

    cell = Cell(factory, name="c", place="here:1", plan=Plan(awaited=True))
    with pytest.raises(ResolutionError, match="await") as caught:
        asyncio.run(aresolved(cell))
    assert "c (here:1)" in str(circle_in(caught.value))


def test_sync_access_on_the_loops_thread_while_a_task_builds_is_told():
    """A second task that blocks its loop's thread waiting for the first is told, and the first goes on."""

    async def main():
        gate = asyncio.Event()

        async def factory():
            await gate.wait()
            return "built"

        cell = Cell(factory, name="c", place="here:1", plan=Plan(awaited=True))
        building = asyncio.ensure_future(aresolved(cell))
        await asyncio.sleep(0)
        while not cell.now.running:
            await asyncio.sleep(0)
        with pytest.raises(CircularResolutionError, match="await"):
            resolved(cell)
        gate.set()
        return await building

    assert asyncio.run(main()) == "built"


def test_a_loop_inside_a_factory_that_awaits_its_own_cell_is_told():
    """A sync factory that runs an event loop, in which its own cell is awaited, does not hang."""
    cell = Cell(lambda: asyncio.run(aresolved(cell)), name="c", place="here:1")
    with pytest.raises(ResolutionError) as caught:
        resolved(cell)
    assert "c (here:1)" in str(circle_in(caught.value))


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Return a function that writes a module, whose body calls `at_import()`; gone after the test."""
    monkeypatch.syspath_prepend(str(tmp_path))
    names: list[str] = []

    def write(name: str, at_import) -> None:
        monkeypatch.setattr(sys, f"_lazyguard_{name}", at_import, raising=False)
        (tmp_path / f"{name}.py").write_text(f"import sys\nvalue = sys._lazyguard_{name}()\n")
        names.append(name)
        importlib.invalidate_caches()

    yield write
    for name in names:
        sys.modules.pop(name, None)


@pytest.mark.parametrize("timeout", [None, 30.0])
@pytest.mark.parametrize("factory_first", [True, False])
def test_a_ring_through_an_import_lock_is_told(race, module, eventually, factory_first, timeout):
    """A module's body waits for a cell whose factory, on another thread, waits for that module: in both orders."""
    importing, building, waiting = threading.Event(), threading.Event(), threading.Event()
    name = f"ringmod_{factory_first}_{timeout is None}"

    def factory():
        building.set()
        assert importing.wait(10)
        if not factory_first:
            eventually(lambda: body_thread[0] in ring.waiting)
        waiting.set()
        return importlib.import_module(name)

    body_thread: list[int] = []

    def body():
        if body_thread:
            raise ImportError("the first import of it failed")
        body_thread.append(threading.get_ident())
        importing.set()
        assert waiting.wait(10) if factory_first else building.wait(10)
        if factory_first:
            eventually(lambda: ring._module_lock_of(builder()) is not None)
        return resolved(cell)

    def builder() -> int:
        flight = cell.now.flight
        return 0 if flight is None else flight.thread or 0

    module(name, body)
    cell = Cell(factory, name="c", place="here:1", plan=Plan(timeout=timeout))

    def build():
        return resolved(cell)

    def bring_in():
        assert building.wait(10)
        return importlib.import_module(name)

    built, imported = race(build, bring_in)
    assert isinstance(imported, CircularResolutionError)
    assert f"the import of '{name}'" in str(imported)
    assert "c (here:1)" in str(imported)
    assert isinstance(built, ResolutionError)  # the import failed, and so did the factory that needed it


def test_a_caller_that_imports_is_told_when_its_own_flight_needs_the_module(module):
    """A module's body uses a cell with a timeout, whose factory imports that module on a thread of its own."""
    cell = Cell(lambda: importlib.import_module("ownflight"), name="c", place="here:1", plan=Plan(timeout=30.0))
    module("ownflight", lambda: resolved(cell))
    with pytest.raises(CircularResolutionError, match="the import of 'ownflight'"):
        importlib.import_module("ownflight")


def test_an_event_loop_whose_thread_waits_for_an_import_is_seen(race, module, eventually):
    """A module's body waits for a cell whose async factory blocks its loop by importing that module."""
    importing = threading.Event()

    async def factory():
        assert importing.wait(10)
        return importlib.import_module("loopring")

    cell = Cell(factory, name="c", place="here:1", plan=Plan(awaited=True))

    def body():
        importing.set()
        eventually(lambda: bool(cell.now.running))
        return resolved(cell)

    module("loopring", body)
    built, imported = race(lambda: asyncio.run(aresolved(cell)), lambda: importlib.import_module("loopring"))
    assert isinstance(imported, CircularResolutionError)
    assert isinstance(built, ResolutionError)


def test_waiting_for_a_thread_that_goes_on_is_no_ring(race):
    """Two threads that use two cells in opposite orders, without waiting inside a factory, both get both."""
    one = Cell(lambda: "one", name="one", place="here:1")
    two = Cell(lambda: [resolved(one)], name="two", place="here:2")
    for _ in range(50):
        one.reset()
        two.reset()
        results = race(lambda: (resolved(one), resolved(two)), lambda: (resolved(two), resolved(one)))
        assert results == [("one", ["one"]), (["one"], "one")]


def test_a_callback_that_is_not_made_yet_is_passed_over():
    """Whom a task wakes is read in passing: a closure whose variable has no value yet leads nowhere, and on goes it."""

    async def main() -> None:
        async def nothing() -> None: ...

        empty = types.CellType()
        callback = types.FunctionType((lambda _task: later).__code__, globals(), "callback", None, (empty,))
        task = asyncio.ensure_future(nothing())
        task.add_done_callback(callback)
        assert not ring._wakes(task, asyncio.current_task())
        empty.cell_contents = asyncio.current_task()
        assert ring._wakes(task, asyncio.current_task())
        await task

    later = None
    asyncio.run(main())


def test_there_is_room_for_what_must_not_be_cut_off():
    """Near the end of the stack RecursionError comes while there are frames left for a flight's beginning and end."""

    def left() -> int:
        try:
            return 1 + left()
        except RecursionError:
            return 0

    def fall() -> int:
        try:
            ring.room()
        except RecursionError:
            return left()
        return fall()

    assert 55 <= fall() <= 70
