"""`preload`: build and import things in the background, in order, before the first request needs them.

Invariants: the call returns at once. Nothing is raised in the background: failures are kept. All threads are daemons,
so no exit waits for them. An import has no time limit. In a forked child nothing goes on.
"""

from __future__ import annotations

import _thread
import sys

from lazyguard import events
from lazyguard._base import TYPE_CHECKING, Any, Callable, TypeAlias, final, places, validation
from lazyguard._base.interpreter import in_child
from lazyguard._core import clock, closing, daemons, deadlines, loaded, wait_cycles
from lazyguard._core.declaration import Plan
from lazyguard._core.effects import Call
from lazyguard._core.state import FAILED, READY, RESOLVING
from lazyguard._lazy_imports import access, load
from lazyguard._monitoring.health import Check
from lazyguard._proxies.proxy import find_cell
from lazyguard.errors import ResolutionError, UsageError

if TYPE_CHECKING:
    from lazyguard._base.places import Place
    from lazyguard._core.cell import Cell
    from lazyguard._core.state import State

    Progress: TypeAlias = "Callable[[int, int, str, float, BaseException | None], object]"


def preload(*what: object, concurrency: int = 1, progress: Progress | None = None) -> Preload:
    """Build and import these in the background, in this order, so that the first request does not wait for them.

    Args:
        what: Services (or the service of one key, `get_client.of("a")`), live references and lazy objects. By name:
            modules ("package.module"), and lazy attributes or any other name of a module ("package.module:attribute").
        concurrency: How many are built at a time at the most, each on a daemon thread. With more than one, later ones
            can be done first, and modules in an import cycle can be seen half imported, as with any threads.
        progress: Called after each with the number done, the total, the name, the seconds that it took, and its
            exception or None. It runs on the thread that built it, so with `concurrency` on several at a time. Its
            exceptions are logged.

    Returns:
        A `Preload` at once: its progress, its failures, and the way to wait for its end.

    Raises:
        UsageError: One of these cannot be preloaded. Nothing has begun then.
        ConfigurationError: An option is invalid.

    Nothing is raised in the background. A failure is kept in `errors`, emitted as an event and shown by `health`; the
    next one follows. A service is built as by its first use: if its fallback is served it is degraded, which is no
    failure of the preload. An async service is built on the event loop that runs where preload is called. Without one
    it fails, unless it is resolved already.

    A service's `timeout` bounds the wait for it. A lazy object or an import that hangs occupies its daemon thread, and
    is not interrupted: with a `concurrency` of one all that follow wait. The process's exit and Ctrl-C never do.

    What a first failure would load is loaded too, as far as it is declared by then: tenacity for a `retry=`, wrapt for
    `failures=` and fallbacks, logging.

    The threads have the caller's context variables, but not its deadline. A fork waits two seconds at the most for an
    import that is under way; the child imports anew what was not done then. A forked child does not have the threads:
    there the rest is not built, and the handle has `ended` and `interrupted`. Call preload in the child.

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
    validation.require(callable(progress), "progress", progress, "a function of five arguments", optional=True)
    frame = places.caller()
    jobs: dict[str, Cell] = {}
    for item in what:
        cell = find_cell(item)
        if cell is not None:
            name = cell.name
        elif isinstance(item, str):  # asked of no proxy, which would build what it stands for
            name, cell = item, load.cell_of_name(item, frame)
            cell.plan = _MAY_BE_NONE
        else:
            raise UsageError(
                f"preload ({places.of_frame(frame)}) takes services, lazy objects and names, "
                f'"package.module" or "package.module:attribute", not one of type {type(item).__name__}.'
            )
        at, unique = 1, name
        while unique in jobs:
            at += 1
            unique = f"{name} ({at})"
        jobs[unique] = cell
    handle = Preload(what, jobs, places.of_frame(frame), progress)
    handle._begin(concurrency)
    return handle


@final
class Preload:
    """The handle that `preload` returns. Its attributes change while it goes on.

    Attributes:
        total: The number of items.
        ended: Whether all items are done and reported, or a fork or `aclose` has interrupted the preload.
        place: Where preload was called, `file:line`.
    """

    ended: bool = False
    name = "preload"  # in events

    def __init__(
        self, item: tuple[object, ...], jobs: dict[str, Cell], place: Place, progress: Progress | None
    ) -> None:
        self.total: int = len(jobs)
        self.place: Place = place
        self._items = item  # the key of a service lives as long as its live reference
        self._over: list[str] = []  # what has come before the end: nothing is to begin any more
        # pop() gives each to one thread, the first one first; and each number to one, zero to the last one
        self._jobs = list(jobs.items())[::-1]
        self._undone, self._unreported = list(range(self.total)), list(range(self.total))
        self._errors: dict[str, BaseException] = {}
        self._progress = progress
        self._loop = wait_cycles.current_loop()
        self._began = self._changed = clock.now()
        self._threads: set[int] = set()

    @property
    def done(self) -> int:
        """How many items are done, failures included."""
        return self.total - len(self._undone)

    @property
    def interrupted(self) -> bool:
        """Whether this is a child that was forked before the end, or `aclose` came before: the rest is not built."""
        return bool(self._over)

    @property
    def errors(self) -> dict[str, BaseException]:
        """The failures so far, by name."""
        return dict(self._errors)

    @property
    def failed(self) -> int:
        """The number of failures so far."""
        return len(self._errors)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the preload has ended, and return whether it has.

        Do not call it in a module that is itself preloaded: the preload waits for the end of that import.

        Args:
            timeout: Seconds to wait at the most; zero does not wait. None: no limit. The context's `deadline` ends the
                wait too.

        Raises:
            ConfigurationError: `timeout` is no number of seconds.
            UsageError: The thread is one of the preload's own, and would wait for itself. Or it is that of the event
                loop that async services are built on: use `await handle.awaited()`.
        """
        validation.seconds("timeout", timeout, optional=True, zero=True)
        until = _until(timeout)
        if not self.ended and _thread.get_ident() in self._threads:
            raise UsageError(f"{self!r} cannot be waited for on a thread of its own: wait on another thread.")
        if not self.ended and timeout != 0 and self._loop is not None and wait_cycles.current_loop() is self._loop:
            raise UsageError(
                f"{self!r} builds async services on this thread's event loop, which a wait would block: use "
                "`await handle.awaited()`."
            )
        from time import sleep

        for pause in clock.pauses(lambda: self.ended, until):
            sleep(pause)
        return self.ended

    async def awaited(self, timeout: float | None = None) -> bool:
        """Return what `wait` does, without blocking the event loop.

        Raises:
            ConfigurationError: `timeout` is no number of seconds.
        """
        validation.seconds("timeout", timeout, optional=True, zero=True)
        from lazyguard._core import tasks

        await tasks.pause_by(clock.pauses(lambda: self.ended, _until(timeout)))
        return self.ended

    def __repr__(self) -> str:
        failed = f", {self.failed} failed" if self._errors else ""
        return f"<preload {self._state()}, {self.done} of {self.total} done{failed}, called at {self.place}>"

    # in the background

    def _begin(self, threads: int) -> None:
        if not self.total:
            self._end()
            return
        from contextvars import copy_context
        from functools import partial

        _running.add(self)
        started = 0
        try:
            for _ in range(min(threads, self.total)):
                daemons.daemon(partial(copy_context().run, self._work), "preload")
                started += 1
        except RuntimeError as error:  # no thread is available: those that were started go on
            while not started and self._jobs:
                self._finish(self._jobs.pop()[0], 0.0, error)
        _latest[self.place] = self

    def _work(self) -> None:
        """Build one item after another until none is left; runs on a thread of its own."""
        self._threads.add(_thread.get_ident())
        deadlines.forget()
        _load_for_failures()
        while not self.interrupted:
            try:
                name, cell = self._jobs.pop()
            except IndexError:
                break
            began = clock.now()
            error = self._built(cell)
            _load_for_failures()  # what building has declared needs more
            self._finish(name, clock.now() - began, error)
        self._threads.discard(_thread.get_ident())

    def _built(self, cell: Cell) -> BaseException | None:
        """Build an item; return its exception, of any type: there is no caller to raise it to."""
        try:
            build = Call(_build, cell, self._loop, self.place, self._over)
            error: BaseException | None = loaded("_core.threads", cell).call(build).error
            return error
        except BaseException as raised:
            return raised

    def _finish(self, name: str, seconds: float, error: BaseException | None) -> None:
        if self.interrupted:
            return  # this thread has forked, and is now the only one of the child
        if error is not None:
            self._errors[name] = error
        done = self.total - self._undone.pop()
        if self._progress is not None:
            try:
                self._progress(done, self.total, name, seconds, error)
            except BaseException as raised:
                _report(self._progress, raised)
        if self._unreported.pop() == 0 and not self.interrupted:
            self._end()

    def _end(self) -> None:
        self._changed = clock.now()
        self._items = ()
        # Before waiters go on, so that they find all reported.
        kind, after = ("preload-failed", FAILED) if self._errors else ("preloaded", READY)
        took = self._changed - self._began
        events.tell(self, kind, RESOLVING, after, cause=self._failures(), seconds=took)
        self.ended = True
        _running.discard(self)

    def _interrupt(self, by: str) -> None:
        """End before all items are done."""
        self._over.append(by)
        self._changed = clock.now()
        self.ended = True
        self._jobs.clear()

    # for health

    def _state(self) -> State:
        if not self.ended:
            return RESOLVING
        return FAILED if self._errors or self.interrupted else READY

    def _cause(self) -> str:
        parts = []
        if not self.ended:
            parts.append(f"{self.done} of {self.total} are done")
        elif self.interrupted:
            done = f"{self.done} of {self.total} were done"
            parts.append(f"{self._over[0]} came when {done}, and the rest is not built here")
        if self._errors:
            parts.append(self._failures())
        return "; ".join(parts)

    def _failures(self) -> str:
        failed = ", ".join(map(_described, self.errors.items()))
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
            running=0 if self.ended else len(self._threads),
            place=self.place,
        )


