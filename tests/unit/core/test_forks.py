"""Law 6: a fork is survived, in whatever state a cell is and whatever the parent's other threads do."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from textwrap import dedent

import pytest

from lazyguard._core import cell as cells
from lazyguard._core import forks
from lazyguard._core.cell import Cell
from lazyguard._core.declaration import Plan
from lazyguard._core.tasks import aresolved
from lazyguard._core.threads import resolved
from lazyguard.testing import FakeClock

pytestmark = pytest.mark.usefixtures("limited")

TIMEOUTS = pytest.mark.parametrize("timeout", [None, 30.0])
ON_FORK = pytest.mark.parametrize("on_fork", ["keep", "reset"])


@pytest.fixture
def make():
    """Return a function that makes a cell which forks are told of."""

    def watched(factory, **plan) -> Cell:
        cell = Cell(factory, name="c", place="here:1", plan=Plan(**plan))
        forks.watch(cell)
        made.append(cell)  # cells are watched weakly
        return cell

    made: list[Cell] = []
    return watched


@TIMEOUTS
@ON_FORK
def test_a_pending_cell_is_built_in_the_child(make, in_child, timeout, on_fork):
    """A cell that nobody has used is built in the child as if there had been no fork."""
    cell = make(os.getpid, timeout=timeout, on_fork=on_fork)

    def child() -> None:
        assert resolved(cell) == os.getpid()

    assert in_child(child) == 0
    assert cell.now.state == "pending"


@TIMEOUTS
def test_a_ready_cell_is_kept_or_built_anew(make, in_child, timeout):
    """on_fork="keep" serves the parent's object in the child, "reset" makes one there, which closes nothing."""
    closed: list[int] = []
    kept = make(os.getpid, timeout=timeout, close=closed.append)
    renewed = make(os.getpid, timeout=timeout, on_fork="reset", close=closed.append)
    parent = os.getpid()
    assert resolved(kept) == resolved(renewed) == parent

    def child() -> None:
        assert resolved(kept) == parent
        assert renewed.now.state == "pending"
        assert resolved(renewed) == os.getpid() != parent
        assert closed == []

    assert in_child(child) == 0
    assert resolved(renewed) == parent


@TIMEOUTS
@ON_FORK
def test_what_another_thread_was_building_is_built_in_the_child(make, in_child, timeout, on_fork, eventually):
    """The child does not wait for a thread that only the parent has, and forgets who waited for whom."""
    gate = threading.Event()
    parent = os.getpid()

    def factory():
        if os.getpid() == parent:
            gate.wait()
        return os.getpid()

    cell = make(factory, timeout=timeout, on_fork=on_fork)
    threads = [threading.Thread(target=resolved, args=(cell,), daemon=True) for _ in range(3)]
    for thread in threads:
        thread.start()
    eventually(lambda: bool(cell.now.running) and cell.now.running[0].running)

    def child() -> None:
        assert cell.now.running == ()
        assert not cells.active
        assert resolved(cell) == os.getpid()

    try:
        assert in_child(child) == 0
        assert len(cell.now.running) == 1
    finally:
        gate.set()
        for thread in threads:
            thread.join(20)
    assert resolved(cell) == parent


def test_a_factory_that_forks_goes_on_in_both_processes(make, in_child):
    """The thread that forks inside its own factory ends its attempt in the child, too."""
    statuses: list[int] = []

    def factory():
        def child() -> None:
            cells_here = [attempt.cell for attempt in cells.active]
            assert cells_here == [cell]

        statuses.append(in_child(child))
        return "built"

    cell = make(factory)
    assert resolved(cell) == "built"
    assert statuses == [0]


@TIMEOUTS
@ON_FORK
def test_a_failed_cell_is_tried_again_in_the_child(make, in_child, timeout, on_fork):
    """A failure of the parent is none of the child's."""
    parent = os.getpid()

    def factory():
        if os.getpid() == parent:
            raise ConnectionError
        return os.getpid()

    cell = make(factory, timeout=timeout, on_fork=on_fork)
    with pytest.raises(RuntimeError):
        resolved(cell)

    def child() -> None:
        assert resolved(cell) == os.getpid()

    assert in_child(child) == 0


@ON_FORK
def test_a_degraded_cell_answers_in_the_child(make, in_child, on_fork):
    """Kept, it serves the same fallback; reset, it builds the real object or a fallback anew. Never does it hang."""
    parent = os.getpid()

    def factory():
        if os.getpid() == parent:
            raise ConnectionError
        return "real"

    cell = make(factory, timeout=30.0, on_fork=on_fork)
    cell.fallbacks = (Cell(object, name="fallback", place="here:2"),)
    fallback = resolved(cell)

    def child() -> None:
        if on_fork == "reset":
            assert cell.fallbacks
            assert cell.now.state == "pending"
            assert resolved(cell) == "real"
        else:
            assert resolved(cell) is fallback
            assert resolved(cell, real=True) == "real"

    assert in_child(child) == 0
    assert resolved(cell) is fallback


def test_on_fork_is_called_in_the_child_with_the_target(make, in_child):
    """A function as on_fork is called once, with what the parent built; not for what is pending or overrides it."""
    seen: list[object] = []
    cell = make(lambda: "built", on_fork=seen.append)
    make(lambda: "pending", on_fork=seen.append)
    resolved(cell)
    undo = cell.override("fake")

    def child() -> None:
        assert seen == ["built"]

    assert in_child(child) == 0
    undo()
    assert in_child(child) == 0
    assert seen == []


