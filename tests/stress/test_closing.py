"""Every built object is closed exactly once (law 17), whichever two ways of closing meet, and at whichever line.

Of each pair one runs under a tracer; at one line of lazyguard's, the next one each time, the other runs from beginning
to end on a thread of its own. So all places are tried at which the second can come between two steps of the first. A
place is a line and the call that leads there: what a loop passes again and again is one place.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import itertools
import os
import sys
import threading

import pytest

import lazyguard
from lazyguard import errors

OURS = os.path.dirname(lazyguard.__file__) + os.sep
# Longer than any step takes; who holds a lock that the other needs goes on after that.
BLOCKED = 0.2


class Scene:
    """A service with two keys, one of which is held by nothing but the service."""

    def __init__(self) -> None:
        self.numbers = itertools.count()
        self.closed: list[int] = []
        self.get = lazyguard.service(
            close=lambda made: self.closed.append(made[0]), grace=0.0, max_keys=1, recovery=None, name="closing"
        )(self.make)
        self.held = [self.get(1)]
        len(self.held[0])

    def make(self, key: int) -> list[int]:
        return [next(self.numbers)]

    def evict(self) -> None:
        """Let the finaliser of key 1 run."""
        self.held.clear()
        self.get(2)

    def reset(self) -> None:
        self.get.reset()

    def reset_key(self) -> None:
        self.get.of(1).reset()

    def close(self) -> None:
        lazyguard.close()

    def aclose(self) -> None:
        asyncio.run(lazyguard.aclose())

    def exit(self) -> None:
        from lazyguard._core import closing

        closing.at_exit()

    def use(self) -> None:
        len(self.get(1))


WAYS = ["evict", "reset", "reset_key", "close", "aclose", "exit", "use"]


def run_between(first, second, line: int) -> bool:
    """Run `first`; when it is at that line of lazyguard's, run `second` on another thread. Return whether it came."""
    came = False
    left = line
    passed = set()

    def at(frame, event, arg):
        return look if frame.f_code.co_filename.startswith(OURS) else None

    def look(frame, event, arg):
        nonlocal came, left
        caller = frame.f_back
        place = frame.f_code, frame.f_lineno, caller and caller.f_code, caller and caller.f_lasti
        if event != "line" or came or place in passed:
            return look
        passed.add(place)
        left -= 1
        if left < 0:
            came = True
            sys.settrace(None)
            thread = threading.Thread(target=second, daemon=True)
            thread.start()
            thread.join(BLOCKED)
            threads.append(thread)
        return look

    threads: list[threading.Thread] = []
    sys.settrace(at)
    try:
        first()
    finally:
        sys.settrace(None)
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()
    return came


@pytest.mark.parametrize("second", WAYS)
@pytest.mark.parametrize("first", WAYS)
def test_two_ways_of_closing_meet(first, second, eventually, request):
    apart = request.config.getoption("--points-apart")
    # each pair begins at another line, so that together they try all of them
    for line in itertools.count((WAYS.index(first) + WAYS.index(second)) % apart, apart):
        scene = Scene()
        came = run_between(getattr(scene, first), getattr(scene, second), line)
        scene.held.clear()
        lazyguard.close()
        made = next(scene.numbers)
        del scene.get  # what is left is a finaliser's
        eventually(lambda scene=scene, made=made: len(scene.closed) >= made)
        assert sorted(scene.closed) == list(range(made)), (line, scene.closed)
        if not came:
            break
    assert line > 3


@pytest.fixture
def told():
    seen: list[lazyguard.events.Event] = []
    undo = lazyguard.subscribe(seen.append)
    yield seen
    undo()


def others() -> set[asyncio.Task[object]]:
    return {task for task in asyncio.all_tasks() if task is not asyncio.current_task()}


class Async:
    """An async service whose factory the test lets go on, and what became of what it made."""

    def __init__(self, **options) -> None:
        self.gate = asyncio.Event()
        self.begun = asyncio.Event()
        self.made: list[list[int]] = []
        self.closed: list[list[int]] = []
        self.stubborn = False
        self.get = lazyguard.service(close=self.close, name="closing", **options)(self.make)

    async def make(self) -> list[int]:
        self.begun.set()
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            if not self.stubborn:
                raise
        self.made.append([len(self.made)])
        return self.made[-1]

    async def close(self, made: list[int]) -> None:
        await asyncio.sleep(0)
        self.closed.append(made)


