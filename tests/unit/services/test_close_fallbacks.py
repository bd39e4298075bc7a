"""What `fallback(close=...)` promises: a fallback is closed when it is no longer needed, once, and not before."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import threading
from textwrap import dedent

import pytest

import lazyguard
from lazyguard._core import observers
from lazyguard._core.cell import Cell
from lazyguard._core.declaration import Plan
from lazyguard._core.threads import resolved

pytestmark = pytest.mark.usefixtures("limited")


class Fallback:
    """What the fallback makes."""

    def name(self) -> str:
        return "a fallback"


@pytest.fixture
def closed():
    """Return the fallbacks that were closed, in order."""
    return []


@pytest.fixture
def get(plant, clock, closed):
    """Return a service that fails, with a fallback that is closed."""
    plant.fate = OSError()
    made = lazyguard.service(name="db", grace=5.0, recovery=lazyguard.Recovery(initial=1.0))(lambda: plant.make())
    made.fallback(close=closed.append)(lambda: Fallback())
    return made


def served(get) -> object:
    return get.__lazyguard_cell__().now.target


def test_replaced_by_the_real_object(get, plant, clock, closed, eventually):
    """It is closed after the service's grace, since calls on it may go on; never while it serves."""
    assert get().name() == "a fallback"
    fallback = served(get)
    plant.fate = None
    eventually(lambda: clock.advance(60.0) or not lazyguard.is_fallback(get))
    eventually(lambda: clock.advance(5.0) or closed)
    assert closed == [fallback]


def test_grace(get, plant, clock, closed, eventually):
    """Before it is over nothing is closed, after it one thing is."""
    assert get().name() == "a fallback"
    plant.fate = None
    assert get.require_real().name == "thing 1"
    clock.advance(4.9)
    assert not closed
    clock.advance(0.2)
    eventually(lambda: closed)


def test_reset(get, closed):
    """At once, on this thread, and the next degradation has another one."""
    assert get().name() == "a fallback"
    fallback = served(get)
    get.reset()
    assert closed == [fallback]
    assert get().name() == "a fallback"
    assert served(get) is not fallback
    get.reset()
    assert len(closed) == 2


def test_override(get, closed):
    """It is covered, not replaced: after the override it serves again. `close` closes what is covered."""
    assert get().name() == "a fallback"
    fallback = served(get)
    with get.override([1]):
        assert get().pop() == 1
    assert served(get) is fallback
    assert not closed
    with get.override([1]):
        lazyguard.close()
        assert closed == [fallback]
        assert get().pop() == 1
    assert get.health().state == "pending"


def test_close(get, closed):
    """It is closed like what a factory has made; the service is pending, and its next use has another one."""
    assert get().name() == "a fallback"
    lazyguard.close()
    lazyguard.close()
    assert len(closed) == 1
    assert get.health().state == "pending"
    assert get().name() == "a fallback"
    lazyguard.close()
    assert len(closed) == 2


def test_without_close(plant, clock):
    """It is its maker's: nothing touches it, also where the service has a close of its own."""
    plant.fate = OSError()
    closed: list[object] = []
    get = lazyguard.service(name="db", close=closed.append, recovery=None)(lambda: plant.make())
    get.fallback(lambda: Fallback())
    assert get().name() == "a fallback"
    lazyguard.close()
    assert lazyguard.is_fallback(get)
    get.reset()
    assert not closed


def test_pinned(get, closed):
    """A block that holds it has it to its end."""
    with lazyguard.pinned(get()) as kept:
        get.reset()
        assert kept.name() == "a fallback"
        assert not closed
    assert len(closed) == 1


def test_too_late(plant, clock, closed, eventually):
    """What comes when the real object is there is closed, and not served another time."""
    plant.hanging = True
    get = lazyguard.service(name="db", timeout=10.0, recovery=None)(plant.make)
    begun, go = threading.Event(), threading.Event()

    @get.fallback(close=closed.append)
    def _() -> object:
        begun.set()
        assert go.wait(30)
        return Fallback()

    user = threading.Thread(target=lambda: get().work(), daemon=True)
    user.start()
    plant.until(1)
    clock.advance(9.5)
    assert begun.wait(30)
    plant.let_go()
    user.join(30)
    go.set()
    eventually(lambda: closed)


