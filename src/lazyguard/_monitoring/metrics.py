"""The measures of the metrics integrations, for any metrics library: states, transitions, calls, attempts, imports.

Invariants: a measure reads the present state and builds nothing. It has names that programs declare, states, outcomes
and seconds, never an argument, a key, a URL or an exception's text. Names beyond a limit count as one. Calls and
transitions are counted without a lock: a finaliser or a signal handler that counts one never waits, and none is lost.
"""

from __future__ import annotations

from itertools import count

from lazyguard import events
from lazyguard._base import TYPE_CHECKING, Callable, Protocol
from lazyguard._core import cell as cells
from lazyguard._core import clock, observers
from lazyguard._monitoring.health import health, worst

if TYPE_CHECKING:
    from lazyguard._core.observers import Ended
    from lazyguard._monitoring.health import Check
    from lazyguard.events import Event

    class Meter(Protocol):
        """The metrics library's side; called where things happen, also in finalisers and signal handlers."""

        def attempted(self, name: str, ended: str, seconds: float) -> object:
            """Record an attempt."""

        def imported(self, package: str, seconds: float) -> object:
            """Record an import."""

        def transitioned(self) -> object:
            """Record that there was a transition."""


OTHERS = "(others)"
_STATES = {
    "guarded": ("closed", "open", "half-open"),
    "lazy attributes": (),
    "preload": (),
}
_OF_CELLS = ("pending", "resolving", "ready", "degraded", "failed")
_OF_IMPORTS = ("imported", "over-budget", "overdue")


class Names:
    """The names that are shown: so many at the most, and all others as one."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._shown: set[str] = set()

    def __call__(self, name: str) -> str:
        """Return the name to show for a name."""
        if name not in self._shown and len(self._shown) >= self._limit:
            return OTHERS
        self._shown.add(name)
        return name


class Measures:
    """Count calls and transitions, read states, and hand attempts, imports and transitions to a meter.

    Args:
        meter: The receiver.
        limit: How many names of services, and of packages, are shown.
        on_call: Called after each counted call, if given.
    """

    def __init__(self, meter: Meter, limit: int, on_call: Callable[[], object] | None = None) -> None:
        self._names = Names(limit)
        self._packages = Names(limit)
        self._meter = meter
        self._on_call = on_call
        # Name and outcome, or name and kind of event -> a count, whose `next` is atomic with and without a GIL.
        self._calls: dict[tuple[str, str], count[int]] = {}
        self._transitions: dict[tuple[str, str], count[int]] = {}
        # Name -> when it became degraded, by the clock; and its degraded seconds before that.
        self._degraded: dict[str, float] = {}
        self._spent: dict[str, float] = {}
        self._undo: tuple[Callable[[], None], ...] = ()

    def begin(self) -> None:
        """Begin to measure."""
        self._undo = (events.subscribe(self._on_event), observers.observe(self))

    def end(self) -> None:
        """End measuring."""
        for undo in self._undo:
            undo()
        self._undo = ()

    def counter(self, name: str, ended: Ended) -> Callable[[], object]:
        """Return a function that counts one call of that name with that outcome."""
        step, on_call = self._calls.setdefault((self._names(name), ended), count()).__next__, self._on_call
        return step if on_call is None else lambda: (step(), on_call())

    def attempted(self, name: str, ended: str, seconds: float) -> None:
        """Hand an ended attempt to the meter."""
        self._meter.attempted(self._names(name), ended, seconds)

    def calls(self) -> dict[tuple[str, str], int]:
        """Return the number of calls, by the service's name and the outcome."""
        return {key: _read(counted) for key, counted in self._calls.copy().items()}

    def transitions(self) -> dict[tuple[str, str], int]:
        """Return the number of events, by the service's name and the kind."""
        return {key: _read(counted) for key, counted in self._transitions.copy().items()}

    def states(self) -> dict[tuple[str, str, str], int]:
        """Return 1 for the present state of each service and 0 for its other states, by name, kind and state.

        For a service with many keys that is the state of the key in the worst state.
        """
        found: dict[tuple[str, str, str], int] = {}
        for one in _checks():
            name = self._names(one.name)
            for state in _STATES.get(one.kind, _OF_CELLS):
                is_it = int(state == one.state)
                found[name, one.kind, state] = max(is_it, found.get((name, one.kind, state), 0))
        return found

    def abandoned(self) -> dict[str, int]:
        """Return the number of threads whose attempts no caller waits for any more, by the service's name."""
        found: dict[str, int] = {}
        now = clock.now()
        for attempt in cells.active.copy():
            cell = attempt.cell
            limit = cell.plan.timeout
            overdue = limit is not None and now - attempt.started > limit
            if attempt.task is None and attempt.outcome is None and (overdue or not cell.now.counts(attempt)):
                name = self._names(cell.name)
                found[name] = found.get(name, 0) + 1
        return found

    def degraded(self) -> dict[str, float]:
        """Return the seconds that each service has been degraded, by its name."""
        now, date = clock.now(), clock.current.date()
        away = [one for one in _checks() if one.state == "degraded" or (one.kind == "guarded" and one.fallbacks)]
        present = {self._names(one.name): one.since for one in away}
        for name, since in present.items():
            self._degraded.setdefault(name, now - max(0.0, date - (since or date)))
        for name in [name for name in self._degraded if name not in present]:
            self._stop(name, now)
        running = {name: now - since for name, since in self._degraded.copy().items()}
        return {name: self._spent.get(name, 0.0) + running.get(name, 0.0) for name in (*self._spent, *running)}

    def forked(self) -> None:
        """Begin anew in a forked child: the counts and the seconds so far are the parent's."""
        for counts in (self._calls, self._transitions):
            counts.clear()
        observers.recount()
        self._spent.clear()
        self._degraded = dict.fromkeys(self._degraded, clock.now())

    def _stop(self, name: str, now: float) -> None:
        since = self._degraded.pop(name, None)
        if since is not None:
            self._spent[name] = self._spent.get(name, 0.0) + max(0.0, now - since)

    def _on_event(self, event: Event) -> None:
        if event.kind in _OF_IMPORTS:
            if event.kind != "overdue":
                self._meter.imported(self._packages(event.name.partition(".")[0]), event.seconds)
            return
        name = self._names(event.name)
        next(self._transitions.setdefault((name, event.kind), count()))
        self._meter.transitioned()
        if event.after == "degraded" and event.before != "degraded":
            self._degraded.setdefault(name, clock.now())
        elif event.before == "degraded" and event.after != "degraded":
            self._stop(name, clock.now())


def _read(counted: count[int]) -> int:
    """Return how often a count was stepped; only its repr shows that without a step."""
    return int(repr(counted)[len("count(") : -1])


def _checks() -> list[Check]:
    """Return one check for each service, lazy object and guarded function, by name and kind."""
    found: dict[tuple[str, str], list[Check]] = {}
    for one in health().checks:
        if _STATES.get(one.kind, _OF_CELLS):
            found.setdefault((one.name, one.kind), []).append(one)
    return [worst(some) for some in found.values()]
