"""`import_guard`: a time limit, and a watch on connections and processes, around the imports of a block.

Invariants: the limit ends what the main thread does by the timer signal, and nothing that any other thread does: there
it tells. What ends a block passes every `except Exception` on its way out, and is an `ImportTimeout` from the block on;
it is raised where the block's own code runs, never amid the import system's bookkeeping or in another greenlet. A guard
keeps nothing of a block that has ended, and holds no lock.
"""

from __future__ import annotations

import sys
from _thread import get_ident

from lazyguard import events
from lazyguard._base import places, validation
from lazyguard._base.typing import final
from lazyguard._core import clock
from lazyguard._guards import frames, side_effects
from lazyguard.errors import (
    ConfigurationError,
    ImportActError,
    ImportActWarning,
    ImportBudgetWarning,
    ImportTimeout,
    UsageError,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType
    from typing import Literal

    from lazyguard._base.typing import P, T
    from lazyguard._guards.alarm import Alarm
    from lazyguard._guards.frames import Sight
    from lazyguard._guards.side_effects import Kind

    Rule = Literal["forbid", "warn"]

# Seconds until a ring that came at a bad moment comes again, and until one comes that was swallowed, at the most.
_SOON, _SWALLOWED = 0.005, 1.0
# As many rings at one and the same line of the import system: it is blocked there.
_STANDS_STILL = 4
# inspect.CO_GENERATOR, CO_COROUTINE, CO_ASYNC_GENERATOR
_LATER = 0x20 | 0x80 | 0x200


def import_guard(
    *, timeout: float | None = None, network: Rule | None = None, subprocess: Rule | None = None
) -> ImportGuard:
    """Bound what the imports of a block may do: a context manager, and a decorator of a function.

    Args:
        timeout: Seconds for the block. In the main thread a timer signal ends then what it does, a blocking call and a
            loop alike, with an `ImportTimeout` that names the line and the imports that led there. On other threads,
            where nothing can be ended, it is told: at once by an event of the kind "overdue", which is a warning in
            the log, and at the block's end by an ImportBudgetWarning.
        network: What a connection, a datagram or the look-up of a name does: "forbid" it with an `ImportActError`,
            which is raised at the block's end too if it was swallowed; or "warn" with an ImportActWarning at the
            program's line. Both say who connects where.
        subprocess: The same for processes that are started.

    Returns:
        The guard; it may be used again, nested, and on several threads at a time.

    Raises:
        ConfigurationError: An option that cannot be right.
        UsageError: A decorated function is async or a generator, and runs later than it is called.

    The host's handler of SIGALRM and what is left of its timer are there again afterwards; a timer of its that falls
    due meanwhile rings for it. Out of reach is what keeps the GIL, and a C function that goes on after a signal, such
    as the look-up of a name. The watch is on the block's own thread, and sees what Python's own sockets and processes
    do (PEP 578), not what C libraries do by themselves. Where an import fails because modules import each other in a
    ring, the error tells the ring, the name that is not bound yet and the line to move. A child that is forked inside
    the block keeps the watch, and has no time limit.

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
        lazyguard.errors.ImportActError: ... connects to 127.0.0.1:9, which the import_guard at ... forbids...
    """
    place = places.caller()
    validation.seconds("timeout", timeout, optional=True)
    for name, rule in (("network", network), ("subprocess", subprocess)):
        if rule not in (None, "forbid", "warn"):
            raise ConfigurationError(f'{name}={rule!r} is not right: give "forbid", "warn" or None.')
    rules: dict[Kind, Rule | None] = {"network": network, "subprocess": subprocess}
    return ImportGuard(places.of_frame(place), frames.package_of(place), timeout, rules)


@final
class ImportGuard:
    """What `import_guard` returns."""

    __slots__ = ("_blocks", "package", "place", "rules", "timeout")

    def __init__(self, place: str, package: str, timeout: float | None, rules: dict[Kind, Rule | None]) -> None:
        self.place: str = place
        self.package: str = package
        self.timeout: float | None = timeout
        self.rules: dict[Kind, Rule | None] = rules
        # Thread id -> its blocks that have not ended, the innermost last.
        self._blocks: dict[int, list[_Block]] = {}

    def __enter__(self) -> ImportGuard:
        block = _Block(self, places.caller())
        self._blocks.setdefault(block.thread, []).append(block)
        block.begin()
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        thread = get_ident()
        blocks = self._blocks[thread]
        block = blocks.pop()
        if not blocks:
            self._blocks.pop(thread, None)
        block.end()
        raised = block.verdict(error)
        if raised is not None:
            raise raised from (error if isinstance(raised, ImportTimeout) else raised.__cause__)

    def __call__(self, function: Callable[P, T], /) -> Callable[P, T]:
        """Put a block of the guard around each call of a function."""
        given: object = function
        code = getattr(given, "__code__", None)
        if not callable(given) or (code is not None and code.co_flags & _LATER):
            what = places.name_of(given) if callable(given) else repr(given)
            raise UsageError(
                f"import_guard ({self.place}) takes a plain function, and {what} is none: what it does, it does after "
                "its call has returned. Put a `with` block around the imports in it."
            )

        def guarded(*args: P.args, **named: P.kwargs) -> T:
            with self:
                return function(*args, **named)

        for attribute in ("__module__", "__name__", "__qualname__", "__doc__", "__type_params__"):
            if hasattr(function, attribute):
                setattr(guarded, attribute, getattr(function, attribute))
        vars(guarded).update(getattr(function, "__dict__", {}), __wrapped__=function)
        return guarded

    def __repr__(self) -> str:
        return f"<import guard of {self.place}>"


class _TimeIsUp(BaseException):
    """Ends a block; none of Python's own kinds, which a library might take for one of its own errors."""

    def __init__(self, block: _Block, text: str) -> None:
        super().__init__(text)
        self.block = block


@final
class _Block:
    """One entering of a guard."""

    __slots__ = ("_alarm", "_began", "_frame", "_guard", "_seen", "_sight", "_stood", "_told", "refused", "thread")

    def __init__(self, guard: ImportGuard, frame: FrameType) -> None:
        self._guard = guard
        self._frame: FrameType | None = frame
        self._alarm: Alarm | None = None
        self._began = 0.0
        # What it was doing when its time was over.
        self._sight: Sight | None = None
        self._seen: tuple[object, int] = (None, 0)
        self._stood = 0
        self._told: set[tuple[Kind, str]] = set()
        self.refused: ImportActError | None = None
        self.thread = get_ident()

    def begin(self) -> None:
        """Watch, and start the clock."""
        if any(self._guard.rules.values()):
            side_effects.watch(self._did)
        seconds = self._guard.timeout
        if seconds is None:
            return
        from lazyguard._guards.alarm import Alarm

        self._began = clock.now()
        self._alarm = Alarm(seconds, self._rang)
        self._alarm.__enter__()
        if not self._alarm.armed:
            from lazyguard._core import scheduler

            self._alarm = None
            scheduler.at(self._began + seconds, self._due)

    def end(self) -> None:
        """Watch no more."""
        if self._alarm is not None:
            self._alarm.__exit__()
        self._frame = None
        side_effects.end(self._did, self.thread)

    def verdict(self, error: BaseException | None) -> Exception | None:
        """Return what is to be raised in the place of `error`, or of nothing; None: all is as it is."""
        if isinstance(error, _TimeIsUp) and error.block is not self:
            return None  # the time of a guard around this one
        if self._sight is not None and self._alarm is not None:
            if isinstance(error, (KeyboardInterrupt, SystemExit, GeneratorExit)):
                return None
            late = ImportTimeout(self._late(self._sight))
            late.place, late.chain = self._sight.place, self._sight.chain
            return late
        if isinstance(error, Exception):
            from lazyguard._guards import circular_imports

            circular_imports.explain(error)
        elif error is None and self.refused is not None:
            return self.refused
        if self._sight is not None:
            import warnings

            file, _, line = self._guard.place.rpartition(":")
            warnings.warn_explicit(self._late(self._sight), ImportBudgetWarning, file, int(line))
        return None

    # in the main thread

    def _rang(self, frame: FrameType | None) -> None:
        alarm = self._alarm
        if frame is None or alarm is None:
            return
        stack = frames.stack(frame, self._frame)
        if stack is None or self._is_at_work(frame):
            alarm.again(_SOON)
            return
        self._sight = frames.Sight(stack, self._guard.package)
        alarm.again(min(_SWALLOWED, self._guard.timeout or _SWALLOWED))
        raise _TimeIsUp(self, self._late(self._sight))

    def _is_at_work(self, frame: FrameType) -> bool:
        """Tell whether the import system, or a guard, is amid its bookkeeping; not when it stands still there."""
        if not frames.is_machinery(frame):
            return False
        seen = (frame, frame.f_lasti)
        self._stood = self._stood + 1 if seen == self._seen else 0
        self._seen = seen
        if self._stood < _STANDS_STILL or frame.f_globals is globals():
            return True
        self._seen = (None, 0)
        return False

    # on other threads

    def _due(self) -> None:
        """Run by the scheduler; listeners are not to hold it up."""
        if self._frame is not None:
            from lazyguard._core import scheduler

            try:
                scheduler.daemon(lambda: scheduler.background().run(self._tell), "import_guard", again=True)
            except RuntimeError:
                scheduler.at(clock.now() + 1.0, self._due)  # no thread is available

    def _tell(self) -> None:
        stack = frames.stack(sys._current_frames().get(self.thread), self._frame)
        if stack is None or self._frame is None:
            return  # it has just ended
        self._sight = sight = frames.Sight(stack, self._guard.package)
        events.emit(
            events.Event(
                "overdue",
                name=sight.module or "an import",
                place=self._guard.place,
                before="resolving",
                after="resolving",
                generation=0,
                cause=f"at {sight}",
                seconds=clock.now() - self._began,
            )
        )

    def _late(self, sight: Sight) -> str:
        what = f"the import of {sight.module}" if sight.module else "a block"
        mend = "Defer what waits there (lazyguard.lazy, lazyguard.service), give it a time-out of its own, or raise"
        return (
            f"{what} did not end within the {self._guard.timeout:g} s of the import_guard at {self._guard.place}: it "
            f"hangs at {sight}\n  reached by {' > '.join(sight.chain) or sight.leaf}\n{mend} timeout=."
        )

    # what it does

    def _did(self, kind: Kind, what: str, frame: FrameType) -> None:
        rule = self._guard.rules[kind]
        stack = frames.stack(frame, self._frame)
        if rule is None or stack is None:
            return
        sight = frames.Sight(stack, self._guard.package)
        key = kind, sight.place
        if rule == "warn":
            if key in self._told:
                return  # starting one program raises several audit events
            self._told.add(key)
        forbids = "forbids" if rule == "forbid" else "tells of"
        module = f" while {sight.module} is imported" if sight.module else ""
        text = f"{sight}{module}: {what}, which the import_guard at {self._guard.place} {forbids}"
        text += f" ({kind}={rule!r})\n  reached by {' > '.join(sight.chain) or sight.leaf}"
        if rule == "forbid":
            self.refused = ImportActError(f"{text}\nDo it at first use: lazyguard.lazy, lazyguard.service.")
            raise self.refused
        import warnings

        file, _, line = sight.place.rpartition(":")
        warnings.warn_explicit(text, ImportActWarning, file, int(line))
