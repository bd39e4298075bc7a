"""Law 3: no silent deadlock, over threads, tasks and import locks, whoever comes last."""

from __future__ import annotations

import asyncio
import gc
import importlib
import sys
import threading
import types

import pytest

from lazyguard._core import wait_cycles
from lazyguard._core.cell import Cell
from lazyguard._core.declaration import Plan
from lazyguard._core.state import Attempt, Outcome
from lazyguard._core.tasks import aresolved
from lazyguard._core.threads import resolved
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
def test_a_cycle_on_one_thread_is_told_with_all_its_links(eventually, size, timeout):
    """A cell that ends up inside its own factory raises at once and names every link with its place."""
    cells = ring_of(size, timeout)
    with pytest.raises(ResolutionError) as caught:
        resolved(cells[0])
    text = str(circle_in(caught.value))
    first = int(text[1])  # whichever looked first
    links = " -> ".join(f"c{i % size} (here:{i % size})" for i in range(first, first + size + 1))
    assert text == f"c{first} waits for itself: {links}. Break it: build one of them without using the next."
    eventually(lambda: all(cell.now.state == "failed" for cell in cells))


@pytest.mark.parametrize("timeout", [None, 30.0])
@pytest.mark.parametrize("size", [2, 3, 4])
def test_a_cycle_over_threads_is_told_to_all(race, eventually, size, timeout):
    """Threads that each build a cell and wait for the next thread's: every one of them gets an error, none hangs."""
    cells = ring_of(size, timeout, threading.Barrier(size))
    results = race(*[lambda cell=cell: resolved(cell) for cell in cells])
    assert all(isinstance(result, ResolutionError) for result in results), results
    assert any(isinstance(result, CircularResolutionError) for result in results)
    eventually(lambda: not wait_cycles.waiting and not wait_cycles.running)


@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_a_cycle_over_tasks_is_told_to_all(size):
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
    assert not wait_cycles.waiting


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
def test_a_cycle_through_an_import_lock_is_told(race, module, eventually, factory_first, timeout):
    """A module's body waits for a cell whose factory, on another thread, waits for that module: in both orders."""
    importing, building, waiting = threading.Event(), threading.Event(), threading.Event()
    name = f"ringmod_{factory_first}_{timeout is None}"

    def factory():
        building.set()
        assert importing.wait(10)
        if not factory_first:
            eventually(lambda: body_thread[0] in wait_cycles.waiting)
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
            eventually(lambda: wait_cycles._module_lock_of(builder()) is not None)
        return resolved(cell)

    def builder() -> int:
        attempt = cell.now.attempt
        return 0 if attempt is None else attempt.thread or 0

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


def test_a_caller_that_imports_is_told_when_its_own_attempt_needs_the_module(module):
    """A module's body uses a cell with a timeout, whose factory imports that module on a thread of its own."""
    cell = Cell(lambda: importlib.import_module("ownflight"), name="c", place="here:1", plan=Plan(timeout=30.0))
    module("ownflight", lambda: resolved(cell))
    with pytest.raises(CircularResolutionError, match="the import of 'ownflight'"):
        importlib.import_module("ownflight")


def test_a_cycle_through_two_import_locks_is_told(race, module, eventually):
    """A body waits for a cell, its factory for another module, whose body, on a third thread, waits for the first."""
    first_runs, second_runs, building = threading.Event(), threading.Event(), threading.Event()

    def factory():
        building.set()
        assert second_runs.wait(10)
        return importlib.import_module("ring_second")

    cell = Cell(factory, name="c", place="here:1")

    def first_body():
        if first_runs.is_set():
            raise ImportError("the first import of it failed")
        first_runs.set()
        assert building.wait(10)
        eventually(lambda: len(waiting_for_modules()) == 2)
        return resolved(cell)

    def second_body():
        second_runs.set()
        assert first_runs.wait(10)
        return importlib.import_module("ring_first")

    def waiting_for_modules() -> list[int]:
        return [one.ident for one in threading.enumerate() if wait_cycles._module_lock_of(one.ident or 0) is not None]

    module("ring_first", first_body)
    module("ring_second", second_body)

    def bring_in(name: str):
        assert building.wait(10)
        return importlib.import_module(name)

    def bring_in_second():
        return bring_in("ring_second")

    built, first, second = race(lambda: resolved(cell), lambda: bring_in("ring_first"), bring_in_second)
    assert isinstance(first, CircularResolutionError)
    assert "c (here:1) -> the import of 'ring_second' -> the import of 'ring_first' -> c (here:1)." in str(first)
    assert "while that module is being imported" in str(first)
    assert isinstance(built, ResolutionError)
    assert isinstance(second, ImportError)


def test_an_import_lock_that_changes_hands_while_it_is_read(eventually):
    """What is read in passing may say that a thread waits for itself: that is none of our ring, and the look ends."""
    from importlib._bootstrap import _ModuleLock

    lock, here = _ModuleLock("changing"), threading.get_ident()
    lock.acquire()
    thread = threading.Thread(target=lambda: lock.acquire() and lock.release(), daemon=True)
    thread.start()
    assert thread.ident is not None
    eventually(lambda: wait_cycles._module_lock_of(thread.ident) is lock)
    assert wait_cycles._imports(thread.ident, here) == (["the import of 'changing'"], None)
    for owner in (thread.ident, None):
        lock.owner = owner
        assert wait_cycles._imports(thread.ident, here) is None
    lock.owner = here
    lock.release()
    thread.join(20)
    assert wait_cycles._imports(thread.ident, here) is None


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


