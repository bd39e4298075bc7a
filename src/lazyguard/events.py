"""What the core tells: one Event a transition, to whoever subscribed, after the fact and outside every lock.

Invariants: an event carries names, places and exception types, never arguments, URLs or an exception's text; a
listener that raises is reported and hurts no one; without listeners an emission costs one test.
"""

from __future__ import annotations

import sys

from lazyguard._base import final, places

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Event", "subscribe"]


@final
class Event:
    """One transition of a cell, or something worth a word about it.

    Attributes:
        kind: "ready", "degraded", "failed", "recovered", "reset", "overridden", "timeout", "late", "abandoned",
            "stuck", "reminder", "differs", "blocked-loop" or "close-failed"; of a breaker "opened", "half-open" or
            "closed"; of a tracked import "imported" or "over-budget"; of one that an `import_guard` cannot end
            "overdue"; of a preload "preloaded" or "preload-failed".
        name: The cell's name, `module:qualname`; of an import the module's.
        place: Where it was declared, `file:line`; of an import the line that asked for it, or of the guard.
        before: The state it came from.
        after: The state it is in now.
        generation: The generation that counts from now on; of a breaker, how often it opened since it was last closed.
        cause: The type of the exception behind it and where that was raised; "" where there is none. Of "differs": in
            what a fallback that was made differs from what the service's factory says that it returns.
            Of "close-failed": that, or why an object was not closed. Of "overdue": the line that it is at.
        seconds: How long what ended has taken; 0.0 where nothing ended.
    """

    __slots__ = ("after", "before", "cause", "generation", "kind", "name", "place", "seconds")

    def __init__(
        self,
        kind: str,
        *,
        name: str,
        place: str,
        before: str,
        after: str,
        generation: int,
        cause: str = "",
        seconds: float = 0.0,
    ) -> None:
        self.kind: str = kind
        self.name: str = name
        self.place: str = place
        self.before: str = before
        self.after: str = after
        self.generation: int = generation
        self.cause: str = cause
        self.seconds: float = seconds

    def __repr__(self) -> str:
        return f"<Event {self.kind} {self.name} {self.before}->{self.after} generation={self.generation}>"


def describe(error: BaseException | None) -> str:
    """Return the type of an exception and the innermost place of its traceback, and nothing that it says."""
    if error is None:
        return ""
    kind = f"{type(error).__module__}.{type(error).__qualname__}".removeprefix("builtins.")
    trace = error.__traceback__
    if trace is None:
        return kind
    while trace.tb_next is not None:
        trace = trace.tb_next
    return f"{kind} at {trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}"


def subscribe(listener: Callable[[Event], object]) -> Callable[[], None]:
    """Call `listener` with every event from now on; return a function that ends it.

    Listeners run on the thread that made the transition, after it, with no lock held. What one raises is written to
    the log and stops there. The listeners of a process are inherited by its forks.

    Raises:
        UsageError: `listener` cannot be called.

    Example:
        >>> import lazyguard
        >>> seen = []
        >>> undo = lazyguard.subscribe(lambda event: seen.append((event.kind, event.name)))
        >>> numbers = lazyguard.lazy(lambda: [1, 2], name="numbers")
        >>> len(numbers)
        2
        >>> undo()
        >>> seen
        [('ready', 'numbers')]
    """
    check_listener(listener)
    entry = object()  # of its own, so that one function can be subscribed twice and undone once
    _listeners[entry] = listener

    def undo() -> None:
        _listeners.pop(entry, None)

    return undo


def check_listener(listener: object) -> None:
    """Raise UsageError for what is no function."""
    if not callable(listener):
        from lazyguard.errors import UsageError

        raise UsageError(f"subscribe() takes a function of an event, not one of type {type(listener).__name__}.")


def emit(event: Event) -> None:
    """Hand the event to every listener."""
    for listener in list(_listeners.values()):
        try:
            listener(event)
        except (Exception, SystemExit) as error:
            _report(listener, event, error)


def _report(listener: object, event: Event, error: BaseException) -> None:
    try:
        import logging
    except ImportError:
        return  # the interpreter is ending, and imports nothing any more

    told = places.name_of(listener)  # its repr may hold arguments
    if hasattr(logging, "getLogger"):  # else this is told in the midst of its own import
        logging.getLogger("lazyguard").error("listener %s raised %s on %r", told, describe(error), event)


def log(event: Event) -> None:
    """The default listener: one line a transition in the log `lazyguard`.

    What fails again and again, tried by its users or in the background, is told once, and then now and then.
    """
    level = _LEVELS.get(event.kind, 10)
    if event.kind in _OF_IMPORTS:
        return  # there are hundreds, and while logging itself is being imported there is no log
    if _is_repeated(event):
        level = 10
    if level < 30 and "logging" not in sys.modules:
        return  # nobody can have asked for so fine a line, and logging takes milliseconds to load
    import logging

    logger = logging.getLogger("lazyguard")
    if not logger.isEnabledFor(level):
        return
    more = ", ".join(part for part in ("" if event.kind == event.after else event.kind, event.cause) if part)
    why = f" ({more})" if more else ""
    logger.log(level, "%s is %s%s, declared at %s", event.name, event.after, why, event.place)


def _is_repeated(event: Event) -> bool:
    key = event.name, event.place
    if event.kind not in ("failed", "opened"):
        if event.after in ("ready", "pending", "closed"):
            _failing.pop(key, None)
        return False
    import time

    now = time.monotonic()
    if now - _failing.get(key, -_REMIND) < _REMIND:
        return True
    if len(_failing) >= _MOST:
        _failing.clear()
    _failing[key] = now
    return False


# What has failed and was not served since -> when that was told.
_failing: dict[tuple[str, str], float] = {}
_REMIND, _MOST = 300.0, 1000
_LEVELS = {
    "degraded": 30,
    "failed": 30,
    "opened": 30,
    "stuck": 30,
    "overdue": 30,
    "reminder": 30,
    "differs": 30,
    "abandoned": 30,
    "blocked-loop": 30,
    "close-failed": 30,
    "preload-failed": 30,
    "recovered": 20,
    "preloaded": 20,
    "closed": 20,
}
_OF_IMPORTS = frozenset(("imported", "over-budget"))
# By an entry of its own each, in their order: threads add and remove without a lock, and lose none.
_listeners: dict[object, Callable[[Event], object]] = {object(): log}