@pytest.mark.parametrize("stubborn", [False, True], ids=["cancelled", "stubborn"])
@pytest.mark.parametrize("options", [{}, {"timeout": 30.0}, {"recovery": None}], ids=str)
def test_aclose_ends_an_attempt(options, stubborn):
    """Its caller is told; no task is left, and nothing that was built is open; the next use builds."""

    async def main():
        service = Async(**options)
        service.stubborn = stubborn
        caller = asyncio.create_task(service.get.aget())
        await service.begun.wait()
        await lazyguard.aclose()
        with pytest.raises(errors.ServiceUnavailable, match="aclose"):
            await caller
        assert not others()
        assert service.closed == service.made
        assert len(service.made) == stubborn
        assert service.get.health().state == "pending"
        service.gate.set()
        await service.get.aget()
        await lazyguard.aclose()
        assert service.closed == service.made

    asyncio.run(main())


def test_aclose_ends_a_preload():
    """What it has not come to is not built; what it is building ends; its waiters go on."""

    async def main():
        first, second = Async(), Async()
        second.gate.set()
        handle = lazyguard.preload(first.get, second.get)
        await first.begun.wait()
        waits = asyncio.create_task(handle.awaited(30))
        await lazyguard.aclose()
        assert await waits
        assert handle.interrupted
        assert handle.ended
        assert not others()
        await asyncio.sleep(0.05)
        assert not others()
        assert (first.made, second.made) == ([], [])
        [check] = [check for check in lazyguard.health().checks if check.place == handle.place]
        assert check.cause.startswith("aclose() came when 0 of 2 were done")

    asyncio.run(main())


def test_aclose_ends_a_recovery():
    """A service that is degraded is not built in the background after it."""

    async def main():
        fails = True
        built: list[int] = []

        async def make() -> list[int]:
            if fails:
                raise OSError
            built.append(1)
            return built

        get = lazyguard.service(recovery=lazyguard.Recovery(initial=0.01, maximum=0.01), name="closing")(make)
        get.fallback(lambda: [0])
        assert (await get.aget())[0] == 0
        fails = False
        await lazyguard.aclose()
        await asyncio.sleep(0.1)
        assert not built
        assert get.health().state == "pending"

    asyncio.run(main())


def test_aclose_ends_an_attempt_of_a_thread(eventually):
    """What a thread goes on to build is closed, once, when it is there."""
    gate, begun = threading.Event(), threading.Event()
    closed: list[object] = []

    def make() -> list[int]:
        begun.set()
        assert gate.wait(60)
        return [1]

    get = lazyguard.service(timeout=60.0, close=closed.append, name="closing")(make)
    caught: list[BaseException] = []

    def use() -> None:
        try:
            len(get())
        except errors.ServiceUnavailable as error:
            caught.append(error)

    caller = threading.Thread(target=use)
    caller.start()
    assert begun.wait(30)
    asyncio.run(lazyguard.aclose())
    caller.join(30)
    assert caught
    gate.set()
    eventually(lambda: closed == [[1]])
    lazyguard.close()
    assert closed == [[1]]


def test_aclose_on_another_loop_ends_the_attempt_too():
    """That of a loop that runs on another thread."""
    ready, done = threading.Event(), threading.Event()
    ended: list[object] = []

    async def elsewhere():
        service = Async()
        caller = asyncio.create_task(service.get.aget())
        await service.begun.wait()
        ready.set()
        try:
            await asyncio.wait_for(caller, 30)
        except errors.ServiceUnavailable as error:
            ended.append(error)
        async with asyncio.timeout(30) if hasattr(asyncio, "timeout") else contextlib.nullcontext():
            while others():
                await asyncio.sleep(0.001)
        done.set()

    thread = threading.Thread(target=lambda: asyncio.run(elsewhere()))
    thread.start()
    assert ready.wait(30)
    asyncio.run(lazyguard.aclose())
    assert done.wait(30)
    thread.join(30)
    assert isinstance(ended[0], errors.ServiceUnavailable)


@pytest.fixture
def small():
    """Let a collection look at what the test makes alone: a worker has some million objects."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.mark.usefixtures("small")
def test_a_collected_service_is_closed_once(eventually):
    """By a finaliser that the collector runs, while another thread closes all."""
    for _ in range(30):
        closed: list[object] = []

        def make() -> list[int]:
            return [1]

        get = lazyguard.service(close=closed.append, grace=0.0, name="closing")(make)
        live = get()
        len(live)
        cycle = [get, live]
        cycle.append(cycle)
        del get, live, cycle
        other = threading.Thread(target=lazyguard.close)
        other.start()
        gc.collect()
        other.join(30)
        eventually(lambda closed=closed: closed)
        lazyguard.close()
        assert closed == [[1]]
