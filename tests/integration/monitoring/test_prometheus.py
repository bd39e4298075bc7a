"""What `lazyguard.integrations.prometheus` promises, with the real client library and a real Prometheus."""

from __future__ import annotations

import gc
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from urllib.parse import quote

import pytest

import lazyguard

client = pytest.importorskip("prometheus_client", reason="the group `integration` has prometheus-client")

from lazyguard._core import observers  # noqa: E402
from lazyguard.integrations import prometheus as integration  # noqa: E402

pytestmark = pytest.mark.usefixtures("limited")
HERE = Path(__file__).parent
ROOT = HERE.parents[2]
DASHBOARD = ROOT / "docs/monitoring/dashboard.json"
SECRET = "hunter2"


@pytest.fixture
def registry():
    """Return a registry with the metrics; they are taken out again."""
    gc.collect()  # services of other tests
    found = client.CollectorRegistry()
    undo = integration.install(found)
    yield found
    undo()
    assert not list(found.collect())
    assert not observers.observers


def value(registry, name: str, **labels: str) -> float | None:
    return registry.get_sample_value(f"lazyguard_{name}", labels)


def state(registry, name: str, kind: str = "service") -> str:
    states = ("pending", "resolving", "ready", "degraded", "failed", "closed", "open", "half-open")
    (found,) = [one for one in states if value(registry, "state", service=name, kind=kind, state=one) == 1.0]
    return found


class Db:
    def get(self, key: str) -> str:
        return key


class Stuck(Exception):
    """What the tests' calls fail with."""


def test_states_and_transitions_of_a_service(registry, plant, story, clock):
    """One state is 1 and the others 0; each event is counted by its kind; looking builds nothing."""
    get_db = lazyguard.service(name="db", recovery=lazyguard.Recovery(initial=5.0, maximum=5.0))(plant.make)
    get_db.fallback(lambda cause: plant.things[0] if plant.things else Db())
    live = get_db()
    assert state(registry, "db") == "pending"
    assert plant.runs == 0
    plant.fate = ConnectionError(SECRET)
    assert live.get("x") == "x"
    assert state(registry, "db") == "degraded"
    assert value(registry, "state", service="db", kind="service", state="ready") == 0.0
    assert value(registry, "transitions_total", service="db", kind="degraded") == 1.0
    assert value(registry, "calls_total", service="db", outcome="fallback") == 1.0
    assert value(registry, "attempt_seconds_count", service="db", outcome="failed") == 1.0
    clock.advance(2.5)
    assert value(registry, "degraded_seconds_total", service="db") == 2.5
    plant.fate = None
    get_db.reset()
    assert live.name == "thing 1"
    assert state(registry, "db") == "ready"
    clock.advance(9.0)
    assert value(registry, "degraded_seconds_total", service="db") == 2.5
    assert value(registry, "attempt_seconds_count", service="db", outcome="ok") == 1.0
    assert SECRET not in client.generate_latest(registry).decode()


def test_calls_of_a_guarded_function(registry, clock):
    """Those that end well, fail, are refused and are answered by a fallback; the breaker's state."""
    fate: list[BaseException] = []

    @lazyguard.guarded(name="fetch", breaker=lazyguard.Breaker(failure_threshold=2, open_time=5.0))
    def fetch(url: str) -> str:
        if fate:
            raise fate[0]
        return url

    def calls(outcome: str) -> float | None:
        return value(registry, "calls_total", service="fetch", outcome=outcome)

    for _ in range(3):
        fetch(f"http://user:{SECRET}@host")
    assert calls("ok") == 3.0
    fate.append(Stuck(SECRET))
    for kind in (Stuck, Stuck, lazyguard.CircuitOpen):
        with pytest.raises(kind):
            fetch("x")
    assert (calls("ok"), calls("failed"), calls("refused")) == (3.0, 2.0, 1.0)
    assert state(registry, "fetch", "guarded") == "open"
    fetch.fallback(lambda url: "fallback")
    assert fetch("x") == "fallback"
    assert calls("fallback") == 1.0
    fate.clear()
    clock.advance(6.0)
    fetch("x")
    assert calls("ok") == 4.0
    assert state(registry, "fetch", "guarded") == "closed"
    assert SECRET not in client.generate_latest(registry).decode()


def test_calls_on_a_service(registry):
    """Those on the real object, where `failures=` says what fails, from before and after the installation."""

    class Real:
        def get(self, key: str) -> str:
            if key == "bad":
                raise ConnectionError
            return key

    @lazyguard.service(name="watched", failures=(ConnectionError,))
    def get_real() -> Real:
        return Real()

    live = get_real()
    live.get("x")
    with pytest.raises(ConnectionError):
        live.get("bad")
    assert value(registry, "calls_total", service="watched", outcome="ok") == 1.0
    assert value(registry, "calls_total", service="watched", outcome="failed") == 1.0
    other = client.CollectorRegistry()
    undo = integration.install(other)
    live.get("x")
    undo()
    live.get("x")
    assert value(registry, "calls_total", service="watched", outcome="ok") == 3.0
    assert other.get_sample_value("lazyguard_calls_total", {"service": "watched", "outcome": "ok"}) is None


