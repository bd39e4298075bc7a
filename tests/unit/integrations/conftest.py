"""For the middlewares: one client for WSGI and ASGI, so that each promise is tested in both."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

import pytest

from lazyguard._core import declaration
from lazyguard._lazy_imports import package
from lazyguard._services import preload
from lazyguard.integrations import asgi, wsgi


@pytest.fixture(autouse=True)
def known(monkeypatch):
    """Hide what other tests have declared."""
    monkeypatch.setattr(declaration, "_registered", {})
    monkeypatch.setattr(package, "_known", {})
    monkeypatch.setattr(preload, "_latest", {})


@pytest.fixture(params=["wsgi", "asgi"])
def serve(request):
    """Return a function that takes an application's work and options, and returns a function that sends a request."""
    return over_wsgi if request.param == "wsgi" else over_asgi


def over_wsgi(work: Callable[[], object] | None = None, **options: Any) -> Callable[..., SimpleNamespace]:
    options.setdefault("details", "places")
    options.setdefault("timeout_header", "X-Request-Timeout")

    def app(environ, start_response):
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [str(work()).encode()]

    middleware = wsgi.Middleware(None if work is None else validator(app), **options)

    def ask(path: str, method: str = "GET", **headers: str) -> SimpleNamespace:
        environ = {"REQUEST_METHOD": method, "PATH_INFO": path, "QUERY_STRING": "", "SCRIPT_NAME": ""}
        environ |= {f"HTTP_{n.upper()}": v for n, v in headers.items()}
        setup_testing_defaults(environ)
        told = []
        body = validator(middleware)(environ, lambda status, headers, error=None: told.append((status, headers)))
        try:
            text = b"".join(body)
        finally:
            body.close()
        [(status, answered)] = told
        return seen(int(status[:3]), answered, text)

    return ask


def over_asgi(work: Callable[[], object] | None = None, **options: Any) -> Callable[..., SimpleNamespace]:
    options.setdefault("details", "places")
    options.setdefault("timeout_header", "X-Request-Timeout")

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
        await send({"type": "http.response.body", "body": str(work()).encode()})

    middleware = asgi.Middleware(None if work is None else app, **options)

    def ask(path: str, method: str = "GET", **headers: str) -> SimpleNamespace:
        sent = [(name.lower().replace("_", "-").encode(), value.encode("latin-1")) for name, value in headers.items()]
        begun, ended = asyncio.run(messages(middleware, {"type": "http", "path": path, "method": method,
                                                         "headers": sent}))  # fmt: skip
        answered = [(name.decode().title(), value.decode()) for name, value in begun["headers"]]
        assert all(name == name.lower() for name, _ in begun["headers"])
        return seen(begun["status"], answered, ended["body"])

    return ask


async def messages(app: Any, scope: dict[str, Any], *received: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the messages that an ASGI application sends when it receives these."""
    coming, sent = iter(received), []

    async def receive():
        return next(coming)

    async def send(message):
        sent.append(message)

    await app(scope, receive, send)
    return sent


def seen(status: int, headers: list[tuple[str, str]], body: bytes) -> SimpleNamespace:
    named = dict(headers)
    told = json.loads(body) if body and named["Content-Type"].endswith("json") else None
    return SimpleNamespace(status=status, headers=named, body=body, told=told)
