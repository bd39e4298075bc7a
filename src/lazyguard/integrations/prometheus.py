"""Metrics for Prometheus, by its own client library, with its conventions and its multiprocess mode.

Invariants: the library is imported here alone. A scrape reads the present state and builds nothing. Labels are a
bounded number of names that programs declare, never a key, an argument, a URL or an exception's text. Only a scrape and
a thread of lazyguard's take the library's locks: where things happen, a finaliser or a signal handler may run on top of
such a lock.
"""

from __future__ import annotations

import atexit
import os
from collections import deque

import lazyguard

lazyguard.require("prometheus_client", extra="prometheus", why="for lazyguard.integrations.prometheus")

# ruff: noqa: E402 - the error for a missing library comes first
from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram

from lazyguard._base import TYPE_CHECKING, final, validation
from lazyguard._base.interpreter import Lock
from lazyguard._base.places import misconfigured, shown
from lazyguard._core import clock, daemons, scheduler
from lazyguard._core import forks as _  # noqa: F401  (its fork hooks must run before ours)
from lazyguard._monitoring.metrics import Measures

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from prometheus_client import Metric

__all__ = ["install"]

ATTEMPTS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
IMPORTS = (0.01, 0.1, 0.5, 1.0, 5.0)
# In multiprocess mode: seconds between two updates while something is degraded or abandoned; and until the update after
# a counted call.
_EVERY, _AFTER_CALLS = 5.0, 1.0
# How many observations wait for the next scrape, before they are recorded without one.
_MOST_OBSERVATIONS = 1000
_NEVER = float("inf")


