"""What a Django project gains: start, first requests and recovery, with its Redis well, refusing and silent.

    python -m tests.benchmarks.django_start

The project is docs/examples/django, and the same shop as Django's documentation has it: its own cache and database
backends, the supplier's client made while it is imported. Redis, PostgreSQL and the supplier are real, on loopback.
Then the page of the state, `/statusz`, over 1,000 services of a program. Writes its section of docs/benchmarks.md.
"""

from __future__ import annotations

import http.server
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tests.benchmarks.audit_packages import ROOT, put
from tests.benchmarks.load import postgres_in
from tests.benchmarks.soak.supplier import Supplier
from tests.integration.conftest import RedisServer

EXAMPLE = ROOT / "docs" / "examples" / "django"
LIMIT, TURNS, SERVICES = 20.0, 3, 1000
# What makes the shop one without lazyguard.
PLAIN_SETTINGS = """
INSTALLED_APPS = [each for each in INSTALLED_APPS if not each.startswith("lazyguard")]
MIDDLEWARE = [each for each in MIDDLEWARE if not each.startswith("lazyguard")]
CACHES = {"default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": os.environ["CACHE"]}}
DATABASES["default"]["ENGINE"] = "django.db.backends.postgresql"
"""
PLAIN_SUPPLIER = """
import os
import httpx

client = httpx.Client(base_url=os.environ["SUPPLIER"], timeout=1.0)

def price_of(tea):
    answer = client.get(f"/{tea}")
    answer.raise_for_status()
    return int(answer.text)
"""
# Starts, asks for a tea twice, and once more until the cache has it after the word that Redis is back.
PROGRAM = """
import io, json, sys, time
from wsgiref.util import setup_testing_defaults
began = time.perf_counter()
from shop.wsgi import application
told = {"start": time.perf_counter() - began, "requests": [], "status": []}

def ask():
    environ, status = {"PATH_INFO": "/teas/green"}, []
    setup_testing_defaults(environ)
    began = time.perf_counter()
    body = b"".join(application(environ, lambda line, headers: status.append(line[:3])))
    return time.perf_counter() - began, status[0], body

for _ in range(2):
    took, status, _body = ask()
    told["requests"].append(took)
    told["status"].append(status)
print(json.dumps(told), flush=True)
sys.stdin.readline()
began = time.perf_counter()
while True:
    _, status, body = ask()
    if status == "200" and json.loads(body)["cached"]:
        state = "closed"
        if "lazyguard" in sys.modules:
            from django.core.cache import cache
            state = cache.health().state
        if state == "closed":
            break
    time.sleep(0.02)
print(json.dumps(time.perf_counter() - began), flush=True)
"""
STATUSZ = """
import json, time
import lazyguard
from lazyguard.integrations import wsgi

def away():
    raise ConnectionError

kept = []
for number in range(SERVICES):
    made = lazyguard.service(name=f"service{number}", recovery=None)(away if number % 10 == 0 else dict)
    if number % 10 == 0:
        made.fallback(lambda: {})
    kept.append(made)
    if number % 2 == 0:
        len(made())
page = wsgi.Middleware(lambda environ, start: [], prefix="/health", details=True)

def asked(path):
    body = page({"REQUEST_METHOD": "GET", "PATH_INFO": path, "QUERY_STRING": ""}, lambda *_: None)
    return b"".join(body)

asked("/health/healthz")
took = []
for _ in range(20):
    began = time.perf_counter()
    state = asked("/health/healthz")
    took.append(time.perf_counter() - began)
print(json.dumps([len(asked("/health/statusz")), len(state), sorted(took)[10]]))
""".replace("SERVICES", str(SERVICES))


def plain(home: Path) -> Path:
    """Write the shop without lazyguard."""
    shutil.copytree(EXAMPLE, home, ignore=shutil.ignore_patterns("__pycache__"))
    with open(home / "settings.py", "a", encoding="utf-8") as settings:
        settings.write(PLAIN_SETTINGS)
    (home / "shop" / "supplier.py").write_text(PLAIN_SUPPLIER, encoding="utf-8")
    return home


def check(shop: Path, environment: dict[str, str]) -> float | None:
    """Return the seconds of `manage.py check`; None where it does not end in time."""
    began = time.perf_counter()
    try:
        command = [sys.executable, "-m", "django", "check"]
        subprocess.run(command, cwd=shop, env=environment, capture_output=True, timeout=LIMIT, check=True)
    except subprocess.TimeoutExpired:
        return None
    return time.perf_counter() - began


