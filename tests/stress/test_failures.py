"""Law 4 under stress: whatever a factory raises is told as what it is, and the object can be used afterwards."""

from __future__ import annotations

import asyncio
import concurrent.futures
import sys
import threading
import time

import pytest

import lazyguard
from lazyguard import errors
from lazyguard._core import cell as cells
from lazyguard._core import wait_cycles

pytestmark = pytest.mark.usefixtures("limited")


class Odd(BaseException):
    """What is neither an Exception nor one of the interpreter's own."""


FAILURES = [
    AttributeError,
    KeyError,
    StopIteration,
    StopAsyncIteration,
    asyncio.TimeoutError,
    concurrent.futures.TimeoutError,
    concurrent.futures.CancelledError,
    TimeoutError,
    RecursionError,
    MemoryError,
    ImportError,
    BlockingIOError,
    NotImplementedError,
    errors.ResolutionTimeout,
    errors.ServiceUnavailable,
]
# What a caller's own thread passes on: who raises these wants the thread to end.
INTERRUPTIONS = [KeyboardInterrupt, GeneratorExit, asyncio.CancelledError, Odd]


SERVICE, TIMED = lazyguard.service(recovery=None), lazyguard.service(timeout=30.0, recovery=None)


def recurse() -> None:
    recurse()


def exhausted() -> None:
    [None] * (1 << 62)


def with_room_for(frames: int, use):
    """Call `use` where the stack has room for so many frames more."""
    depth, frame = 0, sys._getframe()
    while frame is not None:
        depth, frame = depth + 1, frame.f_back

    def deeper(left: int):
        return deeper(left - 1) if left > 0 else use()

    return deeper(sys.getrecursionlimit() - depth - frames)


def out_of_recursion_inside() -> None:
    """Use other lazy objects near the end of the stack, where their own machinery may run out of it."""
    for frames in range(1, 160, 7):
        inner = lazyguard.lazy(lambda: [1])
        try:
            with_room_for(frames, lambda inner=inner: inner[0])
        except RecursionError:
            pass
        assert inner[0] == 1
    recurse()


def raising(kind: type[BaseException], calls: list[int]):
    def factory() -> list[int]:
        calls.append(1)
        if len(calls) == 1:
            raise kind("secret")
        return [1]

    return factory


def is_clean() -> bool:
    return not (cells.active or wait_cycles.running or wait_cycles.waiting or wait_cycles.children)


@pytest.mark.parametrize("kind", FAILURES)
@pytest.mark.parametrize("declare", [lazyguard.lazy, SERVICE, TIMED])
def test_what_a_factory_raises_is_told_and_the_next_use_builds(declare, kind, eventually):
    """A use that meets a failure is told by our error, with the cause; `hasattr` is not False; the next one builds."""
    calls: list[int] = []
    declared = declare(raising(kind, calls))
    numbers = declared if declare is lazyguard.lazy else declared()
    with pytest.raises(errors.LazyguardError) as caught:
        hasattr(numbers, "sort")
    assert type(caught.value.__cause__) is kind
    assert not isinstance(caught.value, AttributeError | StopIteration | StopAsyncIteration)
    assert "secret" not in str(caught.value)
    assert "test_failures.py:" in str(caught.value)
    assert numbers[0] == 1
    assert len(calls) == 2
    eventually(is_clean)  # what is looked at is of the whole process: a recovery, of another test too, may be trying


@pytest.mark.parametrize("kind", [*INTERRUPTIONS, SystemExit])
def test_an_interruption_passes_and_the_next_use_builds(kind):
    """On the caller's own thread what is no Exception goes through untouched, and leaves nothing behind."""
    calls: list[int] = []
    numbers = lazyguard.lazy(raising(kind, calls))
    with pytest.raises(kind, match="secret"):
        len(numbers)
    assert not lazyguard.is_resolved(numbers)
    assert is_clean()
    assert numbers[0] == 1


@pytest.mark.parametrize("kind", [*INTERRUPTIONS, SystemExit])
def test_an_interruption_on_a_thread_of_its_own_is_a_failure(kind, eventually):
    """Where a daemon thread builds nobody interrupts: what is raised there is told to the caller, who goes on."""
    calls: list[int] = []
    service = lazyguard.service(timeout=30.0, recovery=None)(raising(kind, calls))
    with pytest.raises(errors.ResolutionError) as caught:
        len(service())
    assert type(caught.value.__cause__) is kind
    assert service()[0] == 1
    eventually(is_clean)


