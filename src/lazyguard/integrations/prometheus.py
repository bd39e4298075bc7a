"""Metrics for Prometheus, by its own client library, whose conventions and multiprocess mode they keep to.

Invariants: the library is imported here alone; a scrape reads what is there and builds nothing; labels are names that
programs declare, a bounded number of them, and never a key, an argument, a URL or an exception's text. The library's
locks are taken by a scrape and on a thread of ours alone: not where things happen, which may be a finaliser or a
signal handler on top of one of them.
"""

from __future__ import annotations

import _thread
import atexit
import os
from collections import deque

import lazyguard

lazyguard.require("prometheus_client", extra="prometheus", why="for lazyguard.integrations.prometheus")

# ruff: noqa: E402 - what is missing is said first
from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram

from lazyguard._base import validation
from lazyguard._base.typing import final
from lazyguard._core import clock, scheduler
from lazyguard._core import forks as _  # noqa: F401  (its hooks are to run before ours)
from lazyguard._monitoring.metrics import Measures

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from prometheus_client import Metric

__all__ = ["install"]

ATTEMPTS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
IMPORTS = (0.01, 0.1, 0.5, 1.0, 5.0)
# Seconds between two looks of a process that nobody scrapes itself, while it has something degraded or abandoned; and
# until it looks after a call was counted.
_EVERY, _AFTER_CALLS = 5.0, 1.0
# So many observations are kept for the next scrape, before they are taken in without one.
_MOST_KEPT = 1000
_NEVER = float("inf")


def install(registry: CollectorRegistry = REGISTRY, *, most_names: int = 200) -> Callable[[], None]:
    """Measure services, calls, attempts and imports from now on.

    Args:
        registry: Where the metrics are registered.
        most_names: How many services, and how many packages of imports, have a label of their own; all that come after
            these are "(others)". A service has one name however many keys it has.

    Returns:
        A function that takes the metrics out of the registry and measures no more.

    Raises:
        ConfigurationError: `most_names` is not a number above zero.

    The metrics are

    `lazyguard_state{service,kind,state}`: 1 for the state that it is in, else 0; of breakers "closed", "open" and
    "half-open". Of a service with many keys it is the state of the one that is worst off.

    `lazyguard_transitions_total{service,kind}`: events, by their kind.

    `lazyguard_calls_total{service,outcome}`: calls that a breaker counts, on a service with `failures=` or of a guarded
    function: "ok", "failed", "refused" while it is open; and "fallback", answered by one.

    `lazyguard_attempt_seconds{service,outcome}`: a histogram of the attempts to build an object, retries included:
    "ok", "failed", "late" where the result came too late to count, "interrupted".

    `lazyguard_abandoned_threads{service}`: threads whose attempt goes on although nobody waits for it any more.

    `lazyguard_degraded_seconds_total{service}`: how long fallbacks were served.

    `lazyguard_import_seconds{package}`: a histogram of the imports that `track_imports` sees, by outermost package.

    Each is read from what is there, at the scrape: nothing is built for it. In multiprocess mode (the environment has
    PROMETHEUS_MULTIPROC_DIR) each process writes its own when something happens, within a second of a call, every five
    seconds while something is degraded or abandoned, and at its exit; states and threads are then the sums over living
    processes: how many of them have it in that state. Call it before the server forks or after, once a process.

    Example:
        >>> import lazyguard
        >>> from lazyguard.integrations import prometheus
        >>> from prometheus_client import CollectorRegistry
        >>> registry = CollectorRegistry()
        >>> undo = prometheus.install(registry)
        >>> @lazyguard.service(name="prices")
        ... def get_prices() -> dict[str, int]:
        ...     return {"apple": 3}
        >>> get_prices()["apple"]
        3
        >>> registry.get_sample_value(
        ...     "lazyguard_state", {"service": "prices", "kind": "service", "state": "ready"}
        ... )
        1.0
        >>> undo()
    """
    validation.whole("most_names", most_names, least=1)
    metrics = _Metrics(registry, most_names)
    metrics.begin()
    return metrics.end


