"""Who waits for whom: sees a ring before anybody waits in it, so that no deadlock is silent.

Invariants: whoever is about to wait says so first and looks second, so of those who close a ring at least one sees it;
nothing here blocks or runs user code. The ways to be blocked that are followed: an attempt that another thread or task
runs, a task that the attempt's own one awaits (alone, gathered, in a group), an event loop whose thread is blocked, and
a module lock of the interpreter (read, never touched).

The method is the search for a cycle in a wait-for graph (Coffman, Elphick, Shoshani: System Deadlocks, 1971), done as
`importlib` does it for its own locks.
"""

from __future__ import annotations

import _thread
import sys
from _contextvars import ContextVar

from lazyguard._core import clock, loaded
from lazyguard._core.state import Attempt, Outcome

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _weakref import ref

    from lazyguard._base import Any, Callable, Generator
    from lazyguard._core.effects import Join

# Seconds until whoever waits looks again, since others may close a ring later: the first time, and at the most.
FIRST_LOOK, LAST_LOOK = 0.02, 0.5
# Thread id or task -> the attempt that it waits for. Entries are written by their own thread only.
waiting: dict[Any, Attempt] = {}
# Thread id -> the attempts that it runs itself, outermost first.
running: dict[int, list[Attempt]] = {}
# A task that waits -> the attempt in whose factory it was started, where the attempt's own task is another one.
children: dict[Any, ref[Attempt]] = {}
# The attempt in whose factory the running code was started; weak, since what a factory starts may live long.
within: ContextVar[ref[Attempt] | None] = ContextVar("lazyguard attempt", default=None)


def room(frames: int = 64) -> None:
    """Raise RecursionError now, where the stack has no room for what must not be cut off half done."""
    if frames:
        room(frames - 1)


def current_task() -> Any:
    """Return the asyncio task that runs on this thread; None outside one. Loads nothing."""
    return None if current_loop() is None else sys.modules["asyncio"].current_task()


def current_loop() -> Any:
    """Return the event loop that runs on this thread, or None. Loads nothing."""
    # None also while another thread is importing asyncio, as the factory that this one waits for may do
    running_loop = getattr(sys.modules.get("asyncio"), "_get_running_loop", None)
    return None if running_loop is None else running_loop()


def enter(attempt: Attempt) -> None:
    """Note that this thread runs an attempt from now on."""
    attempt.thread = _thread.get_ident()
    running.setdefault(attempt.thread, []).append(attempt)
    attempt.running = True


def leave(attempt: Attempt | None = None) -> None:
    """Note that this thread does not run the attempt any more, nor any that has ended."""
    thread = _thread.get_ident()
    running[thread] = [one for one in running.get(thread, ()) if one is not attempt and one.outcome is None]
    if not running[thread]:
        running.pop(thread, None)


def ended(attempt: Attempt) -> bool:
    """Return whether an attempt has ended; end it if whoever ran it has gone without doing so."""
    if attempt.outcome is None and _lost(attempt):
        attempt.cell.settle(attempt, Outcome(interrupted=True))
    return attempt.outcome is not None


def _lost(attempt: Attempt) -> bool:
    home = attempt.home
    if home is not None:
        # what a loop that stands still was making for itself is of no use to another one
        return home.is_closed() or (current_loop() not in (None, home) and not home.is_running())
    # a second interruption came while its thread settled the first
    return attempt.running and attempt not in running.get(attempt.thread or 0, ())


def _module_lock_of(thread: int) -> Any:
    """Return the module lock for which a thread waits, or None."""
    waits = getattr(sys.modules.get("_frozen_importlib"), "_blocking_on", None)
    lock: Any = None if waits is None else waits.get(thread)
    if hasattr(lock, "append"):  # since 3.12 a list, innermost last
        return next(reversed(lock), None)
    return lock


def _inside(attempt: Attempt) -> list[Attempt]:
    """Return an attempt and whatever its thread is building inside it."""
    stack = running.get(attempt.thread or 0, [])[:]  # what a task runs is in none
    return stack[stack.index(attempt) :] if attempt in stack else [attempt]


def _down_to_here(attempt: Attempt) -> list[Attempt]:
    """Return an attempt and those inside it, each begun by the one before, the last one by what runs here."""
    inside: list[Attempt] = []
    begun_in = within.get()
    while begun_in is not None and (one := begun_in()) is not None:
        inside.append(one)
        if one is attempt:
            return inside[::-1]
        begun_in = one.begun_in
    return _inside(attempt)


def _told(attempts: list[Attempt]) -> list[str]:
    return [f"{one.cell.name} ({one.cell.place})" for one in attempts]


def _wakes(task: Any, runner: Any) -> bool:
    """Return whether the end of a task lets `runner` go on: a task, or a thread that runs an event loop.

    A future knows whom it wakes, but only as a callback: that of another task, of gather, wait, shield or wait_for
    (in whose closure, or arguments, is the future that they wait for), or a method of a task group.
    """
    seen: set[int] = set()
    todo: list[Any] = [task]
    while todo and len(seen) < _FAR:
        one = todo.pop()
        if one is runner or (getattr(one, "__name__", "") == _LOOP_ENDS and not hasattr(runner, "get_coro")):
            return True
        if id(one) in seen:
            continue
        seen.add(id(one))
        if hasattr(one, "_callbacks"):
            todo += [callback for callback, _ in one._callbacks or ()]
        elif getattr(one, "__closure__", None):
            todo += [known for cell in one.__closure__ if _leads_on(known := _content(cell))]
        elif hasattr(one, "__self__"):
            todo.append(one.__self__)
        elif hasattr(one, "func") and hasattr(one, "args"):
            todo += [one.func, *one.args]
        else:
            todo += [value for value in getattr(one, "__dict__", {}).values() if hasattr(value, "_callbacks")]
    return False


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:
        return None


