"""The driver for tasks: performs the same effects without blocking the event loop.

Invariants: an async factory runs as a task of its own, so that a cancelled caller cancels nobody else's build; a sync
factory runs beside the loop, on a daemon thread; what an async factory made belongs to the loop that ran it. No frame
is above that of user code while it waits. A step of an async factory, fallback or probe that takes `BLOCKS` seconds is
an event once it has ended; the line was seen from the scheduler's thread while it was blocking.
"""

from __future__ import annotations

import _thread
import asyncio
import sys
from _weakref import ref
from types import coroutine

from lazyguard._base import TYPE_CHECKING, Any, Callable, Coroutine, Generator, Iterator, places
from lazyguard._base.interpreter import assign, monotonic
from lazyguard._core import clock, daemons, deadlines, loaded, resolve, threads, wait_cycles
from lazyguard._core.cancellation import counting
from lazyguard._core.effects import Call, Join
from lazyguard._core.state import Attempt, Outcome

if TYPE_CHECKING:
    from contextvars import Context

    from lazyguard._core.cell import Cell
    from lazyguard._core.effects import Effect, R, Steps

# A loop keeps only weak references to its tasks.
running: set[asyncio.Task[Any]] = set()
# Those of these that a thread waits for.
building_for_threads: set[asyncio.Task[Any]] = set()


async def aresolved(cell: Cell, *, wait: float | None = None, real: bool = False) -> Any:
    """Return the target of a cell, awaiting it if need be; see `resolve.resolving`."""
    return await adrive(resolve.resolving(cell, wait=wait, real=real))


async def adrive(steps: Steps[R]) -> R:
    """Run a generator of effects to its end in this task; return what it returns."""
    advance: Callable[[Any], Effect] = steps.send
    answer: Any = None
    try:
        while True:
            try:
                effect = advance(answer)
            except StopIteration as stop:
                result: R = stop.value
                return result
            try:
                advance, answer = steps.send, await _perform(effect)
            except BaseException as error:
                advance, answer = steps.throw, error
    finally:
        steps.close()  # an interruption may have come just when it had asked for something
        del advance, answer  # else a cycle: an error, its traceback, this frame


async def _perform(effect: Effect) -> Any:
    if isinstance(effect, Call):
        return await _call(effect)
    loop_here()
    if isinstance(effect, Join):
        return await _join(effect)
    return await _sleep(effect.seconds)


def loop_here() -> Any:
    """Return the event loop that runs here.

    Raises:
        UsageError: None of asyncio does.
    """
    loop = wait_cycles.current_loop()
    if loop is None:
        raise places.misused(
            "no asyncio event loop runs here, and lazyguard waits with asyncio alone. On trio, use sync services and "
            "functions, in trio.to_thread.run_sync(...); with anyio, choose its asyncio backend."
        )
    return loop


async def _call(effect: Call) -> Outcome:
    if not effect.awaited:
        return threads.call(effect)
    runner = threads.taken(_idle, _apart)
    await _Apart(effect, runner)
    _idle.append(runner)
    return threads.ended(effect)


@coroutine
def _apart() -> Generator[Any, Any]:
    while True:
        effect = yield
        try:
            value = effect.function(*effect.arguments, **effect.named)
            if hasattr(value, "__await__"):
                value = yield from value if hasattr(value, "cr_frame") else value.__await__()
            if effect.made is not None:
                effect.made.box = {0: value}
            effect.outcome = Outcome(value)
        except asyncio.CancelledError as error:
            cancelling: Any = getattr(asyncio.current_task(), "cancelling", None)
            asked = cancelling is None or bool(cancelling())  # else user code raised it of its own
            effect.outcome = Outcome(error=loaded("_core.causes").caught(error), interrupted=asked)
        except GeneratorExit:
            raise  # its loop is gone
        except BaseException as error:
            effect.outcome = threads.failed(error)
        effect = value = cancelling = None


# Those that wait for their next call: as many as have run at the same time.
_idle: list[Any] = []
# Seconds for which a step may hold the loop up.
BLOCKS = 0.25


