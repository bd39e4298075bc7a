"""psycopg connections that keep the deadline; psycopg's own shortest timeout for connecting is two seconds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg

from lazyguard._core import deadlines
from lazyguard.errors import DeadlineExceeded

if TYPE_CHECKING:
    from collections.abc import Generator


class Connection(psycopg.Connection[Any]):
    """A psycopg.Connection that checks the deadline at each wait of connecting."""

    @classmethod
    def _connect_gen(cls, *arguments: Any, **named: Any) -> Generator[Any, Any, Any]:
        return _limited(super()._connect_gen(*arguments, **named))


class BoundedConnection(Connection):
    """One that checks it at each wait; one on which an answer is still due is closed."""

    def wait(self, gen: Any, *arguments: Any, **named: Any) -> Any:
        """Take the steps of an operation, until the deadline."""
        try:
            return super().wait(_limited(gen), *arguments, **named)
        except DeadlineExceeded as error:
            self.close()
            raise psycopg.OperationalError(str(error)) from error


def _limited(steps: Any) -> Generator[Any, Any, Any]:
    """Take steps, each of which waits a tenth of a second at the most."""
    ready = None
    while True:
        try:
            wanted = steps.send(ready)
        except StopIteration as done:
            return done.value
        deadlines.remaining()  # raises
        ready = yield wanted