def test_abandoned_threads(registry, plant, clock, race, eventually):
    """An attempt whose caller has given up is one, until it ends."""
    get_db = lazyguard.service(name="db", timeout=1.0, recovery=None)(plant.make)
    plant.hanging = True

    def use() -> object:
        return get_db().name

    def meanwhile() -> None:
        plant.until(1)
        assert value(registry, "abandoned_threads", service="db") in (None, 0.0)
        clock.advance(2.0)

    late, _ = race(use, meanwhile)
    assert isinstance(late, lazyguard.errors.ResolutionTimeout)
    assert value(registry, "abandoned_threads", service="db") == 1.0
    plant.let_go()
    eventually(lambda: value(registry, "abandoned_threads", service="db") == 0.0)


def test_imports(registry, tmp_path, monkeypatch):
    """A histogram by the outermost package."""
    (tmp_path / "metric_pack").mkdir()
    (tmp_path / "metric_pack/__init__.py").write_text("import metric_pack.one\n")
    (tmp_path / "metric_pack/one.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    with lazyguard.track_imports():
        import metric_pack  # type: ignore[import-not-found]  # noqa: F401
    assert value(registry, "import_seconds_count", package="metric_pack") == 2.0


def test_keys_are_no_labels(registry):
    """A service of many keys is one, in the state of the key that is worst off."""

    @lazyguard.service(name="tenants", max_keys=50, recovery=None)
    def get_tenant(token: str) -> Db:
        if token == "bad":
            raise Stuck(token)
        return Db()

    kept = [get_tenant(f"{SECRET}{number}") for number in range(20)]
    for one in kept:
        one.get("x")
    assert state(registry, "tenants") == "ready"
    with pytest.raises(lazyguard.ResolutionError):
        get_tenant("bad").get("x")
    assert state(registry, "tenants") == "failed"
    text = client.generate_latest(registry).decode()
    assert SECRET not in text
    assert len([line for line in text.splitlines() if line.startswith("lazyguard_state") and "tenants" in line]) == 5


def test_names_are_bounded():
    """Beyond so many they are told as one."""
    gc.collect()
    registry = client.CollectorRegistry()
    undo = integration.install(registry, most_names=3)
    for number in range(10):
        lazyguard.resolve(lazyguard.lazy(Db, name=f"made in a loop {number}"))
    undo_again = undo
    names = {sample.labels["service"] for metric in registry.collect() for sample in metric.samples if sample.labels}
    undo()
    undo_again()
    assert len(names) == 4
    assert "(others)" in names


@pytest.mark.parametrize("most", [0, "3", True])
def test_bounds_that_cannot_be_right(most):
    """They are refused."""
    with pytest.raises(lazyguard.errors.ConfigurationError):
        integration.install(client.CollectorRegistry(), most_names=most)


def test_threads_lose_no_count(registry, race):
    """Counts of calls from many threads are exact."""

    @lazyguard.guarded(name="raced", breaker=lazyguard.Breaker())
    def work() -> None: ...

    race(*[lambda: [work() for _ in range(500)]] * 8)
    assert value(registry, "calls_total", service="raced", outcome="ok") == 4000.0


MULTIPROCESS = """
import os, struct, sys, time, lazyguard
from lazyguard.integrations import prometheus
prometheus.install()

class Thing:
    def get(self): return 1

@lazyguard.service(name="shared", recovery=lazyguard.Recovery(initial=60, maximum=60))
def get_shared() -> Thing:
    if os.environ.get("AWAY"): raise ConnectionError
    return Thing()

@get_shared.fallback
def _(cause) -> Thing: return Thing()

@lazyguard.guarded(name="call", breaker=lazyguard.Breaker())
def call(): ...

live = get_shared()
call()
children, ends = [], []
for away in ("", "1", "1"):  # a master with three workers
    ready, told = os.pipe()
    done, end = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(end)  # so that the end of the master is the end of this
        for other in ends: os.close(other)
        os.environ["AWAY"] = away
        live.get()
        call(), call()
        os.write(told, b"x")
        os.read(done, 1)
        os._exit(0)
    children.append(pid); ends.append(end)
    os.read(ready, 1)

from prometheus_client import CollectorRegistry, generate_latest, multiprocess
def scrape():
    registry = CollectorRegistry()
    multiprocess.MultiProcessCollector(registry)
    try:
        return generate_latest(registry).decode()
    except struct.error:  # the library reads the file of a worker that has only just made it
        return ""
until = time.monotonic() + 20
there = 'state="degraded"} 2.0', 'state="ready"} 1.0', 'service="call"} 7.0'
while not all(one in scrape() for one in there):
    assert time.monotonic() < until, scrape()
    time.sleep(0.02)
print(scrape())
for pid, end in zip(children, ends):
    os.write(end, b"x"); os.waitpid(pid, 0); multiprocess.mark_process_dead(pid)
print("==")
print(scrape())
"""


def test_multiprocess_mode(tmp_path):
    """Each worker's state counts while it lives, each worker's calls for ever; the master's do not count twice."""
    environment = {
        **os.environ,
        "PROMETHEUS_MULTIPROC_DIR": str(tmp_path),
        "PYTHONPATH": str(Path(lazyguard.__file__).parents[1]),
        "PYTHONWARNINGS": "ignore",
    }
    done = subprocess.run(
        [sys.executable, "-c", MULTIPROCESS], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    alive, dead = done.stdout.split("==")
    state = 'lazyguard_state{kind="service",service="shared",state="%s"} %s'
    assert state % ("degraded", "2.0") in alive
    assert state % ("ready", "1.0") in alive
    assert 'lazyguard_calls_total{outcome="ok",service="call"} 7.0' in alive
    assert 'lazyguard_transitions_total{kind="degraded",service="shared"} 2.0' in alive
    assert 'lazyguard_attempt_seconds_count{outcome="failed",service="shared"} 2.0' in alive
    assert 'state="degraded"} 1.0' not in dead
    assert 'state="degraded"} 2.0' not in dead
    assert 'lazyguard_calls_total{outcome="ok",service="call"} 7.0' in dead


# rules


@pytest.mark.parametrize(
    "command", [["check", "rules", "../../../docs/monitoring/alerts.yml"], ["test", "rules", "alerts_test.yml"]]
)
def test_rules_by_promtool(command):
    """The rules are right, and fire when they should and not before."""
    program = shutil.which("promtool")
    if program is None:
        pytest.skip("there is no promtool here (Debian: the package prometheus)")
    done = subprocess.run([program, *command], cwd=HERE, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "SUCCESS" in done.stdout + done.stderr


def shown_on_the_dashboard() -> list[str]:
    """Return the expressions of the dashboard, as Grafana sends them."""
    panels = json.loads(DASHBOARD.read_text())["panels"]
    as_written = [target["expr"] for panel in panels for target in panel["targets"]]
    return [one.replace("$__rate_interval", "5m").replace("$job", ".*").replace("$service", ".*") for one in as_written]


def test_rules_and_dashboard_ask_for_what_there_is(registry):
    """Every metric in them is one of these, and each of these is on the dashboard."""
    there = {metric.name for metric in registry.collect()}
    assert len(there) == 7
    used = {name for expression in shown_on_the_dashboard() for name in re.findall(r"lazyguard_\w+", expression)}
    rules = set(re.findall(r"lazyguard_\w+", (ROOT / "docs/monitoring/alerts.yml").read_text()))
    plain = {re.sub(r"_(total|bucket|sum|count)$", "", name) for name in used}
    assert plain == there
    assert {re.sub("_total$", "", name) for name in rules} <= there


def test_alerts_fire_in_a_real_prometheus(registry, prometheus):
    """A service that is made to fail has its alerts fire, and end when it is there again."""
    away = threading.Event()
    away.set()

    def make() -> Db:
        if away.is_set():
            raise ConnectionError(SECRET)
        return Db()

    recovery = lazyguard.Recovery(initial=0.2, maximum=0.2)
    get_prices = lazyguard.service(name="prices", recovery=recovery)(make)
    get_prices.fallback(lambda cause: Db())
    get_orders = lazyguard.service(name="orders", recovery=recovery, critical=True)(make)
    server, thread = client.start_http_server(0, addr="127.0.0.1", registry=registry)
    try:
        looking = prometheus(server.server_port)
        get_prices().get("x")
        with pytest.raises(lazyguard.ResolutionError):
            get_orders().get("x")
        both = {("LazyguardServiceDegraded", "prices"), ("LazyguardCriticalServiceFailed", "orders")}
        looking.until(lambda firing: firing >= both)
        for expression in shown_on_the_dashboard():
            looking.ask(f"query?query={quote(expression)}")  # an expression that is wrong is an HTTP error
        away.clear()
        looking.until(lambda firing: not firing & both)
        assert SECRET not in str(looking.ask("series?match[]=%7B__name__%3D~%22lazyguard.*%22%7D"))
    finally:
        server.shutdown()
        server.server_close()
        thread.join(30)
