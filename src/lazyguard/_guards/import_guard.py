"""`import_guard`: a time limit on the imports of a block, and a watch on its connections and processes.

Invariants: in the main thread the timer signal interrupts a block at its limit; on another thread the guard only
reports. The interruption passes every `except Exception` inside the block, and leaves the block as an `ImportTimeout`.
It is raised where the block's own code runs, never amid the import system's bookkeeping or in another greenlet. A guard
keeps nothing of a block that has ended, and holds no lock. Side effects are seen by one audit hook (PEP 578), installed
at first need, since Python never removes one; without a watcher it costs one test. A watcher sees those of its own
thread, and a forked child keeps those of the forking thread alone. A description has endpoints and names of programs,
never arguments: those may hold passwords.
"""

from __future__ import annotations

import os
import sys
from _thread import get_ident

from lazyguard import errors, events
from lazyguard._base import TYPE_CHECKING, Record, dress, final, places, signatures, validation
from lazyguard._core import clock, interruptions
from lazyguard._guards import frames

if TYPE_CHECKING:
    from lazyguard._base import Any, Callable, FrameType, Literal, P, T
    from lazyguard._base.places import Place
    from lazyguard._guards.alarm import Alarm
    from lazyguard._guards.frames import StackSummary

    Rule = Literal["forbid", "warn"]
    Kind = Literal["network", "subprocess"]
    Watcher = Callable[[Kind, str, FrameType], object]

# Seconds until an alarm is repeated that came amid bookkeeping; while the block did not run; and, at the most, one that
# was swallowed.
_RETRY, _REST, _REPEAT = 0.005, 0.05, 1.0
# After so many alarms at the same instruction the import system is blocked there.
_BLOCKED_AFTER = 4


def import_guard(
    *, timeout: float | None = None, network: Rule | None = None, subprocess: Rule | None = None
) -> ImportGuard:
    """Bound what the imports of a block may do: a context manager, and a decorator of a function.

    Args:
        timeout: Seconds for the block. In the main thread a timer signal then interrupts a blocking call and a loop
            alike, with an `ImportTimeout` that names the line and the imports that led there. On other threads nothing
            can be interrupted. There an event "overdue" is emitted at once, which the log shows as a warning, and an
            ImportBudgetWarning follows at the block's end.
        network: What happens at a connection, a datagram or the look-up of a name. "forbid" raises an
            `ImportSideEffectError`, once more at the block's end if it was swallowed. "warn" issues an
            ImportSideEffectWarning at the program's line. Both name the line and the endpoint.
        subprocess: The same for processes that are started.

    Returns:
        The guard; it can be used again, nested, and on several threads at a time.

    Raises:
        ConfigurationError: An option is out of range.
        UsageError: A decorated function is async or a generator, so its body runs after the call has returned.

    What other tasks do while the block awaits does not end it. The host's handler of SIGALRM, and what is left of
    its timer, are restored afterwards. If its timer is due meanwhile, its handler is called. Code that keeps the
    GIL is out of reach, and so is a C function that goes on after a signal, such as the look-up of a name. The
    watch is on the block's own thread. It sees Python's own sockets and processes (PEP 578), not those of C
    libraries. Where an import fails because of an import cycle, the error shows the cycle, the name that is not
    bound yet and the line to move. A child that is forked inside the block keeps the watch, and has no time limit.

    Example:
        >>> import lazyguard
        >>> with lazyguard.import_guard(timeout=2.0, network="forbid", subprocess="forbid"):
        ...     import colorsys
        >>> @lazyguard.import_guard(network="forbid")
        ... def load():
        ...     import socket
        ...     with socket.socket() as client:
        ...         client.connect(("127.0.0.1", 9))
        >>> load()  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        lazyguard.errors.ImportSideEffectError: ... connects to 127.0.0.1:9, which the import_guard at ... forbids...
    """
    place = places.caller()
    validation.seconds("timeout", timeout, optional=True)
    rules: dict[Kind, Rule | None] = {"network": network, "subprocess": subprocess}
    for name, rule in rules.items():
        if rule is not None:
            validation.choice(name, rule, "forbid", "warn")
    terms = _Terms(place=places.of_frame(place), package=frames.package_of(place), timeout=timeout, rules=rules)
    return ImportGuard(terms)


class _Terms(Record):
    """What a guard was declared with, and where: all that a block knows of it, since it must not keep the guard."""

    place: Place
    package: str
    timeout: float | None
    rules: dict[Kind, Rule | None]


