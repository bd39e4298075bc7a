"""A psycopg connection that keeps the deadline while it connects; psycopg's own shortest timeout is two seconds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg

from lazyguard._core import deadlines

if TYPE_CHECKING:
    from collections.abc import Generator


class Connection(psycopg.Connection[Any]):
    """A psycopg.Connection that checks the deadline at each wait of connecting."""

    @classmethod
    def _connect_gen(cls, *arguments: Any, **named: Any) -> Generator[Any, Any, Any]:
        steps = super()._connect_gen(*arguments, **named)
        ready = None
        while True:
            try:
                wanted = steps.send(ready)  # type: ignore[arg-type]
            except StopIteration as done:
                return done.value
            deadlines.remaining()  # raises
            ready = yield wanted
