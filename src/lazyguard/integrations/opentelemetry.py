"""Metrics for OpenTelemetry, by its metrics API: the same measures as for Prometheus, by OpenTelemetry's conventions.

Invariants: the API is imported here alone, and no SDK; where the program has set up no SDK the API's own instruments do
nothing. What is observed is read from what is there, and builds nothing; attributes are names that programs declare, a
bounded number of them, and never a key, an argument, a URL or an exception's text.
"""

from __future__ import annotations

import lazyguard

lazyguard.require("opentelemetry.metrics", extra="opentelemetry", why="for lazyguard.integrations.opentelemetry")

# ruff: noqa: E402 - what is missing is said first
from opentelemetry.metrics import MeterProvider, Observation, get_meter_provider

from lazyguard._base import validation
from lazyguard._base.typing import final
from lazyguard._monitoring.metrics import Measures

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from opentelemetry.metrics import CallbackOptions

__all__ = ["install"]

_BOUNDS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0]


def install(provider: MeterProvider | None = None, *, most_names: int = 200) -> Callable[[], None]:
    """Measure services, calls, attempts and imports from now on.

    Args:
        provider: Whose meter takes the measures; the program's own if left out.
        most_names: How many services, and how many packages of imports, have an attribute of their own; all that come
            after these are "(others)".

    Returns:
        A function that ends it: counters stand still then, and what is observed is there no more.

    Raises:
        ConfigurationError: `most_names` is not a whole number above zero.

    The instruments are `lazyguard.state` (a gauge, 1 for the state that a service is in), `lazyguard.transitions`,
    `lazyguard.calls`, `lazyguard.attempt` (a histogram of seconds), `lazyguard.abandoned_threads`,
    `lazyguard.degraded` (seconds) and `lazyguard.import` (a histogram of seconds), with the attributes that Prometheus'
    have as labels. An exporter to Prometheus names them as `lazyguard.integrations.prometheus` does, so that the same
    rules and dashboard serve. The SDK calls back from its own thread, and after a fork as it sees fit.

    Example:
        >>> import lazyguard
        >>> from lazyguard.integrations import opentelemetry
        >>> undo = opentelemetry.install()
        >>> undo()
    """
    validation.whole("most_names", most_names)
    instruments = _Instruments(provider or get_meter_provider(), most_names)
    instruments.begin()
    return instruments.end


@final
class _Instruments:
    """The instruments of one meter."""

    def __init__(self, provider: MeterProvider, most: int) -> None:
        self._measures = Measures(self, most)
        self._ended = False
        meter = provider.get_meter("lazyguard", lazyguard.__version__)
        meter.create_observable_counter("lazyguard.transitions", [self._transitions], description="Events.")
        meter.create_observable_counter("lazyguard.calls", [self._calls], description="Calls by outcome.")
        self._attempts = meter.create_histogram(
            "lazyguard.attempt",
            unit="s",
            description="Attempts to build an object.",
            explicit_bucket_boundaries_advisory=_BOUNDS,
        )
        self._imports = meter.create_histogram(
            "lazyguard.import", unit="s", description="Imports.", explicit_bucket_boundaries_advisory=_BOUNDS
        )
        meter.create_observable_gauge("lazyguard.state", [self._states], description="1 for the state that it is in.")
        meter.create_observable_gauge(
            "lazyguard.abandoned_threads",
            [self._abandoned],
            description="Threads whose attempt goes on although nobody waits for it.",
        )
        meter.create_observable_counter(
            "lazyguard.degraded", [self._degraded], unit="s", description="How long fallbacks were served."
        )

    def begin(self) -> None:
        """Listen from now on."""
        self._measures.begin()

    def end(self) -> None:
        """Listen no more."""
        self._ended = True
        self._measures.end()

    # a meter

    def attempted(self, name: str, ended: str, seconds: float) -> None:
        """Record an attempt."""
        self._attempts.record(seconds, {"service": name, "outcome": ended})

    def imported(self, package: str, seconds: float) -> None:
        """Record an import."""
        self._imports.record(seconds, {"package": package})

    def transitioned(self) -> None:
        """Wait until somebody looks."""

    # what is observed

    def _states(self, _: CallbackOptions) -> Iterable[Observation]:
        found = {} if self._ended else self._measures.states()
        for (service, kind, state), value in found.items():
            yield Observation(value, {"service": service, "kind": kind, "state": state})

    def _calls(self, _: CallbackOptions) -> Iterable[Observation]:
        found = {} if self._ended else self._measures.calls()
        for (service, outcome), number in found.items():
            yield Observation(number, {"service": service, "outcome": outcome})

    def _transitions(self, _: CallbackOptions) -> Iterable[Observation]:
        found = {} if self._ended else self._measures.transitions()
        for (service, kind), number in found.items():
            yield Observation(number, {"service": service, "kind": kind})

    def _abandoned(self, _: CallbackOptions) -> Iterable[Observation]:
        found = {} if self._ended else self._measures.abandoned()
        for service, count in found.items():
            yield Observation(count, {"service": service})

    def _degraded(self, _: CallbackOptions) -> Iterable[Observation]:
        found = {} if self._ended else self._measures.degraded()
        for service, seconds in found.items():
            yield Observation(seconds, {"service": service})
