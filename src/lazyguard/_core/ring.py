"""Who waits for whom: sees a ring before anybody waits in it, so that no deadlock is silent.

Invariants: whoever is about to wait says so first and looks second, so of those who close a ring at least one sees it;
nothing here blocks or runs user code. The ways to be blocked that are followed: a flight that another thread or task
runs, an event loop whose thread is blocked, and a module lock of the interpreter (read, never touched).

The method is the search for a cycle in a wait-for graph (Coffman, Elphick, Shoshani: System Deadlocks, 1971), done as
`importlib` does it for its own locks.
"""

from __future__ import annotations

import _thread
import sys

from lazyguard._core.state import Outcome
from lazyguard.errors import CircularResolutionError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from lazyguard._core.flight import Flight

# Seconds until whoever waits looks again, since others may close a ring later: the first time, and at the most.
FIRST_LOOK, LAST_LOOK = 0.02, 0.5
# Thread id or task -> the flight that it waits for. Entries are written by their own thread only.
waiting: dict[Any, Flight] = {}
# Thread id -> the flights that it runs itself, outermost first.
running: dict[int, list[Flight]] = {}


def current_task() -> Any:
    """Return the asyncio task that runs on this thread; None outside one. Loads nothing."""
    return None if current_loop() is None else sys.modules["asyncio"].current_task()


def current_loop() -> Any:
    """Return the event loop that runs on this thread, or None. Loads nothing."""
    # None also while another thread is importing asyncio, as the factory that this one waits for may do
    running_loop = getattr(sys.modules.get("asyncio"), "_get_running_loop", None)
    return None if running_loop is None else running_loop()


def enter(flight: Flight) -> None:
    """Note that this thread runs a flight from now on."""
    flight.thread = _thread.get_ident()
    running.setdefault(flight.thread, []).append(flight)
    flight.aloft = True


def leave(flight: Flight) -> None:
    """Note that this thread does not run the flight any more."""
    thread = _thread.get_ident()
    stack = running.get(thread, [])
    if flight in stack:
        stack.remove(flight)
    if not stack:
        running.pop(thread, None)


def ended(flight: Flight) -> bool:
    """Return whether a flight has ended; end it if whoever ran it has gone without doing so."""
    if flight.outcome is None and _lost(flight):
        flight.cell.settle(flight, Outcome(interrupted=True))
    return flight.outcome is not None


def _lost(flight: Flight) -> bool:
    home = flight.home
    if home is not None:
        # what a loop that stands still was making for itself is of no use to another one
        return home.is_closed() or (current_loop() not in (None, home) and not home.is_running())
    # a second interruption came while its thread settled the first
    return flight.aloft and flight not in running.get(flight.thread or 0, ())


def _module_lock_of(thread: int) -> Any:
    """Return the module lock for which a thread waits, or None."""
    waits = getattr(sys.modules.get("_frozen_importlib"), "_blocking_on", None)
    lock: Any = None if waits is None else waits.get(thread)
    if hasattr(lock, "append"):  # since 3.12 a list, innermost last
        return next(reversed(lock), None)
    return lock


def _runner(flight: Flight) -> Any:
    return flight.task if flight.task is not None else flight.thread


def _links(flight: Flight) -> list[str]:
    """Describe a flight and whatever its thread is building inside it."""
    stack = [] if flight.task is not None or flight.thread is None else running.get(flight.thread, [])[:]
    inside = stack[stack.index(flight) :] if flight in stack else [flight]
    return [f"{one.cell.name} ({one.cell.place})" for one in inside]


def find(flight: Flight, *, blocks_thread: bool) -> list[str] | None:
    """Return the links of the ring that waiting for `flight` here would close; None if it closes none.

    Args:
        flight: What this thread or task is about to wait for.
        blocks_thread: Whether the wait blocks the whole thread (True) or only the running task (False).
    """
    thread = _thread.get_ident()
    task = current_task()
    links: list[str] = []
    seen: set[Any] = set()
    following = flight
    while following.outcome is None:
        runner = _runner(following)
        if runner is None or runner in seen:
            return None
        seen.add(runner)
        links += _links(following)
        if runner in (thread, task):
            return links  # what this thread runs lies below us on its stack
        if following.task is not None and following.thread == thread and blocks_thread:
            return links  # its task can only go on when this thread returns to its loop
        blocked = waiting.get(runner)
        if blocked is None and following.task is not None and following.thread is not None:
            blocked = waiting.get(following.thread)  # the thread of its loop is blocked
        if blocked is None:
            owner: Any = following.thread
            while blocked is None:
                lock = _module_lock_of(owner)
                if lock is None or lock.owner is None or (lock.owner in seen and lock.owner != thread):
                    return None
                owner = lock.owner
                links.append(f"the import of {lock.name!r}")
                if owner == thread:
                    return links
                seen.add(owner)
                blocked = waiting.get(owner)
        following = blocked
    return None


def check(flight: Flight, *, blocks_thread: bool) -> None:
    """Raise CircularResolutionError if waiting for `flight` here would never end."""
    links = find(flight, blocks_thread=blocks_thread)
    if links is None or find(flight, blocks_thread=blocks_thread) != links:
        return  # none, or what was read in passing has changed: the next look decides
    mend = "Break it: build one of them without using the next."
    if any(link.startswith("the import of") for link in links):
        mend = "Break it: do not use it while that module is being imported, or import the module before."
    elif blocks_thread and flight.task is not None:
        mend = "It is being built by a task of this thread's event loop: use `await` (aget, aresolve) here."
    raise CircularResolutionError(f"{flight.cell.name} waits for itself: {' -> '.join([*links, links[0]])}. {mend}")
