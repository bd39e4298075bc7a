"""Django: the middleware, what `manage.py check` tells, and tests by Django's own runner."""

from __future__ import annotations

import asyncio
import builtins
import re
import subprocess
import sys
from textwrap import dedent

import pytest

import lazyguard
from lazyguard.testing import FakeClock

pytest.importorskip("django", reason="the group `integration` has it")

OURS = "lazyguard.integrations.django"
REFUSED = {
    lazyguard.ServiceUnavailable("secret"): 503,
    lazyguard.CircuitOpen("secret"): 503,
    lazyguard.errors.ResolutionTimeout("secret"): 503,
    lazyguard.DeadlineExceeded("secret"): 504,
    lazyguard.errors.ResolutionDeadlineExceeded("secret"): 504,
    lazyguard.ResolutionError("secret"): 500,
    ZeroDivisionError("secret"): 500,
}
GROUP = vars(builtins).get("ExceptionGroup")  # since Python 3.11
if GROUP is not None:
    REFUSED[GROUP("secret", [lazyguard.DeadlineExceeded("secret")])] = 504
    REFUSED[GROUP("secret", [lazyguard.DeadlineExceeded(), lazyguard.ServiceUnavailable()])] = 503
    REFUSED[GROUP("secret", [lazyguard.DeadlineExceeded(), ValueError()])] = 500


@pytest.fixture
def site(monkeypatch):
    """Set up a site with pages and a middleware that fail as they are told to; return what they are told."""
    import django
    from django.conf import settings
    from django.http import HttpResponse, StreamingHttpResponse
    from django.test import override_settings
    from django.urls import clear_url_caches, path

    if not settings.configured:
        settings.configure(ROOT_URLCONF="shop_urls", ALLOWED_HOSTS=["*"], SECRET_KEY="x", LOGGING_CONFIG=None)
        django.setup()
    told = type(sys)("told")
    told.raised, told.below, told.first = None, None, lambda: None

    def page(request):
        told.first()
        if told.raised is not None:
            raise told.raised
        return HttpResponse(f"{lazyguard.remaining() is not None}")

    async def apage(request):
        return page(request)

    def stream(request):
        return StreamingHttpResponse(f"{lazyguard.remaining() is not None} " for _ in range(2))

    def failing(get_response):
        def middleware(request):
            if told.below is not None:
                told.first()
                raise told.below
            return get_response(request)

        return middleware

    urls = type(sys)("told_urls")
    urls.urlpatterns = [path("page", page), path("apage", apage), path("stream", stream)]
    monkeypatch.setitem(sys.modules, "told_urls", urls)
    monkeypatch.setitem(sys.modules, "told_middleware", told)
    told.failing = failing
    middleware = [f"{OURS}.Middleware", "told_middleware.failing"]
    with override_settings(
        MIDDLEWARE=middleware, ROOT_URLCONF="told_urls", LAZYGUARD={"prefix": "/health", "timeout": 5.0}
    ):
        clear_url_caches()
        yield told
    clear_url_caches()


@pytest.fixture(params=["sync", "async"])
def get(request, site):
    """Return a function that asks the site, over Django's sync or async handler."""
    from django.test import AsyncClient, Client

    if request.param == "sync":
        return Client(raise_request_exception=False).get
    return lambda path: asyncio.run(AsyncClient(raise_request_exception=False).get(path))


@pytest.mark.parametrize("page", ["/page", "/apage"])
def test_the_deadline_of_a_request(get, page):
    """A request has the deadline of the setting; after it there is none."""
    assert get(page).content == b"True"
    assert lazyguard.remaining() is None


def test_a_body_in_parts(site):
    """The parts of a body are made within the deadline."""
    from django.test import Client

    assert b"".join(Client().get("/stream")) == b"True True "


@pytest.mark.parametrize("where", ["raised", "below"], ids=["view", "middleware"])
@pytest.mark.parametrize("error", REFUSED, ids=lambda error: type(error).__name__)
def test_what_is_not_there(get, site, where, error):
    """What is away is 503, what takes too long 504, anything else Django's own 500; no text of an error is shown."""
    setattr(site, where, error)
    answer = get("/page")
    assert answer.status_code == REFUSED[error]
    assert b"secret" not in answer.content
    assert ("Retry-After" in answer) == (answer.status_code == 503)