class _Apart:
    """Awaits user code by a runner, a generator that is there before and after, as that of `threads.call`."""

    __slots__ = ("_effect", "_job", "_line", "_runner", "_since")

    def __init__(self, effect: Call, runner: Any) -> None:
        self._effect = effect
        self._runner = runner
        self._since = 0.0
        self._line = ""
        self._job: Any = None

    def __await__(self) -> Any:
        if self._effect.attempt is not None and daemons.allowed:
            self._look_later()
        return self

    def __next__(self) -> Any:
        return self.send(self._effect)  # it waits for nothing before

    def send(self, value: Any) -> Any:
        return self._step(self._runner.send, value)

    def throw(self, *error: Any) -> Any:
        try:
            return self._step(self._runner.throw, *error)
        finally:
            del error  # else a cycle: the error, its traceback, this frame

    def close(self) -> None:
        self._end()
        self._runner.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._runner, name)  # gi_frame, gi_yieldfrom: for who looks where it stands

    def _step(self, advance: Callable[..., Any], *given: Any) -> Any:
        self._since = begun = monotonic()
        try:
            waits = advance(*given)
        except BaseException:
            self._end()
            raise
        finally:
            del given
            self._since = 0.0
            took = monotonic() - begun
            if took >= BLOCKS:
                self._tell(took)
        if self._effect.outcome is None:
            return waits
        self._end()
        raise StopIteration

    def _end(self) -> None:
        if self._job is not None:
            self._job.cancel()

    def _look_later(self) -> None:
        self._job = loaded("_core.scheduler").at(clock.now() + BLOCKS / 2, self._look)

    def _look(self) -> None:
        attempt, since = self._effect.attempt, self._since
        if attempt is None or attempt.outcome is not None:
            return
        if since and monotonic() - since >= BLOCKS / 2:
            self._line = _line_of(attempt.thread)
        self._look_later()

    def _tell(self, took: float) -> None:
        if self._effect.attempt is not None:
            cell = self._effect.attempt.cell
            line, self._line = self._line or cell.place, ""
            cell.tell("blocked-loop", cell.now, cell.now, took, f"it held its event loop up at {line}")


def _line_of(thread: int | None) -> str:
    """Return the innermost line of the program that a thread is at: of no library, and not of ours."""
    is_installed = loaded("_guards.frames").is_installed
    line = ""
    for frame in places.outwards(sys._current_frames().get(thread or 0)):
        if frame.f_globals.get("__name__") == "lazyguard._core.tasks":
            break
        line = places.of_frame(frame)
        if not is_installed(line.file):
            break
    return line


async def _sleep(seconds: float) -> None:
    until = clock.now() + seconds
    while (left := until - clock.now()) > 0:
        await asyncio.sleep(clock.current.real(left))


def _launch(attempt: Attempt) -> None:
    if attempt.cell.plan.awaited:
        launch_task(attempt, resolve.attempting(attempt.cell, attempt))
    else:
        threads.launch(attempt, beside=True)


def launch_task(attempt: Attempt, steps: Steps[Outcome]) -> None:
    """Let a task of its own, on the running loop, run an attempt."""
    if attempt.outcome is not None:
        return  # `aclose` has ended it before it began
    _forget_closed_loops()
    attempt.thread = _thread.get_ident()
    attempt.home = attempt.cell.home = asyncio.get_running_loop()
    task = counting(attempt.home.create_task(_run_attempt(attempt, steps), name=f"lazyguard {attempt.cell.name}"))
    attempt.task = task
    attempt.running = True

    def ended(_: object) -> None:
        if attempt.outcome is None:  # cancelled before its first step
            attempt.cell.settle(attempt, Outcome(interrupted=True))

    held(task, ended)


def held(task: asyncio.Task[R], ended: Callable[[asyncio.Task[R]], object] = bool) -> asyncio.Task[R]:
    """Hold a task until it has ended; then call `ended`, which tells of what it raised, if anybody is to know."""

    def end(task: asyncio.Task[R]) -> None:
        running.discard(task)
        if not task.cancelled():
            task.exception()
        ended(task)

    running.add(task)
    task.add_done_callback(end)
    return task


def launch_on(loop: asyncio.AbstractEventLoop, attempt: Attempt, steps: Steps[Outcome], context: Context) -> bool:
    """Let a task on a loop, which may be another thread's, run an attempt; return False where it has just closed."""
    attempt.home, attempt.thread = loop, None  # so that who joins sees when that loop is gone
    return call_on(loop, launch_task, attempt, steps, context=context)


