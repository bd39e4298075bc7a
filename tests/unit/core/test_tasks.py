"""Tasks: one result for all who await, a cancelled caller cancels nobody else, targets belong to their event loop."""

from __future__ import annotations

import asyncio
import threading

import pytest

import lazyguard
from lazyguard import errors
from lazyguard._core import cell as cells
from lazyguard._core import closing as closings
from lazyguard._core import declaration, task_closing, wait_cycles
from lazyguard._core import tasks as task_driver
from lazyguard._core.cancellation import Cancellation
from lazyguard._core.cell import Cell
from lazyguard._core.declaration import Plan
from lazyguard._core.effects import Call, within
from lazyguard._core.state import Attempt
from lazyguard._core.tasks import aresolved
from lazyguard._core.threads import resolved
from lazyguard.testing import FakeClock

pytestmark = pytest.mark.usefixtures("limited")

ASYNC = Plan(awaited=True)


@pytest.mark.parametrize("awaited", [True, False])
def test_all_tasks_that_race_get_one_object(awaited):
    """However many tasks ask at once, the factory runs once and all get what it made."""
    made: list[object] = []

    async def afactory():
        await asyncio.sleep(0)
        made.append(object())
        return made[-1]

    def factory():
        made.append(object())
        return made[-1]

    cell = Cell(afactory if awaited else factory, name="c", place="p", plan=Plan(awaited=awaited))

    async def main():
        return await asyncio.gather(*[aresolved(cell) for _ in range(50)])

    assert asyncio.run(main()) == made * 50
    assert len(made) == 1


def test_a_sync_factory_runs_beside_the_loop():
    """What is awaited does not block the loop, even where the factory blocks."""
    gate = threading.Event()
    cell = Cell(lambda: gate.wait(20) and threading.get_ident(), name="c", place="p")

    async def main():
        building = asyncio.ensure_future(aresolved(cell))
        while not cell.now.running:
            await asyncio.sleep(0)
        gate.set()
        return await building

    assert asyncio.run(main()) != threading.get_ident()


def test_two_loops_one_after_the_other_build_anew(told):
    """An async target belongs to the loop that made it: on the next loop it is built anew, the old one is closed."""
    closed: list[object] = []

    async def factory():
        return asyncio.get_running_loop()

    cell = Cell(factory, name="two loops", place="p", plan=Plan(awaited=True, close=closed.append))

    async def twice():
        return await aresolved(cell), await aresolved(cell), asyncio.get_running_loop()

    with FakeClock() as clock:
        first = asyncio.run(twice())
        second = asyncio.run(twice())
        clock.advance(1.0)
    assert first[0] is first[1] is first[2]
    assert second[0] is second[1] is second[2]
    assert first[0] is not second[0]
    assert [event.kind for event in told if event.name == "two loops"] == ["ready", "reset", "ready"]


def test_a_thread_without_a_loop_is_given_the_target_of_a_running_one(race):
    """A plain thread that uses a ready async target neither drops it nor fails; after the loop's end it is told so."""

    async def factory():
        return object()

    cell = Cell(factory, name="c", place="p", plan=ASYNC)

    async def main():
        target = await aresolved(cell)
        assert await asyncio.to_thread(resolved, cell) is target
        assert await aresolved(cell) is target

    asyncio.run(main())
    with pytest.raises(errors.UsageError, match="await"):
        resolved(cell)
    assert cell.now.running == ()


def test_a_cancelled_caller_cancels_nobody_else():
    """The one that launched the attempt is cancelled; the others get its result."""

    async def main():
        gate = asyncio.Event()

        async def factory():
            await gate.wait()
            return "built"

        cell = Cell(factory, name="c", place="p", plan=ASYNC)
        tasks = [asyncio.ensure_future(aresolved(cell)) for _ in range(3)]
        while not cell.now.running:
            await asyncio.sleep(0)
        tasks[0].cancel()
        await asyncio.sleep(0)
        gate.set()
        return await asyncio.gather(*tasks, return_exceptions=True)

    results = asyncio.run(main())
    assert isinstance(results[0], asyncio.CancelledError)
    assert results[1:] == ["built", "built"]
    assert not wait_cycles.waiting


@pytest.mark.parametrize("raised", [asyncio.CancelledError, GeneratorExit, StopAsyncIteration])
def test_what_an_async_factory_raises_of_its_own_is_a_failure(raised):
    """A factory that raises CancelledError, though nobody cancelled it, failed; it is not run again without end."""
    calls: list[int] = []

    async def factory():
        calls.append(1)
        if len(calls) > 5:
            return "given up"
        raise raised

    cell = Cell(factory, name="c", place="p", plan=ASYNC)
    with pytest.raises(errors.ResolutionError) as caught:
        asyncio.run(aresolved(cell))
    assert isinstance(caught.value.__cause__, raised)
    assert calls == [1]


