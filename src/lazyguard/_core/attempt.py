"""One attempt: a run of a factory, with its retries, that all present callers of a cell share (single-flight).

Invariants: an attempt ends once; each waiter is woken once, from the thread that ends it and outside every lock; an
attempt knows which thread or task runs it, so that a wait cycle can be seen.
"""

from __future__ import annotations

import _thread

from lazyguard._base.typing import final

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _weakref import ref
    from collections.abc import Callable
    from typing import Any

    from lazyguard._core.cell import Cell
    from lazyguard._core.state import Outcome


@final
class Attempt:
    """A run of a cell's factory, with its retries.

    Attributes:
        generation: The generation for which it runs; its result counts for no other.
        started: When it began, by the clock.
        thread: The thread that runs it, or is about to; None while another one is being started for it.
        running: Whether somebody runs it, who will end it.
        asked_by: The line of the program that asked for it; "" unless LAZYGUARD_TRACE is set.
        begun_in: The attempt whose factory asked for it, if any.
        task: The asyncio task that runs it; None for one that a thread runs.
        home: The event loop that its target will belong to; None unless the factory is async.
        recovery: Whether it runs in the background, to bring a real object back.
    """

    __slots__ = (
        "__weakref__",
        "_done",
        "_waiting",
        "asked_by",
        "begun_in",
        "cell",
        "generation",
        "home",
        "outcome",
        "recovery",
        "running",
        "started",
        "task",
        "thread",
    )

    def __init__(self, cell: Cell, generation: int, started: float, *, recovery: bool = False) -> None:
        self.cell: Cell = cell
        self.generation: int = generation
        self.started: float = started
        self.recovery: bool = recovery
        self.thread: int | None = _thread.get_ident()
        self.running: bool = False
        self.asked_by: str = ""
        self.begun_in: ref[Attempt] | None = None
        self.task: Any = None
        self.home: Any = None
        self.outcome: Outcome | None = None
        self._done: list[Callable[[], object]] = []
        self._waiting: list[Callable[[], object]] = []

    def on_done(self, callback: Callable[[], object]) -> None:
        """Call back once when the attempt has ended; at once if it has."""
        self._done.append(callback)
        if self.outcome is not None:
            _call(self._done)

    def wait(self, wake: Callable[[], object]) -> None:
        """Wake once when the attempt has ended, or when its cell has changed; at once if the attempt has ended."""
        self._waiting.append(wake)
        if self.outcome is not None:
            self.wake_all()

    def forget(self, wake: Callable[[], object]) -> None:
        """Take back what is to be woken no more."""
        try:
            self._waiting.remove(wake)
        except ValueError:
            pass  # it is being called, or was

    def end(self, outcome: Outcome) -> None:
        """End the attempt and tell all who wait; the first outcome stays."""
        if self.outcome is None:
            self.outcome = outcome
        self.wake_all()
        _call(self._done)

    def wake_all(self) -> None:
        """Let all who wait for the attempt look again."""
        _call(self._waiting)

    def __repr__(self) -> str:
        return f"<Attempt of {self.cell.name} generation={self.generation}>"


def _call(callbacks: list[Callable[[], object]]) -> None:
    # pop() hands each callback to one thread only, with or without a GIL
    while True:
        try:
            callback = callbacks.pop()
        except IndexError:
            return
        callback()