def call_on(
    loop: asyncio.AbstractEventLoop, function: Callable[..., object], *given: Any, context: Context | None = None
) -> bool:
    """Have a loop, which may be another thread's, call a function; return False where it is closed."""
    try:
        loop.call_soon_threadsafe(function, *given, context=context)
    except RuntimeError:
        return False
    return True


def go_on(cell: Cell) -> None:
    """Let a task do what a use on this loop could not wait for, fallbacks included, unless one does."""
    before = _going_on.get(cell)
    if before is not None and not before.done() and not before.get_loop().is_closed():
        return
    task = loaded("_core.scheduler").background().run(asyncio.get_running_loop().create_task, aresolved(cell))
    _going_on[cell] = held(task, lambda _: _going_on.pop(cell, None))  # the next use meets what it raised


_going_on: dict[Cell, asyncio.Task[Any]] = {}


def _forget_closed_loops() -> None:
    """Let go of tasks that nobody will run any more: their loop was closed under them."""
    for task in [*running, *wait_cycles.waiting, *wait_cycles.children]:
        if isinstance(task, asyncio.Future) and task.get_loop().is_closed():
            running.discard(task)
            wait_cycles.waiting.pop(task, None)
            wait_cycles.children.pop(task, None)
    for cell, task in _going_on.copy().items():
        if task.get_loop().is_closed():
            _going_on.pop(cell, None)


async def _run_attempt(attempt: Attempt, steps: Steps[Outcome]) -> None:
    attempt.running = True  # an eager task is here before it is known
    deadlines.forget()  # in this task's own context
    outcome = Outcome(interrupted=True)
    attempt.begun_in = wait_cycles.within.get()
    assign(wait_cycles.within, ref(attempt))
    try:
        outcome = await adrive(steps)
    except BaseException as interrupt:
        # outside its task somebody closes the coroutine, since its loop has gone
        if not isinstance(interrupt, asyncio.CancelledError) and wait_cycles.current_task() is not None:
            outcome = threads.cut_off(interrupt, interrupted=not isinstance(interrupt, GeneratorExit))
        raise
    finally:
        attempt.cell.settle(attempt, outcome)


async def _join(effect: Join) -> bool:
    if effect.launches:
        _launch(effect.attempt)
    if effect.news:
        return True
    loop = loop_here()
    rung = loop.create_future()

    def ring() -> None:  # on any thread; where the loop is closed nobody waits any more
        call_on(loop, lambda: rung.done() or rung.set_result(None))

    steps = wait_cycles.joining(effect, asyncio.current_task(), ring, blocks_thread=False)
    try:
        pause = next(steps)
        while True:
            heard = bool((await asyncio.wait({rung}, timeout=pause))[0])
            if heard:
                rung = loop.create_future()
            pause = steps.send(heard)
    except StopIteration as stop:
        return bool(stop.value)
    finally:
        steps.close()


def from_thread(loop: asyncio.AbstractEventLoop, function: Callable[[], Coroutine[Any, Any, R]]) -> R:
    """Run an async function as a task of a loop that runs on another thread; wait for its end and return its result.

    Raises:
        RuntimeError: The loop is closed, or was before the task had ended.
    """
    woken = _thread.allocate_lock()
    woken.acquire()
    begun: list[asyncio.Task[R]] = []

    def begin() -> None:
        task = held(loop.create_task(function()), ended)
        begun.append(task)
        building_for_threads.add(task)

    def ended(task: asyncio.Task[R]) -> None:
        building_for_threads.discard(task)
        woken.release()

    loop.call_soon_threadsafe(begin)
    while not woken.acquire(True, wait_cycles.LAST_LOOK):
        if loop.is_closed():
            raise RuntimeError("its event loop was closed before it was done")
    return begun.pop().result()  # no local has the task, and with it the error, whose traceback has this frame


async def pause_by(pauses: Iterator[float]) -> None:
    """Let so many seconds pass, one after another."""
    loop_here()
    for seconds in pauses:
        await asyncio.sleep(seconds)
