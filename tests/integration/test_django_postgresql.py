"""A Django project under gunicorn while its PostgreSQL is silent and killed: counted by its clients."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from textwrap import dedent

import pytest
from tests.integration.test_django_outage import get, under_gunicorn

pytest.importorskip("django", reason="the group `integration` has it")
pytest.importorskip("gunicorn", reason="the group `stress` has it")
pytestmark = pytest.mark.usefixtures("limited")

WORKERS, LIMIT = 2, 1.0
PROJECT = {
    "settings.py": f"""
        import os
        SECRET_KEY = "x"
        ALLOWED_HOSTS = ["*"]
        ROOT_URLCONF = "urls"
        INSTALLED_APPS = ["lazyguard.integrations.django.App", "django.contrib.sessions"]
        MIDDLEWARE = [
            "lazyguard.integrations.django.Middleware", "django.contrib.sessions.middleware.SessionMiddleware",
        ]
        DATABASES = {{"default": {{
            "ENGINE": "lazyguard.integrations.django_postgresql", "NAME": "postgres", "USER": "postgres",
            "HOST": "127.0.0.1", "PORT": os.environ["PORT"], "CONN_MAX_AGE": int(os.environ["AGE"]),
            "OPTIONS": {{"server_side_binding": os.environ["AGE"] != "0"}},
        }}}}
        LAZYGUARD = {{"prefix": "/health", "timeout": {LIMIT}}}
    """,
    "urls.py": """
        import os
        from django.contrib.sessions.models import Session
        from django.db import transaction
        from django.http import HttpResponse
        from django.urls import path

        def visits(request):
            request.session["visits"] = request.session.get("visits", 0) + 1
            return HttpResponse(str(os.getpid()))

        def counted(request):
            with transaction.atomic():
                return HttpResponse(str(Session.objects.select_for_update().count()))

        async def in_async(request):
            return HttpResponse(str(await Session.objects.acount()))

        urlpatterns = [path("visits", visits), path("counted", counted), path("async", in_async)]
    """,
    "app.py": "from django.core.wsgi import get_wsgi_application\napplication = get_wsgi_application()\n",
}


@pytest.fixture
def postgres(make_postgres):
    server = make_postgres()
    server.start()
    return server


@pytest.fixture(params=["0", "600"], ids=["each", "kept"])
def site(request, tmp_path, postgres):
    """Migrate the project, and serve it by two workers; return its port and its log."""
    for name, source in PROJECT.items():
        (tmp_path / name).write_text(dedent(source))
    of = {"DJANGO_SETTINGS_MODULE": "settings", "PORT": str(postgres.port), "AGE": request.param}
    environment = {**os.environ, **of, "PYTHONPATH": str(tmp_path)}
    for command in (["migrate", "--verbosity", "0"], ["check", "--fail-level", "WARNING"]):
        subprocess.run(
            [sys.executable, "-m", "django", *command], cwd=tmp_path, env=environment, check=True, timeout=60
        )
    with under_gunicorn(tmp_path, environment, "app", WORKERS, "--timeout", "12") as served:
        yield served


def asked(port: int, count: int) -> Counter[int]:
    """Ask for the pages, two at a time; return how often each status was the answer."""
    with ThreadPoolExecutor(WORKERS) as clients:
        pages = [("/visits", "/counted", "/async")[n % 3] for n in range(count)]
        return Counter(clients.map(lambda page: get(port, page)[0], pages))


def test_no_worker_is_lost_in_an_outage(site, postgres):
    """Silent: each request ends with its deadline, as a 504. Killed: a 500, as ever. Then all is as before."""
    port, log = site
    assert asked(port, 12) == {200: 12}
    workers = set(re.findall(r"Booting worker with pid: (\d+)", log.read_text()))
    for outage in ("freeze", "stop", "freeze"):
        getattr(postgres, outage)()
        during = asked(port, 12)
        assert set(during) <= ({504} if outage == "freeze" else {500}), during
        assert get(port, "/health/livez")[0] == 200
        if postgres.process is None:
            postgres.start()
        postgres.thaw()
        asked(port, 3 * WORKERS)  # a kept connection that was lost is found at its use, as Django does
        until = time.monotonic() + 20
        while asked(port, 12) != {200: 12}:
            assert time.monotonic() < until, log.read_text()[-3000:]
    assert set(re.findall(r"Booting worker with pid: (\d+)", log.read_text())) == workers
    assert "WORKER TIMEOUT" not in log.read_text()
