"""Events: one a transition, emitted to all listeners after the fact and outside every lock.

Invariants: an event has names, places and exception types, never arguments, URLs or an exception's text. A listener
that raises is logged, and affects neither the transition nor other listeners. Without listeners an emission costs one
test.
"""

from __future__ import annotations

import sys
from _contextvars import ContextVar

from lazyguard._base import TYPE_CHECKING, Any, Callable, Iterator, Record, final, places
from lazyguard._base.interpreter import deque, monotonic

if TYPE_CHECKING:
    from lazyguard._base.mailbox import Letter, Mailbox


@final
class Event(Record):
    """One transition of a cell, or a notice about it.

    Attributes:
        kind: "ready", "degraded", "failed", "recovered", "reset", "overridden", "timeout", "late", "abandoned",
            "stuck", "reminder", "answered" (a fallback answers calls that fail), "differs", "blocked-loop",
            "close-failed", or "fork-failed" (what `on_fork` raised in a child). Of a breaker: "opened", "half-open" or
            "closed". Of a tracked import: "imported" or "over-budget"; of one that an `import_guard` cannot interrupt:
            "overdue". Of a preload: "preloaded" or "preload-failed". Of lazyguard's own scheduler: "scheduler-late"
            (more than a second) or "job-failed".
        name: The cell's name, `module:qualname`; of an import the module's.
        place: Where the cell was declared, `file:line`; of an import the importing line, or the guard's.
        before: The state before.
        after: The state now.
        generation: The present generation; of a breaker, how often it opened since it was last closed.
        cause: The type of the causing exception and the line that raised it; "" without one. Of "differs": how the
            fallback differs from the return annotation of the service's factory. Of "close-failed": the exception, or
            why an object was not closed. Of "overdue": the line that the import is at. Of "blocked-loop": where an
            async factory, fallback or probe held its loop up for a quarter of a second; "" for a first use that did.
        seconds: How long the attempt, the import or the state that ended has taken; else 0.0.
        lost: How many events this listener has lost before this one, since more than 1,000 waited for it.
    """

    kind: str
    name: str
    place: str
    before: str
    after: str
    generation: int = 0
    cause: str = ""
    seconds: float = 0.0
    lost: int = 0
    _away: float = 0.0  # for how long it was not served, by its own clock
    _of: int = 0
    _quiet: bool = False  # a "failed" after which a fallback is tried: the log waits for what comes of that

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
    return f"{kind} at {places.Place(trace.tb_frame.f_code.co_filename, trace.tb_lineno)}"


