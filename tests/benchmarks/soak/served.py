"""Runs in each worker: the application of an example, and what tells about it.

Invariants: each answer names the worker and the seconds that it took there (`X-Worker: PID SECONDS`). Once a second a
thread notes the states that `lazyguard.health` tells, and how many threads of each name there are: a line of JSON in
the directory NOTES, in a file of the process; what an ASGI application raises is in the file `log` beside it (gunicorn
has its own). APP names the application.
"""

from __future__ import annotations

import importlib
import json
import os
import re
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

_module, _, _name = os.environ["APP"].partition(":")
_app: Any = getattr(importlib.import_module(_module), _name)
_lock = threading.Lock()
_watched: set[int] = set()  # the process that has a thread: a fork has none


def note() -> dict[str, Any]:
    """Return the states of all that lazyguard knows, and the threads by their names without numbers."""
    import lazyguard

    health = lazyguard.health()
    states = [
        {"name": one.name, "kind": one.kind, "status": one.status, "state": one.state, "cause": one.cause}
        for one in health.checks
    ]
    threads = Counter(re.sub(r"\d+", "N", thread.name) for thread in threading.enumerate())
    return {"at": time.monotonic(), "status": health.status, "checks": states, "threads": threads}


def _watch() -> None:
    with open(os.path.join(os.environ["NOTES"], str(os.getpid())), "a", encoding="utf-8", buffering=1) as notes:
        while True:
            try:
                told = note()
            except Exception:
                told = {"at": time.monotonic(), "error": traceback.format_exc()}
            notes.write(json.dumps(told) + "\n")
            time.sleep(1.0)


def _begin() -> None:
    if os.getpid() not in _watched:
        with _lock:
            if os.getpid() not in _watched:
                _watched.add(os.getpid())
                threading.Thread(target=_watch, name="soak", daemon=True).start()


def _worker(began: float) -> str:
    return f"{os.getpid()} {time.monotonic() - began:.6f}"


def wsgi(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Answer by the application, as WSGI."""
    began = time.monotonic()
    _begin()
    told: list[tuple[Any, ...]] = []
    parts = _app(environ, lambda *args: told.append(args))
    try:
        body = list(parts)
    finally:
        if hasattr(parts, "close"):
            parts.close()
    status, headers, *rest = told[-1]
    start_response(status, [*headers, ("X-Worker", _worker(began))], *rest)
    return body


async def asgi(scope: dict[str, Any], receive: Any, send: Callable[..., Any]) -> None:
    """Answer by the application, as ASGI."""
    began = time.monotonic()
    _begin()

    async def sent(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message["headers"], (b"x-worker", _worker(began).encode())]}
        await send(message)

    try:
        await _app(scope, receive, sent if scope["type"] == "http" else send)
    except Exception:  # a 500, after its answer
        with open(os.path.join(os.environ["NOTES"], "..", "log"), "a", encoding="utf-8") as log:
            log.write(f"{time.monotonic():.1f} {scope.get('path')}\n{traceback.format_exc()}")
        raise
