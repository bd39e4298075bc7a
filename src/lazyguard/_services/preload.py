"""Preload: build and import in the background, in order, what the first request would otherwise wait for.

Invariants: the call returns at once, and nothing is raised in the background: what fails is kept; all threads are
daemons, so no exit waits for them, and an import is given no time limit; in a forked child nothing goes on.
"""

from __future__ import annotations

import _thread
import os

from lazyguard import events
from lazyguard._base import places, validation
from lazyguard._base.typing import final
from lazyguard._core import clock, deadlines, scheduler, wait_cycles
from lazyguard._core.plan import Plan
from lazyguard._core.state import FAILED, READY, RESOLVING
from lazyguard._lazy_imports import access, load
from lazyguard._monitoring.health import Check
from lazyguard._proxies.proxy import find_cell
from lazyguard.errors import ConfigurationError, ResolutionError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType
    from typing import Any, TypeAlias

    from lazyguard._core.cell import Cell
    from lazyguard._core.state import State

    Progress: TypeAlias = "Callable[[int, int, str, float, BaseException | None], object]"

__all__ = ["Preload", "preload"]


def preload(*what: object, concurrency: int = 1, progress: Progress | None = None) -> Preload:
    """Build and import these in the background, in this order, so that the first request does not wait for them.

    Args:
        what: Services (or one key's, `get_client.of("a")`), live references, lazy objects; by name lazy attributes and
            whatever else a module has ("package.module:attribute"; what is lazy there is built), and modules
            ("package.module").
        concurrency: How many are built at a time at the most, each on a daemon thread. With more than one, later ones
            may be done first, and modules that import each other may be seen half imported, as with any threads.
        progress: Called after each with how many are done, of how many, its name, the seconds that it took, and its
            exception or None; on the thread that built it, so with `concurrency` on several at a time. What it raises
            is written to the log.

    Returns:
        A `Preload` at once: how far it is, what failed, and the way to wait for its end.

    Raises:
        UsageError: One of these is nothing that could be preloaded. Nothing has begun then.
        ConfigurationError: An option is invalid.

    Nothing is raised in the background. What fails is kept in `errors`, told as an event, and shown by `health`; the
    next one follows. A service is built as by its first user: where its fallback is served it is degraded, which is no
    error of the preload. An async service is built on the event loop that runs where preload is called; where none
    does, its error says so, unless it is there already.

    A service's `timeout` bounds the wait for it. A lazy object or an import that hangs holds its daemon thread, and
    nothing ends it: with a `concurrency` of one all that follow wait. The process's exit and Ctrl-C never do.

    The threads have the caller's context variables, but not its deadline. In the child of a fork the threads are not
    there: what is not done then is not done, and the handle has `ended`, `interrupted`. Call preload in the child.

    Example:
        >>> import lazyguard
        >>> @lazyguard.lazy
        ... def numbers() -> list[int]:
        ...     return [1, 2, 3]
        >>> started = lazyguard.preload(numbers, "decimal", "no_such_module")
        >>> started.wait(timeout=30)
        True
        >>> started.done, started.total, started.failed, list(started.errors)
        (3, 3, 1, ['no_such_module'])
        >>> lazyguard.is_resolved(numbers)
        True
    """
    validation.whole("concurrency", concurrency)
    if progress is not None and not callable(progress):
        raise ConfigurationError(f"progress={progress!r} is invalid: give a function of five arguments, or None.")
    frame = places.caller()
    jobs: dict[str, Cell] = {}
    for given in what:
        name, cell = _job(given, frame)
        at, unique = 1, name
        while unique in jobs:
            at += 1
            unique = f"{name} ({at})"
        jobs[unique] = cell
    handle = Preload(what, jobs, places.of_frame(frame), progress)
    handle._begin(concurrency)
    return handle


def _job(given: object, frame: FrameType) -> tuple[str, Cell]:
    """Return the name and the cell of what is to be preloaded; a module's is that of a lazy import."""
    cell = find_cell(given)
    if cell is not None:
        return cell.name, cell
    if isinstance(given, str):
        cell = load.cell_of_name(given, frame)
        cell.plan = _MAY_BE_NONE
        return given, cell
    raise UsageError(
        f"preload ({places.of_frame(frame)}) takes services, lazy objects and names, "
        f'"package.module" or "package.module:attribute", not one of type {type(given).__name__}.'
    )