def test_a_loop_that_ends_while_an_attempt_runs_leaves_it_to_the_next():
    """asyncio.run cancels the attempt; nothing is cached and the next loop builds."""
    calls: list[int] = []

    async def factory():
        calls.append(1)
        if len(calls) == 1:
            await asyncio.sleep(3600)
        return "built"

    cell = Cell(factory, name="c", place="p", plan=ASYNC)

    async def give_up():
        with pytest.raises(errors.ResolutionTimeout):
            await aresolved(cell, wait=0.01)

    asyncio.run(give_up())
    assert cell.now.state == "pending"
    assert asyncio.run(aresolved(cell)) == "built"


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("closed", [True, False])
def test_an_attempt_on_a_loop_that_stopped_is_not_waited_for(closed):
    """A loop that was stopped, or closed, with an attempt on it: another loop builds its own, and hangs nowhere."""

    async def factory():
        calls.append(1)
        if len(calls) == 1:
            await asyncio.sleep(3600)
        return "built"

    calls: list[int] = []
    cell = Cell(factory, name="c", place="p", plan=ASYNC)
    stopped = asyncio.new_event_loop()

    async def start():
        waiting = asyncio.ensure_future(aresolved(cell))
        while not calls:
            await asyncio.sleep(0)
        waiting.cancel()

    stopped.run_until_complete(start())
    attempts = cell.now.running
    assert len(attempts) == 1
    if closed:
        stopped.close()
    assert asyncio.run(aresolved(cell)) == "built"
    assert not cells.active
    if not closed:
        attempts[0].task.cancel()
        stopped.run_until_complete(asyncio.gather(attempts[0].task, return_exceptions=True))
        stopped.close()
    else:
        attempts[0].task.get_coro().close()
        attempts[0].task._log_destroy_pending = False


def test_a_thread_that_waits_for_a_loop_that_closes_is_let_go(eventually):
    """A thread waits for an attempt of another thread's loop, which is closed under it: told within a look or two."""
    started, waits = threading.Event(), threading.Event()

    async def factory():
        started.set()
        await asyncio.sleep(3600)

    cell = Cell(factory, name="c", place="p", plan=ASYNC)
    tasks: list[asyncio.Task[object]] = []

    def loop_thread() -> None:
        loop = asyncio.new_event_loop()

        async def main():
            tasks.append(asyncio.ensure_future(aresolved(cell)))
            while not waits.is_set():
                await asyncio.sleep(0.001)
            tasks[0].cancel()

        loop.run_until_complete(main())
        loop.close()

    thread = threading.Thread(target=loop_thread, daemon=True)
    thread.start()
    assert started.wait(20)
    threading.Thread(
        target=lambda: (
            eventually(lambda: any(isinstance(key, int) for key in list(wait_cycles.waiting))) or waits.set()
        ),
        daemon=True,
    ).start()
    attempt = cell.now.running[0]
    with pytest.raises(errors.UsageError, match="await"):
        resolved(cell)
    thread.join(20)
    attempt.task.get_coro().close()
    attempt.task._log_destroy_pending = False


def test_sync_access_to_a_pending_async_cell_names_the_awaitable_way():
    """Nobody can build it from here: a UsageError that says await, and the cell is as it was."""

    async def factory():
        return "built"

    cell = Cell(factory, name="c", place="here:1", plan=ASYNC)
    with pytest.raises(errors.UsageError, match=r"here:1.*await"):
        resolved(cell)
    assert cell.now.state == "pending"
    assert not cells.active
    assert asyncio.run(aresolved(cell)) == "built"


def test_a_wait_in_a_task_is_bounded_by_the_clock():
    """A task's wait ends when its time has passed by the clock, and the attempt goes on and is adopted."""

    async def main():
        gate = asyncio.Event()

        async def factory():
            await gate.wait()
            return "late"

        cell = Cell(factory, name="c", place="p", plan=Plan(awaited=True, timeout=60.0))
        waiting = asyncio.ensure_future(aresolved(cell))
        while not cell.now.running:
            await asyncio.sleep(0)
        clock.advance(61.0)
        with pytest.raises(errors.ResolutionTimeout):
            await waiting
        gate.set()
        return await aresolved(cell)

    with FakeClock() as clock:
        assert asyncio.run(main()) == "late"


class Enough(BaseException):
    """What is no Exception."""


