"""A deadline and a cancellation from outside that meet: neither is ever lost, nor taken for the other.

LAZYGUARD_RACES says how many; 100,000 were run on Python 3.10 and 3.13.
"""

from __future__ import annotations

import asyncio
import os
import random

import lazyguard

RACES = int(os.environ.get("LAZYGUARD_RACES", "2000"))
CROWD = 100


async def child(depth: int) -> None:
    if depth:
        await asyncio.ensure_future(child(depth - 1))
    else:
        await asyncio.sleep(60.0)


async def one(seconds: float, depth: int) -> None:
    async with lazyguard.deadline(seconds):
        try:
            await child(depth)
        finally:
            if depth == 2:
                await asyncio.sleep(0)


async def crowd(chance: random.Random) -> dict[str, int]:
    """Let a crowd of tasks be cancelled about when their deadlines pass."""
    loop = asyncio.get_running_loop()
    accepted: set[asyncio.Task[None]] = set()
    tasks: list[asyncio.Task[None]] = []

    def cancel(task: asyncio.Task[None]) -> None:
        if task.cancel():
            accepted.add(task)

    for _ in range(CROWD):
        seconds = chance.uniform(0.001, 0.01)
        task = asyncio.ensure_future(one(seconds, chance.randrange(3)))
        tasks.append(task)
        if chance.random() < 0.7:
            loop.call_at(loop.time() + seconds + chance.uniform(-0.001, 0.004), cancel, task)
    await asyncio.wait(tasks)
    ends = {"cancelled": 0, "late": 0}
    for task in tasks:
        assert task.cancelled() == (task in accepted)
        if not task.cancelled():
            assert isinstance(task.exception(), lazyguard.DeadlineExceeded)
        ends["cancelled" if task.cancelled() else "late"] += 1
    return ends


def test_neither_is_lost():
    """A task that was cancelled from outside is cancelled; any other has its DeadlineExceeded."""
    chance = random.Random(1)
    ends = {"cancelled": 0, "late": 0}
    for _ in range(RACES // CROWD):
        for end, number in asyncio.run(crowd(chance)).items():
            ends[end] += number
    assert min(ends.values()) > RACES // 20, ends