_MAY_BE_NONE = Plan(allow_none=True)


def _load_for_failures() -> None:
    """Load what the first failure would load, in the middle of an outage."""
    for declares, needs in _FOR_FAILURES.items():
        for name in needs.split() if f"lazyguard.{declares}" in sys.modules else ():
            try:
                __import__(name)
            except Exception:
                pass  # that is an error where it is needed, and not here


# By what has declared it.
_FOR_FAILURES = {
    "events": "logging lazyguard.errors lazyguard._core.causes lazyguard._base.mailbox",
    "_proxies.proxy": "lazyguard._proxies.inspection",
    "_services.service": "random lazyguard._policies.recovery lazyguard._policies.recovery_run "
    "lazyguard._core.scheduler",
    "_policies.retry": "tenacity lazyguard._policies.retries",
    "_policies.breaker": "lazyguard._policies.circuit",
    "_services.guarded": "lazyguard._services.calls",
    "_services.fallback": "wrapt lazyguard._policies.fallback lazyguard._services.degraded_view "
    "lazyguard._services.conformity",
}


def _build(cell: Cell, loop: Any, place: Place, over: list[str]) -> None:
    """Build what a cell stands for. No frame has the Preload, which keeps the error, whose traceback has the frames."""
    found: Cell | None = cell
    seen: set[Cell] = set()
    while found is not None and found not in seen:
        seen.add(found)
        if found.plan.awaited and not found.now.served:
            target = _build_on(loop, found, place, over)
        else:
            target = access.attributes.get(found, found).resolve()
        found = find_cell(target)  # what a name stands for may be lazy itself


