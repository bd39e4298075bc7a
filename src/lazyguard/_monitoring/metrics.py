"""What the metrics integrations measure, apart from the library that takes it: states, transitions, calls, attempts.

Invariants: it reads what is there and builds nothing; what it tells are names that programs declare, states, outcomes
and seconds, never an argument, a key, a URL or an exception's text; names beyond a bound are counted as one. Calls
and transitions are counted without a lock, so that whoever counts one in a finaliser or in a signal handler waits for
nobody, and none is lost.
"""

from __future__ import annotations

from itertools import count

from lazyguard import events
from lazyguard._base import final
from lazyguard._core import cell as cells
from lazyguard._core import clock, observers
from lazyguard._monitoring.health import health, worst

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    from lazyguard._core.observers import Ended
    from lazyguard._monitoring.health import Check
    from lazyguard.events import Event

    class Meter(Protocol):
        """Who takes the measures; called wherever things happen, in finalisers and signal handlers too."""

        def attempted(self, name: str, ended: str, seconds: float) -> object:
            """Take down an attempt to build something."""
            ...

        def imported(self, package: str, seconds: float) -> object:
            """Take down an import."""
            ...

        def moved(self) -> object:
            """Note that there was a transition."""
            ...


OTHERS = "(others)"
_STATES = {
    "guarded": ("closed", "open", "half-open"),
    "lazy attributes": (),
    "preload": (),
}
_OF_CELLS = ("pending", "resolving", "ready", "degraded", "failed")
_OF_IMPORTS = ("imported", "over-budget", "overdue")


@final
class Names:
    """The names that are told: so many at the most, and all others as one."""

    __slots__ = ("_known", "_most")

    def __init__(self, most: int) -> None:
        self._most = most
        self._known: dict[str, str] = {}

    def __call__(self, name: str) -> str:
        """Return what a name is told as."""
        known = self._known.get(name)
        if known is None:
            if len(self._known) >= self._most:
                return OTHERS
            known = self._known.setdefault(name, name)
        return known


@final
class Measures:
    """What is read when somebody looks, and who is told of what happens.

    Args:
        meter: Who is told.
        most: How many names of services, and of packages, are told.
        called: Called after each call that was counted; None for no one.
    """

    __slots__ = ("_called", "_calls", "_degraded", "_meter", "_moves", "_names", "_packages", "_spent", "_undo")

    def __init__(self, meter: Meter, most: int, called: Callable[[], object] | None = None) -> None:
        self._names = Names(most)
        self._packages = Names(most)
        self._meter = meter
        self._called = called
        # Name and outcome, or name and kind of event -> a count, whose `next` is atomic with and without a GIL.
        self._calls: dict[tuple[str, str], count[int]] = {}
        self._moves: dict[tuple[str, str], count[int]] = {}
        # Name -> when it came to be degraded, by the clock; and how long it was before that.
        self._degraded: dict[str, float] = {}
        self._spent: dict[str, float] = {}
        self._undo: tuple[Callable[[], None], ...] = ()

    def begin(self) -> None:
        """Listen from now on."""
        self._undo = (events.subscribe(self._heard), observers.observe(self))

    def end(self) -> None:
        """Listen no more."""
        for undo in self._undo:
            undo()
        self._undo = ()

    def counter(self, name: str, ended: Ended) -> Callable[[], object]:
        """Return what counts one call of that name with that end."""
        step = self._calls.setdefault((self._names(name), ended), count()).__next__
        called = self._called
        if called is None:
            return step

        def both() -> None:
            step()
            called()

        return both

    def attempted(self, name: str, ended: str, seconds: float) -> None:
        """Hand on an attempt that has ended."""
        self._meter.attempted(self._names(name), ended, seconds)

    def calls(self) -> dict[tuple[str, str], int]:
        """Return how many calls there were, by the service's name and the outcome."""
        return {key: _read(counted) for key, counted in self._calls.copy().items()}

    def transitions(self) -> dict[tuple[str, str], int]:
        """Return how many events there were, by the service's name and the kind."""
        return {key: _read(counted) for key, counted in self._moves.copy().items()}

    def states(self) -> dict[tuple[str, str, str], int]:
        """Return 1 for the state in which each service is, and 0 for the others, by its name, its kind and the state.

        Of a service that has many keys that is the state of the one which is worst off.
        """
        found: dict[tuple[str, str, str], int] = {}
        for one in _checks():
            name = self._names(one.name)
            for state in _STATES.get(one.kind, _OF_CELLS):
                is_it = int(state == one.state)
                found[name, one.kind, state] = max(is_it, found.get((name, one.kind, state), 0))
        return found

    def abandoned(self) -> dict[str, int]:
        """Return how many threads run attempts for which nobody waits any more, by the service's name."""
        found: dict[str, int] = {}
        now = clock.now()
        for attempt in cells.active.copy():
            cell = attempt.cell
            limit = cell.plan.timeout
            late = limit is not None and now - attempt.started > limit
            if attempt.task is None and attempt.outcome is None and (late or not cell.now.counts(attempt)):
                name = self._names(cell.name)
                found[name] = found.get(name, 0) + 1
        return found

    def degraded(self) -> dict[str, float]:
        """Return the seconds for which each service has served fallbacks, by its name."""
        now, date = clock.now(), clock.current.date()
        present = {self._names(one.name): one.since for one in _checks() if one.state == "degraded"}
        for name, since in present.items():
            self._degraded.setdefault(name, now - max(0.0, date - (since or date)))
        for name in [name for name in self._degraded if name not in present]:
            self._stop(name, now)
        running = {name: now - since for name, since in self._degraded.copy().items()}
        return {name: self._spent.get(name, 0.0) + running.get(name, 0.0) for name in (*self._spent, *running)}

    def forked(self) -> None:
        """Begin anew in the child of a fork: what the parent has counted and spent is the parent's."""
        for counts in (self._calls, self._moves):
            counts.clear()
        observers.recount()
        self._spent.clear()
        self._degraded = dict.fromkeys(self._degraded, clock.now())

    def _stop(self, name: str, now: float) -> None:
        since = self._degraded.pop(name, None)
        if since is not None:
            self._spent[name] = self._spent.get(name, 0.0) + max(0.0, now - since)

    def _heard(self, event: Event) -> None:
        if event.kind in _OF_IMPORTS:
            if event.kind != "overdue":
                self._meter.imported(self._packages(event.name.partition(".")[0]), event.seconds)
            return
        name = self._names(event.name)
        next(self._moves.setdefault((name, event.kind), count()))
        self._meter.moved()
        if event.after == "degraded" and event.before != "degraded":
            self._degraded.setdefault(name, clock.now())
        elif event.before == "degraded" and event.after != "degraded":
            self._stop(name, clock.now())


def _read(counted: count[int]) -> int:
    """Return how often a count was stepped; its repr is the one way to see that without a step."""
    return int(repr(counted)[len("count(") : -1])


def _checks() -> list[Check]:
    """Return one check for each service, lazy object and guarded function, by name and kind."""
    found: dict[tuple[str, str], list[Check]] = {}
    for one in health().checks:
        if _STATES.get(one.kind, _OF_CELLS):
            found.setdefault((one.name, one.kind), []).append(one)
    return [worst(some) for some in found.values()]
