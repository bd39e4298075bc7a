"""What `close` and `aclose` promise, what the exit closes, and what else closes an object."""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys
import threading
import time
from textwrap import dedent

import pytest

import lazyguard
from lazyguard._core import closing as closings

STARTS_NO_THREADS_AT_EXIT = (3, 12, 0) <= sys.version_info[:3] < (3, 12, 2)


class Diary(list):
    """What was closed, in order, and on which thread."""

    def service(self, name: str, **options):
        """Declare a service whose object is its own name."""
        return lazyguard.service(name=name, close=self.append, **options)(lambda: name)

    def aservice(self, name: str, close=None, **options):
        """Declare an async one, whose `close` waits a little."""

        async def note(target: str) -> None:
            await asyncio.sleep(0)
            self.append(target)

        async def make() -> str:
            return name

        return lazyguard.service(name=name, close=close or note, **options)(make)


@pytest.fixture
def diary():
    """Return a list of what was closed in this test."""
    return Diary()


def test_close(diary, told):
    """The last one built is closed first, each once; after that they are pending, and their references work."""
    lazyguard.close()  # what other tests have left
    told.clear()
    services = [diary.service(name) for name in ("a", "b", "c")]
    for index in (1, 0, 2):
        assert services[index]().upper()
    lazyguard.close()
    lazyguard.close()
    assert diary == ["c", "a", "b"]
    assert [get.health().state for get in services] == ["pending"] * 3
    assert services[1]().upper() == "B"
    lazyguard.close()
    assert diary == ["c", "a", "b", "b"]
    assert [event.name for event in told if event.kind == "reset"] == ["c", "a", "b", "b"]


@pytest.mark.parametrize("timeout", [None, 5.0])
def test_what_another_one_needs_is_closed_after_it(diary, timeout):
    """A service that a factory builds on its way, and uses, is closed after what that factory has made."""
    inner = lazyguard.service(close=lambda _: diary.append("inner"), timeout=timeout)(lambda: [1])
    outer = lazyguard.service(close=lambda _: diary.append("outer"), timeout=timeout)(lambda: [inner()[0]])
    assert outer()[0] == 1
    lazyguard.close()
    assert diary == ["outer", "inner"]


def test_close_and_grace(plant, clock, diary, limited):
    """What waits for its grace is closed at once, and not again when that has passed."""
    get = lazyguard.service(
        name="db",
        close=diary.append,
        failures=(OSError,),
        breaker=lazyguard.Breaker(failure_threshold=1),
        recovery=None,
    )(plant.make)
    get().name
    plant.things[0].fate = OSError()
    with pytest.raises(OSError):
        get().work()
    assert not diary
    lazyguard.close()
    assert diary == plant.things
    clock.advance(100.0)
    assert get().name == "thing 2"
    assert diary == plant.things[:1]


def test_close_from_many_threads(diary, race):
    """Each object is closed by one of them."""
    services = [diary.service(str(number)) for number in range(20)]
    assert all(get().upper() for get in services)
    race(*[lazyguard.close] * 4)
    assert sorted(diary) == sorted(map(str, range(20)))


def test_close_raises_nothing(told):
    """What fails is an event, and the others are closed."""
    closed: list[object] = []

    def fail(_target: object) -> None:
        raise OSError("secret")

    one = lazyguard.service(close=closed.append)(lambda: "one")
    two = lazyguard.service(name="two", close=fail)(lambda: "two")
    assert one().upper() + two().upper() == "ONETWO"
    lazyguard.close()
    assert closed == ["one"]
    (failed,) = [event for event in told if event.kind == "close-failed"]
    assert (failed.name, failed.cause.partition(" at ")[0]) == ("two", "OSError")


def test_an_override_is_the_users(diary):
    """The value of an override is never closed; what it covers is left alone, and closed by close and reset only."""
    get = diary.service("real")
    assert get().upper() == "REAL"
    with get.override("fake"):
        assert not diary
        with get.override("other"):
            lazyguard.close()
        assert get().upper() == "FAKE"
    assert diary == ["real"]
    assert get().upper() == "REAL"


def test_what_nobody_holds(diary, clock, limited, eventually):
    """A service that was let go of is closed after its grace; what is still held, is not."""
    get = diary.service("dropped", grace=5.0)
    live = get()
    assert live.upper() == "DROPPED"
    del get
    gc.collect()
    clock.advance(5.0)
    assert not diary
    del live
    gc.collect()
    assert not diary
    eventually(lambda: clock.advance(5.0) or diary)
    lazyguard.close()
    assert diary == ["dropped"]


