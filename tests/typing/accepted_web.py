"""The middlewares, as hosts put them in front of their applications."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import TYPE_CHECKING, Any

from lazyguard.integrations import asgi, wsgi

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment


def shop(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", [])
    return [b"tea"]


async def ashop(
    scope: MutableMapping[str, Any],
    receive: Callable[[], Awaitable[MutableMapping[str, Any]]],
    send: Callable[[MutableMapping[str, Any]], Awaitable[None]],
) -> None: ...


application: WSGIApplication = wsgi.Middleware(shop, prefix="/health", details=False, timeout=2.0, max_timeout=30)
twice: WSGIApplication = wsgi.Middleware(wsgi.Middleware(details="places"))
aapplication = asgi.Middleware(asgi.Middleware(ashop, timeout_header=None), timeout=2.0, cancel=False)
