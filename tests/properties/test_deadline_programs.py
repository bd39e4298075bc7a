"""`async with deadline` cancels as `asyncio.timeout` does: any program of tasks ends with both in the same way.

The programs are nests of limits, groups, shields, clean-ups that wait and cancellations from outside, in which much
falls into the same turn of the loop. The time is the loop's own, which jumps to what is next.
"""

from __future__ import annotations

import asyncio
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lazyguard
from lazyguard._core import clock as clocks

if sys.version_info < (3, 11):
    pytest.skip("asyncio.timeout is new in Python 3.11", allow_module_level=True)

moments = st.integers(1, 4)
waits = st.one_of(
    st.tuples(st.just("sleep"), st.integers(0, 4)),
    st.tuples(st.just("shield"), moments),
)
programs = st.recursive(
    waits,
    lambda inner: st.one_of(
        st.tuples(st.just("limit"), moments, inner),
        st.tuples(st.just("cleanup"), inner, st.integers(0, 3)),
        st.tuples(st.just("swallow"), inner),
        st.tuples(st.just("caught"), inner),
        st.tuples(st.just("raise"), inner),
        st.tuples(st.just("both"), inner, inner),
        st.tuples(st.just("group"), inner, inner),
        st.tuples(st.just("task"), inner),
    ),
    max_leaves=6,
)


class Jumping(asyncio.SelectorEventLoop):
    """A loop whose time stands still while it works, and jumps where it would wait."""

    moment = 0.0

    def __init__(self) -> None:
        super().__init__()
        select = self._selector.select

        def jump(timeout: float | None = None) -> list[object]:
            self.moment += timeout or 0.0
            return select(0)

        self._selector.select = jump

    def time(self) -> float:
        return self.moment

    # what a clock of lazyguard's has
    def now(self) -> float:
        return self.moment

    def real(self, seconds: float) -> float:
        return seconds


async def run(program, limit, trace) -> None:
    loop = asyncio.get_running_loop()
    kind, *parts = program
    if kind == "sleep":
        await asyncio.sleep(parts[0])
    elif kind == "shield":
        await asyncio.shield(asyncio.ensure_future(asyncio.sleep(parts[0])))
    elif kind == "limit":
        async with limit(float(parts[0])):
            await run(parts[1], limit, trace)
    elif kind == "cleanup":
        try:
            await run(parts[0], limit, trace)
        finally:
            await asyncio.sleep(parts[1])
    elif kind == "swallow":
        try:
            await run(parts[0], limit, trace)
        except asyncio.CancelledError:
            pass
    elif kind == "caught":
        try:
            await run(parts[0], limit, trace)
        except TimeoutError:
            trace.append((loop.time(), "late"))
    elif kind == "raise":
        try:
            await run(parts[0], limit, trace)
        finally:
            raise KeyError
    elif kind == "both":
        await run(parts[0], limit, trace)
        await run(parts[1], limit, trace)
    elif kind == "group":
        async with asyncio.TaskGroup() as group:
            group.create_task(run(parts[0], limit, trace))
            await run(parts[1], limit, trace)
    else:
        await asyncio.ensure_future(run(parts[0], limit, trace))
    trace.append((loop.time(), kind, asyncio.current_task().cancelling()))


def told(error: BaseException | None) -> object:
    if hasattr(error, "exceptions"):
        return sorted(str(told(inner)) for inner in error.exceptions)
    return "late" if isinstance(error, TimeoutError) else type(error).__name__


def outcome(program, cancels, limit) -> list[object]:
    trace: list[object] = []
    loop = Jumping()
    before = clocks.install(loop)

    async def main() -> None:
        task = asyncio.ensure_future(run(program, limit, trace))
        for moment in cancels:
            loop.call_later(moment, task.cancel)
        await asyncio.wait({task})
        trace.append((loop.time(), "cancelled" if task.cancelled() else told(task.exception())))
        await asyncio.sleep(100.0)

    try:
        loop.run_until_complete(main())
        return trace
    finally:
        clocks.install(before)
        loop.close()


@settings(max_examples=4 * settings.default.max_examples, deadline=None)
@given(programs, st.lists(moments, max_size=2))
def test_they_end_as_with_asyncios_own(program, cancels):
    """In the same order, at the same time, with the same outcome, and as many cancellations left."""
    assert outcome(program, cancels, lazyguard.deadline) == outcome(program, cancels, asyncio.timeout)