def test_a_close_that_hangs_is_told(clock, limited, story):
    """After ten seconds it is an event; whoever uses the service is not held up."""
    go = threading.Event()
    get = lazyguard.service(
        name="db",
        close=lambda _: go.wait(60),
        failures=(ValueError,),
        breaker=lazyguard.Breaker(failure_threshold=1),
        recovery=None,
        grace=0.0,
    )(lambda: "made")
    with pytest.raises(ValueError, match="substring"):
        get().index("x")
    try:
        story_of = lambda: [event.cause for event in story.events if event.kind == "close-failed"]  # noqa: E731
        give_up = time.monotonic() + 30
        while not story_of():
            clock.advance(10.0)
            assert time.monotonic() < give_up
            time.sleep(0.001)
        assert story_of() == ["close= has not returned for 10 s"]
        assert get().upper() == "MADE"
    finally:
        go.set()


def test_a_child_closes_what_it_made(diary, in_child):
    """In a forked child what the parent made is closed by nothing: not by close, reset, an override, or its exit."""
    kept, fresh = diary.service("kept", on_fork="keep"), diary.service("fresh")
    assert kept().upper() + fresh().upper() == "KEPTFRESH"

    def work() -> None:
        nonlocal kept
        kept.reset()
        lazyguard.close()
        assert not diary
        assert kept().upper() + fresh().upper() == "KEPTFRESH"
        closings.at_exit()
        assert diary == ["fresh", "kept"]

    assert in_child(work) == 0
    assert not diary
    lazyguard.close()
    assert diary == ["fresh", "kept"]


def test_what_a_recovery_keeps(clock, limited, eventually):
    """What a recovery has built and not served yet is closed as well, and not used after that."""
    made: list[list[int]] = []
    closed: list[list[int]] = []
    up = False

    @lazyguard.service(
        recovery=lazyguard.Recovery(initial=1.0, maximum=1.0, success_threshold=2),
        timeout=30.0,
        close=closed.append,
        probe=len,
    )
    def get() -> list[int]:
        if not up:
            raise ConnectionError
        made.append([len(made)])
        return made[-1]

    with pytest.raises(lazyguard.ResolutionError):
        len(get())
    up = True
    name = get.__lazyguard_cell__().name
    eventually(lambda: clock.advance(1.0) or any(pending.name == name for pending in list(closings.to_close)))
    lazyguard.close()
    assert closed
    eventually(lambda: clock.advance(1.0) or get.health().state == "ready")
    assert get.__lazyguard_cell__().now.target is not closed[0]
    get.reset()
    eventually(lambda: sorted(closed) == sorted(made))


# Async


def test_aclose(diary):
    """It closes all, async ones on their loop and sync ones beside it, the last one that was built first."""
    first, second, third = diary.aservice("first"), diary.service("second"), diary.aservice("third")

    async def main() -> None:
        await first.aget()
        await second.aget()
        await third.aget()
        lazyguard.close()
        assert diary == ["second"]
        await second.aget()
        await lazyguard.aclose()
        await lazyguard.aclose()
        assert diary == ["second", "second", "third", "first"]
        assert (await first.aget()).upper() == "FIRST"
        await lazyguard.aclose()

    asyncio.run(main())
    assert diary[4:] == ["first"]


def test_a_loop_that_runs_elsewhere(limited, eventually):
    """What belongs to the loop of another thread is closed there."""
    loop = asyncio.new_event_loop()
    closed: list[int] = []
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    async def note(_target: object) -> None:
        closed.append(threading.get_ident())

    diary = Diary()
    get = diary.aservice("made", close=note)
    asyncio.run_coroutine_threadsafe(get.aget(), loop).result(30)
    get.reset()
    eventually(lambda: closed == [thread.ident])
    asyncio.run_coroutine_threadsafe(get.aget(), loop).result(30)
    asyncio.run(lazyguard.aclose())
    assert closed == [thread.ident] * 2
    loop.call_soon_threadsafe(loop.stop)
    thread.join(30)
    loop.close()


def test_a_loop_that_is_gone(diary, told):
    """An async close cannot be awaited there, and that is told; a plain function is called all the same."""
    gone, plain = diary.aservice("gone"), diary.aservice("plain", close=diary.append)

    async def main() -> None:
        await gone.aget()
        await plain.aget()

    asyncio.run(main())
    gone.reset()
    plain.reset()
    assert diary == ["plain"]
    (failed,) = [event for event in told if event.kind == "close-failed"]
    assert failed.name == "gone"
    assert "does not run: await lazyguard.aclose()" in failed.cause


class Deaf(asyncio.SelectorEventLoop):
    """A loop that ends when it is told to close something, before it hears of it."""

    thread: threading.Thread
    closes = True

    def call_soon_threadsafe(self, callback, *args, context=None):
        if getattr(callback, "__func__", None) is not closings.PendingClose.run:
            return super().call_soon_threadsafe(callback, *args, context=context)
        super().call_soon_threadsafe(self.stop)
        self.thread.join(30)
        if self.closes:
            self.close()
        return None


