"""The driver for threads: performs the effects of the core's generators on this thread or on a daemon thread.

Invariants: without a timeout the caller's own thread builds; with one a daemon thread does, so that nothing the
factory does can hold the caller or the process; a wait can be interrupted by a signal; no lock of ours is held.
"""

from __future__ import annotations

import _thread
from _contextvars import copy_context
from _weakref import ref

from lazyguard._base.interpreter import assign, defaultdict, is_a_handlers, partial
from lazyguard._core import DAEMONS, clock, deadlines, loaded, resolve, state, wait_cycles, whole
from lazyguard._core import forks as forks  # whoever has attempts must survive a fork
from lazyguard._core.effects import Call, Join
from lazyguard._core.state import Attempt, Outcome

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lazyguard._base import Any, Callable, Generator
    from lazyguard._core.cell import Cell
    from lazyguard._core.effects import Effect, R, Sleep, Steps


def resolved(cell: Cell, *, wait: float | None = None, real: bool = False) -> Any:
    """Return the target of a cell, building it if need be; see `resolve.resolving`."""
    return drive(resolve.resolving(cell, wait=wait, real=real))


def drive(steps: Steps[R]) -> R:
    """Run a generator of effects to its end on this thread; return what it returns."""
    if state.lock._is_owned():
        return _unlocked(steps)
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
                advance, answer = steps.send, _perform(effect)
            except BaseException as error:
                advance, answer = steps.throw, error
    finally:
        steps.close()  # an interruption may have come just when it had asked for something
        del advance, answer  # else a cycle: an error, its traceback, this frame


def _unlocked(steps: Steps[R]) -> R:
    """Do it without the lock of the cells, which a signal handler or a finaliser on top of its holder has.

    Whom it waits for may need the lock; and what another thread does meanwhile the holder sees, as it sees a handler's.
    """
    held = state.lock._release_save()
    try:
        return drive(steps)
    finally:
        state.lock._acquire_restore(held)


def _perform(effect: Effect) -> Any:
    if isinstance(effect, Join):
        return _join(effect)
    if isinstance(effect, Call):
        return call(effect)
    return _sleep(effect)


def call(effect: Call) -> Outcome:
    """Run user code. What ends the program on this thread passes through, and what a signal handler raises."""
    runner = taken(_idle, _apart)
    runner.send(effect)
    _idle.append(runner)
    return ended(effect)


def taken(idle: list[Any], make: Callable[[], Any]) -> Any:
    """Return a runner that waits for its next call, made if there is none."""
    try:
        return idle.pop()
    except IndexError:
        runner = make()
        next(runner)
        return runner


def ended(effect: Call) -> Outcome:
    """Return how user code has ended; raise what has interrupted it."""
    outcome, effect.outcome = effect.outcome, None
    assert outcome is not None
    if not outcome.interrupted:
        return outcome
    assert outcome.error is not None
    try:
        raise outcome.error
    finally:
        del outcome  # else a cycle: the error, its traceback, this frame


def _apart() -> Generator[None, Call]:
    """Run user code, one call after the other, in a frame that has none above it while it waits for the next.

    A frame leads to its caller's for as long as it lives, and an exception to the frames that it has passed. So what
    user code raises leads to this frame, which never ends, and no further: not to what the callers have in hand.
    """
    value: Any
    while True:
        effect: Call | None = yield
        assert effect is not None
        try:
            if effect.made is None:
                value = effect.function(*effect.arguments, **effect.named)
            else:  # called and put there by one step in C, so that no signal comes between
                effect.made.box = defaultdict(partial(effect.function, *effect.arguments, **effect.named))
                value = effect.made.box[0]
            effect.outcome = Outcome(value)
        except BaseException as error:
            effect.outcome = failed(error)  # what passes is raised by `ended`, so that this frame stays
        effect = value = None


def failed(error: BaseException) -> Outcome:
    """Return how user code ended that has raised `error`."""
    if passes(error):
        return Outcome(error=error, interrupted=True)
    return Outcome(error=loaded("_core.causes").caught(error))


def passes(error: BaseException) -> bool:
    """Return whether what user code raised is the program's own affair: its exit, or what interrupts it.

    On a thread of ours, which has no program above it and runs no signal handler, SystemExit is a failure.
    """
    daemons = whole(DAEMONS)
    ours = daemons is not None and _thread.get_ident() in daemons.threads
    if isinstance(error, Exception):
        return not ours and is_a_handlers(error)
    return not (ours and isinstance(error, SystemExit))


def cut_off(error: BaseException, *, interrupted: bool) -> Outcome:
    """Return the outcome of an attempt that has ended with what passes; a factory's own exit is its failure, too."""
    if isinstance(error, SystemExit) and not is_a_handlers(error):
        return Outcome(error=loaded("_core.causes").parted(error))
    return Outcome(error=error, interrupted=interrupted)