def subscribe(listener: Callable[[Event], object]) -> Callable[[], None]:
    """Call `listener` with every event from now on; return a function that ends the subscription.

    A listener runs on the thread that made the transition, after it, with no lock held; it is told on a daemon thread
    of lazyguard's of what happens in the background, such as recoveries and reminders. It has the events of one cell in
    their order. One that blocks holds up neither a recovery, nor a closing, nor what the background has for others: at
    most 1,000 events wait for it, and of more than that reminders are dropped first (`Event.lost`). An Exception of a
    listener is logged once, and goes no further; SystemExit and its like are raised on the caller's thread, after all
    listeners were told. A forked child inherits the listeners, and nothing that waits.

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
    given: object = listener
    if not callable(given):
        raise places.misused(f"subscribe() takes a function of one event, not one of type {type(given).__name__}.")
    entry = object()  # a key of its own, so that one function can be subscribed twice
    open_, kinds = _opened()
    open_[entry] = mailbox = kinds.Mailbox(listener, _report)

    def undo() -> None:
        if open_.pop(entry, None) is not None:
            mailbox.clear()

    return undo


def emit(event: Event, of: int = 0) -> None:
    """Tell every listener of the event: here, or what scheduled work emits, on a thread for it.

    Args:
        event: The event.
        of: Whose it is, where its listeners are to have all events of the same one in order; 0: of nothing.

    Raises:
        BaseException: What is no Exception and was raised by a listener here, after all of them were told.
    """
    letters = addressed(event, of)
    any(putting(letters))
    posted(letters)
    deliver()


def tell(of: Any, kind: str, before: str, after: str, **more: Any) -> None:
    """Emit an event about what has a name and a place."""
    emit(Event(kind=kind, name=of.name, place=of.place, before=before, after=after, **more), id(of))


def addressed(event: Event, of: int) -> list[Letter]:
    """Return the letters for all who want the event.

    `any(putting(letters))` and `posted` put them where `deliver` finds them, so that what a transition owes can be done
    before a listener runs.
    """
    hand_over, event._of = scheduled.get(), of
    if _mailboxes is None and not _is_logged(event):
        return []  # the log alone listens
    try:
        open_, kinds = _opened()
    except ImportError:  # the interpreter is ending, or a signal handler has interrupted the import
        log(event)
        return []
    wanted = [mailbox for mailbox in list(open_.values()) if mailbox.wants is None or mailbox.wants(event)]
    return [kinds.Letter(mailbox, event, of, hand_over) for mailbox in wanted]


def putting(letters: list[Letter]) -> Iterator[None]:
    """Return what puts each letter into its mailbox: `any` of it does so in one step, amid which no handler runs."""
    return map(deque.append, [letter.to.waiting for letter in letters], letters)


def posted(letters: list[Letter]) -> None:
    """See to what was put into its mailboxes: that there is room, and what comes for it."""
    for letter in letters:
        letter.to.trim()
        if letter.hand_over is not None:
            letter.hand_over(letter.to)


def deliver() -> None:
    """Tell the listeners, here, all that this thread has posted."""
    raised = None
    for mailbox in mailboxes():
        raised = mailbox.tell_own() or raised
    if raised is not None:
        try:
            raise raised
        finally:
            del raised  # else a cycle: an error, its traceback, this frame


def mailboxes() -> list[Mailbox]:
    """Return those of all listeners."""
    return list((_mailboxes or {}).values())


def _opened() -> tuple[dict[object, Mailbox], Any]:
    """Return the mailboxes, the log's the first, and what they are made of, loaded by the first event to tell."""
    global _kinds, _mailboxes
    if _kinds is None:
        from lazyguard._base import mailbox as kinds

        _kinds = kinds
    if _mailboxes is None:  # two threads that open them at once have the same
        _mailboxes = _first.setdefault("log", {object(): _kinds.Mailbox(log, _report, _is_logged)})
    return _mailboxes, _kinds


def in_child() -> None:
    """Forget what waits, in the child of a fork: it is the parent's, and so are the threads that tell it."""
    for mailbox in mailboxes():
        mailbox.clear()


def _report(mailbox: Mailbox, event: Event, error: BaseException) -> None:
    """Say once what a listener has raised: in the log, or where that is what raises, on stderr."""
    what = describe(error)
    if what in mailbox.reported or len(mailbox.reported) >= _MOST:
        return
    mailbox.reported.add(what)
    name = places.name_of(mailbox.listener)  # its repr may hold arguments
    try:
        if mailbox.listener is not log:
            import logging

            logging.getLogger("lazyguard").error("listener %s raised %s on %r", name, what, event)
            return
    except Exception:
        pass  # the interpreter is shutting down, logging itself is being imported, or a handler raises
    complain(f"listener {name} raised {what} on {event!r}")


def complain(text: str) -> None:
    """Write a line to stderr, where the log cannot be had."""
    try:
        sys.stderr.write(f"lazyguard: {text}\n")
    except Exception:
        pass  # None, closed, or in use