def _build_on(loop: Any, cell: Cell, place: Place, over: list[str]) -> Any:
    if loop is None:
        raise UsageError(
            f"{cell.name}, declared at {cell.place}, has an async factory, and no event loop was running where "
            f"preload was called ({place}): call it in a task of the loop that uses the service, or "
            "`await` its aget() there."
        )
    from lazyguard._core import tasks

    async def build_it() -> Any:
        return None if over else await cell.aresolve()

    return tasks.from_thread(loop, build_it)


def _until(timeout: float | None) -> float | None:
    """Return the end of a wait: by its own timeout, or by the context's deadline."""
    until = None if timeout is None else clock.now() + timeout
    item = deadlines.current()
    return until if item is None or (until is not None and until <= item.ends) else item.ends


def _described(failed: tuple[str, BaseException]) -> str:
    name, error = failed
    cause = error.__cause__ if isinstance(error, ResolutionError) and error.__cause__ is not None else error
    return f"{name}: {events.describe(cause)}"


def _report(progress: object, error: BaseException) -> None:
    import logging

    parts = places.name_of(progress)  # its repr may hold arguments
    logging.getLogger("lazyguard").error("progress of preload, %s, raised %s", parts, events.describe(error))


# The preloads that have not ended, which a fork interrupts.
_running: set[Preload] = set()
# The line that calls preload -> its latest preload, for `health`.
_latest: dict[str, Preload] = {}


def checks(now: float, date: float) -> list[Check]:
    """Return the check of the latest preload of each line."""
    return [each._check(now, date) for each in list(_latest.values())]


def _interrupt_all(by: str) -> None:
    for each in list(_running):
        each._interrupt(by)
        _running.discard(each)


closing.enders.append(lambda: _interrupt_all("aclose()"))
in_child(lambda: _interrupt_all("a fork"))