def requests(shop: Path, environment: dict[str, str], back: Any) -> dict[str, Any]:
    """Return what the shop's start and first requests took, and how long it took to be well once Redis was `back`."""
    served = subprocess.Popen(
        [sys.executable, "-c", PROGRAM], cwd=shop, env=environment, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    assert served.stdin is not None
    assert served.stdout is not None
    timer = threading.Timer(LIMIT, served.kill)
    timer.start()
    try:
        line = served.stdout.readline()
        told: dict[str, Any] = (
            json.loads(line) if line else {"start": None, "requests": [None, None], "status": ["", ""]}
        )
        back()
        if line:
            served.stdin.write("back\n")
            served.stdin.flush()
            line = served.stdout.readline()
        told["back"] = json.loads(line) if line else None
    finally:
        timer.cancel()
        served.kill()
        served.wait()
    return told


def shown(seconds: float | None, status: str = "200") -> str:
    """Return seconds as text, with the answer where it is no page."""
    if seconds is None:
        return f"> {LIMIT:g}"
    return f"{seconds:.3f}" + ("" if status == "200" else f" ({status})")


def middle(found: list[float | None]) -> float | None:
    """Return the median; None where one did not end."""
    return None if None in found else statistics.median(one for one in found if one is not None)


def measured(home: Path) -> list[str]:
    """Return the rows of the table."""
    for name in ("redis", "postgres"):
        (home / name).mkdir()
    redis = RedisServer(str(shutil.which("redis-server")), str(home / "redis"))
    postgres = postgres_in(home / "postgres")
    supplier = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Supplier)
    threading.Thread(target=supplier.serve_forever, daemon=True).start()
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT / "src"),
        "DJANGO_SETTINGS_MODULE": "settings",
        "PORT": str(postgres.port),
        "CACHE": redis.url,
        "SUPPLIER": f"http://127.0.0.1:{supplier.server_port}",
    }
    shops = {"without lazyguard": plain(home / "plain"), "with lazyguard": EXAMPLE}
    states = {
        "well": (lambda: None, lambda: None),
        "refusing": (redis.stop, redis.start),
        "silent": (redis.freeze, redis.thaw),
    }
    rows: list[str] = []
    try:
        redis.start()
        postgres.start()
        migrate = [sys.executable, "-m", "django", "migrate", "--run-syncdb"]
        subprocess.run(migrate, cwd=shops["without lazyguard"], env=environment, capture_output=True, check=True)
        for state, (leave, back) in states.items():
            for name, shop in shops.items():
                checks, told = list[float | None](), list[dict[str, Any]]()
                check(shop, environment)  # byte code is written, files are in the cache
                for _ in range(TURNS):
                    leave()
                    checks.append(check(shop, environment))
                    told.append(requests(shop, environment, back))
                first, second = ([one["requests"][at] for one in told] for at in (0, 1))
                cells = [shown(middle(checks)), shown(middle([one["start"] for one in told]))]
                cells += [shown(middle(first), told[0]["status"][0]), shown(middle(second), told[0]["status"][1])]
                cells.append("-" if state == "well" else shown(middle([one["back"] for one in told])))
                rows.append(f"| {state} | {name} | " + " | ".join(cells) + " |")
                print(rows[-1], flush=True)
    finally:
        supplier.shutdown()
        redis.end()
        postgres.end()
    return rows


def main() -> None:
    """Measure, and write the page's section."""
    with tempfile.TemporaryDirectory(prefix="django-start-") as home:
        rows = measured(Path(home))
    command = [sys.executable, "-c", STATUSZ]
    answered = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ})
    page, state, seconds = json.loads(answered.stdout)
    names = ", ".join(f"{name} {version(name)}" for name in ("django", "redis", "psycopg", "httpx"))
    lines = [
        "## A Django project while its Redis is away",
        "",
        f"CPython {platform.python_version()}, {os.cpu_count()} processors; {names}. `docs/examples/django`, and the "
        "same shop with Django's own cache and database backends and the supplier's client made at import. Seconds, "
        f"the median of {TURNS}; a request asks the cache, PostgreSQL and the supplier. *Back* is how long after Redis "
        "came back a page was served from it again, with the breaker closed. In brackets: what was answered in the "
        "place of a page.",
        "",
        "| Redis | | `manage.py check` | start | first request | second request | back |",
        "|---|---|---|---|---|---|---|",
        *rows,
        "",
        f"`/statusz` over {SERVICES:,} services, a tenth of them away: a page of {page / 1024:.0f} KB, which asks for "
        f"{state / 1024:.0f} KB of JSON, made in {1000 * seconds:.0f} ms.",
    ]
    put("django", lines)
    print("\n".join(lines))


if __name__ == "__main__":
    main()