@pytest.mark.parametrize("where", ["raised", "below"], ids=["view", "middleware"])
@pytest.mark.parametrize(
    ("error", "taken", "status"),
    [
        (TimeoutError("secret"), 5.0, 504),
        (OSError("secret"), 5.0, 504),
        (TimeoutError("secret"), 4.0, 500),
        (ZeroDivisionError("secret"), 5.0, 500),
    ],
    ids=["late", "late, as a cause", "in time", "another error"],
)
def test_a_client_tells_of_the_deadline_in_its_own_words(get, site, where, error, taken, status):
    """A time-out of any client is 504 where the request's time was up, and Django's own 500 before."""
    if type(error) is OSError:
        error.__cause__ = TimeoutError()
    setattr(site, where, error)
    with FakeClock() as clock:
        site.first = lambda: clock.advance(taken)
        answer = get("/page")
    assert answer.status_code == status
    assert b"secret" not in answer.content


def test_templates(get, site):
    """503.html is rendered where there is one."""
    from django.test import override_settings

    site.raised = lazyguard.ServiceUnavailable()
    loaders = [("django.template.loaders.locmem.Loader", {"503.html": "back soon"})]
    engine = {"BACKEND": "django.template.backends.django.DjangoTemplates", "OPTIONS": {"loaders": loaders}}
    with override_settings(TEMPLATES=[engine]):
        assert get("/page").content == b"back soon"


def test_health_paths(get):
    """The health paths answer before anything else; other paths are the site's."""
    assert get("/health/livez").json() == {"status": "pass"}
    assert get("/health/readyz").status_code == 200
    assert get("/healthz").status_code == 404
    assert get("/health/healthz")["Cache-Control"] == "no-store"


@pytest.mark.parametrize("setting", [5, {"prefx": "/health"}, {"prefix": "health"}])
def test_a_bad_setting(setting):
    """A setting that cannot be right is refused, and `check` tells of it."""
    from django.test import override_settings

    from lazyguard.integrations import _django_checks
    from lazyguard.integrations.django import Middleware

    with override_settings(LAZYGUARD=setting, MIDDLEWARE=[]):
        with pytest.raises(lazyguard.errors.ConfigurationError):
            Middleware(lambda request: None)
        assert [one.id for one in _django_checks.check_settings()] == ["lazyguard.E001"]