@final
class Preload:
    """What `preload` returns: how far it is. Its attributes change as it goes on.

    Attributes:
        total: How many there are.
        done: How many are done, those that failed included.
        ended: Whether all is over: all are done and told of, or a fork has interrupted it.
        interrupted: Whether this is the child of a fork that came before the end; the rest is not built here.
        place: Where preload was called, `file:line`.
    """

    __slots__ = (
        "_began",
        "_changed",
        "_errors",
        "_given",
        "_jobs",
        "_lock",
        "_loop",
        "_progress",
        "_threads",
        "_told",
        "_waiting",
        "done",
        "ended",
        "interrupted",
        "place",
        "total",
    )

    def __init__(self, given: tuple[object, ...], jobs: dict[str, Cell], place: str, progress: Progress | None) -> None:
        self.total: int = len(jobs)
        self.done: int = 0
        self.ended: bool = False
        self.interrupted: bool = False
        self.place: str = place
        self._given = given  # a key of a service lives as long as anybody holds its live reference
        self._jobs = list(jobs.items())[::-1]  # pop() gives each to one thread, the first one first
        self._errors: dict[str, BaseException] = {}
        self._progress = progress
        self._loop = wait_cycles.current_loop()
        self._began = self._changed = clock.now()
        self._told = 0
        self._threads: set[int] = set()
        self._waiting: list[Callable[[], object]] = []
        self._lock = _thread.allocate_lock()  # held for counting alone

    @property
    def errors(self) -> dict[str, BaseException]:
        """What failed so far: the name of each, and its exception."""
        return dict(self._errors)

    @property
    def failed(self) -> int:
        """How many failed so far."""
        return len(self._errors)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it has ended, and return whether it has.

        Not while a module is being imported that is among those to be preloaded: that would have to be finished first.

        Args:
            timeout: Seconds to wait at the most; zero only looks. None: however long it takes. The context's `deadline`
                ends the wait too.

        Raises:
            ConfigurationError: `timeout` is no number of seconds.
            UsageError: The thread is one of those that build, and would wait for itself. Or it is that of the event
                loop that async services are built on: use `await handle.awaited()`.
        """
        validation.seconds("timeout", timeout, optional=True, zero=True)
        until = _until(timeout)
        if not self.ended and _thread.get_ident() in self._threads:
            raise UsageError(f"{self!r} is waited for by what it builds itself: that would never end.")
        if not self.ended and timeout != 0 and self._loop is not None and wait_cycles.current_loop() is self._loop:
            raise UsageError(
                f"{self!r} builds async services on this thread's event loop, which a wait would hold up: use "
                "`await handle.awaited()`."
            )
        woken = _thread.allocate_lock()
        woken.acquire()
        wake = woken.release
        self._waiting.append(wake)
        try:
            while not self.ended:
                left = None if until is None else until - clock.now()
                if left is not None and left <= 0:
                    return False
                # Looking now and then as well: in the child of a fork nobody tells.
                woken.acquire(
                    True,
                    wait_cycles.LAST_LOOK if left is None else min(wait_cycles.LAST_LOOK, clock.current.real(left)),
                )
            return True
        finally:
            self._forget(wake)

    async def awaited(self, timeout: float | None = None) -> bool:
        """Return what `wait` does, without blocking the event loop.

        Raises:
            ConfigurationError: `timeout` is no number of seconds.
        """
        validation.seconds("timeout", timeout, optional=True, zero=True)
        from lazyguard._core import tasks

        return await tasks.until_woken(lambda: self.ended, self._waiting.append, self._forget, _until(timeout))

    def _forget(self, wake: Callable[[], object]) -> None:
        try:
            self._waiting.remove(wake)
        except ValueError:
            pass  # it is being called, or was

    def __repr__(self) -> str:
        failed = f", {self.failed} failed" if self._errors else ""
        return f"<preload {self._state()}, {self.done} of {self.total} done{failed}, called at {self.place}>"

    # in the background

    def _begin(self, threads: int) -> None:
        if not self.total:
            self._end()
            return
        from contextvars import copy_context

        _running.add(self)
        started = 0
        try:
            for _ in range(min(threads, self.total)):
                scheduler.daemon(_in(copy_context(), self._work), "preload")
                started += 1
        except RuntimeError as error:  # no thread is to be had: those that there are go on, if any
            while not started and self._jobs:
                self._finish(self._jobs.pop()[0], 0.0, error)
        _latest[self.place] = self

    def _work(self) -> None:
        """Run on a thread of its own: build one after another until nothing is left."""
        self._threads.add(_thread.get_ident())
        deadlines.forget()
        while not self.interrupted:
            try:
                name, cell = self._jobs.pop()
            except IndexError:
                break
            began = clock.now()
            error = self._built(cell)
            self._finish(name, clock.now() - began, error)
        self._threads.discard(_thread.get_ident())

    def _built(self, cell: Cell) -> BaseException | None:
        """Build; return what was raised, be it what it may: nobody stands above this thread."""
        found: Cell | None = cell
        seen: set[Cell] = set()
        try:
            while found is not None and found not in seen:
                seen.add(found)
                if found.plan.awaited and not found.now.served:
                    target = self._on_loop(found)
                else:
                    target = access.attributes.get(found, found).resolve()
                found = find_cell(target)  # what a name stands for may be lazy itself
        except BaseException as error:
            return error
        return None

    def _on_loop(self, cell: Cell) -> Any:
        loop = self._loop
        if loop is None:
            raise UsageError(
                f"{cell.name}, declared at {cell.place}, has an async factory, and no event loop was running where "
                f"preload was called ({self.place}): call it in a task of the loop that uses the service, or "
                "`await` its aget() there."
            )
        from lazyguard._core import tasks

        return tasks.from_thread(loop, cell.aresolve)

    def _finish(self, name: str, seconds: float, error: BaseException | None) -> None:
        with self._lock:
            if self.interrupted:
                return  # this thread has forked, and is now the child's only one
            if error is not None:
                self._errors[name] = error
            self.done = done = self.done + 1
        if self._progress is not None:
            try:
                self._progress(done, self.total, name, seconds, error)
            except BaseException as raised:
                _report(self._progress, raised)
        with self._lock:
            self._told += 1
            last = self._told == self.total and not self.interrupted
        if last:
            self._end()

    def _end(self) -> None:
        self._changed = clock.now()
        self._given = ()
        # Before whoever waits goes on, so that it finds all told.
        events.emit(
            events.Event(
                "preload-failed" if self._errors else "preloaded",
                name="preload",
                place=self.place,
                before=RESOLVING,
                after=FAILED if self._errors else READY,
                generation=0,
                cause=self._failures(),
                seconds=self._changed - self._began,
            )
        )
        self.ended = True
        _running.discard(self)
        while self._waiting:
            try:
                wake = self._waiting.pop()
            except IndexError:
                break  # who waited has gone
            wake()

    def _interrupt(self) -> None:
        """Be over, in the child of a fork: the threads are the parent's."""
        self._lock = _thread.allocate_lock()
        self._changed = clock.now()
        self.interrupted = True
        self.ended = True
        self._jobs.clear()
        self._threads.intersection_update((_thread.get_ident(),))

    # for health

    def _state(self) -> State:
        if not self.ended:
            return RESOLVING
        return FAILED if self._errors or self.interrupted else READY

    def _cause(self) -> str:
        told = []
        if not self.ended:
            told.append(f"{self.done} of {self.total} are done")
        elif self.interrupted:
            told.append(f"a fork came when {self.done} of {self.total} were done, and the rest is not built here")
        if self._errors:
            told.append(self._failures())
        return "; ".join(told)

    def _failures(self) -> str:
        failed = ", ".join(map(_told_of, self.errors.items()))
        return f"{self.failed} of {self.total} failed: {failed}" if failed else ""

    def _check(self, now: float, date: float) -> Check:
        cause = self._cause()
        return Check(
            name="preload",
            kind="preload",
            status="warn" if cause else "pass",
            state=self._state(),
            since=date - (now - self._changed),
            cause=cause,
            generation=0,
            running=len(self._threads),
            place=self.place,
        )


