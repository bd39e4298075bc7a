"""What closes what factories made: once, not while a block holds it, in no child of a fork."""

from __future__ import annotations

import _thread
import asyncio
import threading

import pytest

from lazyguard._core import clock as clocks
from lazyguard._core import closing, daemons, declaration, scheduler, state
from lazyguard._core import closing as closings
from lazyguard._core.cell import Cell
from lazyguard._core.declaration import Plan
from lazyguard._core.state import Attempt
from lazyguard._core.tasks import aresolved
from lazyguard._core.threads import resolved
from lazyguard.errors import ResolutionError


def retired(cell: Cell, target: object, home: object = None) -> closings.PendingClose:
    """Return what will close a target that has left service."""
    attempt = Attempt(cell, 0, 0.0)
    attempt.home = home
    pending = closings.PendingClose(attempt)
    pending.box = {0: target}
    state.to_close[pending] = None
    return pending


@pytest.fixture
def closed():
    """Return the list of what was closed."""
    return []


@pytest.fixture
def cell(closed):
    """Return a cell that makes lists, and closes them into `closed`."""
    return Cell(list, name="c", place="p", plan=Plan(close=lambda target: closed.append(target), grace=5.0))


def test_a_hold_puts_off_the_closing(cell, closed, limited, eventually):
    """While a block holds a target a reset leaves it open; the last block to end closes it, once."""
    target = resolved(cell)
    closing.hold(target, "holder")
    closing.hold(target, "another")
    cell.reset()
    assert resolved(cell) is not target
    closing.let_go(target, "holder")
    cell.reset()
    assert len(closed) == 1
    assert closed[0] is not target
    closing.let_go(target, "another")
    eventually(lambda: len(closed) == 2)
    assert closed[1] is target


def test_a_hold_alone_closes_nothing(cell, closed):
    """A target that is served when the block ends stays open."""
    target = resolved(cell)
    closing.hold(target, "holder")
    closing.let_go(target, "holder")
    assert resolved(cell) is target
    assert not closed
    cell.reset()
    assert closed == [[]]


def test_grace_that_ends_in_a_hold(cell, closed, clock, limited, eventually):
    """What falls due while it is held is closed when the block ends."""
    target = resolved(cell)
    closing.hold(target, "holder")
    cell.open(0, OSError())
    clock.advance(5.0)
    eventually(lambda: closing._held[id(target)][2])
    assert not closed
    closing.let_go(target, "holder")
    eventually(lambda: closed == [[]])


@pytest.fixture
def looked(eventually):
    """Return a function that waits until what is due has been seen to, closing included."""

    def look() -> None:
        done = threading.Event()
        scheduler.at(clocks.now(), done.set)
        assert done.wait(30)
        eventually(lambda: all(thread.name != "lazyguard c" for thread in threading.enumerate()))

    return look


def test_what_is_taken_out_of_service_has_its_grace(cell, closed, clock, limited, looked, eventually):
    """It is closed when `grace` is over, and not before."""
    resolved(cell)
    cell.open(0, OSError())
    clock.advance(4.9)
    looked()
    assert not closed
    clock.advance(0.2)
    eventually(lambda: closed == [[]])


def test_a_fallback_has_the_grace_of_its_service(cell, closed, clock, limited, looked, eventually):
    """When the object is there, what its fallback has made is closed after `grace`, and not before."""
    fallback = Cell(lambda: "fallback", name="c", place="p", plan=Plan(close=closed.append))
    resolved(fallback)
    cell.fallbacks = (fallback,)
    resolved(cell)
    clock.advance(4.9)
    looked()
    assert not closed
    clock.advance(0.2)
    eventually(lambda: closed == ["fallback"])


def test_what_nobody_can_reach_has_its_grace(closed, clock, limited, looked, eventually, monkeypatch):
    """A cell that goes has what it served closed when `grace` is over; for many, one thread at a time is started."""
    begun: list[object] = []
    served: list[object] = []

    def begin(function, arguments) -> None:
        begun.append(function)

    scheduler.renew()
    with monkeypatch.context() as patch:
        patch.setattr(_thread, "start_new_thread", begin)
        cell = Cell(object, name="c", place="p", plan=Plan(grace=5.0))
        served.append(resolved(cell))
        del cell
        assert not begun
        cell = Cell(object, name="c", place="p", plan=Plan(close=closed.append, grace=5.0))
        served.append(resolved(cell))
        del cell
    assert begun == [scheduler._closings.poke]
    begun[0]()
    with monkeypatch.context() as patch:
        patch.setattr(_thread, "start_new_thread", begin)
        cells = [Cell(object, name="c", place="p", plan=Plan(close=lambda _: None, grace=5.0)) for _ in range(100)]
        for cell in cells:
            resolved(cell)
        del cell, cells
    assert len(begun) == 1
    clock.advance(4.9)
    looked()
    assert not closed
    clock.advance(0.2)
    eventually(lambda: closed == served[1:])


