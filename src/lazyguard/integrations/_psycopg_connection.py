"""psycopg connections that keep the deadline; psycopg's own shortest timeout for connecting is two seconds."""

from __future__ import annotations

from selectors import DefaultSelector
from typing import TYPE_CHECKING, Any

import psycopg

from lazyguard._core import deadlines
from lazyguard.errors import DeadlineExceeded

if TYPE_CHECKING:
    from collections.abc import Generator


# psycopg looks up from a wait this often, in seconds.
INTERVAL = 0.1


class Connection(psycopg.Connection[Any]):
    """A psycopg.Connection whose waits end with the deadline; one on which an answer is still due is closed."""

    @classmethod
    def _connect_gen(cls, *arguments: Any, **named: Any) -> Generator[Any, Any, Any]:
        return _limited(super()._connect_gen(*arguments, **named))

    def wait(self, gen: Any, *arguments: Any, **named: Any) -> Any:
        """Take the steps of an operation, until the deadline."""
        if deadlines.current() is None:
            return super().wait(gen, *arguments, **named)
        try:
            return super().wait(_limited(gen, self.pgconn), *arguments, **named)
        except DeadlineExceeded as error:
            self.close()
            raise psycopg.OperationalError(str(error)) from error


def _limited(steps: Any, of: Any = None) -> Generator[Any, Any, Any]:
    """Take steps, by the deadline; each waits as long as psycopg lets it, and the last ones until the deadline."""
    ready = None
    while True:
        left = deadlines.remaining()  # raises
        try:
            wanted = steps.send(ready)
        except StopIteration as done:
            return done.value
        if left is None or left > INTERVAL:
            ready = yield wanted
        else:
            with DefaultSelector() as waiting:
                waiting.register(*((of.socket, wanted) if of else wanted))
                ready = sum(mask for _, mask in waiting.select(left))