PROJECT = {
    "settings.py": """
        import lazyguard
        SECRET_KEY = "x"
        CONTRIB = ["django.contrib.contenttypes", "django.contrib.sessions"]
        INSTALLED_APPS = ["lazyguard.integrations.django.App", *CONTRIB, "shop"]
        DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
        DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
        ROOT_URLCONF = "shop.urls"
        REDIS = "django.core.cache.backends.redis.RedisCache"
        OURS = "lazyguard.integrations.django.Cache"
        CACHES = {"default": {"BACKEND": OURS, "LOCATION": "redis://127.0.0.1:1", "OPTIONS": {"backend": REDIS}}}
        SESSION_ENGINE = "django.contrib.sessions.backends.cached_db"
        SESSIONS = "django.contrib.sessions.middleware.SessionMiddleware"
        MIDDLEWARE = ["lazyguard.integrations.django.Middleware", SESSIONS]
    """,
    "shop/__init__.py": "",
    "shop/models.py": """
        from django.db import models
        class Item(models.Model):
            name = models.CharField(max_length=20)
    """,
    "shop/urls.py": "urlpatterns = []",
    "shop/services.py": """
        import lazyguard
        made = []
        @lazyguard.service(recovery=None)
        def get_search() -> list:
            made.append(1)
            return made
        @lazyguard.service(recovery=None, retry=lazyguard.Retry(attempts=5, initial=60.0))
        def get_gone() -> list:
            raise OSError
        @get_gone.fallback
        def _() -> list:
            from unittest import mock
            return mock.MagicMock()
    """,
    "shop/tests.py": """
        from django.test import TestCase
        from lazyguard.integrations.django import ResetServices
        from shop import services

        class Tests(ResetServices, TestCase):
            def test_one(self):
                self.assertEqual(len(services.get_search()), 1)
                services.made.clear()
            test_two = test_three = test_one

            def test_a_mock(self):
                services.get_gone().find("without a wait")
    """,
}
SURPRISES = """
    from settings import *
    PRICE = lazyguard.lazy(lambda: "3")
    EMAIL = {"hosts": [lazyguard.lazy(lambda: "mail.internal")]}
    CLIENT = lazyguard.lazy(lambda: 1 / 0, name="never built")
    SESSION_ENGINE = "django.contrib.sessions.backends.cache"
    MIDDLEWARE = MIDDLEWARE[::-1]
    INSTALLED_APPS = [*INSTALLED_APPS, "surprising.Surprising"]
    DATABASES["postgres"] = {"ENGINE": "django.db.backends.postgresql", "NAME": "shop", "HOST": "127.0.0.1"}
    CACHES["wrong"] = {"BACKEND": OURS, "OPTIONS": {"backend": "no.such.Cache"}}
    CACHES["unbounded"] = {"BACKEND": OURS, "OPTIONS": {"backend": "django.core.cache.backends.db.DatabaseCache"}}
"""
SURPRISING = """
    import lazyguard
    from django.apps import AppConfig
    from django.db.models.signals import post_save
    class Surprising(AppConfig):
        name = "surprising"
        def ready(self):
            item = lazyguard.load("shop.models:Item")
            item.objects  # resolved: nothing can be told when it is connected
            post_save.connect(print, sender=item)
            self.kept = item
            lazyguard.preload("decimal").wait()
"""


def manage(directory, *arguments, settings="settings"):
    """Write the project into a directory, and run one of Django's commands."""
    for name, source in {**PROJECT, "surprises.py": SURPRISES, "surprising.py": SURPRISING}.items():
        (directory / name).parent.mkdir(exist_ok=True)
        (directory / name).write_text(dedent(source))
    command = [sys.executable, "-m", "django", *arguments, "--settings", settings, "--pythonpath", str(directory)]
    return subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=60)


def test_a_project_that_does_not_surprise(tmp_path):
    """`check` is silent of what is right."""
    ran = manage(tmp_path, "check", "--fail-level", "WARNING")
    assert ran.returncode == 0, ran.stderr
    assert "no issues" in ran.stdout


def test_the_place_of_a_cache(tmp_path):
    """What is told of a cache names the line of the settings that has it."""
    code = "from django.core.cache import caches; caches['default'].get('a'); print(caches['default'].health().place)"
    ran = manage(tmp_path, "shell", "-c", code)
    assert re.search(r"settings\.py:\d+$", ran.stdout.strip()), ran
    assert re.search(r"cache default .*settings\.py:\d+", ran.stderr), ran


def test_surprises(tmp_path):
    """`check` names each thing that would surprise, with its place and what to write."""
    ran = manage(tmp_path, "check", settings="surprises")
    assert ran.returncode == 1
    told = {line.partition(")")[0].partition("(")[2]: line for line in ran.stderr.splitlines() if "(lazyguard." in line}
    assert set(told) == {f"lazyguard.{one}" for one in ("E002", "W001", "W002", "W003", "W004", "W005", "W006", "W007")}
    for setting in ("PRICE", "EMAIL", "CLIENT"):
        assert f"{setting} has a lazy object" in ran.stderr
    assert "DatabaseCache" in told["lazyguard.W003"]
    assert "surprising.py:" in told["lazyguard.W005"]
    assert "shop.models:Item" in told["lazyguard.W006"]
    assert "DATABASES['postgres']" in told["lazyguard.W007"]
    assert "ZeroDivisionError" not in ran.stderr


def test_services_are_reset_between_tests(tmp_path):
    """Under Django's runner each test begins with services that nothing has built; retries do not wait."""
    ran = manage(tmp_path, "test")
    assert ran.returncode == 0, ran.stderr
    assert "Ran 4 tests" in ran.stderr
