"""A Django project under gunicorn while its Redis is stopped, silent and killed: counted by its clients."""

from __future__ import annotations

import http.client
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from textwrap import dedent

import pytest

import lazyguard

pytest.importorskip("django", reason="the group `integration` has it")
pytest.importorskip("gunicorn", reason="the group `stress` has it")
pytestmark = pytest.mark.usefixtures("limited")

WORKERS, LONGEST_OPEN = 4, 1.0
PAGES = ("/cached", "/limited", "/visits", "/async", "/admin/login/")
PROJECT = {
    "settings.py": """
        import os
        SECRET_KEY = "x"
        ALLOWED_HOSTS = ["*"]
        ROOT_URLCONF = "shop.urls"
        CONTRIB = [f"django.contrib.{name}" for name in ("admin", "auth", "contenttypes", "sessions", "messages")]
        INSTALLED_APPS = ["lazyguard.integrations.django.App", *CONTRIB, "shop"]
        MIDDLEWARE = [
            "lazyguard.integrations.django.Middleware",
            "django.contrib.sessions.middleware.SessionMiddleware",
            "django.contrib.auth.middleware.AuthenticationMiddleware",
            "django.contrib.messages.middleware.MessageMiddleware",
        ]
        TEMPLATES = [{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True, "OPTIONS": {
            "context_processors": [f"django.{name}" for name in (
                "template.context_processors.request", "contrib.auth.context_processors.auth",
                "contrib.messages.context_processors.messages")]}}]
        DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "shop.sqlite3",
                                 "OPTIONS": {"timeout": 30}}}
        DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
        STATIC_URL = "static/"
        LAZYGUARD = {"prefix": "/health", "timeout": 20.0, "details": True}
        CACHES = {"default": {
            "BACKEND": "lazyguard.integrations.django.Cache",
            "LOCATION": os.environ["REDIS"],
            "OPTIONS": {
                "backend": "django.core.cache.backends.redis.RedisCache",
                "fallback": "django.core.cache.backends.locmem.LocMemCache",
                "timeout": 0.3,
                "breaker": {"open_time": 0.2, "max_open_time": LONGEST_OPEN},
            },
        }}
        SESSION_ENGINE = "django.contrib.sessions.backends.cached_db"
    """.replace("LONGEST_OPEN", str(LONGEST_OPEN)),
    "shop/__init__.py": "",
    "shop/models.py": """
        import lazyguard
        from django.db import models
        from django.db.models.signals import post_save

        class Visit(models.Model):
            page = models.CharField(max_length=20)
    """,
    "shop/handlers.py": """
        import lazyguard
        with lazyguard.lazy_imports():
            from shop.models import Visit
        from django.core.cache import cache
        from django.db.models.signals import post_save

        def saved(sender, **named):
            cache.set("last", named["instance"].page)

        post_save.connect(saved, sender=Visit)
    """,
    "shop/urls.py": """
        import os
        from django.contrib import admin
        from django.core.cache import cache
        from django.http import HttpResponse
        from django.urls import path
        from shop import handlers, models

        def cached(request):
            cache.set("page", "tea")
            return HttpResponse(f"{os.getpid()} {cache.get('page', 'tea')} {cache.get_or_set('n', lambda: 1)}")

        def limited(request):
            cache.add("visits", 0, timeout=60)
            return HttpResponse(str(cache.incr("visits")))

        def visits(request):
            request.session["visits"] = request.session.get("visits", 0) + 1
            return HttpResponse(str(request.session["visits"]))

        async def in_async(request):
            await cache.aset("page", "tea")
            return HttpResponse(await cache.aget("page", "tea"))

        def answered(request):
            return HttpResponse(f"{os.getpid()} {cache.health().state}")

        def save(request):
            models.Visit.objects.create(page="home")
            return HttpResponse(cache.get("last"))

        admin.site.register(models.Visit)
        views = {"cached": cached, "limited": limited, "visits": visits, "async": in_async, "answered": answered}
        urlpatterns = [path(name, view) for name, view in {**views, "save": save}.items()]
        urlpatterns.append(path("admin/", admin.site.urls))
    """,
    "shop/wsgi.py": """
        from django.core.wsgi import get_wsgi_application
        application = get_wsgi_application()
    """,
}


@pytest.fixture
def redis(make_redis):
    server = make_redis()
    server.start()
    return server