def test_a_loop_that_is_blocked_beside_a_task_that_waits_is_seen(race, module, eventually):
    """The task that builds waits for something that comes, but goes on only when its loop does, which imports."""
    blocked, go = threading.Event(), threading.Event()
    slow = Cell(lambda: go.wait(20), name="slow", place="here:2")

    async def factory():
        return await aresolved(slow)

    cell = Cell(factory, name="c", place="here:1", plan=Plan(awaited=True))
    looping: list[int] = []

    async def block():
        while not any(task is cell.now.attempt.task for task in wait_cycles.waiting if cell.now.attempt is not None):
            await asyncio.sleep(0)
        looping.append(threading.get_ident())
        blocked.set()
        return importlib.import_module("besidering")

    async def main():
        return await asyncio.gather(aresolved(cell), block(), return_exceptions=True)

    def body():
        if go.is_set():
            raise ImportError("the first import of it failed")
        assert blocked.wait(20)
        eventually(lambda: wait_cycles._module_lock_of(looping[0]) is not None)
        go.set()
        return resolved(cell)

    module("besidering", body)
    (built, _), imported = race(lambda: asyncio.run(main()), lambda: importlib.import_module("besidering"))
    assert isinstance(imported, CircularResolutionError)
    assert "c (here:1) -> the import of 'besidering' -> c (here:1)." in str(imported)
    assert built is True


def test_waiting_for_a_thread_that_goes_on_is_no_ring(race):
    """Two threads that use two cells in opposite orders, without waiting inside a factory, both get both."""
    one = Cell(lambda: "one", name="one", place="here:1")
    two = Cell(lambda: [resolved(one)], name="two", place="here:2")
    for _ in range(50):
        one.reset()
        two.reset()
        results = race(lambda: (resolved(one), resolved(two)), lambda: (resolved(two), resolved(one)))
        assert results == [("one", ["one"]), (["one"], "one")]


class Drawn:
    """A picture of who waits for whom, drawn by hand, with threads and tasks that do not exist."""

    def __init__(self) -> None:
        self.here = threading.get_ident()

    def attempt(self, name: str, thread: int | None, task: object = None) -> Attempt:
        attempt = Attempt(Cell(object, name=name, place="p"), 0, 0.0)
        attempt.thread, attempt.task, attempt.running = thread, task, True
        if thread is not None and task is None:
            wait_cycles.running.setdefault(thread, []).append(attempt)
        return attempt


@pytest.fixture
def drawn():
    """Return a hand that draws who runs what; all of it is gone after the test."""
    yield Drawn()
    for known in (wait_cycles.running, wait_cycles.waiting, wait_cycles.children):
        known.clear()


def test_what_a_thread_builds_inside_belongs_to_the_ring(drawn):
    """Whoever waits for the outer one waits for what is built inside it; not so whoever waits for the inner one."""
    outer, inner = drawn.attempt("outer", 1), drawn.attempt("inner", 1)
    mine = drawn.attempt("mine", drawn.here)
    wait_cycles.waiting[1] = mine
    assert wait_cycles.find(outer, blocks_thread=True) == ["outer (p)", "inner (p)", "mine (p)"]
    assert wait_cycles.find(inner, blocks_thread=True) == ["inner (p)", "mine (p)"]
    wait_cycles.waiting[1] = drawn.attempt("elsewhere", 2)
    assert wait_cycles.find(outer, blocks_thread=True) is None


@pytest.mark.parametrize("dead_end", ["task", "thread"])
@pytest.mark.parametrize("why", ["ended", "unknown"])
def test_a_way_that_leads_nowhere_ends_no_search(drawn, dead_end, why):
    """An attempt that a task runs is blocked by that, or by its thread; where one goes on the other is followed."""
    task = object()
    theirs, mine = drawn.attempt("theirs", 1, task), drawn.attempt("mine", drawn.here)
    nowhere = drawn.attempt("nowhere", 2 if why == "ended" else None)
    if why == "ended":
        nowhere.outcome = Outcome("made")
    wait_cycles.waiting[task], wait_cycles.waiting[1] = (nowhere, mine) if dead_end == "task" else (mine, nowhere)
    assert wait_cycles.find(theirs, blocks_thread=True) == ["theirs (p)", "mine (p)"]


def test_an_attempt_that_has_ended_is_waited_for_by_nobody(drawn):
    """Who waited for it is about to go on, though this thread has run it."""
    theirs, ended = drawn.attempt("theirs", 1), drawn.attempt("ended", drawn.here)
    wait_cycles.waiting[1] = ended
    assert wait_cycles.find(theirs, blocks_thread=True) == ["theirs (p)", "ended (p)"]
    ended.outcome = Outcome("made")
    assert wait_cycles.find(theirs, blocks_thread=True) is None


