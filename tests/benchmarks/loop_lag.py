"""An ASGI application with a watch on its event loop: how late a task wakes that sleeps for 10 ms, again and again.

SHOP names the application ("module:name"), LAG the directory in which each worker notes how late it was, in a file of
its own that begins with the name of its loop's module.
"""

from __future__ import annotations

import asyncio
import importlib
import os
from typing import Any

EVERY = 0.01
_module, _, _name = os.environ["SHOP"].partition(":")
_shop = getattr(importlib.import_module(_module), _name)
_watches: list[asyncio.Task[None]] = []


async def _watch() -> None:
    loop = asyncio.get_running_loop()
    with open(os.path.join(os.environ["LAG"], str(os.getpid())), "w", encoding="utf-8", buffering=1) as notes:
        notes.write(f"{type(loop).__module__}\n")
        while True:
            due = loop.time() + EVERY
            await asyncio.sleep(EVERY)
            notes.write(f"{loop.time() - due:.6f}\n")


async def app(scope: Any, receive: Any, send: Any) -> None:
    if not _watches:
        _watches.append(asyncio.ensure_future(_watch()))
    await _shop(scope, receive, send)
