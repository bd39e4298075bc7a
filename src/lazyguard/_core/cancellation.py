"""The cancelling of a task when a deadline passes, told from everybody else's as `asyncio.timeout` does.

Invariants: a task is cancelled once for a deadline, and only while its block is open. A cancellation from outside is
never taken for the deadline's, however close they come.
"""

from __future__ import annotations

import asyncio
from _weakref import ref

from lazyguard._base import Any, Callable
from lazyguard._core import clock, loaded, mode
from lazyguard._core.deadlines import NEVER, Deadline


class Cancellation:
    """Cancels this task, which is one of asyncio, when a deadline passes, from now until `ended`.

    Args:
        limit: The deadline.
        then: Called when it has passed and the task has been cancelled, which may take its time to end.

    Attributes:
        rung: Whether it has.
        task: The task.
    """

    __slots__ = ("_before", "_limit", "_then", "_timer", "rung", "task")

    def __init__(self, limit: Deadline, then: Callable[[], object] = bool) -> None:
        self._then = then
        loaded("_core.tasks").loop_here()
        self._timer: asyncio.TimerHandle | None = None
        self.task: Any = counting(asyncio.current_task())
        self._before: int = self.task.cancelling()
        self._limit = limit
        self.rung = False
        self._wait()

    def _wait(self) -> None:
        left = self._limit.ends - clock.now()
        if left != NEVER:
            self._timer = self.task.get_loop().call_later(clock.current.real(max(0.0, left)), self._ring)

    def _ring(self) -> None:
        if self._limit.ends > clock.now():
            self._wait()  # some loops are early
            return
        self._timer = None
        if mode.is_active():
            self.rung = True
            self.task.cancel()
            self._then()

    def stop(self) -> None:
        """Cancel nothing from now on."""
        self._then = bool  # what it was may have this object: a request would leave a cycle
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def ended(self, error: BaseException | None) -> bool:
        """Return whether it was the deadline alone that has ended the block, which this exception leaves."""
        self.stop()
        only = self.rung and self.task.uncancel() <= self._before
        return only and isinstance(error, asyncio.CancelledError)


def end(limit: Deadline, error: BaseException | None) -> bool:
    """End this task's innermost block of a deadline; return whether it was the deadline alone that has ended it."""
    task = asyncio.current_task()
    own = [one for one in limit.cancellations if one.task is task]
    # None of its own: it closes an async generator in which another task has it open.
    block: Cancellation = (own or limit.cancellations)[-1]
    limit.cancellations.remove(block)
    return block.ended(error)


if hasattr(asyncio.Task, "cancelling"):

    def counting(task: Any) -> Any:
        """Return a task, which counts how often it was asked to end."""
        return task

else:  # pragma: no cover (Python 3.10)

    def counting(task: Any) -> Any:
        """Return a task, which counts from now on how often it was asked to end, as those of Python 3.11 do."""
        if hasattr(task, "cancelling"):
            return task
        weak, asked = ref(task), [0]

        def cancel(msg: Any = None) -> bool:
            this: Any = weak()
            accepted: bool = type(this).cancel(this, msg)
            asked[0] += accepted
            return accepted

        def uncancel() -> int:
            asked[0] = max(0, asked[0] - 1)
            return asked[0]

        task.cancelling, task.uncancel, task.cancel = lambda: asked[0], uncancel, cancel
        return task
