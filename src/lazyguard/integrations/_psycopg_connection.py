"""A psycopg connection that is given up when the deadline has passed; psycopg's own shortest wait is two seconds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg

from lazyguard._core import deadlines

if TYPE_CHECKING:
    from collections.abc import Generator


class Connection(psycopg.Connection[Any]):
    """What psycopg.Connection is, which asks the deadline each time that connecting has to wait."""

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
