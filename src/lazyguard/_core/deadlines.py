"""Deadlines: until when what is done in a context has to be done, and how much of that is left.

Invariants: in a nested block the earlier deadline counts, so that what is left only ever shrinks; an attempt to build
a cell's target has none, since others wait for it too; what is left is never handed out as zero, which is "do not
wait" to a socket and "wait for ever" to some clients.
"""

from __future__ import annotations

from _contextvars import ContextVar

from lazyguard._base import TYPE_CHECKING, final, places
from lazyguard._base.interpreter import assign
from lazyguard._core import clock, loaded, mode

if TYPE_CHECKING:
    from lazyguard._base import Any
    from lazyguard.errors import DeadlineExceeded


NEVER = float("inf")


@final
class Deadline:
    """What `deadline` returns: a point in time, which holds in its `with` and `async with` blocks.

    It may be entered several times, and in other threads and tasks, which then share it.

    Attributes:
        ends: When it passes, by the clock; NEVER when what it was set for has ended, as a request has with its answer.
        seconds: How long it was when it was set.
        cancellations: Those of its `async with` blocks that are open, innermost last.
    """

    __slots__ = ("_said", "cancellations", "ends", "seconds")

    def __init__(self, seconds: float, said: str) -> None:
        self.ends: float = clock.now() + seconds
        self.seconds: float = seconds
        self.cancellations: list[Any] = []
        self._said = said

    def __enter__(self) -> Deadline:
        assign(_blocks, (*_blocks.get(), self))
        return self

    def __exit__(self, *_: object) -> None:
        _end(self)

    async def __aenter__(self) -> Deadline:
        self.cancellations.append(loaded("_core.cancellation").Cancellation(self))
        try:
            return self.__enter__()
        except BaseException as error:
            loaded("_core.cancellation").end(self, error)
            raise

    async def __aexit__(self, _: object, error: BaseException | None, __: object) -> None:
        try:
            self.__exit__()
        finally:
            late: bool = loaded("_core.cancellation").end(self, error)
        if late:
            raise self.exceeded() from error

    def exceeded(self, cause: BaseException | None = None) -> DeadlineExceeded:
        """Return the error that says that it has passed, and what that has caused."""
        from lazyguard.errors import DeadlineExceeded

        error = DeadlineExceeded(self._said)
        if cause is not None:
            error.__cause__ = cause
        return error

    def __repr__(self) -> str:
        return f"<deadline of {self.seconds:g} s>"


# The blocks that this context is in, the innermost last.
_blocks: ContextVar[tuple[Deadline | Unlimited, ...]] = ContextVar("lazyguard.deadline", default=())


def _end(limit: Deadline | Unlimited) -> None:
    """End the innermost block of `limit`, with what an interruption has left open in it; nothing where it has none.

    A deadline that was set later stays: where this one is a generator's, it is that of whoever went on meanwhile.
    """
    blocks = _blocks.get()
    if limit in blocks:
        outer = len(blocks) - 1 - blocks[::-1].index(limit)
        later = blocks[outer + 1 :] if isinstance(limit, Deadline) else ()
        assign(_blocks, (*blocks[:outer], *(one for one in later if isinstance(one, Deadline))))


def deadline(seconds: float) -> Deadline:
    """Give what is done in a `with` block so many seconds in all.

    In the block `remaining()` tells what is left, to be handed to whatever takes a timeout: a socket, a database or an
    HTTP client. Waits for services and lazy objects end with it, and `guarded` functions begin no retry that would pass
    it. Nothing is interrupted by force: code that never asks goes on. An `async with` block does interrupt: its task is
    cancelled where it waits, as `asyncio.timeout` does, and DeadlineExceeded leaves the block.

    Args:
        seconds: How long, from now on, above zero. A deadline inside another one can only be earlier.

    Returns:
        A `Deadline`, to be entered. Its time runs from this call, not from the `with`.

    Raises:
        ConfigurationError: It is no number of seconds above zero.
        DeadlineExceeded: An `async with` block was not done in time; at its end.
        UsageError: An `async with` block is not in a task of asyncio.

    It holds for this context: tasks that are created in the block have it, threads of `asyncio.to_thread` too. Another
    thread enters the same object, `with budget:`, and shares what is left. What builds a service's object has no
    deadline of its callers, since the others go on waiting for it.

    Example:
        >>> import lazyguard
        >>> with lazyguard.deadline(1.5) as budget, lazyguard.deadline(60):
        ...     0 < lazyguard.remaining() <= 1.5
        True
        >>> lazyguard.remaining() is None
        True
        >>> import asyncio
        >>> async def answer() -> str:
        ...     try:
        ...         async with lazyguard.deadline(0.01):
        ...             await asyncio.sleep(60)
        ...     except lazyguard.DeadlineExceeded:
        ...         return "too late"
        >>> asyncio.run(answer())
        'too late'
    """
    from lazyguard._base import validation

    validation.seconds("seconds", seconds)
    place = places.of_frame(places.caller())
    return Deadline(
        seconds,
        f"the deadline of {seconds:g} s, set at {place}, has passed. What is done in that block takes longer: give it "
        "more time, or do less in it.",
    )


def remaining() -> float | None:
    """Return the seconds that are left of this context's deadline, always more than zero; None where there is none.

    Raises:
        DeadlineExceeded: Nothing is left. So a zero never gets into a client, where it would mean something else.

    Example:
        >>> import lazyguard, socket
        >>> with lazyguard.deadline(2.0), socket.socket() as connection:
        ...     connection.settimeout(lazyguard.remaining())
        ...     connection.gettimeout() <= 2.0
        True
    """
    nearest = current()
    if nearest is None:
        return None
    left = nearest.ends - clock.now()
    if left <= 0:
        raise nearest.exceeded()
    return left


def current() -> Deadline | None:
    """Return the deadline that counts in this context: the earliest."""
    nearest: Deadline | None = None
    for limit in _blocks.get()[::-1] if mode.is_active() else ():
        if isinstance(limit, Unlimited):
            break
        if limit.ends < (NEVER if nearest is None else nearest.ends):
            nearest = limit
    return nearest


def forget() -> None:
    """Let this context have no deadline: it is one of an attempt's own."""
    assign(_blocks, ())


class Unlimited:
    """A block without a deadline, for an attempt that runs in its caller's context: those around it do not reach in.

    One right in another one is no block of its own, so that interruptions leave no more than one open.
    """

    __slots__ = ()

    def __enter__(self) -> None:
        blocks = _blocks.get()
        if not blocks or not isinstance(blocks[-1], Unlimited):
            assign(_blocks, (*blocks, self))

    def __exit__(self, *_: object) -> None:
        _end(self)


class Reach:
    """A deadline over work that is done in parts: what is around each part has its own deadline, before and after.

    A generator's own blocks, open where it yields, are there again in the next part. Not for two threads at once.

    Attributes:
        given: The deadline.
    """

    __slots__ = ("_inside", "_outside", "given")

    def __init__(self, given: Deadline) -> None:
        self.given = given
        self._inside = (*_blocks.get(), given)
        self._outside: tuple[Deadline | Unlimited, ...] = ()

    def __enter__(self) -> None:
        self._outside = _blocks.get()
        assign(_blocks, self._inside)

    def __exit__(self, *_: object) -> None:
        self._inside = _blocks.get()
        assign(_blocks, self._outside)

    def end(self) -> None:
        """Let the work be done: whatever it has left running has this deadline no more."""
        self.given.ends = NEVER