def log(event: Event) -> None:
    """Write one line a transition to the log `lazyguard`; this is the default listener.

    That something is away is logged once, and then every five minutes; that it is back at the same level. A record has
    the fields of the event, and one template for each kind of event, by which a log's tools can group.
    """
    level, seconds = _LEVELS.get(event.kind, 30), event.seconds
    back = None
    if event._quiet or (event.kind in _AWAY and _is_repeated(event)):
        level = 10
    elif event.kind in _BACK:
        back = _away_since(event)
    if back is not None:
        level, seconds = 30, max(monotonic() - back, event._away)
    try:
        import logging
    except ImportError:
        return  # the interpreter is ending, and imports nothing any more

    logger = logging.getLogger("lazyguard")
    if not logger.isEnabledFor(level):
        return
    template = f"%s is {event.after}"
    values: list[object] = [event.name]
    kind = "" if event.kind == event.after else event.kind
    if back is not None:
        template += " again after %.1f s"
        values.append(seconds)
    if kind or event.cause:
        template += f" ({', '.join(part for part in (kind, event.cause and '%s') if part)})"
        values += [event.cause] if event.cause else []
    if event.place:
        template += ", declared at %s"
        values.append(event.place)
    if event.lost:
        template += "; %d events before this one were lost"
        values.append(event.lost)
    fields = {name: getattr(event, name) for name in ("cause", "place", "lost")}
    fields.update(event=event.kind, service=event.name, state=event.after, seconds=seconds)
    logger.log(level, template, *values, extra=fields)


def _is_logged(event: Event) -> bool:
    """Return whether `log` has something to do; without waiting for a lock, where scheduled work asks."""
    level = _LEVELS.get(event.kind, 30)
    if event.kind in _OF_IMPORTS:
        return False  # there are hundreds, and logging itself may be the import
    if level >= 30 or (event.kind in _BACK and _away):
        return True
    find = getattr(sys.modules.get("logging"), "getLogger", None)  # not loaded: no handler can want so fine a line
    return find is not None and (scheduled.get() is not None or bool(find("lazyguard").isEnabledFor(level)))


def _is_repeated(event: Event) -> bool:
    """Note that something is away; return whether that was logged a short time ago."""
    now, key = monotonic(), (event.name, event.place)
    if len(_away) >= _MOST and key not in _away:
        _away.clear()
    away = _away.setdefault(key, _Away(since=now, of=set()))
    away.of.add(event._of)
    repeated = now - away.logged < _REMIND
    if not repeated:
        away.logged = now
    return repeated


def _away_since(event: Event) -> float | None:
    """Note that something is there again; return since when it was away, where all of that name are there."""
    key = event.name, event.place
    away = _away.get(key)
    if away is None:
        return None
    if event.after == "pending":
        away.logged = -_REMIND  # begun anew: its next failure is news
        return None
    away.of.discard(event._of)
    return None if away.of or _away.pop(key, None) is None else away.since


_REMIND, _MOST = 300.0, 1000


class _Away(Record):
    """What failed and was not served since: since when, when that was logged, and which of that name and place."""

    since: float
    of: set[int]
    logged: float = -_REMIND


# By name and place, as the keys of a service have in common.
_away: dict[tuple[str, str], _Away] = {}
_AWAY, _BACK = ("failed", "opened", "degraded"), ("ready", "recovered", "closed", "reset")
# Of all other kinds 30; what is told when all goes well is for who asks for it.
_LEVELS: dict[str, int] = {
    **dict.fromkeys(("ready", "reset", "overridden", "timeout", "late", "half-open"), 10),
    **dict.fromkeys(("recovered", "preloaded", "closed"), 20),
    "job-failed": 40,
}
_OF_IMPORTS = frozenset(("imported", "over-budget"))
# In a context of scheduled work: what has a thread for it tell what is in a mailbox.
scheduled: ContextVar[Callable[[Mailbox], object] | None] = ContextVar("lazyguard events", default=None)
# Each under a key of its own, in order: threads add and remove without a lock, and lose none. None: only the log
# listens, and had nothing to write yet.
_mailboxes: dict[object, Mailbox] | None = None
_first: dict[str, dict[object, Mailbox]] = {}
_kinds: Any = None