def test_a_cycle_of_others_ends_the_search(drawn):
    """They will be told; who waits for one of them is not in it."""
    one, two = drawn.attempt("one", 1), drawn.attempt("two", 2)
    wait_cycles.waiting[1], wait_cycles.waiting[2] = two, one
    assert wait_cycles.find(one, blocks_thread=True) is None


def test_who_runs_an_attempt_is_known_while_it_does():
    """The thread, on its own list, outermost first; nothing is left of it afterwards."""
    seen: list[object] = []

    def factory():
        attempts = wait_cycles.running[threading.get_ident()]
        seen.append([(attempt.cell.name, attempt.running, attempt.thread) for attempt in attempts])
        return [resolved(inner)] if len(seen) == 1 else "inner"

    outer, inner = (Cell(factory, name=name, place="p") for name in ("outer", "inner"))
    assert resolved(outer) == ["inner"]
    here = threading.get_ident()
    assert seen == [[("outer", True, here)], [("outer", True, here), ("inner", True, here)]]
    assert not wait_cycles.running


def test_when_what_a_loop_was_making_is_lost():
    """A loop that stands still may go on, which is of no use to another loop; one that is closed never goes on."""
    cell = Cell(object, name="c", place="p")
    home = asyncio.new_event_loop()

    def find_attempt() -> Attempt:
        attempt, new, _ = cell.find_attempt(cell.now)
        assert new
        assert attempt is not None
        attempt.home = home
        return attempt

    async def look(attempt: Attempt) -> bool:
        return wait_cycles.ended(attempt)

    attempt = find_attempt()
    assert not wait_cycles.ended(attempt)
    assert not home.run_until_complete(look(attempt))
    thread = threading.Thread(target=home.run_forever, daemon=True)
    thread.start()
    assert not asyncio.run(look(attempt))
    home.call_soon_threadsafe(home.stop)
    thread.join(20)
    assert asyncio.run(look(attempt))
    assert cell.now.state == "pending"
    attempt = find_attempt()
    home.close()
    assert wait_cycles.ended(attempt)
    assert attempt.outcome is not None
    assert attempt.outcome.interrupted
    assert cell.now.state == "pending"


def test_whom_the_end_of_a_task_wakes():
    """Another task by whichever of its callbacks, and the thread that runs its loop until it ends; nobody else."""

    class Follower:
        """A callback that knows a task, and is no partial function though it has a `func`."""

        func = None

        def __init__(self, task: object) -> None:
            self.task = task

        def __call__(self, _task: object) -> None: ...

    async def nothing() -> None: ...

    async def main() -> None:
        task, here = asyncio.current_task(), threading.get_ident()
        followed, detached, other = (asyncio.ensure_future(nothing()) for _ in range(3))
        assert wait_cycles._wakes(task, here)
        assert not wait_cycles._wakes(task, other)
        assert not wait_cycles._wakes(detached, here)
        followed.add_done_callback(Follower(task))
        nobody = Follower(None)
        followed.add_done_callback(nobody)
        followed.add_done_callback(nobody)
        assert wait_cycles._wakes(followed, task)
        assert not wait_cycles._wakes(followed, other)
        await asyncio.wait([followed, detached, other])

    asyncio.run(main())


def test_a_callback_that_is_not_made_yet_is_passed_over():
    """Whom a task wakes is read in passing: a closure whose variable has no value yet leads nowhere, and on goes it."""

    async def main() -> None:
        async def nothing() -> None: ...

        empty = types.CellType()
        callback = types.FunctionType((lambda _task: later).__code__, globals(), "callback", None, (empty,))
        task = asyncio.ensure_future(nothing())
        task.add_done_callback(callback)
        assert not wait_cycles._wakes(task, asyncio.current_task())
        empty.cell_contents = asyncio.current_task()
        assert wait_cycles._wakes(task, asyncio.current_task())
        await task

    later = None
    asyncio.run(main())


def test_there_is_room_for_what_must_not_be_cut_off():
    """Near the end of the stack RecursionError comes while there are frames left for an attempt's beginning and end."""

    def left() -> int:
        try:
            return 1 + left()
        except RecursionError:
            return 0

    def fall() -> int:
        try:
            wait_cycles.room()
        except RecursionError:
            return left()
        return fall()

    assert 55 <= fall() <= 70


def test_a_finaliser_that_waits_amid_a_search(monkeypatch):
    """Garbage that is collected while a ring is sought may have a task begin to wait: no search fails of it."""
    monkeypatch.setattr(wait_cycles, "children", {object(): lambda: None for _ in range(5000)})
    attempt = Attempt(Cell(object, name="c", place="p"), 0, 0.0)
    attempt.thread = -1  # another one's

    class Garbage:
        def __init__(self) -> None:
            self.itself = self

        def __del__(self) -> None:
            wait_cycles.children[object()] = lambda: None

    gc.collect()
    for _ in range(50):
        [Garbage() for _ in range(10)]
        assert wait_cycles.find(attempt, blocks_thread=True) is None
    gc.collect()  # while it is this test's that they change
