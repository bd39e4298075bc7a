"""What holds its event loop up while it builds is told, with the line; what awaits is not."""

from __future__ import annotations

import asyncio
import inspect
import time

import pytest

import lazyguard
from lazyguard._core import tasks

pytestmark = pytest.mark.usefixtures("limited")


@pytest.fixture(autouse=True)
def _bound(monkeypatch):
    monkeypatch.setattr(tasks, "BLOCKS", 0.1)


def block() -> None:
    time.sleep(0.4)  # as a driver that is no async one does


def line_of(function, text: str) -> str:
    lines, first = inspect.getsourcelines(function)
    at = next(index for index, line in enumerate(lines) if text in line)
    return f"{__file__}:{first + at}"


def blocked(told, name: str) -> list[str]:
    return [event.cause for event in told if event.kind == "blocked-loop" and event.name == name]


@pytest.mark.parametrize("what", ["factory", "later", "probe", "fallback", "raises"])
def test_what_blocks_is_told_with_its_line(told, what):
    """In its first step or a later one, in what it calls or in itself, and also where it fails in the end."""

    async def probe(_: object) -> None:
        if what == "probe":
            block()

    @lazyguard.service(name="db", recovery=None, probe=probe)
    async def get() -> list[str]:
        if what == "later":
            await asyncio.sleep(0)
        if what in ("factory", "later", "raises"):
            block()
        if what in ("fallback", "raises"):
            raise ConnectionError
        return ["real"]

    @get.fallback
    async def _() -> list[str]:
        if what == "fallback":
            block()
        return ["offline"]

    asyncio.run(get.aget())
    name = "the fallback of db" if what == "fallback" else "db"
    assert blocked(told, name) == [f"it held its event loop up at {line_of(block, 'time.sleep')}"]
    get.reset()


def test_what_awaits_is_not_told(told):
    """A factory that waits as it should holds nobody up, however long."""

    @lazyguard.service(name="db", recovery=None)
    async def get() -> list[str]:
        await asyncio.sleep(0.3)
        return ["real"]

    asyncio.run(get.aget())
    assert not blocked(told, "db")
    get.reset()