@final
class _Metrics:
    """The metrics of one registry."""

    def __init__(self, registry: CollectorRegistry, most: int) -> None:
        self._registry = registry
        self._shared = "PROMETHEUS_MULTIPROC_DIR" in os.environ
        self._measures = Measures(self, most, (lambda: self._soon(_AFTER_CALLS)) if self._shared else None)
        self._kept: deque[tuple[Histogram, tuple[str, ...], float]] = deque()
        self._told: dict[tuple[Counter, tuple[str, ...]], float] = {}
        self._told_abandoned: dict[str, int] = {}
        self._looking = _thread.allocate_lock()
        self._ended = False
        self._due_at = _NEVER
        registry.register(self)  # first, so that it has looked before the others are collected
        self._state = Gauge(
            "lazyguard_state",
            "1 for the state that it is in.",
            ("service", "kind", "state"),
            registry=registry,
            multiprocess_mode="livesum",
        )
        self._transitions = Counter("lazyguard_transitions", "Events.", ("service", "kind"), registry=registry)
        self._calls = Counter("lazyguard_calls", "Calls by outcome.", ("service", "outcome"), registry=registry)
        self._attempts = Histogram(
            "lazyguard_attempt_seconds",
            "Attempts to build an object.",
            ("service", "outcome"),
            registry=registry,
            buckets=ATTEMPTS,
        )
        self._abandoned = Gauge(
            "lazyguard_abandoned_threads",
            "Threads whose attempt goes on although nobody waits for it.",
            ("service",),
            registry=registry,
            multiprocess_mode="livesum",
        )
        self._degraded = Counter(
            "lazyguard_degraded_seconds", "How long fallbacks were served.", ("service",), registry=registry
        )
        self._imports = Histogram(
            "lazyguard_import_seconds", "Imports.", ("package",), registry=registry, buckets=IMPORTS
        )

    def begin(self) -> None:
        """Look once, and listen from now on."""
        self._measures.begin()
        self._look()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._forked)
        if self._shared:
            atexit.register(self._look)

    def end(self) -> None:
        """Listen no more."""
        if self._ended:
            return
        self._ended = True
        self._measures.end()
        atexit.unregister(self._look)
        ours = (self._state, self._transitions, self._calls, self._attempts, self._abandoned, self._degraded)
        for metric in (self, *ours, self._imports):
            self._registry.unregister(metric)

    # a collector of the registry, without metrics of its own

    def describe(self) -> Iterable[Metric]:
        """Name nothing."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """Look at what is there, for the metrics that are collected after this."""
        self._look()
        return ()

    # a meter

    def attempted(self, name: str, ended: str, seconds: float) -> None:
        """Keep an attempt until somebody looks."""
        self._kept.append((self._attempts, (name, ended), seconds))
        self.moved()

    def imported(self, package: str, seconds: float) -> None:
        """Keep an import until somebody looks."""
        self._kept.append((self._imports, (package,), seconds))
        self.moved()

    def moved(self) -> None:
        """See to it that somebody looks."""
        if self._shared or len(self._kept) >= _MOST_KEPT:
            self._soon()

    # what is read

    def _look(self) -> bool:
        """Take in what there is; return whether it will change by itself."""
        with self._looking:
            while self._kept:
                histogram, labels, seconds = self._kept.popleft()
                histogram.labels(*labels).observe(seconds)
            for states, value in self._measures.states().items():
                self._state.labels(*states).set(value)
            abandoned = self._measures.abandoned()
            for name, threads in {**dict.fromkeys(self._told_abandoned, 0), **abandoned}.items():
                self._abandoned.labels(name).set(threads)
            self._told_abandoned = abandoned
            for key, number in self._measures.calls().items():
                self._raise(self._calls, key, number)
            for key, number in self._measures.transitions().items():
                self._raise(self._transitions, key, number)
            spent = [self._raise(self._degraded, (key,), number) for key, number in self._measures.degraded().items()]
            return any(spent) or bool(abandoned)

    def _raise(self, counter: Counter, labels: tuple[str, ...], to: float) -> bool:
        """Raise a counter to what it is by now; return whether it was less."""
        more = to - self._told.get((counter, labels), 0.0)
        if more > 0.0 or (counter, labels) not in self._told:
            self._told[counter, labels] = to
            counter.labels(*labels).inc(max(0.0, more))
        return more > 0.0

    def _soon(self, after: float = 0.0) -> None:
        """Look soon, on a thread for it."""
        when = clock.now() + after
        if when < self._due_at and not self._ended:
            self._due_at = when
            scheduler.at(when, lambda: self._due(when))

    def _due(self, when: float) -> None:
        if when != self._due_at or self._ended:
            return  # one that was due earlier has looked
        self._due_at = _NEVER
        try:
            scheduler.daemon(self._looked, "prometheus", again=True)  # the library's locks may be held for long
        except RuntimeError:
            self._soon(_EVERY)  # no thread is available

    def _looked(self) -> None:
        if self._look() and self._shared:
            self._soon(_EVERY)

    def _forked(self) -> None:
        self._looking = _thread.allocate_lock()
        self._due_at = _NEVER
        if self._shared and not self._ended:  # the library's own values begin anew as well
            self._told.clear()
            self._kept.clear()
            self._measures.forked()
            self._soon()