def test_what_is_closed_leaves_nothing_due(cell, closed, clock):
    """The watch over a `close` ends with it: nothing is due of a target that was closed."""
    watched: list[scheduler.Job] = []

    def watch(due, work):
        job = at(due, work)
        watches = getattr(work, "__self__", None)
        if isinstance(watches, closings.PendingClose) and watches._cell() is cell:  # else it is another thread's
            watched.append(job)
        return job

    at = scheduler.at
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scheduler, "at", watch)
        for _ in range(100):
            resolved(cell)
            cell.reset()
    assert len(closed) == len(watched) == 100
    assert {job.work for job in watched} == {None}


# How many close at once, but for those that hang.
AT_MOST = 4


def at_work() -> int:
    return sum(thread.name == "lazyguard closer" for thread in threading.enumerate())


def test_many_that_fall_due_at_once_are_closed_by_a_few_threads(clock, limited, eventually):
    """However much falls due at once, a handful of threads closes it."""
    most: list[int] = []
    done: list[object] = []

    def close(target) -> None:
        most.append(at_work())
        done.append(target)

    cells = [Cell(object, name="c", place="p", plan=Plan(close=close, grace=5.0)) for _ in range(300)]
    targets = []
    for cell in cells:
        targets.append(resolved(cell))
        cell.open(0, OSError())
    clock.advance(5.0)
    eventually(lambda: len(done) == 300)
    assert {id(target) for target in done} == {id(target) for target in targets}
    assert max(most) <= AT_MOST


def test_a_close_that_hangs_holds_up_no_other(clock, told, limited, eventually):
    """Where as many hang as there are threads for it, others take their place once they count as hanging."""
    gate = threading.Event()
    begun: list[object] = []
    hanging = [
        Cell(object, name="c", place="p", plan=Plan(close=lambda _: begun.append(1) or gate.wait(50), grace=1.0))
        for _ in range(2 * AT_MOST)
    ]
    closed: list[object] = []
    last = Cell(list, name="c", place="p", plan=Plan(close=closed.append, grace=2.0))
    for cell in (*hanging, last):
        resolved(cell)
        cell.open(0, OSError())
    try:
        clock.advance(1.0)
        eventually(lambda: len(begun) == AT_MOST)
        clock.advance(1.0)
        clock.advance(closings.HANGS)
        eventually(lambda: len(begun) == 2 * AT_MOST)
        assert not closed
        clock.advance(closings.HANGS)
        eventually(lambda: closed == [[]])
    finally:
        gate.set()
    eventually(lambda: not at_work())


def test_a_closer_that_is_interrupted_leaves_the_others_to_another(clock, limited, eventually, monkeypatch):
    """What ends a closing thread (a KeyboardInterrupt that `close` raises) keeps nothing else open."""
    monkeypatch.setattr(threading, "excepthook", lambda _: None)
    closed: list[object] = []

    def interrupt(_target) -> None:
        raise KeyboardInterrupt

    closes = [interrupt] * 10 + [closed.append]
    cells = [Cell(list, name="c", place="p", plan=Plan(close=close, grace=1.0)) for close in closes]
    for cell in cells:
        resolved(cell)
        cell.open(0, OSError())
    clock.advance(1.0)
    eventually(lambda: closed == [[]])
    # each was called once, whatever it raised, and at its first line; what other tests have left is none of these
    eventually(lambda: not any(pending._close in closes for pending in closings.to_close.copy()))
    eventually(lambda: not at_work())  # before the hook of threads is what it was


def test_no_recovery_waits_behind_what_is_to_be_closed(clock, limited, eventually):
    """What is due beside 20,000 closings is done while they wait."""
    gate = threading.Event()
    done: list[bool] = []
    cell = Cell(list, name="c", place="p", plan=Plan(close=lambda _: gate.wait(50)))
    few = [retired(cell, []) for _ in range(9)]
    for index in range(20_000):
        closings.after_grace(few[index % 9], clocks.now() + 1.0)
    scheduler.at(clocks.now() + 1.0, lambda: done.append(gate.is_set()))
    try:
        clock.advance(1.0)
        eventually(lambda: done == [False])
    finally:
        gate.set()
    eventually(lambda: not closing.crew.waiting)