@pytest.fixture(params=[(), ("--preload",)], ids=["each", "preload"])
def site(request, tmp_path, redis):
    """Migrate the project, and serve it by four workers; return its port and its log."""
    (tmp_path / "shop").mkdir()
    for name, source in PROJECT.items():
        (tmp_path / name).write_text(dedent(source))
    path = os.pathsep.join((str(tmp_path), str(Path(lazyguard.__file__).parents[1])))
    environment = {**os.environ, "PYTHONPATH": path, "REDIS": redis.url, "DJANGO_SETTINGS_MODULE": "settings"}
    migrate = [sys.executable, "-m", "django", "migrate", "--run-syncdb", "--verbosity", "0"]
    subprocess.run(migrate, cwd=tmp_path, env=environment, check=True, timeout=60)
    with under_gunicorn(
        tmp_path, environment, "shop.wsgi:application", WORKERS, "--timeout", "15", *request.param
    ) as served:
        yield served


@contextmanager
def under_gunicorn(
    directory: Path, environment: dict[str, str], app: str, workers: int, *options: str
) -> Iterator[tuple[int, Path]]:
    """Serve an application of that directory by so many workers; the port, and the log of the server."""
    log = directory / "server.log"
    command = [sys.executable, "-m", "gunicorn", "-w", str(workers), "-b", "127.0.0.1:0", *options, app]
    with log.open("w") as written:
        server = subprocess.Popen(
            command, cwd=directory, env=environment, stdout=written, stderr=written, stdin=subprocess.DEVNULL,
            start_new_session=True,
        )  # fmt: skip
    try:
        until = time.monotonic() + 30
        while (found := re.search(r"Listening at: http://127\.0\.0\.1:(\d+)", log.read_text())) is None:
            assert time.monotonic() < until, log.read_text()
            time.sleep(0.02)
        yield int(found[1]), log
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def get(port: int, path: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


class Clients:
    """Threads that ask for the pages without end, and count the answers."""

    def __init__(self, port: int) -> None:
        self.statuses: Counter[object] = Counter()
        self.slowest = 0.0
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(port, n)) for n in range(8)]
        for thread in self._threads:
            thread.start()

    def _ask(self, port: int, turn: int) -> None:
        while not self._over.is_set():
            turn += 1
            began = time.monotonic()
            try:
                status: object = get(port, PAGES[turn % len(PAGES)])[0]
            except OSError as error:
                status = type(error).__name__
            self.statuses[status] += 1
            self.slowest = max(self.slowest, time.monotonic() - began)

    def more(self, count: int) -> None:
        """Wait until so many answers have come."""
        wanted = self.statuses.total() + count
        until = time.monotonic() + 60
        while self.statuses.total() < wanted:
            assert time.monotonic() < until
            time.sleep(0.01)

    def end(self) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()


def booted(log: Path) -> set[str]:
    return set(re.findall(r"Booting worker with pid: (\d+)", log.read_text()))


def recovered(port: int) -> float:
    """Return after how many seconds the caches of all workers ask Redis again."""
    began, closed = time.monotonic(), set()
    while len(closed) < WORKERS:
        assert time.monotonic() - began < 30
        get(port, "/cached")
        pid, state = get(port, "/answered")[1].split()
        closed = closed | {pid} if state == "closed" else closed - {pid}
    return time.monotonic() - began


def test_no_page_fails_in_an_outage(site, redis):
    """Stopped, silent, killed: every page that has something to fall back on is answered, and no worker is lost."""
    port, log = site
    assert get(port, "/save") == (200, "home"), "a handler of a lazily imported model is called"
    clients = Clients(port)
    try:
        clients.more(200)
        workers = booted(log)
        assert len(workers) == WORKERS
        for outage in ("freeze", "stop", "freeze"):
            getattr(redis, outage)()
            clients.more(300)
            if redis.process is None:
                redis.start()
            redis.thaw()
            assert recovered(port) < LONGEST_OPEN + 1.0 + 4.0, "on a busy machine"
    finally:
        clients.end()
    print(dict(clients.statuses), f"slowest {clients.slowest:.2f} s")
    assert set(clients.statuses) == {200}, (clients.statuses, log.read_text()[-3000:])
    assert booted(log) == workers
    assert "WORKER TIMEOUT" not in log.read_text()