@pytest.mark.parametrize("kind", [*FAILURES, *INTERRUPTIONS, SystemExit])
@pytest.mark.parametrize("how", ["async", "beside"])
def test_what_a_factory_raises_is_told_to_all_tasks(how, kind, eventually):
    """Awaited by many tasks, a failure is told to each, none of them is cancelled, and the next round builds."""
    calls: list[int] = []
    factory = raising(kind, calls)

    everybody_waits = threading.Event()

    async def afactory() -> list[int]:
        await asyncio.sleep(0)
        return factory()

    def patient() -> list[int]:
        assert everybody_waits.wait(20)
        return factory()

    service = lazyguard.service(recovery=None)(afactory if how == "async" else patient)

    async def main():
        asking = asyncio.gather(*[service.aget() for _ in range(20)], return_exceptions=True)
        while not asking.done() and len(wait_cycles.waiting) < 20:
            await asyncio.sleep(0)
        everybody_waits.set()
        return await asking, (await service.aget())[0]

    if kind in (KeyboardInterrupt, SystemExit) and how == "async":
        with pytest.raises(kind):  # asyncio hands it to whoever runs the loop
            asyncio.run(main())

        async def again():
            return (await service.aget())[0]

        assert asyncio.run(again()) == 1
    elif kind is Odd and how == "async":
        first, second = asyncio.run(main())
        assert isinstance(first[0], Odd)  # it passes to who launched the attempt, as on threads; the others build
        assert first[1:] == [[1]] * 19
        assert second == 1
    else:
        first, second = asyncio.run(main())
        # Python itself turns these into RuntimeError at the end of a coroutine
        turned = how == "async" and kind in (StopIteration,)
        expected = RuntimeError if turned else kind
        assert all(isinstance(one, errors.LazyguardError) and type(one.__cause__) is expected for one in first), first
        assert second == 1
    eventually(is_clean)


@pytest.mark.parametrize("exhaust", [recurse, exhausted, out_of_recursion_inside])
@pytest.mark.parametrize("declare", [lazyguard.lazy, TIMED])
def test_a_factory_that_uses_up_the_stack_or_the_memory(declare, exhaust, eventually):
    """Real exhaustion, not a raise: told, nothing of ours is left half done, and the next use builds."""
    calls: list[int] = []

    def factory() -> list[int]:
        calls.append(1)
        if len(calls) == 1:
            exhaust()
        return [1]

    declared = declare(factory)
    numbers = declared if declare is lazyguard.lazy else declared()
    with pytest.raises(errors.ResolutionError) as caught:
        len(numbers)
    assert isinstance(caught.value.__cause__, RecursionError | MemoryError | errors.ResolutionError)
    assert numbers[0] == 1
    eventually(is_clean)


@pytest.mark.parametrize("declare", [lazyguard.lazy, SERVICE, TIMED])
def test_a_use_at_the_end_of_the_stack_leaves_the_object_usable(declare, eventually):
    """However little room is left: the use answers or says that the stack is full, and a later one builds."""
    answered = 0
    for frames in range(1, 200):
        declared = declare(lambda: [1])
        numbers = declared if declare is lazyguard.lazy else declared()
        try:
            answered += with_room_for(frames, lambda numbers=numbers: numbers[0])
        except RecursionError:
            pass
        assert numbers[0] == 1
        eventually(is_clean)
    assert 0 < answered < 199


def test_a_thousand_timed_out_calls_leave_two_threads(eventually):
    """A service that hangs, used 1,000 times: each caller is told in time, and at most two threads are left."""
    gate = threading.Event()

    @lazyguard.service(timeout=0.001, recovery=None, name="stress-hanging")
    def get_hanging() -> list[int]:
        gate.wait()
        return [1]

    hanging = get_hanging()
    began = time.monotonic()
    for _ in range(1000):
        with pytest.raises(errors.ResolutionTimeout):
            len(hanging)
    assert time.monotonic() - began < 50
    ours = [thread for thread in threading.enumerate() if thread.name == "lazyguard stress-hanging"]
    assert len(ours) <= 2
    gate.set()
    eventually(lambda: not any(thread.is_alive() for thread in ours))


@pytest.mark.parametrize("how", ["service", "fallback", "task"])
def test_a_process_with_hanging_attempts_exits_at_once(process, how):
    """After 200 timed-out calls a program ends when its main function ends: silent, with its own status."""
    process(
        f"""
        import asyncio, logging, threading
        import lazyguard
        logging.getLogger("lazyguard").addHandler(logging.NullHandler())
        never = threading.Event()

        @lazyguard.service(timeout=0.001, recovery=None)
        def get_hanging() -> list:
            never.wait()

        how = {how!r}
        if how == "fallback":
            @get_hanging.fallback
            def _(cause) -> list:
                never.wait()

        async def ask():
            for _ in range(200):
                try:
                    await get_hanging.aget()
                except (lazyguard.errors.ResolutionTimeout, lazyguard.ServiceUnavailable):
                    pass

        if how == "task":
            asyncio.run(ask())
        for _ in range(200):
            try:
                len(get_hanging())
            except (lazyguard.errors.ResolutionTimeout, lazyguard.ServiceUnavailable):
                pass
        ours = [thread for thread in threading.enumerate() if "lazyguard" in thread.name]
        assert len(ours) <= (4 if how == "fallback" else 2), ours
        """
    )
