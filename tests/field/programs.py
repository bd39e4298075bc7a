"""The public programs, and what lazyguard asks of each: edits as short patterns, so that no line of theirs is here."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

# What is put at the end of a Django program's settings: its Redis caches survive their server, a request has a limit.
SETTINGS = """
for _alias, _entry in list(CACHES.items()):
    if "redis" in _entry["BACKEND"]:
        _options = {**_entry.get("OPTIONS", {}), "backend": _entry["BACKEND"]}
        CACHES[_alias] = {**_entry, "BACKEND": "lazyguard.integrations.django.Cache", "OPTIONS": _options}
MIDDLEWARE = ["lazyguard.integrations.django.Middleware", *MIDDLEWARE]
INSTALLED_APPS = [*INSTALLED_APPS, "lazyguard.integrations.django.App"]
LAZYGUARD = {"timeout": 5.0, "prefix": "/_lazyguard"}
"""
SERVED = str(Path(__file__).with_name("served.py"))
# A task is sent, and the time that its caller spent is told as served.py tells it.
SENT = """
import django, json, time

django.setup()
from {module} import {task}

began, answer = time.perf_counter(), ""
try:
    {task}.delay()
except Exception as error:
    answer = type(error).__name__
print(json.dumps(["a task is sent", time.perf_counter() - began, answer]), flush=True)
"""
CELERY = "from lazyguard.integrations.celery import lazy_celery\n"


PATCHMAN_APPS = "arch domains errata hosts modules operatingsystems packages reports repos security util"
PATCHMAN_ENV = {"DJANGO_SETTINGS_MODULE": "patchman.settings", "FIELD_DATA": "{home}", "FIELD_REDIS": "{redis}"}
PATCHMAN_SITE = """
from os import environ

SECRET_KEY = "field"
ALLOWED_HOSTS = ["*"]
DEBUG = RUN_GUNICORN = False
DATABASES = {"default": {"ENGINE": "patchman.sqlite3", "NAME": environ["FIELD_DATA"] + "/patchman.db"}}
_redis = environ["FIELD_REDIS"]
CACHES = {"default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": _redis + "/0"}}
CACHE_MIDDLEWARE_SECONDS = 0
CELERY_BROKER_URL = _redis + "/1"
DAYS_WITHOUT_REPORT, MAX_MIRRORS, MAX_MIRROR_FAILURES = 14, 2, 14
"""


# A report whose task cannot be sent is processed by the task that looks for such every five minutes.
PATCHMAN_SEND = """import lazyguard
from reports.tasks import process_report


@lazyguard.guarded(breaker=lazyguard.Breaker(failure_threshold=3, on=("kombu.exceptions:OperationalError",)))
def _send(number):
    process_report.delay(number)


@_send.fallback
def _later(number):
    return None
