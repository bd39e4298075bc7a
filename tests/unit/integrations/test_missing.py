"""What an integration says where its library is not installed, or where it is given something else."""

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
    """As where lazyguard is installed: with its extras."""
    monkeypatch.setattr(distributions, "command", lambda name, *, extra, **more: f"pip install 'lazyguard[{extra}]'")


@pytest.mark.parametrize(("name", "library"), [("prometheus", "prometheus_client"), ("opentelemetry", "opentelemetry")])
def test_the_import_says_which_extra_it_needs(monkeypatch, name, library):
    """The module cannot be imported, and says how to mend that."""
    for each in [module for module in sys.modules if module.partition(".")[0] == library]:
        monkeypatch.delitem(sys.modules, each)
    monkeypatch.setitem(sys.modules, library, None)
    monkeypatch.delitem(sys.modules, f"lazyguard.integrations.{name}", raising=False)
    with pytest.raises(lazyguard.errors.MissingModuleError, match=rf"pip install 'lazyguard\[{name}\]'"):
        importlib.import_module(f"lazyguard.integrations.{name}")


@pytest.mark.parametrize("use", [lambda: redis_client("redis://x"), lambda: lazy_redis("redis://x").get("a")])
def test_the_place_is_the_users(monkeypatch, use):
    """Asked for is the library by who uses the client, not by lazyguard."""
    for each in [module for module in sys.modules if module.partition(".")[0] == "redis"]:
        monkeypatch.delitem(sys.modules, each)
    monkeypatch.setitem(sys.modules, "redis", None)
    with pytest.raises(
        lazyguard.errors.MissingModuleError, match=rf"asked for at {__file__}:\d+.*'lazyguard\[redis\]'"
    ):
        use()


@pytest.mark.parametrize("kind", [wsgi.Middleware, asgi.Middleware])
def test_a_middleware_is_around_what_can_be_called(kind):
    """Anything else is told where it is given, not at the first request."""
    with pytest.raises(lazyguard.errors.UsageError, match=r"takes the .SGI application, or None, not one of type str"):
        kind("shop:app")