def test_who_waits_too_late_is_told_at_once(cell, closed):
    """A pending that was paid before somebody asks to be told of it tells at once."""
    pending = retired(cell, [])
    told: list[bool] = []
    pending.run()
    pending.wait(lambda: told.append(True))
    assert (closed, told) == ([[]], [True])


def test_what_a_probe_refused_is_closed_on_its_loop():
    """What an async factory made and its probe refused belongs to the loop that runs, which awaits its `close`."""
    closed: list[object] = []

    async def factory():
        return "made"

    async def probe(_target):
        raise OSError("not well")

    async def close(target):
        closed.append((target, asyncio.get_running_loop()))

    cell = Cell(factory, name="c", place="p", plan=Plan(awaited=True, probe=probe, close=close))

    async def main():
        with pytest.raises(ResolutionError):
            await aresolved(cell)
        while not closed:
            await asyncio.sleep(0)
        assert closed == [("made", asyncio.get_running_loop())]

    asyncio.run(main())


def refuse(*_anything: object, **_options: object) -> None:
    raise RuntimeError("can't start new thread")


def test_where_no_thread_is_to_be_had_it_stays_owed(cell, closed, monkeypatch):
    """Who waits is told, so that nobody hangs; what is owed is closed by whoever comes next, the exit at the latest."""
    pending = retired(cell, [])
    told: list[bool] = []
    pending.wait(lambda: told.append(True))
    with monkeypatch.context() as patch:
        patch.setattr(daemons, "daemon", refuse)
        closings.on_a_thread(pending)
    assert (closed, told) == ([], [True])
    closings.close()
    assert closed == [[]]


def test_a_finaliser_for_which_no_thread_is_to_be_had(cell, closed, monkeypatch):
    """A cell that goes while no thread can be started raises nothing in its finaliser; what it served stays owed."""
    resolved(cell)
    with monkeypatch.context() as patch:
        patch.setattr(_thread, "start_new_thread", refuse)
        cell.__del__()
    assert closed == []
    closings.close()
    assert closed == [[]]


def test_what_others_close_meanwhile_is_not_closed_twice(closed, told, monkeypatch):
    """A `close` that resets the next in the line: neither `close()` nor the exit closes that one again."""
    for close_all in (closings.close, closings.at_exit):
        closed.clear()
        first = Cell(lambda: "first", name="first", place="p", plan=Plan(close=closed.append))

        def close(target, first=first):
            closed.append(target)
            first.reset()

        last = Cell(lambda: "last", name="last", place="p", plan=Plan(close=close))
        for one in (first, last):
            declaration.register(one, "service")
            resolved(one)
        close_all()
        assert closed == ["last", "first"]


def test_the_exit_tells_of_a_close_that_hangs(closed, told, monkeypatch, limited):
    """A `close` that has not returned when the exit goes on is told, by name, and does not hold the others up."""
    monkeypatch.setattr(closings, "AT_EXIT", 0.2)
    gate = threading.Event()
    quick = Cell(lambda: "quick", name="quick", place="p", plan=Plan(close=closed.append))
    hangs = Cell(lambda: "hangs", name="hangs", place="p", plan=Plan(close=lambda _target: gate.wait(30)))
    for one in (quick, hangs):
        declaration.register(one, "service")
        resolved(one)
    try:
        closings.at_exit()
        failures = [event for event in told if event.kind == "close-failed" and event.name == "hangs"]
        assert [event.cause for event in failures] == ["close= has not returned at the exit"]
    finally:
        gate.set()


def test_the_exit_is_told_of_what_has_a_close(cell, in_child):
    """What is built asks for the exit where there is something to close, and not otherwise."""

    def work() -> None:
        closings._registered.clear()
        resolved(Cell(list, name="plain", place="p"))
        assert not closings._registered
        resolved(cell)
        assert "exit" in closings._registered

    assert in_child(work) == 0


def test_a_thread_that_was_started_before_closes_at_the_exit(cell, closed, monkeypatch, eventually):
    """Where no thread can be started at the exit, one that waits since the first build does the work, job after job."""
    monkeypatch.setattr(daemons, "_idle", [])
    monkeypatch.setattr(daemons, "LINGER", 60.0)
    daemons.daemon(bool, "exit", again=True)
    monkeypatch.setattr(daemons, "_begin", refuse)
    for number in (1, 2):
        eventually(lambda: daemons._idle)
        monkeypatch.setattr(daemons, "LINGER", 60.0 if number == 1 else 0.0)  # read when it waits after this one
        closings.on_a_thread(retired(cell, []), closings.carry_out_now)
        eventually(lambda number=number: closed == [[]] * number)
