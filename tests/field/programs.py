"""The public programs, and what lazyguard asks of each: edits as short patterns, so that no line of theirs is here."""

from __future__ import annotations

from dataclasses import dataclass, field

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
CELERY = "from lazyguard.integrations.celery import lazy_celery\n"


@dataclass(frozen=True, kw_only=True)
class Program:
    """One program of the index."""

    requirement: str
    package: str
    # A file, a regular expression, what takes its place.
    edits: tuple[tuple[str, str, str], ...]
    # {home} is a directory for data, {redis} the server's address.
    env: dict[str, str]
    # What is run once, before anything is measured.
    prepare: tuple[str, ...] = ()
    # What is timed, by its name: arguments for the interpreter. SERVED stands for served.py.
    timed: dict[str, tuple[str, ...]] = field(default_factory=dict)
    # The part of their own tests that is run: what pytest is given, and what it requires. They are in the source
    # distribution alone, below `sources`; `constraint` is for building that.
    tests: tuple[str, ...] = ()
    needed: tuple[str, ...] = ()
    sources: str = "."
    constraint: str = ""


PROGRAMS = {
    "pretix": Program(
        requirement="pretix==2026.8.0",
        package="pretix",
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
            "requests": ("SERVED", "/control/login", "email=a@example.org&password=b"),
            "a task is sent": (
                "-c",
                "import django, time; django.setup()\n"
                "from pretix.base.services.update_check import update_check\n"
                "began = time.perf_counter()\n"
                "try: update_check.apply_async()\n"
                "finally: print(round(time.perf_counter() - began, 2), flush=True)",
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
        sources="src",
        constraint="importlib_metadata<10",
    ),
}
