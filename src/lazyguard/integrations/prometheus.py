"""Metrics for Prometheus, by its own client library, whose conventions and multiprocess mode they keep to.

Invariants: the library is imported here alone; a scrape reads what is there and builds nothing; labels are names that
programs declare, a bounded number of them, and never a key, an argument, a URL or an exception's text.
"""

from __future__ import annotations

import os

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram

from lazyguard._core import clock, scheduler
from lazyguard._measures import Measures
from lazyguard._policies import options
from lazyguard._typing import final

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from prometheus_client import Metric

    from lazyguard._core.tally import Ended

__all__ = ["install"]

ATTEMPTS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
IMPORTS = (0.01, 0.1, 0.5, 1.0, 5.0)
# Seconds between two looks of a process that nobody scrapes itself, while it has something degraded or abandoned.
_EVERY = 5.0


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
    PROMETHEUS_MULTIPROC_DIR) each process writes its own when something happens, and every five seconds while something
    is degraded or abandoned; states and threads are then the sums over living processes: how many of them have it in
    that state. Call it before the server forks or after, once a process.

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
    options.whole("most_names", most_names, least=1)
    metrics = _Metrics(registry, most_names)
    metrics.begin()
    return metrics.end


@final
class _Metrics:
    """The metrics of one registry."""

    def __init__(self, registry: CollectorRegistry, most: int) -> None:
        self._registry = registry
        self._measures = Measures(self, most)
        self._counters: dict[tuple[str, Ended], Callable[[], object]] = {}
        self._told_seconds: dict[str, float] = {}
        self._told_abandoned: dict[str, int] = {}
        self._ended = False
        self._shared = "PROMETHEUS_MULTIPROC_DIR" in os.environ
        self._is_due = False
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
        if self._shared and hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._forked)

    def end(self) -> None:
        """Listen no more."""
        if self._ended:
            return
        self._ended = True
        self._measures.end()
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

    def counter(self, name: str, ended: Ended) -> Callable[[], object]:
        """Return what counts a call."""
        count = self._counters.get((name, ended))
        if count is None:
            count = self._calls.labels(self._measures.names(name), ended).inc
            if len(self._counters) < 10_000:
                self._counters[name, ended] = count
        return count

    def attempted(self, name: str, ended: str, seconds: float) -> None:
        """Observe an attempt."""
        self._attempts.labels(self._measures.names(name), ended).observe(seconds)
        self._soon()

    def moved(self, name: str, kind: str) -> None:
        """Count a transition."""
        self._transitions.labels(name, kind).inc()
        self._soon()

    def imported(self, package: str, seconds: float) -> None:
        """Observe an import."""
        self._imports.labels(package).observe(seconds)

    # what is read

    def _look(self) -> bool:
        """Set what is read from what is there; return whether it will change by itself."""
        for labels, value in self._measures.states().items():
            self._state.labels(*labels).set(value)
        abandoned = self._measures.abandoned()
        for name, count in {**dict.fromkeys(self._told_abandoned, 0), **abandoned}.items():
            self._abandoned.labels(name).set(count)
        self._told_abandoned = abandoned
        growing = False
        for name, seconds in self._measures.degraded().items():
            more = seconds - self._told_seconds.get(name, 0.0)
            self._told_seconds[name] = seconds
            growing = growing or more > 0.0
            self._degraded.labels(name).inc(max(0.0, more))
        return growing or bool(abandoned)

    def _soon(self, after: float = 0.0) -> None:
        """Look soon, on the scheduler's thread, where no scrape makes this process look."""
        if self._shared and not self._is_due and not self._ended:
            self._is_due = True
            scheduler.at(clock.now() + after, self._due)

    def _due(self) -> None:
        self._is_due = False
        if not self._ended and self._look():
            self._soon(_EVERY)

    def _forked(self) -> None:
        self._is_due = False
        self._told_seconds.clear()
        self._measures.forked()
        self._soon()
