"""ASGI alone: mounts, websockets and the lifespan, and deadlines in tasks and threads."""

from __future__ import annotations

import asyncio

import pytest

import lazyguard
from lazyguard.integrations import asgi

from .conftest import messages


@pytest.mark.parametrize(
    ("path", "root", "status"),
    [
        ("/health/livez", "/health", 200),
        ("/livez", "/health", 200),
        ("/healthlivez", "/health", 404),
        ("/livez", "", 200),
    ],
)
def test_mounted(path, root, status):
    """Health checks work with and without the mount point in the path."""
    scope = {"type": "http", "method": "GET", "path": path, "root_path": root, "headers": []}
    begun, _ = asyncio.run(messages(asgi.Middleware(), scope))
    assert begun["status"] == status


def test_alone_it_is_a_whole_application():
    """Without an application the middleware completes the lifespan and closes websockets."""
    received = ({"type": "lifespan.startup"}, {"type": "lifespan.shutdown"})
    sent = asyncio.run(messages(asgi.Middleware(), {"type": "lifespan"}, *received))
    assert [message["type"] for message in sent] == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    assert asyncio.run(messages(asgi.Middleware(), {"type": "websocket", "path": "/livez"})) == [
        {"type": "websocket.close"}
    ]


def test_websockets_and_the_lifespan_are_the_applications():
    """Websockets and the lifespan pass through without a deadline, with any path and header."""
    seen = []

    async def app(scope, receive, send):
        seen.append((scope["type"], lazyguard.remaining()))

    middleware = asgi.Middleware(app, timeout=1.0)
    asyncio.run(messages(middleware, {"type": "lifespan"}))
    headers = [(b"x-request-timeout", b"1")]
    asyncio.run(messages(middleware, {"type": "websocket", "path": "/livez", "headers": headers}))
    assert seen == [("lifespan", None), ("websocket", None)]


def test_tasks_and_threads_of_a_request_have_its_deadline(clock):
    """The deadline holds in tasks and threads of the request, and the serving task has its own again afterwards."""
    seen = []

    async def look():
        seen.append(lazyguard.remaining())

    async def app(scope, receive, send):
        await asyncio.create_task(look())
        seen.append(await asyncio.to_thread(lazyguard.remaining))

    async def main():
        headers = [(b"x-request-timeout", b"1.5")]
        middleware = asgi.Middleware(app, timeout_header="X-Request-Timeout")
        await middleware({"type": "http", "method": "GET", "path": "/", "headers": headers}, None, None)
        seen.append(lazyguard.remaining())

    asyncio.run(main())
    assert seen == [1.5, 1.5, None]


def test_a_header_that_comes_twice_is_none():
    """Repeated headers are joined, as a WSGI server does it, and so are no number."""
    seen = []

    async def app(scope, receive, send):
        seen.append(lazyguard.remaining())

    scope = {"type": "http", "method": "GET", "path": "/", "headers": [(b"x-request-timeout", b"1")] * 2}
    asyncio.run(messages(asgi.Middleware(app), scope))
    assert seen == [None]