"""


@dataclass(frozen=True, kw_only=True)
class Program:
    """One program of the index."""

    requirement: str
    packages: tuple[str, ...]
    # What the audit is given beside them.
    audit: tuple[str, ...] = ()
    # A file, a regular expression, what takes its place.
    edits: tuple[tuple[str, str, str], ...] = ()
    # Files that whoever runs the program writes, beside it.
    site: dict[str, str] = field(default_factory=dict)
    # {home} is a directory for data, {redis} the server's address.
    env: dict[str, str] = field(default_factory=dict)
    # What is run once, before anything is measured.
    prepare: tuple[str, ...] = ()
    # What is timed, by its name: arguments for the interpreter.
    timed: dict[str, tuple[str, ...]] = field(default_factory=dict)
    # The part of their own tests that is run: what pytest is given, and what it requires.
    tests: tuple[str, ...] = ()
    needed: tuple[str, ...] = ()
    tests_env: dict[str, str] = field(default_factory=dict)
    # Where the source distribution alone has them: what is laid beside the package, from below `sources`; `constraint`
    # is for building it.
    beside: tuple[str, ...] = ()
    sources: str = "."
    constraint: str = ""


PROGRAMS = {
    "pretix": Program(
        requirement="pretix==2026.8.0",
        packages=("pretix",),
        audit=("--django", "--exclude", "*.migrations", "--timeout", "15"),
        edits=(
            ("pretix/settings.py", r"\Z", SETTINGS),
            ("pretix/celery_app.py", r"^import logging$", CELERY + "import logging"),
            ("pretix/celery_app.py", r"^app = Celery\(('\w+')\)", r"app = lazy_celery(\1, timeout=2.0)"),
        ),
        env={
            "DJANGO_SETTINGS_MODULE": "pretix.settings",
            "DATA_DIR": "{home}",
            "PRETIX_REDIS_LOCATION": "{redis}/0",
            "PRETIX_CELERY_BROKER": "{redis}/1",
            "PRETIX_CELERY_BACKEND": "{redis}/2",
            "PRETIX_PRETIX_LOGLEVEL": "CRITICAL",
        },
        prepare=("-m", "django", "migrate", "--verbosity", "0"),
        timed={
            "requests": (SERVED, "/control/login", "/control/login", "email=a@example.org&password=b"),
            "a task is sent": (
                "-c",
                SENT.format(module="pretix.base.services.update_check", task="update_check"),
            ),
            "manage.py check": ("-m", "django", "check"),
            "import of the Celery application": ("-c", "import pretix.celery_app"),
        },
        tests=(
            "tests/base/test_cache.py",
            "tests/base/test_mail.py",
            "tests/base/test_metrics.py",
            "tests/base/test_middleware.py",
            "tests/base/test_notifications.py",
            "tests/base/test_settings.py",
            "tests/base/test_updatecheck.py",
            "tests/helpers",
            "tests/presale/test_locale.py",
        ),
        needed=(
            *("pytest==9.1.*", "pytest-django==4.*", "pytest-xdist==3.8.*", "pytest-mock", "pytest-asyncio>=1.4"),
            *("fakeredis==2.38.*", "freezegun", "responses", "aiohttp", "pypdfium2"),
        ),
        beside=("tests", "setup.cfg"),
        sources="src",
        constraint="importlib_metadata<10",
    ),
    "patchman": Program(
        requirement="patchman==4.0.21",
        packages=("patchman", *PATCHMAN_APPS.split()),
        audit=("--django", "--exclude", "*.migrations", "--timeout", "15"),
        edits=(
            ("patchman/settings.py", r"\Z", SETTINGS),
            ("patchman/celery.py", r"^import os$", CELERY + "import os"),
            ("patchman/celery.py", r"^app = Celery\(('\w+')\)", r"app = lazy_celery(\1, timeout=2.0)"),
            ("reports/views.py", r"^from reports.tasks import process_report$", PATCHMAN_SEND),
            ("reports/views.py", r"^        process_report.delay\(", "        _send("),
        ),
        site={"etc/patchman/local_settings.py": PATCHMAN_SITE},
        env=PATCHMAN_ENV,
        prepare=("-m", "django", "migrate", "--verbosity", "0"),
        timed={
            "requests": (SERVED, "/login/", "/reports/upload/", "host=a.example.org&os=Debian 13&arch=amd64"),
            "a task is sent": (
                "-c",
                SENT.format(module="util.tasks", task="clean_database"),
            ),
            "manage.py check": ("-m", "django", "check"),
            "import of the Celery application": ("-c", "import patchman.celery"),
        },
        tests=tuple(f"{name}/tests" for name in PATCHMAN_APPS.split() if name != "modules"),
        tests_env=PATCHMAN_ENV,
        needed=("pytest==9.1.*", "pytest-django==4.*", "whitenoise"),
    ),
    "flower": Program(
        requirement="flower==2.2.0",
        packages=("flower",),
        tests=("tests/unit",),
        needed=("pytest==9.1.*", "redis"),
        beside=("tests", "docs"),
    ),
}