def install(registry: CollectorRegistry = REGISTRY, *, most_names: int = 200) -> Callable[[], None]:
    """Measure services, calls, attempts and imports from now on.

    Args:
        registry: The registry of the metrics.
        most_names: How many services, and how many packages of imports, have a label value of their own; all later ones
            are "(others)". A service has one name for all its keys.

    Returns:
        A function that removes the metrics from the registry and ends measuring.

    Raises:
        ConfigurationError: `most_names` is not a whole number above zero, or `registry` is none.

    The metrics are

    `lazyguard_state{service,kind,state}`: 1 for the present state, else 0; of breakers "closed", "open" and
    "half-open". For a service with many keys it is the state of the key in the worst state.

    `lazyguard_transitions_total{service,kind}`: events, by their kind.

    `lazyguard_calls_total{service,outcome}`: calls that a breaker counts, on a service with `failures=` or of a guarded
    function: "ok", "failed", "refused" (the breaker is open) and "fallback" (answered by one).

    `lazyguard_attempt_seconds{service,outcome}`: a histogram of the attempts to build an object, retries included:
    "ok", "failed", "late" (the result came too late to count) and "interrupted".

    `lazyguard_abandoned_threads{service}`: threads whose attempt goes on although no caller waits for it.

    `lazyguard_degraded_seconds_total{service}`: how long fallbacks were served.

    `lazyguard_import_seconds{package}`: a histogram of the imports that `track_imports` records, by top-level package.

    A scrape reads the present state, and builds nothing. In multiprocess mode (the environment has
    PROMETHEUS_MULTIPROC_DIR) each process writes its own values: at a transition, within a second of a call, every five
    seconds while something is degraded or abandoned, and at exit. States and threads are then sums over living
    processes: how many of them are in that state. Call it before the server forks or after, once a process.

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
    validation.whole("most_names", most_names)
    if not hasattr(registry, "register"):
        raise misconfigured(f"registry={shown(registry)} is invalid: give a CollectorRegistry.")
    metrics = _Metrics(registry, most_names)
    metrics.begin()
    return metrics.end


@final
class _Metrics:
    """The metrics of one registry."""

    def __init__(self, registry: CollectorRegistry, most: int) -> None:
        self._registry = registry
        self._shared = "PROMETHEUS_MULTIPROC_DIR" in os.environ
        self._measures = Measures(self, most, (lambda: self._schedule(_AFTER_CALLS)) if self._shared else None)
        self._observations: deque[tuple[Histogram, tuple[str, ...], float]] = deque()
        self._exported: dict[tuple[Counter, tuple[str, ...]], float] = {}
        self._exported_abandoned: dict[str, int] = {}
        self._lock = Lock()
        self._ended = False
        self._due_at = _NEVER
        registry.register(self)  # first, so that it updates the others before they are collected
        self._state = Gauge(
            "lazyguard_state",
            "1 for the present state.",
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
            "Threads whose attempt goes on although no caller waits for it.",
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
        """Begin to measure, and update all metrics."""
        self._measures.begin()
        self._update()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._forked)
        if self._shared:
            atexit.register(self._update)

    def end(self) -> None:
        """End measuring, and unregister all metrics."""
        if self._ended:
            return
        self._ended = True
        self._measures.end()
        atexit.unregister(self._update)
        ours = (self._state, self._transitions, self._calls, self._attempts, self._abandoned, self._degraded)
        for metric in (self, *ours, self._imports):
            self._registry.unregister(metric)

    # a collector of the registry, without metrics of its own

    def describe(self) -> Iterable[Metric]:
        """Return no metrics."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """Update the metrics, which are collected after this."""
        self._update()
        return ()

    # what a meter receives

    def attempted(self, name: str, ended: str, seconds: float) -> None:
        """Keep an attempt until the next update."""
        self._observations.append((self._attempts, (name, ended), seconds))
        self.transitioned()

    def imported(self, package: str, seconds: float) -> None:
        """Keep an import until the next update."""
        self._observations.append((self._imports, (package,), seconds))
        self.transitioned()

    def transitioned(self) -> None:
        """Schedule an update in multiprocess mode, or when many observations wait."""
        if self._shared or len(self._observations) >= _MOST_OBSERVATIONS:
            self._schedule()

    # updates

    def _update(self) -> bool:
        """Set all metrics to the present values; return whether these will change by themselves."""
        with self._lock:
            while self._observations:
                histogram, labels, seconds = self._observations.popleft()
                histogram.labels(*labels).observe(seconds)
            for states, value in self._measures.states().items():
                self._state.labels(*states).set(value)
            abandoned = self._measures.abandoned()
            for name, threads in {**dict.fromkeys(self._exported_abandoned, 0), **abandoned}.items():
                self._abandoned.labels(name).set(threads)
            self._exported_abandoned = abandoned
            for key, number in self._measures.calls().items():
                self._advance(self._calls, key, number)
            for key, number in self._measures.transitions().items():
                self._advance(self._transitions, key, number)
            spent = [self._advance(self._degraded, (key,), number) for key, number in self._measures.degraded().items()]
            return any(spent) or bool(abandoned)

    def _advance(self, counter: Counter, labels: tuple[str, ...], to: float) -> bool:
        """Raise a counter to its present value; return whether it was less."""
        more = to - self._exported.get((counter, labels), 0.0)
        if more > 0.0 or (counter, labels) not in self._exported:
            self._exported[counter, labels] = to
            counter.labels(*labels).inc(max(0.0, more))
        return more > 0.0

    def _schedule(self, after: float = 0.0) -> None:
        """Schedule an update on a daemon thread."""
        when = clock.now() + after
        if when < self._due_at and not self._ended:
            self._due_at = when
            scheduler.at(when, lambda: self._due(when))

    def _due(self, when: float) -> None:
        if when != self._due_at or self._ended:
            return  # an update that was due earlier has run
        self._due_at = _NEVER
        try:
            daemons.daemon(self._update_again, "prometheus", again=True)  # the library's locks may be held for long
        except RuntimeError:
            self._schedule(_EVERY)  # no thread is available

    def _update_again(self) -> None:
        if self._update() and self._shared:
            self._schedule(_EVERY)

    def _forked(self) -> None:
        self._due_at = _NEVER
        if self._shared and not self._ended:  # the library's values begin anew as well
            self._exported.clear()
            self._observations.clear()
            self._measures.forked()
            self._schedule()
