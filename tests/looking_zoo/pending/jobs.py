"""What recorded decorators will make."""

from __future__ import annotations

import lazyguard
from pending import build
from pending.host import Client


@lazyguard.lazy(record=("task", "on"))
def app() -> Client:
    return build("app")


@app.task
def test_job():
    """A job.

    >>> 3 + 3
    6
    """


@app.task(name="other")
def job(): ...


@app.on.start.connect
def started(): ...
