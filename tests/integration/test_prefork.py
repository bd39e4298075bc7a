"""Servers that import the application first and fork then: gunicorn with --preload, Celery's prefork pool."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from textwrap import dedent

import pytest

import lazyguard

pytestmark = pytest.mark.usefixtures("limited")
LIMIT = 40.0

# Built where the application is imported: in the process that forks.
APPLICATION = """
    import os
    import lazyguard

    parent = os.getpid()

    @lazyguard.lazy
    def kept() -> list: return [os.getpid()]

    @lazyguard.lazy(on_fork="reset")
    def renewed() -> list: return [os.getpid()]

    @lazyguard.lazy(on_fork=lambda made: made.append(os.getpid()))
    def mended() -> list: return [os.getpid()]

    @lazyguard.lazy
    def late() -> list: return [os.getpid()]

    @lazyguard.service(timeout=30.0)
    def get_service() -> list: return [os.getpid()]

    def seen():
        return {
            "parent": parent, "here": os.getpid(), "kept": kept[0], "renewed": renewed[0], "mended": list(mended),
            "service": get_service()[0],
        }

    assert set(map(str, (seen()["service"], kept[0], renewed[0], mended[0]))) == {str(parent)}
"""

WSGI = """
    import json

    def application(environ, start_response):
        start_response("200 OK", [("Content-Type", "application/json")])
        return [json.dumps({**seen(), "late": late[0]}).encode()]
"""

CELERY = """
    import celery

    app = celery.Celery("forking", broker=os.environ["BROKER"], backend=os.environ["BROKER"])

    @app.task(name="report")
    def report():
        return {**seen(), "late": late[0]}
"""

CLIENT = """
    import json, os
    import celery

    app = celery.Celery("client", broker=os.environ["BROKER"], backend=os.environ["BROKER"])
    asked = [app.send_task("report") for _ in range(20)]
    print(json.dumps([one.get(timeout=30) for one in asked]))
