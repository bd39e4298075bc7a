"""An integration names its missing library, and refuses what is no application."""

from __future__ import annotations

import importlib
import sys

import pytest

import lazyguard
from lazyguard._base import distributions
from lazyguard.integrations import asgi, wsgi
from lazyguard.integrations.redis import lazy_redis, redis_client


@pytest.fixture(autouse=True)
def _installed(monkeypatch):
    """Let lazyguard be installed with its extras."""
    monkeypatch.setattr(distributions, "command", lambda name, *, extra, **more: f"pip install 'lazyguard[{extra}]'")


@pytest.mark.parametrize(("name", "library"), [("prometheus", "prometheus_client"), ("opentelemetry", "opentelemetry")])
def test_the_import_says_which_extra_it_needs(monkeypatch, name, library):
    """A module whose library is missing cannot be imported, and its error has the command."""
    for each in [module for module in sys.modules if module.partition(".")[0] == library]:
        monkeypatch.delitem(sys.modules, each)
    monkeypatch.setitem(sys.modules, library, None)
    monkeypatch.delitem(sys.modules, f"lazyguard.integrations.{name}", raising=False)
    with pytest.raises(lazyguard.errors.MissingModuleError, match=rf"pip install 'lazyguard\[{name}\]'"):
        importlib.import_module(f"lazyguard.integrations.{name}")


@pytest.mark.parametrize("use", [lambda: redis_client("redis://x"), lambda: lazy_redis("redis://x").get("a")])
def test_the_place_is_the_users(monkeypatch, use):
    """The error has the line that uses the client, not a line of lazyguard."""
    for each in [module for module in sys.modules if module.partition(".")[0] == "redis"]:
        monkeypatch.delitem(sys.modules, each)
    monkeypatch.setitem(sys.modules, "redis", None)
    with pytest.raises(lazyguard.errors.MissingModuleError, match=rf"required at {__file__}:\d+.*'lazyguard\[redis\]'"):
        use()


@pytest.mark.parametrize("kind", [wsgi.Middleware, asgi.Middleware])
def test_a_middleware_takes_what_can_be_called(kind):
    """An application that cannot be called is refused at once, not at the first request."""
    with pytest.raises(lazyguard.errors.UsageError, match=r"takes the .SGI application, or None, not one of type str"):
        kind("shop:app")