# Those that wait for their next call: as many as have run at the same time.
_idle: list[Generator[None, Call]] = []


def _sleep(effect: Sleep) -> None:
    import time

    until = clock.now() + effect.seconds
    while (left := until - clock.now()) > 0:
        time.sleep(clock.current.real(left))


def _launch(attempt: Attempt) -> None:
    plan, home = attempt.cell.plan, attempt.cell.home
    if plan.awaited:
        if home is None or not home.is_running():
            mend = "use `await` (aget, aresolve) in a task of its event loop first."
            raise attempt.cell.error("UsageError", f"has an async factory and is not ready: {mend}")
        steps = resolve.attempting(attempt.cell, attempt)
        if not loaded("_core.tasks").launch_on(home, attempt, steps, copy_context()):
            attempt.cell.settle(attempt, Outcome(interrupted=True))
        return
    launch(attempt, beside=plan.timeout is not None)


def launch(attempt: Attempt, *, beside: bool) -> None:
    """Let this thread run an attempt, or where that is allowed a thread `beside` it.

    On this one the caller's deadline holds for its retries alone.
    """
    if beside and loaded(DAEMONS).allowed:
        launch_on_thread(attempt, resolve.attempting(attempt.cell, attempt), copy_context().run)
        return
    given, begun = deadlines.current(), clock.now()
    with deadlines.Unlimited():
        run_attempt(attempt, resolve.attempting(attempt.cell, attempt, None if given is None else given.ends))
    if clock.now() - begun >= wait_cycles.FIRST_LOOK:
        wait_cycles.tell_of_a_blocked_loop(attempt)


def launch_on_thread(attempt: Attempt, steps: Steps[Outcome], run: Callable[[Callable[[], None]], None]) -> None:
    """Let a daemon thread run an attempt, through `run` of the context that it is to have.

    Where no thread is available, that is a failure, and a fallback is built on this one; a recovery's attempt says
    nothing then.
    """

    def begin() -> None:
        with state.lock:
            attempt.thread = _thread.get_ident()
        deadlines.forget()
        try:
            run_attempt(attempt, steps, on_own_thread=True)
        except BaseException:
            pass  # told as the attempt's outcome; there is nobody above this frame to interrupt

    try:
        # Until the other thread is there the attempt is this one's: a signal handler must not wait for it now.
        daemons = loaded(DAEMONS, attempt.cell)
        daemons.daemon(lambda: run(begin), attempt.cell.name, again=attempt.recovery)
        with state.lock:
            if attempt.thread == _thread.get_ident():
                attempt.thread = None
        return
    except RuntimeError as error:
        missing = error
    if "share" in vars(attempt.cell.plan):  # that of a fallback
        launch(attempt, beside=False)
        return
    why = f"could not be built: lazyguard could start no thread for it ({missing}). Its factory was not called."
    refused = attempt.cell.error("ThreadUnavailable", why)
    refused.__cause__ = missing
    attempt.cell.settle(attempt, Outcome(interrupted=True) if attempt.recovery else Outcome(error=refused))
    del missing, refused  # else a cycle: an error, its traceback, this frame


def run_attempt(attempt: Attempt, steps: Steps[Outcome], *, on_own_thread: bool = False) -> None:
    """Run an attempt on this thread and settle it; what is the program's own affair is passed on.

    On the caller's own thread that is an interruption, and the next caller tries again; but where the factory itself
    ends the program, who has joined is told. No signal reaches a thread of our own (`on_own_thread`): there it is the
    factory's failure.
    """
    outcome = Outcome(interrupted=True)
    thread, below = _thread.get_ident(), None
    attempt.begun_in = wait_cycles.within.get()
    try:
        assign(wait_cycles.within, ref(attempt))
        wait_cycles.enter(attempt)
        # A signal handler, or a finaliser, on top of a wait: this thread does not wait while it builds.
        below = wait_cycles.waiting.pop(thread, None)
        outcome = drive(steps)
    except BaseException as interrupt:
        outcome = cut_off(interrupt, interrupted=not on_own_thread)
        raise
    finally:
        try:
            attempt.cell.settle(attempt, outcome)
        finally:
            wait_cycles.leave(attempt)
            assign(wait_cycles.within, attempt.begun_in)
            if below is not None:
                wait_cycles.waiting[thread] = below


def _join(effect: Join) -> bool:
    if effect.launches:
        _launch(effect.attempt)
    if effect.news:
        return True
    woken = _thread.allocate_lock()
    woken.acquire()
    steps = wait_cycles.joining(effect, _thread.get_ident(), woken.release, blocks_thread=True)
    try:
        pause = next(steps)
        while True:
            pause = steps.send(woken.acquire(True, pause))
    except StopIteration as stop:
        return bool(stop.value)
    finally:
        steps.close()