@final
class ImportGuard:
    """The guard that `import_guard` returns."""

    def __init__(self, terms: _Terms) -> None:
        self._terms = terms
        # Thread id -> its open blocks, the innermost last.
        self._blocks: dict[int, list[_Block]] = {}

    def __enter__(self) -> ImportGuard:
        block = _Block(self._terms, places.caller())
        block.key = interruptions.at_end_of(self, block.end)
        self._blocks.setdefault(block.thread, []).append(block)
        block.begin()
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        thread = get_ident()
        blocks = self._blocks.get(thread)
        if not blocks:
            raise errors.UsageError(
                f"{self!r} is left where it was not entered: a block begins and ends once, on one thread."
            )
        block = blocks.pop()
        if not blocks:
            self._blocks.pop(thread, None)
        interruptions.ended(block.key)
        raised = block.replacement(error)
        if raised is not None:
            raise raised from (error if isinstance(raised, errors.ImportTimeout) else raised.__cause__)

    def __call__(self, function: Callable[P, T], /) -> Callable[P, T]:
        """Guard each call of a function with a block of its own."""
        decorated: object = function
        if not callable(decorated):
            raise errors.UsageError(f"import_guard ({self._terms.place}) takes a function: put it next to the `def`.")
        late = signatures.late_kind(decorated)
        if late:
            raise errors.UsageError(
                f"import_guard ({self._terms.place}) takes a plain function, and {places.name_of(decorated)} is "
                f"{late}: its body runs after the call has returned. Put a `with` block around the imports in it."
            )

        def guarded(*args: P.args, **named: P.kwargs) -> T:
            with ImportGuard(self._terms):  # whose end ends the block, where an interruption has left it open
                return function(*args, **named)

        dressed: Callable[P, T] = dress(guarded, function)
        return dressed

    def __repr__(self) -> str:
        return f"<import guard of {self._terms.place}>"


class _BlockTimeout(BaseException):
    """Interrupt a block; of a type of its own, which no library takes for one of its own errors."""

    def __init__(self, block: _Block, text: str) -> None:
        super().__init__(text)
        self.block = block


class _Block:
    """One block of a guard, from its entry to its exit."""

    def __init__(self, terms: _Terms, frame: FrameType) -> None:
        self._terms = terms
        self._frame: FrameType | None = frame
        self._alarm: Alarm | None = None
        self._began = 0.0
        # Where the block was at its limit.
        self._summary: StackSummary | None = None
        self._last: tuple[object, int] = (None, 0)
        self._same = 0
        self._warned: set[tuple[Kind, str]] = set()
        self.refused: errors.ImportSideEffectError | None = None
        self.thread = get_ident()
        self.key: object = None

    def begin(self) -> None:
        """Watch for side effects, and start the timer."""
        if any(self._terms.rules.values()):
            _watch(self._on_side_effect)
        seconds = self._terms.timeout
        if seconds is None:
            return
        from lazyguard._guards.alarm import Alarm

        self._began = clock.now()
        self._alarm = Alarm(seconds, self._on_alarm)
        self._alarm.__enter__()
        if not self._alarm.armed:
            from lazyguard._core import scheduler

            self._alarm = None
            scheduler.at(self._began + seconds, self._emit_overdue)

    def end(self) -> None:
        """Stop the timer and the watch."""
        if self._alarm is not None:
            self._alarm.__exit__()
        self._frame = None
        _unwatch(self._on_side_effect, self.thread)

    def replacement(self, error: BaseException | None) -> Exception | None:
        """Return the exception to raise in the place of `error`; None to raise no other."""
        if isinstance(error, _BlockTimeout) and error.block is not self:
            return None  # the limit of a guard around this one
        if self._summary is not None and self._alarm is not None:
            if isinstance(error, (KeyboardInterrupt, SystemExit, GeneratorExit)):
                return None
            timeout = errors.ImportTimeout(self._timeout_text(self._summary))
            timeout.place, timeout.chain = self._summary.place, self._summary.chain
            return timeout
        if isinstance(error, Exception):
            from lazyguard._guards import circular_imports

            circular_imports.explain(error)
        elif error is None and self.refused is not None:
            return self.refused
        if self._summary is not None:
            frames.warn(self._timeout_text(self._summary), errors.ImportBudgetWarning, self._terms.place)
        return None

    # in the main thread

    def _on_alarm(self, frame: FrameType | None) -> None:
        alarm = self._alarm
        if frame is None or alarm is None:
            return
        stack = frames.stack(frame, self._frame)
        if stack is None or self._is_bookkeeping(frame):
            alarm.rearm(_RETRY if stack else _REST)  # a block that does not run is suspended, in a task or a greenlet
            return
        self._summary = frames.StackSummary(stack, self._terms.package)
        alarm.rearm(min(_REPEAT, self._terms.timeout or _REPEAT))
        raise _BlockTimeout(self, self._timeout_text(self._summary))

    def _is_bookkeeping(self, frame: FrameType) -> bool:
        """Return whether the import system, or a guard, is amid its bookkeeping, and not blocked there."""
        if not frames.is_machinery(frame):
            return False
        position = (frame, frame.f_lasti)
        self._same = self._same + 1 if position == self._last else 0
        self._last = position
        if self._same < _BLOCKED_AFTER or frame.f_globals is globals():
            return True
        self._last = (None, 0)
        return False

    # on other threads

    def _emit_overdue(self) -> None:
        """Report, on the scheduler's thread: it leaves the event to another one."""
        stack = frames.stack(sys._current_frames().get(self.thread), self._frame)
        if stack is None or self._frame is None:
            return  # the block has just ended
        self._summary = summary = frames.StackSummary(stack, self._terms.package)
        events.emit(
            events.Event(
                kind="overdue",
                name=summary.module or "an import",
                place=self._terms.place,
                before="resolving",
                after="resolving",
                cause=f"at {summary}",
                seconds=clock.now() - self._began,
            )
        )

    def _timeout_text(self, summary: StackSummary) -> str:
        what = f"the import of {summary.module}" if summary.module else "a block"
        return (
            f"{what} did not end within the {self._terms.timeout:g} s of the import_guard at {self._terms.place}: it "
            f"hangs at {summary}{summary.chained}\nDefer what waits there (lazyguard.lazy, lazyguard.service), give it "
            "a timeout of its own, or raise timeout=."
        )

    # side effects

    def _on_side_effect(self, kind: Kind, what: str, frame: FrameType) -> None:
        rule = self._terms.rules[kind]
        stack = frames.stack(frame, self._frame)
        if rule is None or stack is None:
            return
        summary = frames.StackSummary(stack, self._terms.package)
        key = kind, summary.place
        if rule == "warn":
            if key in self._warned:
                return  # starting one program raises several audit events
            self._warned.add(key)
        forbids = "forbids" if rule == "forbid" else "warns of"
        module = f" while {summary.module} is imported" if summary.module else ""
        text = f"{summary}{module}: {what}, which the import_guard at {self._terms.place} {forbids}"
        text += f" ({kind}={rule!r}){summary.chained}"
        if rule == "forbid":
            self.refused = errors.ImportSideEffectError(
                f"{text}\nDo it at first use: lazyguard.lazy, lazyguard.service."
            )
            raise self.refused
        frames.warn(text, errors.ImportSideEffectWarning, summary.place)