def test_what_is_no_exception_passes_through_a_deadline(clock):
    """A block with a deadline lets it through, and leaves nothing behind in the task."""

    def steps():
        yield Call(lambda: (_ for _ in ()).throw(Enough()))

    async def main() -> None:
        limit = lazyguard.deadline(5.0)
        with pytest.raises(Enough):
            await task_driver.adrive(within(limit, steps(), Cancellation(limit)))
        assert lazyguard.remaining() is None
        await asyncio.sleep(0)

    asyncio.run(main())


def test_an_attempt_that_is_cancelled_before_its_first_step():
    """It ends as interrupted, though nothing of it ever ran, and those who wait begin another."""
    made: list[int] = []

    async def factory():
        made.append(1)
        return "built"

    cell = Cell(factory, name="c", place="p", plan=ASYNC)

    async def main() -> None:
        building = asyncio.ensure_future(aresolved(cell))
        await asyncio.sleep(0)
        assert not made
        attempt = cell.now.running[0]
        attempt.task.cancel()
        assert await building == "built"
        assert attempt.outcome is not None
        assert attempt.outcome.interrupted

    asyncio.run(main())
    assert made == [1]


def test_a_thread_that_asks_a_loop_that_is_closed_meanwhile(monkeypatch):
    """Who waits on a thread for a task of a loop hears that the loop was closed before it was done."""

    class Closing(asyncio.SelectorEventLoop):
        looks = 0

        def is_closed(self) -> bool:
            self.looks += 1
            if self.looks == 2:
                looked.set()
            return super().is_closed()

    monkeypatch.setattr(wait_cycles, "LAST_LOOK", 0.001)
    looked = threading.Event()
    loop = Closing()
    loop.looks = 0
    never: list[object] = []

    async def task() -> None:
        raise AssertionError("nobody runs the loop")

    def ask() -> None:
        try:
            task_driver.from_thread(loop, task)
        except RuntimeError as error:
            never.append(str(error))

    loop.call_soon_threadsafe = lambda _begin: None
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    assert looked.wait(20)
    loop.close()
    thread.join(20)
    assert never == ["its event loop was closed before it was done"]


def test_a_loop_that_is_closed_just_before_a_target_is_to_be_closed_on_it(told):
    """Where the loop goes between the look and the word to it, the closing is tried here, and told as it is."""

    class Going(asyncio.SelectorEventLoop):
        def is_running(self) -> bool:
            return self.is_closed()

    async def close(_target) -> None: ...

    loop = Going()
    loop.close()
    cell = Cell(object, name="c", place="p", plan=Plan(awaited=True, close=close))
    attempt = Attempt(cell, 0, 0.0)
    attempt.home = loop
    pending = closings.PendingClose(attempt)
    pending.box = {0: "target"}
    task_closing.carry_out(pending)
    assert [(event.kind, event.name) for event in told] == [("close-failed", "c")]
    assert "does not run" in told[0].cause


def closing(name: str, close) -> Cell:
    """Return a ready cell that is known, and closed by `close`."""
    cell = Cell(lambda: name, name=name, place="p", plan=Plan(close=close))
    declaration.register(cell, "service")
    resolved(cell)
    return cell


def test_what_others_close_meanwhile_is_not_closed_twice_in_a_task():
    """A `close` that resets the next in the line: `aclose()` passes over it."""
    closed: list[str] = []
    first = closing("first", closed.append)

    def close(target: str) -> None:
        closed.append(target)
        first.reset()

    last = closing("last", close)
    asyncio.run(task_closing.aclosed())
    assert closed == ["last", "first"]
    assert first.now.state == last.now.state == "pending"


@pytest.mark.parametrize("gone", [False, True])
def test_an_aclose_that_is_given_up(gone, eventually):
    """What it was closing when it was cancelled goes on beside it; the end is told to nobody, loop or no loop."""
    begun, go = threading.Event(), threading.Event()
    closed: list[str] = []
    wrong: list[object] = []

    def close(target: str) -> None:
        begun.set()
        assert go.wait(20)
        closed.append(target)

    cell = closing("slow", close)

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: wrong.append(context))
        aclosing = asyncio.ensure_future(task_closing.aclosed())
        while not begun.is_set():
            await asyncio.sleep(0)
        aclosing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await aclosing
        if not gone:
            go.set()
            while any(thread.name == "lazyguard slow" for thread in threading.enumerate()):
                await asyncio.sleep(0)
            await asyncio.sleep(0)

    try:
        asyncio.run(main())
    finally:
        go.set()
    eventually(lambda: closed == ["slow"])
    assert wrong == []
    assert cell.now.state == "pending"
