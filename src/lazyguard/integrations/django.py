"""Django: a cache that survives its server, a middleware, checks for `manage.py check`, and tests that reset services.

Invariant: each part is loaded when it is used, so that a settings module may name any of them.
"""

from __future__ import annotations

import lazyguard

lazyguard.require("django", extra="django", why="for lazyguard.integrations.django")

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from lazyguard.integrations._django_middleware import Middleware
    from lazyguard.integrations._django_tests import ResetServices

    # Classes below Django's own, which has no types.
    App: type[Any]
    Cache: type[Any]

__all__ = ["App", "Cache", "Middleware", "ResetServices"]

_HOMES = {
    "App": "_django_checks",
    "Cache": "_django_cache",
    "Middleware": "_django_middleware",
    "ResetServices": "_django_tests",
}

if not TYPE_CHECKING:

    def __getattr__(name):
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        home = __import__(f"lazyguard.integrations.{_HOMES[name]}", fromlist=["*"])
        value = globals()[name] = getattr(home, name)
        return value