@pytest.mark.parametrize("closes", [True, False])
def test_a_loop_that_ends_meanwhile(diary, told, limited, closes):
    """Nobody waits for a loop that was to close something and has ended: it is told, and the next one is closed."""
    loop = Deaf()
    loop.closes = closes
    loop.thread = threading.Thread(target=loop.run_forever, daemon=True)
    loop.thread.start()
    other = diary.service("other")
    assert other().upper() == "OTHER"
    get = diary.aservice("db")
    asyncio.run_coroutine_threadsafe(get.aget(), loop).result(30)
    asyncio.run(lazyguard.aclose())
    assert diary == ["other"]
    assert [event.name for event in told if event.kind == "close-failed"] == ["db"]
    loop.close()


def test_an_async_close_that_fails(diary, told):
    """It is an event, raised nowhere."""

    async def fail(_target: object) -> None:
        await asyncio.sleep(0)
        raise OSError("secret")

    get = diary.aservice("made", close=fail)

    async def main() -> None:
        await get.aget()
        await lazyguard.aclose()

    asyncio.run(main())
    assert [event.cause.partition(" at ")[0] for event in told if event.kind == "close-failed"] == ["OSError"]


def test_a_cancelled_aclose(diary):
    """What it has not come to stays in service."""
    go = asyncio.Event()

    async def wait(_target: object) -> None:
        await go.wait()

    kept, slow = diary.aservice("kept"), diary.aservice("slow", close=wait)

    async def main() -> None:
        await kept.aget()
        await slow.aget()
        closing = asyncio.ensure_future(lazyguard.aclose())
        while slow.health().state == "ready":
            await asyncio.sleep(0)
        closing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await closing
        assert kept.health().state == "ready"
        go.set()
        await lazyguard.aclose()

    asyncio.run(main())
    assert diary == ["kept"]


# The exit


def leaves(program: str) -> tuple[list[str], str, float]:
    """Run a program; return the lines it prints, its errors, and the seconds."""
    head = """
        import asyncio, threading
        import lazyguard

        def declare(name, close=None):
            return lazyguard.service(name=name, close=close or (lambda target: print(target, flush=True)))(lambda: name)

        hang = threading.Event().wait
    """
    begun = time.monotonic()
    ran = subprocess.run(
        [sys.executable, "-c", dedent(head) + dedent(program)],
        capture_output=True,
        text=True,
        timeout=50,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert ran.returncode == 0, ran.stderr
    assert "Traceback" not in ran.stderr
    return ran.stdout.split("\n")[:-1], ran.stderr, time.monotonic() - begun


def test_the_exit_closes():
    """All that was built is closed once, the last one first, also what is covered, owed, held or of a closed loop."""
    lines, _, _ = leaves("""
        from lazyguard._core import closing
        a, b, c, d, never = map(declare, "abcde")
        for get in (b, a, d, c):
            assert get().upper()
        cover = d.override("fake")
        cover.__enter__()
        closing.hold(lazyguard.resolve(a()), "holder")
        a.reset()

        @lazyguard.service(name="f", close=lambda target: print(target, flush=True))
        async def f():
            return "f"

        asyncio.run(f.aget())
        b.reset()
        print("-")
    """)
    assert lines == ["b", "-", "f", "c", "d", "a"]


def test_a_hanging_close_delays_no_exit():
    """The exit goes on after two seconds at the most; the others are closed, and what hangs is told."""
    lines, said, seconds = leaves("""
        first, second = declare("first"), declare("second", close=lambda target: hang())
        assert first().upper() + second().upper()
        lazyguard.subscribe(lambda event: event.kind == "close-failed" and print(event.name, event.cause))
    """)
    others = ["first close= has not returned at the exit"] if STARTS_NO_THREADS_AT_EXIT else ["first"]
    assert lines == ["second close= has not returned at the exit", *others]
    assert "close-failed" in said
    assert seconds < 25


def test_threads_that_the_exit_waits_for_have_their_services():
    """They are closed after the threads that the interpreter waits for have ended."""
    lines, _, _ = leaves("""
        get = declare("closed")
        go = threading.Event()

        def work():
            go.wait(30)
            print(get().upper())

        thread = threading.Thread(target=work)
        thread.start()
        get().upper()
        threading._register_atexit(go.set)
    """)
    assert lines == ["CLOSED", "closed"]


def test_nothing_is_registered_before_there_is_something_to_close():
    """Neither declaring nor a first use adds anything to the exit; a `close` does."""
    lines, _, _ = leaves("""
        import atexit
        before = atexit._ncallbacks()
        get, plain = declare("one"), lazyguard.service()(lambda: "two")
        assert plain().upper()
        print(atexit._ncallbacks() - before)
        get().upper()
        print(atexit._ncallbacks() - before)
    """)
    assert lines == ["0", "1", "one"]
