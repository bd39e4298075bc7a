"""What `lazyguard.integrations.opentelemetry` promises, read by the SDK's reader in memory."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from pathlib import Path

import pytest

import lazyguard

metrics = pytest.importorskip("opentelemetry.sdk.metrics", reason="the group `integration` has opentelemetry-sdk")

from opentelemetry.sdk.metrics.export import InMemoryMetricReader  # noqa: E402

from lazyguard._core import observers  # noqa: E402
from lazyguard.integrations import opentelemetry as integration  # noqa: E402

pytestmark = pytest.mark.usefixtures("limited")
SECRET = "hunter2"


class Look:
    """A provider, its reader, and what was read."""

    def __init__(self) -> None:
        self.reader = InMemoryMetricReader()
        self.provider = metrics.MeterProvider([self.reader])

    def points(self) -> dict[str, dict[tuple[str, ...], object]]:
        """Return the points by the instrument's name, and by the values of their attributes, sorted by their names."""
        found: dict[str, dict[tuple[str, ...], object]] = {}
        data = self.reader.get_metrics_data()
        for resource in [] if data is None else data.resource_metrics:
            for scope in resource.scope_metrics:
                assert scope.scope.name == "lazyguard"
                for metric in scope.metrics:
                    for point in metric.data.data_points:
                        key = tuple(str(value) for _, value in sorted(point.attributes.items()))
                        found.setdefault(metric.name, {})[key] = point
        return found

    def value(self, name: str, *attributes: str) -> object:
        point = self.points().get(f"lazyguard.{name}", {}).get(attributes)
        return None if point is None else getattr(point, "value", None) or getattr(point, "count", 0)


@pytest.fixture
def look():
    """Return what reads the measures; they end with the test."""
    gc.collect()
    found = Look()
    undo = integration.install(found.provider)
    yield found
    undo()
    assert not observers.observers
    assert "lazyguard.state" not in found.points()
    found.provider.shutdown()


class Db:
    def get(self, key: str) -> str:
        return key


def test_a_service_that_degrades_and_recovers(look, plant, clock):
    """State, transitions, attempts, seconds and answers of fallbacks; nothing secret."""
    get_db = lazyguard.service(name="db", recovery=None)(plant.make)
    get_db.fallback(lambda cause: Db())
    live = get_db()
    assert look.value("state", "service", "db", "pending") == 1
    assert plant.runs == 0
    plant.fate = ConnectionError(SECRET)
    live.get("x")
    clock.advance(2.5)
    assert look.value("state", "service", "db", "degraded") == 1
    assert look.value("state", "service", "db", "ready") == 0
    assert look.value("transitions", "degraded", "db") == 1
    assert look.value("calls", "fallback", "db") == 1
    assert look.value("attempt", "failed", "db") == 1
    assert look.value("degraded", "db") == 2.5
    plant.fate = None
    get_db.reset()
    assert live.name == "thing 1"
    assert look.value("state", "service", "db", "ready") == 1
    assert look.value("degraded", "db") == 2.5
    assert SECRET not in str(look.reader.get_metrics_data())


def test_calls_of_a_guarded_function(look):
    """By their outcome."""

    @lazyguard.guarded(name="fetch", breaker=lazyguard.Breaker(failure_threshold=1))
    def fetch(fails: bool) -> None:
        if fails:
            raise ConnectionError(SECRET)

    fetch(False)
    for kind in (ConnectionError, lazyguard.CircuitOpen):
        with pytest.raises(kind):
            fetch(True)
    for outcome in ("ok", "failed", "refused"):
        assert look.value("calls", outcome, "fetch") == 1
    assert look.value("state", "guarded", "fetch", "open") == 1


def test_abandoned_threads_and_imports(look, plant, clock, race, tmp_path, monkeypatch):
    """As for Prometheus."""
    get_db = lazyguard.service(name="db", timeout=1.0, recovery=None)(plant.make)
    plant.hanging = True

    def meanwhile() -> None:
        plant.until(1)
        clock.advance(2.0)

    race(lambda: get_db().name, meanwhile)
    assert look.value("abandoned_threads", "db") == 1
    (tmp_path / "otel_pack.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    with lazyguard.track_imports():
        import otel_pack  # type: ignore[import-not-found]  # noqa: F401
    assert look.value("import", "otel_pack") == 1


def test_no_sdk_is_needed(tmp_path):
    """With the API alone the program runs, and nothing is measured."""
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['opentelemetry.sdk'] = None\n")
    code = (
        "import sys, lazyguard\nfrom lazyguard.integrations import opentelemetry\nundo = opentelemetry.install()\n"
        "assert lazyguard.resolve(lazyguard.lazy(dict, name='x')) == {}\nundo()\n"
        "assert not [name for name in sys.modules if name.startswith('opentelemetry.sdk.')]\n"
    )
    path = os.pathsep.join([str(tmp_path), str(Path(lazyguard.__file__).parents[1])])
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr


def test_both_integrations_at_a_time(look):
    """Prometheus and OpenTelemetry count the same call."""
    client = pytest.importorskip("prometheus_client")
    from lazyguard.integrations import prometheus

    @lazyguard.guarded(name="both", breaker=lazyguard.Breaker())
    def work() -> None: ...

    registry = client.CollectorRegistry()
    undo = prometheus.install(registry)
    work()
    assert look.value("calls", "ok", "both") == 1
    assert registry.get_sample_value("lazyguard_calls_total", {"service": "both", "outcome": "ok"}) == 1
    undo()
    work()
    assert look.value("calls", "ok", "both") == 2