def _leads_on(value: Any) -> bool:
    return hasattr(value, "_callbacks") or hasattr(value, "__dict__")


# How many steps from a task to whom it wakes are followed; what run_until_complete calls when its task has ended.
_FAR, _LOOP_ENDS = 500, "_run_until_complete_cb"


def _imports(thread: int, here: int) -> tuple[list[str], Attempt | None] | None:
    """Follow the import locks for which a thread waits.

    Returns:
        The links, and the attempt for which the last owner waits: None where that is the thread `here`. None if there
        is no lock, or its last owner goes on.
    """
    links: list[str] = []
    owners = {thread}
    while True:
        lock = _module_lock_of(thread)
        if lock is None or lock.owner is None or (lock.owner in owners and lock.owner != here):
            return None
        thread = lock.owner
        owners.add(thread)
        links.append(f"the import of {lock.name!r}")
        if thread == here:
            return links, None
        attempt = waiting.get(thread)
        if attempt is not None:
            return links, attempt


def find(attempt: Attempt, *, blocks_thread: bool) -> list[str] | None:
    """Return the links of the ring that waiting for `attempt` here would close; None if it closes none.

    Args:
        attempt: What this thread or task is about to wait for.
        blocks_thread: Whether the wait blocks the whole thread (True) or only the running task (False).
    """
    here = _thread.get_ident()
    task = current_task()
    seen: set[Attempt] = set()
    todo: list[tuple[list[str], Attempt]] = [([], attempt)]
    while todo:
        links, following = todo.pop()
        thread, runner = following.thread, following.thread if following.task is None else following.task
        if following.outcome is not None or following in seen:
            continue
        # a task of this thread's loop, also one that has not begun, can only go on when this thread returns there
        if blocks_thread and following.home is not None and following.home is current_loop():
            return links + _told(_down_to_here(following))
        if runner is None:
            continue
        seen.add(following)
        # what this thread runs lies below us on its stack
        if runner in (here, task):
            return links + _told(_down_to_here(following))
        inside = _inside(following)
        links = links + _told(inside)
        for child, begun_in in children.copy().items():  # a list may collect garbage, and run what changes them
            needed = waiting.get(child)
            if needed is not None and begun_in() in inside and _wakes(child, runner):
                if child is task:
                    return links
                todo.append((links, needed))
        locked = None if thread is None else _imports(thread, here)
        if locked is not None:
            more, owner_waits = locked
            if owner_waits is None:
                return links + more
            todo.append((links + more, owner_waits))
        todo += [(links, waiting[one]) for one in {runner, thread} if one in waiting]
    return None


def check(attempt: Attempt, *, blocks_thread: bool) -> None:
    """Raise CircularResolutionError if waiting for `attempt` here would never end."""
    links = find(attempt, blocks_thread=blocks_thread)
    if links is None or find(attempt, blocks_thread=blocks_thread) != links:
        return  # none, or what was read in passing has changed: the next look decides
    mend = "Break it: build one of them without using the next."
    if any(link.startswith("the import of") for link in links):
        mend = "Break it: do not use it while that module is being imported, or import the module before."
    elif blocks_thread and attempt.home is not None:
        mend = "It is being built by a task of this thread's event loop: use `await` (aget, aresolve) here, or wait."
    begun_by = within.get()
    if len(links) == 1 and attempt.home is not None and not (begun_by is not None and attempt is begun_by()):
        raise attempt.cell.error("ServiceBeingBuilt", f"is not available yet. {mend}")
    raise loaded("errors").CircularResolutionError(
        f"{attempt.cell.name} waits for itself: {' -> '.join([*links, links[0]])}. {mend}"
    )


def tell_of_a_blocked_loop(attempt: Attempt) -> None:
    """Tell of an attempt that has blocked this thread, if an event loop runs on it."""
    if current_loop() is not None:
        attempt.cell.tell("blocked-loop", attempt.cell.now, attempt.cell.now)


def joining(effect: Join, who: Any, wake: Callable[[], object], *, blocks_thread: bool) -> Generator[float, bool, bool]:
    """Wait for an attempt: yield how long to wait for `wake` at the most, and be sent whether it has come.

    Args:
        effect: What is waited for, and until when; the result is its answer.
        who: This thread's id, or this task.
        wake: What is called when there may be news.
        blocks_thread: As in `find`.
    """
    attempt = effect.attempt
    before, inside = waiting.get(who), within.get()
    look = FIRST_LOOK
    try:
        waiting[who] = attempt
        if inside is not None and not blocks_thread:
            children[who] = inside
        attempt.wait(wake)
        while True:
            if ended(attempt) or effect.news:
                return True
            check(attempt, blocks_thread=blocks_thread)
            left = effect.until - clock.now()
            if left <= 0:
                return effect.news
            if (yield min(look, clock.current.real(left))):
                attempt.wait(wake)
                continue
            if blocks_thread and look == FIRST_LOOK:
                tell_of_a_blocked_loop(attempt)
            look = min(look * 2, LAST_LOOK)
    finally:
        if before is None:  # first: where the rest is interrupted, nothing stays that others look at
            waiting.pop(who, None)
        else:
            waiting[who] = before
        children.pop(who, None)
        attempt.forget(wake)