# Thread id -> its watchers, outermost first. Written by the thread itself.
_watchers: dict[int, tuple[Watcher, ...]] = {}
_installed = False


def _watch(watcher: Watcher) -> None:
    """Call `watcher` before each side effect of this thread; if it raises, the side effect does not happen."""
    global _installed
    here = get_ident()
    _watchers[here] = (*_watchers.get(here, ()), watcher)
    if not _installed:
        _installed = True
        sys.addaudithook(_audit_hook)
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=_in_child)


def _unwatch(watcher: Watcher, thread: int) -> None:
    """Remove a watcher of a thread."""
    left = tuple(other for other in _watchers.get(thread, ()) if other != watcher)
    if left:
        _watchers[thread] = left
    else:
        _watchers.pop(thread, None)


def _audit_hook(event: str, args: tuple[Any, ...]) -> None:
    if not _watchers or event not in _EVENTS:
        return
    watchers = _watchers.get(get_ident())
    if watchers is None:
        return
    kind, describe = _EVENTS[event]
    description = describe(*args)
    if description:
        frame = sys._getframe(1)
        for watcher in reversed(watchers):
            watcher(kind, description, frame)


def _text(name: Any) -> str:
    try:
        return os.fsdecode(name)
    except TypeError:
        return f"a {type(name).__name__}"


def _connects(_: object, address: Any) -> str:
    return f"connects to {_endpoint(address)}"


def _sends(_: object, address: Any) -> str:
    # to the connected address, which was reported when it connected, where none is given
    return "" if address is None else f"sends to {_endpoint(address)}"


def _endpoint(address: Any) -> str:
    return ":".join(map(str, address[:2])) if isinstance(address, tuple) else _text(address)


def _looks_up(host: Any, *_: object) -> str:
    """Describe a look-up; "" for a host that is found without a request to a name server."""
    name = "" if host is None else _text(host)
    local = name in ("", "localhost") or ":" in name or name.replace(".", "").isdigit()
    return "" if local else f"looks up {name}"


def _starts(program: Any, *_: object) -> str:
    return f"starts {os.path.basename(_text(program))}"


def _opens(program: Any, arguments: Any, *_: object) -> str:
    if not program:
        program = arguments if isinstance(arguments, (str, bytes, os.PathLike)) else arguments[0]
    return _starts(program)


# Event -> its kind, and what describes it by its arguments; "" for what reaches nothing outside.
_EVENTS: dict[str, tuple[Kind, Callable[..., str]]] = {
    "socket.connect": ("network", _connects),
    **dict.fromkeys(("socket.sendto", "socket.sendmsg"), ("network", _sends)),
    **dict.fromkeys(("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"), ("network", _looks_up)),
    **dict.fromkeys(("os.fork", "os.forkpty"), ("subprocess", lambda: "forks")),
    "os.system": ("subprocess", lambda _: "starts a shell"),
    "os.exec": ("subprocess", lambda program, *_: _starts(program).replace("starts", "becomes", 1)),
    "os.spawn": ("subprocess", lambda _, program, *__: _starts(program)),
    **dict.fromkeys(("os.posix_spawn", "os.startfile"), ("subprocess", _starts)),
    "subprocess.Popen": ("subprocess", _opens),
}


def _in_child() -> None:
    here = get_ident()
    for thread in list(_watchers):
        if thread != here:
            _watchers.pop(thread, None)