"""


class Started:
    """A server of which nothing is left when its test ends."""

    def __init__(self, directory: Path, command: list[str], **environment: str) -> None:
        self.directory = directory
        self.environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join((str(directory), str(Path(lazyguard.__file__).parents[1]))),
            **environment,
        }
        self.log = directory / "server.log"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                command,
                cwd=directory,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def says(self, pattern: str) -> str:
        """Wait until its log has a line like this; return what the group in it matches."""
        until = time.monotonic() + LIMIT
        while (found := re.search(pattern, self.log.read_text(errors="replace"))) is None:
            assert self.process.poll() is None, self.log.read_text(errors="replace")
            assert time.monotonic() < until, self.log.read_text(errors="replace")
            time.sleep(0.02)
        return found.group(1)

    def kill(self) -> None:
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()


@pytest.fixture
def start(tmp_path):
    """Return a function that writes the application and starts a server for it, killed at the end."""
    started: list[Started] = []

    def begin(more: str, *command: str, **environment: str) -> Started:
        (tmp_path / "forking.py").write_text(dedent(APPLICATION) + dedent(more))
        started.append(Started(tmp_path, [sys.executable, *command], **environment))
        return started[-1]

    yield begin
    for one in started:
        one.kill()


def is_as_declared(report: dict) -> bool:
    """Return whether a worker has kept, renewed and mended what its parent had built."""
    parent, here = report["parent"], report["here"]
    return here != parent and report == {
        "parent": parent,
        "here": here,
        "kept": parent,
        "renewed": here,
        "mended": [parent, here],
        "service": here,
        "late": here,
    }


def test_gunicorn_preloads(start):
    """Two workers of gunicorn --preload answer from what was built before the fork, each as its `on_fork` says."""
    pytest.importorskip("gunicorn", reason="gunicorn is not installed")
    server = start(WSGI, "-m", "gunicorn", "--preload", "-w", "2", "-b", "127.0.0.1:0", "forking:application")
    port = server.says(r"Listening at: http://127\.0\.0\.1:(\d+)")
    reports: dict[int, dict] = {}
    until = time.monotonic() + LIMIT
    while len(reports) < 2:
        assert time.monotonic() < until, "one worker answers everything"
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=LIMIT) as answer:
            report = json.load(answer)
        assert is_as_declared(report), report
        reports[report["here"]] = report
    assert {report["parent"] for report in reports.values()} == {server.process.pid}


def test_celery_prefork(start, make_redis):
    """Tasks in the children of a Celery worker see what its main process had built, each as its `on_fork` says."""
    pytest.importorskip("celery", reason="celery is not installed")
    redis = make_redis()
    redis.start()
    quiet = ("--without-mingle", "--without-gossip", "--without-heartbeat")
    options = ("-P", "prefork", "-c", "2", "-l", "INFO", *quiet)
    worker = start(CELERY, "-m", "celery", "-A", "forking", "worker", *options, BROKER=redis.url)
    worker.says(r"(ready\.)")
    client = subprocess.run(
        [sys.executable, "-c", dedent(CLIENT)],
        env=worker.environment,
        capture_output=True,
        text=True,
        timeout=LIMIT,
    )
    assert client.returncode == 0, client.stderr + worker.log.read_text(errors="replace")
    reports = json.loads(client.stdout)
    assert len(reports) == 20
    assert all(is_as_declared(report) for report in reports), reports
    assert {report["parent"] for report in reports} == {worker.process.pid}


# A program whose wsgi module preloads, as docs/howto/gunicorn.md says: the master forks while that imports and builds.
DJANGO = {
    "settings.py": """
        SECRET_KEY = "x"
        DEBUG = False
        ALLOWED_HOSTS = ["*"]
        ROOT_URLCONF = "site_urls"
        INSTALLED_APPS = ["django.contrib.contenttypes", "django.contrib.auth", "django.contrib.sessions", "shop"]
        DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "shop.sqlite3"}}
        DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
        MIDDLEWARE = ["django.contrib.sessions.middleware.SessionMiddleware"]
    """,
    "site_wsgi.py": """
        import os, time
        os.environ.setdefault("DJANGO_SETTINGS_MODULE", "settings")
        import lazyguard
        from django.core.wsgi import get_wsgi_application
        application = get_wsgi_application()
        from shop import services
        lazyguard.preload("site_urls", services.get_report, "shop.views", services.prices, concurrency=2)
        time.sleep(0.05 * int(os.environ["TURN"]))
    """,
    "site_urls.py": """
        import time
        from django.urls import path
        time.sleep(0.1)
        from shop import views
        time.sleep(0.1)
        urlpatterns = [path("", views.index)]
    """,
    "shop/__init__.py": "",
    "shop/models.py": """
        from django.db import models
        class Item(models.Model):
            name = models.CharField(max_length=20)
    """,
    "shop/services.py": """
        import os, time
        import lazyguard

        @lazyguard.service(timeout=20.0, failures=(OSError,), retry=lazyguard.Retry(attempts=2, initial=0.01))
        def get_report() -> dict:
            from shop import reports
            return {"pid": os.getpid(), "whole": reports.WHOLE}

        @lazyguard.lazy
        def prices() -> list:
            from shop import reports
            return [reports.WHOLE]

    """,
    "shop/reports.py": """
        import time
        import xml.dom.minidom, decimal, fractions
        kinds = []
        from shop import report_kinds
        time.sleep(0.15)
        WHOLE = sorted(kinds)
    """,
    "shop/report_kinds.py": """
        from shop.reports import kinds
        kinds += ["day", "month"]
        import time
        time.sleep(0.05)
    """,
    "shop/views.py": """
        import os, time
        from django.http import JsonResponse
        time.sleep(0.1)
        from shop import services
        from shop.models import Item
        def index(request):
            report = services.get_report()
            said = {"here": os.getpid(), "report": dict(report), "prices": list(services.prices)}
            return JsonResponse({**said, "items": Item.objects.count()})
    """,
}


@pytest.mark.parametrize("turn", range(6))
def test_gunicorn_preloads_a_django_project(start, tmp_path, turn):
    """Wherever the preload is when the workers are forked: each answers, whole, at once and after it was replaced."""
    pytest.importorskip("gunicorn", reason="gunicorn is not installed")
    pytest.importorskip("django", reason="django is not installed")
    (tmp_path / "shop").mkdir()
    for name, source in DJANGO.items():
        (tmp_path / name).write_text(dedent(source))
    tables = [sys.executable, "-m", "django", "migrate", "--run-syncdb", "--verbosity", "0", "--settings", "settings"]
    subprocess.run([*tables, "--pythonpath", str(tmp_path)], cwd=tmp_path, check=True, timeout=LIMIT)
    options = ("--preload", "-w", "2", "-b", "127.0.0.1:0", "--max-requests", "5", "--timeout", "20")
    server = start("", "-m", "gunicorn", *options, "site_wsgi:application", TURN=str(turn))
    port = server.says(r"Listening at: http://127\.0\.0\.1:(\d+)")
    seen = set()
    for _ in range(30):
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=LIMIT) as answer:
            report = json.load(answer)
        assert report["items"] == 0
        assert report["prices"] == [["day", "month"]]
        assert report["report"] == {"pid": report["here"], "whole": ["day", "month"]}
        seen.add(report["here"])
    assert len(seen) > 2
    log = server.log.read_text()
    assert "WORKER TIMEOUT" not in log
    assert "Traceback" not in log


def test_celery_replaces_its_children(start, make_redis):
    """The main process preloads without end while children are replaced after each two tasks: every task is done."""
    pytest.importorskip("celery", reason="celery is not installed")
    redis = make_redis()
    redis.start()
    busy = """
    import sys, threading, time
    def imports_for_ever():
        while os.getpid() == parent:
            for name in ("xml.dom.minidom", "xml.sax.handler", "wave", "colorsys"):
                for known in [one for one in sys.modules if one.partition(".")[0] in ("xml", "wave", "colorsys")]:
                    sys.modules.pop(known, None)
                lazyguard.preload(name).wait(30)
    threading.Thread(target=imports_for_ever, daemon=True).start()

    @app.task(name="look")
    def look():
        import wave, xml.dom.minidom
        said = xml.dom.minidom.parseString("<a/>").documentElement.tagName
        return [said, wave.open.__name__, get_service()[0] == os.getpid()]
    """
    client = CLIENT.replace('send_task("report")', 'send_task("look")').replace("range(20)", "range(60)")
    quiet = ("--without-mingle", "--without-gossip", "--without-heartbeat")
    options = ("-P", "prefork", "-c", "2", "-l", "INFO", "--max-tasks-per-child", "2", *quiet)
    worker = start(CELERY + busy, "-m", "celery", "-A", "forking", "worker", *options, BROKER=redis.url)
    worker.says(r"(ready\.)")
    ran = subprocess.run(
        [sys.executable, "-c", dedent(client)],
        env=worker.environment,
        capture_output=True,
        text=True,
        timeout=LIMIT,
    )
    assert ran.returncode == 0, ran.stderr + worker.log.read_text(errors="replace")
    assert json.loads(ran.stdout) == [["a", "open", True]] * 60