def _until(timeout: float | None) -> float | None:
    """Return when a wait ends: after its own time or with the context's deadline."""
    until = None if timeout is None else clock.now() + timeout
    given = deadlines.current()
    return until if given is None or (until is not None and until <= given.ends) else given.ends


def _in(context: Any, work: Callable[[], None]) -> Callable[[], None]:
    return lambda: context.run(work)


def _told_of(failed: tuple[str, BaseException]) -> str:
    name, error = failed
    cause = error.__cause__ if isinstance(error, ResolutionError) and error.__cause__ is not None else error
    return f"{name}: {events.describe(cause)}"


def _report(progress: object, error: BaseException) -> None:
    import logging

    told = places.name_of(progress)  # its repr may hold arguments
    logging.getLogger("lazyguard").error("progress of preload, %s, raised %s", told, events.describe(error))


_MAY_BE_NONE = Plan(allow_none=True)
# Those that have not ended: what a fork interrupts.
_running: set[Preload] = set()
# Where preload is called -> the latest one of that line, for `health`.
_latest: dict[str, Preload] = {}


def checks(now: float, date: float) -> list[Check]:
    """Return what there is to say about the latest preload of each line that calls it."""
    return [each._check(now, date) for each in list(_latest.values())]


def _in_child() -> None:
    for each in list(_running):
        each._interrupt()
    _running.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
