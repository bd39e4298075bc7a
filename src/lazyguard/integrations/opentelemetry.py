"""Metrics for OpenTelemetry, by its metrics API: the same measures as for Prometheus, by OpenTelemetry's conventions.

Invariants: the API is imported here alone, and no SDK; without an SDK the API's instruments do nothing. An observation
reads the present state, and builds nothing. Attributes are a bounded number of names that programs declare, never a
key, an argument, a URL or an exception's text.
"""

from __future__ import annotations

import lazyguard

lazyguard.require("opentelemetry.metrics", extra="opentelemetry", why="for lazyguard.integrations.opentelemetry")

# ruff: noqa: E402 - the error for a missing library comes first
from opentelemetry.metrics import MeterProvider, Observation, get_meter_provider

from lazyguard._base import TYPE_CHECKING, final, validation
from lazyguard._base.places import misconfigured, shown
from lazyguard._monitoring.metrics import Measures

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from opentelemetry.metrics import CallbackOptions

__all__ = ["install"]

_BOUNDS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0]


def install(provider: MeterProvider | None = None, *, most_names: int = 200) -> Callable[[], None]:
    """Measure services, calls, attempts and imports from now on.

    Args:
        provider: The provider of the meter; the program's own if left out.
        most_names: How many services, and how many packages of imports, have an attribute value of their own; all later
            ones are "(others)".

    Returns:
        A function that ends measuring: counters stand still, and nothing more is observed.

    Raises:
        ConfigurationError: `most_names` is not a whole number above zero, or `provider` is none.

    The instruments are `lazyguard.state` (a gauge, 1 for the present state of a service), `lazyguard.transitions`,
    `lazyguard.calls`, `lazyguard.attempt` (a histogram of seconds), `lazyguard.abandoned_threads`,
    `lazyguard.degraded` (seconds) and `lazyguard.import` (a histogram of seconds). Their attributes are the labels of
    the Prometheus metrics. An exporter to Prometheus gives them the names of `lazyguard.integrations.prometheus`, so
    that the same rules and dashboard work. The SDK calls back on its own thread, and decides what happens after a fork.

    Example:
        >>> import lazyguard
        >>> from lazyguard.integrations import opentelemetry
        >>> undo = opentelemetry.install()
        >>> undo()
    """
    validation.whole("most_names", most_names)
    if provider is not None and not hasattr(provider, "get_meter"):  # pyright: ignore[reportUnnecessaryComparison]
        raise misconfigured(f"provider={shown(provider)} is invalid: give a MeterProvider, or None.")
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
        meter.create_observable_gauge("lazyguard.state", [self._states], description="1 for the present state.")
        meter.create_observable_gauge(
            "lazyguard.abandoned_threads",
            [self._abandoned],
            description="Threads whose attempt goes on although no caller waits for it.",
        )
        meter.create_observable_counter(
            "lazyguard.degraded", [self._degraded], unit="s", description="How long fallbacks were served."
        )

    def begin(self) -> None:
        """Begin to measure."""
        self._measures.begin()

    def end(self) -> None:
        """End measuring."""
        self._ended = True
        self._measures.end()

    # what a meter receives

    def attempted(self, name: str, ended: str, seconds: float) -> None:
        """Record an attempt."""
        self._attempts.record(seconds, {"service": name, "outcome": ended})

    def imported(self, package: str, seconds: float) -> None:
        """Record an import."""
        self._imports.record(seconds, {"package": package})

    def transitioned(self) -> None:
        """Do nothing: transitions are read at the next observation."""

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
