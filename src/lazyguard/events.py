"""Events: one a transition, emitted to all listeners after the fact and outside every lock.

Invariants: an event has names, places and exception types, never arguments, URLs or an exception's text. A listener
that raises is logged, and affects neither the transition nor other listeners. Without listeners an emission costs one
test.
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
    """One transition of a cell, or a notice about it.

    Attributes:
        kind: "ready", "degraded", "failed", "recovered", "reset", "overridden", "timeout", "late", "abandoned",
            "stuck", "reminder", "differs", "blocked-loop" or "close-failed". Of a breaker: "opened", "half-open" or
            "closed". Of a tracked import: "imported" or "over-budget"; of one that an `import_guard` cannot interrupt:
            "overdue". Of a preload: "preloaded" or "preload-failed".
        name: The cell's name, `module:qualname`; of an import the module's.
        place: Where the cell was declared, `file:line`; of an import the importing line, or the guard's.
        before: The state before.
        after: The state now.
        generation: The present generation; of a breaker, how often it opened since it was last closed.
        cause: The type of the causing exception and the line that raised it; "" without one. Of "differs": how the
            fallback differs from the return annotation of the service's factory. Of "close-failed": the exception, or
            why an object was not closed. Of "overdue": the line that the import is at.
        seconds: How long the attempt, the import or the state that ended has taken; else 0.0.
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
    """Return the type of an exception and the innermost place of its traceback; never its text."""
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
    """Call `listener` with every event from now on; return a function that ends the subscription.

    A listener runs on the thread that made the transition, after it, with no lock held. An exception of a listener is
    logged, and goes no further. A forked child inherits the listeners.

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
    entry = object()  # a key of its own, so that one function can be subscribed twice
    _listeners[entry] = listener

    def undo() -> None:
        _listeners.pop(entry, None)

    return undo


def check_listener(listener: object) -> None:
    """Raise UsageError for an object that cannot be called."""
    if not callable(listener):
        from lazyguard.errors import UsageError

        raise UsageError(f"subscribe() takes a function of one event, not one of type {type(listener).__name__}.")


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
        return  # the interpreter is shutting down

    name = places.name_of(listener)  # its repr may hold arguments
    if hasattr(logging, "getLogger"):  # else logging itself is being imported
        logging.getLogger("lazyguard").error("listener %s raised %s on %r", name, describe(error), event)


def log(event: Event) -> None:
    """Write one line a transition to the log `lazyguard`; this is the default listener.

    A failure that repeats is logged once, and then every five minutes.
    """
    level = _LEVELS.get(event.kind, 10)
    if event.kind in _OF_IMPORTS:
        return  # there are hundreds, and logging itself may be the import
    if _is_repeated(event):
        level = 10
    if level < 30 and "logging" not in sys.modules:
        return  # no handler can want so fine a line, and logging takes milliseconds to load
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


# Name and place of what failed and was not served since -> when that was logged.
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
# Each under a key of its own, in order: threads add and remove without a lock, and lose none.
_listeners: dict[object, Callable[[Event], object]] = {object(): log}
