"""What `manage.py check` tells of lazyguard: what would surprise where the program runs.

Invariants: a check builds, connects to and resolves nothing. Each message says what to write instead.
"""

from __future__ import annotations

import gc
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register
from django.dispatch import Signal
from django.utils.module_loading import import_string

from lazyguard._core import clock, whole
from lazyguard._proxies import proxy as proxies
from lazyguard.errors import LazyguardError
from lazyguard.integrations import _django_cache, _django_middleware

CACHE, MIDDLEWARE = "lazyguard.integrations.django.Cache", "lazyguard.integrations.django.Middleware"
POSTGRESQL = "lazyguard.integrations.django_postgresql"
_IN_A_FORK = (
    "Where it runs before a fork, as in the master of gunicorn --preload, its threads are not in the workers: these "
    "build everything again. Call it in the WSGI or ASGI module, or in post_fork."
)
_IN_SETTINGS = (
    "Django and its drivers hand settings to C code and compare them, where no proxy will do. Read the value in the "
    "settings module, or let the function that needs it have a lazy object of its own."
)
# How deep a setting is looked into.
_DEPTH = 4


class App(AppConfig):  # type: ignore[misc, unused-ignore]
    """The application to name in INSTALLED_APPS, "lazyguard.integrations.django.App", for the checks."""

    name = "lazyguard.integrations.django"
    label = "lazyguard"
    verbose_name = "lazyguard"

    def ready(self) -> None:
        """Register the checks."""
        for check, tag in (
            (check_settings, Tags.compatibility),
            (check_caches, Tags.caches),
            (check_preloads, Tags.compatibility),
            (check_senders, Tags.signals),
            (check_databases, Tags.compatibility),
        ):
            register(check, tag)


def check_settings(**_: Any) -> list[CheckMessage]:
    """Find lazy objects in the settings, a middleware that is not first, and options that are invalid."""
    found: list[CheckMessage] = [
        Warning(f"{name} has a lazy object.", hint=_IN_SETTINGS, id="lazyguard.W001")
        for name in sorted(dir(settings))
        if name.isupper() and settings.is_overridden(name) and _has_proxy(getattr(settings, name, None), _DEPTH)
    ]
    order = list(settings.MIDDLEWARE or ())
    if MIDDLEWARE in order[1:]:
        found.append(
            Warning(
                "lazyguard's Middleware is not the first one.",
                hint="What stands before it is asked at each health check: sessions, host names, redirections. Name it "
                "first in MIDDLEWARE.",
                id="lazyguard.W002",
            )
        )
    try:
        _django_middleware.requests_of_settings()
    except LazyguardError as error:
        found.append(Error(str(error), id="lazyguard.E001"))
    return found


def _has_proxy(value: Any, depth: int) -> bool:
    """Return whether a setting is a lazy object that is no plain object of the program's, or has one."""
    kind = type(value)
    if issubclass(kind, proxies.Proxy):
        cell = proxies.cell_of(value)
        target = type(cell.now.target) if cell.used and cell.now.served else proxies.declared_class(cell)
        return target is None or issubclass(target, str | bytes | int | float | tuple | list | dict | set)
    if depth and issubclass(kind, dict):
        return any(_has_proxy(one, depth - 1) for pair in dict.items(value) for one in pair)
    if depth and issubclass(kind, list | tuple | set | frozenset):
        return any(_has_proxy(one, depth - 1) for one in kind.__iter__(value))
    return False


def check_caches(**_: Any) -> list[CheckMessage]:
    """Find caches that cannot be made, that nothing bounds, and sessions that end with their server."""
    found: list[CheckMessage] = []
    for alias, entry in settings.CACHES.items():
        if entry.get("BACKEND") != CACHE:
            continue
        params = {name: value for name, value in entry.items() if name not in ("BACKEND", "LOCATION")}
        try:
            cache = _django_cache.Cache(entry.get("LOCATION", ""), params)
            names = {role: _django_cache.entry_of(role, "", params)[0] for role in cache.roles}
            kinds = {role: import_string(name) for role, name in names.items()}
        except (LazyguardError, ImportError) as error:
            found.append(Error(f"CACHES[{alias!r}]: {error}", id="lazyguard.E002"))
            continue
        for role, kind in kinds.items():
            if not _django_cache.is_bounded(kind):
                found.append(
                    Warning(
                        f"CACHES[{alias!r}]: nothing is known that bounds the waits of {kind.__qualname__}.",
                        hint=f'Give its client a limit of its own in the options of the {role}, below "timeout". If it '
                        "has one, silence this with SILENCED_SYSTEM_CHECKS.",
                        id="lazyguard.W003",
                    )
                )
    engine, alias = settings.SESSION_ENGINE, settings.SESSION_CACHE_ALIAS
    if engine == "django.contrib.sessions.backends.cache" and settings.CACHES.get(alias, {}).get("BACKEND") == CACHE:
        found.append(
            Warning(
                f"sessions are kept in CACHES[{alias!r}] alone: users are logged out while its server is away.",
                hint='Use SESSION_ENGINE = "django.contrib.sessions.backends.cached_db".',
                id="lazyguard.W004",
            )
        )
    return found


def check_databases(**_: Any) -> list[CheckMessage]:
    """Find databases in whose waits a request outlives its deadline, and its worker may be killed."""
    return [
        Warning(
            f"DATABASES[{alias!r}]: nothing bounds the waits for a PostgreSQL that does not answer.",
            hint=f'Use "ENGINE": "{POSTGRESQL}", which keeps the deadline of the request.',
            id="lazyguard.W007",
        )
        for alias, entry in settings.DATABASES.items()
        if entry.get("ENGINE") == "django.db.backends.postgresql" and MIDDLEWARE in (settings.MIDDLEWARE or ())
    ]


def check_preloads(**_: Any) -> list[CheckMessage]:
    """Find calls of `preload` that importing the settings, the applications or the URLs has made."""
    preload = whole("_services.preload")  # not loaded: nothing was called
    begun = [] if preload is None else preload.checks(clock.now(), clock.current.date())
    return [Warning(f"preload() at {one.place} runs at import.", hint=_IN_A_FORK, id="lazyguard.W005") for one in begun]


def check_senders(**_: Any) -> list[CheckMessage]:
    """Find handlers of signals that are connected for a proxy, which no signal is ever sent for."""
    signals: list[Any] = []
    lazies: dict[int, Any] = {}
    for thing in gc.get_objects():
        kind = type(thing)
        if issubclass(kind, proxies.Proxy):
            lazies[id(thing)] = proxies.cell_of(thing)
        elif issubclass(kind, Signal):
            signals.append(thing)
    keys = {entry[0][1] for signal in signals for entry in signal.receivers}
    return [
        Warning(
            f"a signal is connected for {lazies[key].name}, which is lazy: its handler is not called.",
            hint="Signals know senders by id(). Import the class eagerly, or give sender=lazyguard.resolve(...). "
            f"It is declared at {lazies[key].place}.",
            id="lazyguard.W006",
        )
        for key in keys & lazies.keys()
    ]
