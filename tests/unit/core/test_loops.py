"""Which event loop runs on a thread, asked of an asyncio that may be absent or half imported."""

from __future__ import annotations

import asyncio
import sys
import types

import pytest

from lazyguard._core import wait_cycles


@pytest.mark.parametrize("module", [None, types.ModuleType("asyncio")], ids=["absent", "half imported"])
def test_no_loop_where_asyncio_is_not_there_yet(monkeypatch, module):
    """A factory that imports asyncio on its thread does not break the callers that wait for it on theirs."""
    if module is None:
        monkeypatch.delitem(sys.modules, "asyncio")
    else:
        monkeypatch.setitem(sys.modules, "asyncio", module)
    assert wait_cycles.current_loop() is None
    assert wait_cycles.current_task() is None


def test_the_loop_that_runs_here():
    """Inside a task its loop and the task itself are told."""

    async def look() -> tuple[bool, bool]:
        return (
            wait_cycles.current_loop() is asyncio.get_running_loop(),
            wait_cycles.current_task() is asyncio.current_task(),
        )

    assert asyncio.run(look()) == (True, True)