@pytest.mark.parametrize("second", [0, 1])
def test_a_chain(plant, clock, closed, second):
    """Each fallback has its own close."""
    plant.fate = OSError()
    get = lazyguard.service(name="db", recovery=None)(lambda: plant.make())

    @get.fallback(close=lambda one: closed.append(("first", one)))
    def _() -> object:
        if second:
            raise OSError
        return Fallback()

    @get.fallback(close=lambda one: closed.append(("second", one)))
    def _() -> object:
        return Fallback()

    assert get().name() == "a fallback"
    fallback = served(get)
    lazyguard.close()
    assert closed == [(("first", "second")[second], fallback)]


def test_of_keys(clock, closed, eventually):
    """That of one key is its own, and is closed when nobody holds that key any more."""

    @lazyguard.service(name="db", max_keys=1, grace=5.0)
    def get(tenant: str) -> list[str]:
        raise OSError

    @get.fallback(close=closed.append)
    def _(cause: Exception, tenant: str) -> list[str]:
        return [tenant]

    assert get("a")[0] == "a"
    assert get("b")[0] == "b"  # a is let go of
    gc.collect()
    eventually(lambda: clock.advance(5.0) or closed)
    assert closed == [["a"]]
    get.reset()
    assert closed == [["a"], ["b"]]


def test_in_a_child(in_child, closed):
    """It closes what it has made, and nothing of its parent's."""

    @lazyguard.service(name="db", recovery=None)
    def get() -> Fallback:
        raise OSError

    get.fallback(close=closed.append)(lambda: Fallback())
    assert get().name() == "a fallback"

    def child() -> None:
        assert get().name() == "a fallback"
        get.reset()
        assert len(closed) == 1

    parents = served(get)
    assert in_child(child) == 0
    assert not closed
    get.reset()
    assert closed == [parents]


def test_at_the_exit():
    """The exit closes it."""
    program = """
        import lazyguard

        @lazyguard.service(recovery=None)
        def get() -> list[int]:
            raise OSError

        @get.fallback(close=lambda one: print("closed", one))
        def _() -> list[int]:
            return [1]

        print(len(get()))
    """
    done = subprocess.run([sys.executable, "-c", dedent(program)], capture_output=True, text=True, timeout=60)
    assert done.stdout.split("\n")[:2] == ["1", "closed [1]"], done.stderr


def test_async(closed):
    """It is awaited on its own loop, by reset and by aclose; one made on another loop is not served here."""

    @lazyguard.service(name="db", recovery=None, grace=0.0)
    async def get() -> Fallback:
        raise OSError

    async def note(one: object) -> None:
        await asyncio.sleep(0)
        closed.append((one, asyncio.get_running_loop()))

    @get.fallback(close=note)
    async def _() -> Fallback:
        return Fallback()

    async def use(*, closes: bool) -> tuple[object, object]:
        assert (await get.aget()).name() == "a fallback"
        fallback = served(get)
        if closes:
            await lazyguard.aclose()
        return fallback, asyncio.get_running_loop()

    first = asyncio.run(use(closes=True))
    assert closed == [first]
    second = asyncio.run(use(closes=False))
    third = asyncio.run(use(closes=True))
    assert second[0] is not third[0]
    assert closed[-1] == third


@pytest.mark.usefixtures("clock")
def test_a_real_object_that_fails_at_once(closed):
    """Its breaker opens before the fallback was let go of: that serves on, and is not closed under its users."""
    things = [OSError(), Fallback()]
    cell = Cell(lambda: _give(things.pop(0)), name="db", place="here:1", plan=Plan(grace=5.0))
    fallback = Cell(Fallback, name="the fallback of db", place="here:2", plan=Plan(close=closed.append))
    cell.fallbacks = (fallback,)
    assert isinstance(resolved(cell), Fallback)

    class Observer:
        """Who counts attempts, and has the breaker open in the midst of one's end."""

        def attempted(self, name: str, ended: str, seconds: float) -> None:
            if ended == "ok" and name == "db":
                cell.open(cell.now.generation, OSError())
                resolved(cell)

        def counter(self, name: str, ended: str):
            return lambda: None

    end = observers.observe(Observer())
    try:
        resolved(cell, real=True)
    except lazyguard.ResolutionError:
        pass
    finally:
        end()
    assert cell.now.state == "degraded"
    assert cell.now.target is fallback.now.target
    cell.reset()
    assert len(closed) == 1


def _give(made: object) -> object:
    if isinstance(made, Exception):
        raise made
    return made


@pytest.mark.parametrize(
    ("close", "what"),
    [("x", "close='x' is invalid: give a function of the object, or None"), (asyncio.sleep, "nothing would await")],
)
def test_what_is_no_close(get, close, what):
    """It is refused where it is declared."""
    with pytest.raises(lazyguard.errors.ConfigurationError, match=what):
        get.fallback(close=close)(lambda: Fallback())