def test_an_on_fork_that_raises_is_told_and_hurts_no_one(make, in_child, told):
    """What on_fork raises is an event with its type; other cells are seen to."""

    def broken(_target: object) -> None:
        raise OSError("secret")

    cell = make(lambda: "built", on_fork=broken)
    other = make(lambda: "other", on_fork="reset")
    assert (resolved(cell), resolved(other)) == ("built", "other")

    def child() -> None:
        last = [event for event in told if event.kind == "fork-failed"]
        assert [event.name for event in last] == ["c"]
        assert last[0].cause.startswith("OSError")
        assert "secret" not in repr(last[0])
        assert other.now.state == "pending"

    assert in_child(child) == 0


def test_an_override_stays_in_the_child(make, in_child):
    """What is overridden stays so; what the override covers is made anew for on_fork="reset"."""
    cell = make(os.getpid, on_fork="reset")
    resolved(cell)
    undo = cell.override("fake")

    def child() -> None:
        assert resolved(cell) == "fake"
        undo()
        assert resolved(cell) == os.getpid()

    assert in_child(child) == 0
    undo()


def test_recovery_begins_again_in_the_child(make, in_child, eventually):
    """What the parent was recovering, the child recovers itself: its scheduler runs there."""

    class Recovery:
        def begin(self, cell: Cell) -> None:
            from lazyguard._core import clock, scheduler

            scheduler.at(clock.now() + 1.0, lambda: began.append(os.getpid()))

    began: list[int] = []

    def broken():
        raise ConnectionError

    with FakeClock() as time:
        cell = make(broken, recovery=Recovery())
        with pytest.raises(RuntimeError):
            resolved(cell)

        def child() -> None:
            time.advance(1.0)
            eventually(lambda: began == [os.getpid()])

        assert in_child(child) == 0
        time.advance(1.0)
        eventually(lambda: began == [os.getpid()])


def test_an_attempt_of_an_event_loop_is_forgotten_in_the_child(make, in_child):
    """A child forked while a task builds runs a loop of its own and builds there."""
    parent = os.getpid()

    async def factory():
        if os.getpid() == parent:
            await gate.wait()
        return os.getpid()

    cell = make(factory, awaited=True)

    def child() -> None:
        asyncio.events._set_running_loop(None)
        assert asyncio.run(aresolved(cell)) == os.getpid()

    async def main() -> int:
        global gate
        gate = asyncio.Event()
        building = asyncio.ensure_future(aresolved(cell))
        while not cell.now.running:
            await asyncio.sleep(0)
        status = in_child(child)
        gate.set()
        assert await building == parent
        return status

    assert asyncio.run(main()) == 0


gate: asyncio.Event


def test_the_lock_of_another_thread_is_fresh_in_the_child(make, in_child):
    """A fork in the middle of another thread's transition leaves no lock behind, and shows what was set."""
    held, go = threading.Event(), threading.Event()
    shown: list[object] = []
    parent = os.getpid()

    class Mirror:
        def is_shown_by(self, _thing):
            return False

        def load(self, _cell):
            pass

        def prepare(self, _cell, snapshot):
            return (snapshot.target,)

        def publish(self, view):
            if os.getpid() == parent:
                held.set()
                go.wait()
            shown.append(view[0])

        def drop(self, _view):
            raise AssertionError("nothing was shown before")

    cell = make(lambda: "built")
    cell.mirror = Mirror()
    thread = threading.Thread(target=resolved, args=(cell,), daemon=True)
    thread.start()
    assert held.wait(20)

    def child() -> None:
        assert shown == ["built"]
        assert resolved(cell) == "built"
        cell.reset()
        assert cell.now.state == "pending"

    try:
        assert in_child(child) == 0
    finally:
        go.set()
        thread.join(20)


def test_a_child_of_a_program_that_loaded_us_first_can_start_threads():
    """Hooks run in the order of registration: ours may come before that of threading, and must not start threads."""
    program = """
        import os, signal, sys
        from lazyguard._core import forks
        from lazyguard._core.cell import Cell
        from lazyguard._core.threads import resolved
        from lazyguard._core.declaration import Plan
        assert "threading" not in sys.modules

        class Recovery:
            def begin(self, cell):
                from lazyguard._core import clock, scheduler
                scheduler.at(clock.now() + (3600 if os.getpid() == parent else 0), done.release)

        def broken():
            raise ConnectionError

        import _thread, warnings
        warnings.simplefilter("ignore")
        parent = os.getpid()
        done = _thread.allocate_lock()
        done.acquire()
        cell = Cell(broken, name="c", place="p", plan=Plan(recovery=Recovery()))
        forks.watch(cell)
        try:
            resolved(cell)
        except RuntimeError:
            pass
        import threading
        for _ in range(20):
            # another thread of the parent holds the lock by which threading starts threads
            taken, go = threading.Event(), threading.Event()
            def hold():
                with threading._active_limbo_lock:
                    taken.set()
                    go.wait()
            holder = _thread.start_new_thread(hold, ())
            taken.wait()
            pid = os.fork()
            if pid == 0:
                signal.alarm(10)
                os._exit(0 if done.acquire(True, 10) else 1)
            go.set()
            assert os.waitpid(pid, 0)[1] == 0
        print("done")
        """
    ran = subprocess.run(
        [sys.executable, "-c", dedent(program)],
        capture_output=True,
        text=True,
        timeout=50,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert ran.stdout == "done\n", ran.stderr


@pytest.mark.parametrize("name", ["scheduler", "wait_cycles"])
def test_what_was_never_loaded_has_nothing_to_forget(make, in_child, monkeypatch, name):
    """The hooks load nothing: a program that has only declared its cells forks as others do."""
    cell = make(os.getpid, on_fork="reset")

    def child() -> None:
        assert f"lazyguard._core.{name}" not in sys.modules
        assert cell.now.generation == 1

    with monkeypatch.context() as patch:
        patch.delitem(sys.modules, f"lazyguard._core.{name}")
        assert in_child(child) == 0
