"""What `async with lazyguard.deadline` promises: its task is cancelled in time, and only by it is that an error of its.

How that goes with groups, shields and nests is in tests/properties/test_deadline_programs.py.
"""

from __future__ import annotations

import asyncio
import sys

import pytest

import lazyguard
from lazyguard._core import cancellation

SHORT = 0.01


def test_it_ends_what_waits(limited):
    """The error says where the deadline was set; its cause is the cancellation; the task goes on."""

    async def main() -> str:
        with pytest.raises(lazyguard.DeadlineExceeded, match=rf"set at {__file__}:\d+") as caught:
            async with lazyguard.deadline(SHORT) as budget:
                await asyncio.Event().wait()
        assert isinstance(caught.value.__cause__, asyncio.CancelledError)
        assert budget.seconds == SHORT
        assert lazyguard.remaining() is None
        assert not budget.cancellations
        await asyncio.sleep(0)
        return "went on"

    assert asyncio.run(main()) == "went on"


def test_what_is_in_time(limited):
    """Nothing is cancelled later, and an error of the block's own is what leaves it."""

    async def main() -> None:
        with pytest.raises(KeyError):
            async with lazyguard.deadline(60.0):
                raise KeyError
        async with lazyguard.deadline(60.0) as budget:
            assert 0 < lazyguard.remaining() <= 60.0
            await asyncio.sleep(0)
            (block,) = budget.cancellations
        assert block._timer is None
        assert not budget.cancellations

    asyncio.run(main())


def test_the_outer_of_two(limited):
    """The one that has passed raises, at its own block."""

    async def main() -> list[str]:
        seen = []
        try:
            async with lazyguard.deadline(SHORT):
                try:
                    async with lazyguard.deadline(60.0):
                        await asyncio.Event().wait()
                except lazyguard.DeadlineExceeded:
                    seen.append("inner")
        except lazyguard.DeadlineExceeded:
            seen.append("outer")
        return seen

    assert asyncio.run(main()) == ["outer"]


def test_a_clean_up_may_wait(limited):
    """The task is cancelled once: what it awaits on its way out is not cut off."""

    async def main() -> list[str]:
        seen = []
        with pytest.raises(lazyguard.DeadlineExceeded):
            async with lazyguard.deadline(SHORT):
                try:
                    await asyncio.Event().wait()
                finally:
                    await asyncio.sleep(SHORT)
                    seen.append("cleaned up")
        return seen

    assert asyncio.run(main()) == ["cleaned up"]


@pytest.mark.parametrize("first", ["the deadline", "the caller"])
def test_a_cancellation_in_the_same_turn(first, limited):
    """The caller's wins, whichever came first."""

    async def main() -> bool:
        async def work() -> None:
            async with lazyguard.deadline(60.0) as budget:
                (found,) = budget.cancellations
                found._limit.ends = 0.0
                ring = [found._ring, task.cancel]
                for call in ring if first == "the deadline" else ring[::-1]:
                    loop.call_soon(call)
                await asyncio.Event().wait()

        loop = asyncio.get_running_loop()
        task = asyncio.ensure_future(work())
        await asyncio.wait({task})
        return task.cancelled()

    assert asyncio.run(main())


def test_a_guarded_call_inside(limited):
    """A guard is told that its caller had no more time: it is no failure of its breaker, and no fallback answers."""

    async def main() -> None:
        @lazyguard.guarded(breaker=lazyguard.Breaker(failure_threshold=1))
        async def ask() -> str:
            await asyncio.Event().wait()

        @ask.fallback
        async def _other() -> str:
            return "a fallback"

        for _ in range(3):
            with pytest.raises(lazyguard.DeadlineExceeded):
                async with lazyguard.deadline(SHORT):
                    await ask()

    asyncio.run(main())


def test_many_tasks_share_one(limited):
    """Each task that has entered it is cancelled, and each has the error."""

    async def main() -> list[BaseException]:
        budget = lazyguard.deadline(SHORT)

        async def work() -> None:
            async with budget:
                async with budget:
                    await asyncio.Event().wait()

        ended = await asyncio.gather(*(work() for _ in range(5)), return_exceptions=True)
        assert not budget.cancellations
        return ended

    assert [type(error) for error in asyncio.run(main())] == [lazyguard.DeadlineExceeded] * 5


def test_a_generator_that_another_task_closes(limited):
    """Its block ends there, and nothing rings for the task that had begun it."""

    budget = lazyguard.deadline(60.0)

    async def parts():
        async with budget:
            yield 1

    async def main() -> None:
        generator = parts()
        await generator.__anext__()
        (block,) = budget.cancellations
        await asyncio.ensure_future(generator.aclose())
        assert block._timer is None

    asyncio.run(main())
    assert not budget.cancellations


def test_switched_off(limited):
    """With lazyguard.set_active(False) nothing is cancelled."""

    async def main() -> str:
        async with lazyguard.deadline(SHORT):
            await asyncio.sleep(2 * SHORT)
            return "in its own time"

    lazyguard.set_active(False)
    try:
        assert asyncio.run(main()) == "in its own time"
    finally:
        lazyguard.set_active(True)


def test_not_on_a_loop_of_asyncios():
    """Where no loop of asyncio's runs, it says so."""
    with pytest.raises(lazyguard.errors.UsageError, match="asyncio"):
        lazyguard.deadline(1.0).__aenter__().send(None)


@pytest.mark.skipif(sys.version_info >= (3, 11), reason="later Pythons count themselves")
def test_python_3_10_counts(limited):
    """A task of 3.10 counts as those of 3.11 do, and is not kept alive by it."""

    async def main() -> None:
        task = cancellation.counting(asyncio.ensure_future(asyncio.sleep(60)))
        assert cancellation.counting(task) is task
        assert [task.cancelling(), task.cancel("why"), task.cancelling(), task.uncancel(), task.uncancel()] == [
            0, True, 1, 0, 0,
        ]  # fmt: skip
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not task.cancel()
        assert task.cancelling() == 0

    asyncio.run(main())
