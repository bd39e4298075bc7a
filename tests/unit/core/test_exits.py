"""Law 15: a program's own exit, and what a signal handler raises, pass on the thread of the caller."""

from __future__ import annotations

import asyncio
import signal
import sys
import threading

import pytest

import lazyguard
from lazyguard import errors
from lazyguard._core import wait_cycles
from lazyguard._core.cell import Cell
from lazyguard._core.declaration import Plan
from lazyguard._core.tasks import aresolved
from lazyguard._core.threads import resolved

pytestmark = [
    pytest.mark.usefixtures("limited"),
    pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="no signals"),
]


class SoftLimit(Exception):
    """What a task queue's time limit raises."""


class Stop(BaseException):
    """What is nobody's failure."""


@pytest.fixture(params=[SystemExit, KeyboardInterrupt, SoftLimit, Stop], ids=lambda kind: kind.__name__)
def rings(request):
    """Return a function that lets a signal's handler raise, and the exception."""
    error = request.param("time is up")

    def ring(*_: object) -> None:
        raise error

    before = signal.signal(signal.SIGUSR1, ring)
    yield lambda *_: signal.raise_signal(signal.SIGUSR1), error
    signal.signal(signal.SIGUSR1, before)


def raising(error: BaseException):
    def fail(*_: object) -> None:
        raise error

    return fail


@pytest.mark.parametrize("where", ["factory", "probe"])
def test_a_handlers_exception_passes(rings, where):
    """It is no failure of the object: it passes, that is built by the next caller, and what was made is closed."""
    ring, error = rings
    closed: list[object] = []
    calls: list[int] = []

    def at(place: str) -> None:
        calls.append(1)
        if where == place and len(calls) < 3:
            ring()

    cell = Cell(
        lambda: at("factory") or ["made"],
        name="c",
        place="p",
        plan=Plan(probe=lambda _: at("probe"), close=closed.append),
    )
    cell.fallbacks = (Cell(lambda: ["fallback"], name="f", place="p"),)
    with pytest.raises(type(error)) as caught:
        resolved(cell)
    assert caught.value is error
    assert cell.now.state == "pending"
    assert len(closed) == (where == "probe")
    calls += [1, 1]
    assert resolved(cell) == ["made"]
    assert not wait_cycles.running


@pytest.mark.parametrize("where", ["factory", "probe", "fallback"])
@pytest.mark.parametrize("waits", [False, True])
def test_a_handlers_exception_passes_through_tasks(rings, where, waits):
    """The attempt has a task of its own; who has begun it gets the exception, and the next use builds."""
    ring, error = rings
    rung: list[int] = []

    async def at(place: str) -> list[str]:
        if waits:
            await asyncio.sleep(0)
        if where == place and not rung:
            rung.append(1)
            ring()
        if where == "fallback" and place == "factory":
            raise ConnectionError
        return [place]

    cell = Cell(lambda: at("factory"), name="c", place="p", plan=Plan(awaited=True, probe=lambda _: at("probe")))
    cell.fallbacks = (Cell(lambda: at("fallback"), name="f", place="p", plan=Plan(awaited=True)),)
    with pytest.raises(type(error)) as caught:
        asyncio.run(aresolved(cell))
    assert caught.value is error
    assert asyncio.run(aresolved(cell)) == ["fallback" if where == "fallback" else "factory"]


@pytest.mark.parametrize("awaited", [False, True])
def test_what_is_no_exception_passes(awaited):
    """What a factory raises that is nobody's failure is answered by no fallback, on threads and in tasks."""
    stop = Stop()

    async def fail() -> None:
        raise stop

    cell = Cell(fail if awaited else raising(stop), name="c", place="p", plan=Plan(awaited=awaited))
    cell.fallbacks = (Cell(lambda: ["fallback"], name="f", place="p"),)
    with pytest.raises(Stop) as caught:
        asyncio.run(aresolved(cell)) if awaited else resolved(cell)
    assert caught.value is stop
    assert cell.now.state == "pending"


def test_a_factorys_exit_passes_and_is_a_failure_for_the_others(eventually):
    """The caller's thread ends; who has joined the attempt is told once; the next caller tries again."""
    entered, go = threading.Event(), threading.Event()
    results: list[object] = []

    def factory() -> list:
        entered.set()
        assert go.wait(20)
        raise SystemExit(3)

    cell = Cell(factory, name="c", place="p")

    def use() -> None:
        try:
            results.append(resolved(cell))
        except BaseException as error:
            results.append(error)

    first, second = threading.Thread(target=use), threading.Thread(target=use)
    first.start()
    assert entered.wait(20)
    second.start()
    eventually(lambda: wait_cycles.waiting)
    go.set()
    first.join(20)
    second.join(20)
    exits = [one for one in results if isinstance(one, SystemExit)]
    (told,) = [one for one in results if isinstance(one, errors.ResolutionError)]
    assert len(exits) == 1
    assert isinstance(told.__cause__, SystemExit)
    assert told.__cause__.args == exits[0].args
    assert "must not end the process" in str(told)
    assert cell.now.state == "failed"
    with pytest.raises(SystemExit):
        resolved(cell)


def test_an_exit_on_our_own_thread_is_a_failure():
    """There is no program above that thread: it says so, and the fallback is served."""
    cell = Cell(raising(SystemExit(3)), name="c", place="p", plan=Plan(timeout=30.0))
    with pytest.raises(errors.ResolutionError, match="must not end the process"):
        resolved(cell)
    cell.fallbacks = (Cell(lambda: ["fallback"], name="f", place="p"),)
    assert resolved(cell) == ["fallback"]


def test_an_exit_of_an_async_factory_ends_the_loop():
    """It runs on the caller's thread, as a task: the exit is the program's."""

    async def factory() -> None:
        raise SystemExit(3)

    with pytest.raises(SystemExit):
        asyncio.run(aresolved(Cell(factory, name="c", place="p", plan=Plan(awaited=True))))


def test_a_close_that_ends_the_program_leaves_nothing_open(eventually):
    """The exit passes to who has reset or closed; what else is to be closed is closed all the same."""
    closed: list[object] = []

    def close(target: list) -> None:
        closed.append(target)
        if target == ["fallback"]:
            raise SystemExit(3)

    cell = Cell(lambda: ["real"], name="c", place="p", plan=Plan(close=close))
    cell.fallbacks = (Cell(lambda: ["fallback"], name="f", place="p", plan=Plan(close=close)),)
    assert resolved(cell) == ["real"]
    assert resolved(cell.fallbacks[0]) == ["fallback"]
    with pytest.raises(SystemExit):
        cell.reset()
    eventually(lambda: len(closed) == 2)
    assert closed == [["fallback"], ["real"]]
    assert cell.now.state == "pending"


def test_what_a_guarded_function_raises_to_end_the_program(rings):
    """It passes through retries and fallback."""
    ring, error = rings
    if isinstance(error, Exception):
        pytest.skip("that is for the policies to judge")
    call = lazyguard.guarded(retry=lazyguard.Retry(attempts=3, initial=0.0))(ring)
    call.fallback(lambda: "fallback")
    with pytest.raises(type(error)):
        call()


def test_a_kept_cause_goes_in_silence_at_the_interpreters_end(monkeypatch):
    """When modules have lost their names, objects that outlived them are finalised."""
    from lazyguard._core import causes

    said: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", said.append)
    kept = causes.keep(OSError())
    monkeypatch.setattr(causes, "_kept", None)
    del kept
    assert not said
