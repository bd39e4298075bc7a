"""Health endpoints and request deadlines for ASGI: FastAPI, Starlette, Django and other ASGI frameworks.

Invariants: neither a framework nor asyncio is imported. The event loop is not blocked.
"""

from __future__ import annotations

from lazyguard._base import final
from lazyguard.errors import UsageError
from lazyguard.integrations._requests import NOT_FOUND, Answer, Requests

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping
    from typing import Any, TypeAlias

    from lazyguard.integrations._requests import Details

    Scope: TypeAlias = MutableMapping[str, Any]
    Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
    Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]
    ASGIApplication: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

__all__ = ["Middleware"]


@final
class Middleware:
    """ASGI middleware that answers health checks, and gives HTTP requests deadlines.

    Its paths, options and errors are those of `lazyguard.integrations.wsgi.Middleware`. The deadline holds for all work
    of the application for the request, also in tasks that it creates and threads that it sends work to. Websockets and
    the lifespan have none.

    Example:
        >>> import asyncio
        >>> from lazyguard.integrations.asgi import Middleware
        >>> async def send(message):
        ...     print(message.get("status"), message.get("body"))
        >>> asyncio.run(Middleware()({"type": "http", "method": "GET", "path": "/livez", "headers": []}, None, send))
        200 None
        None b'{"status": "pass"}'
    """

    __slots__ = ("_app", "_key", "_requests")

    def __init__(
        self,
        app: ASGIApplication | None = None,
        *,
        prefix: str = "",
        details: Details = False,
        timeout_header: str | None = None,
        timeout: float | None = None,
        max_timeout: float | None = None,
    ) -> None:
        if app is not None and not callable(app):  # pyright: ignore[reportUnnecessaryComparison]
            raise UsageError(f"Middleware takes the ASGI application, or None, not one of type {type(app).__name__}.")
        self._app = app
        self._requests = requests = Requests(
            prefix=prefix,
            details=details,
            timeout_header=timeout_header,
            timeout=timeout,
            max_timeout=max_timeout,
        )
        self._key = (requests.header or "").lower().encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            answer = self._requests.answer(scope["method"], _path(scope))
            if answer is None and self._app is None:
                answer = Answer(NOT_FOUND)
            if answer is not None:
                await _send(answer, send)
                return
        if self._app is None:
            await _decline(scope, receive, send)
            return
        header = b", ".join(value for name, value in scope.get("headers", ()) if name == self._key)
        reach = self._requests.reach(header.decode("latin-1")) if scope["type"] == "http" else None
        if reach is None:
            await self._app(scope, receive, send)
            return

        async def answering(message: MutableMapping[str, Any]) -> None:
            await send(message)
            if message["type"] == "http.response.body" and not message.get("more_body"):
                reach.end()

        with reach:
            await self._app(scope, receive, answering)


def _path(scope: Scope) -> str:
    """Return the path below the mount point: the scope's path may or may not begin with that."""
    path: str = scope["path"]
    mounted: str = scope.get("root_path", "").rstrip("/")
    return path[len(mounted) :] if mounted and path.startswith(f"{mounted}/") else path


async def _send(answer: Answer, send: Send) -> None:
    headers = [(name.lower().encode(), value.encode()) for name, value in answer.headers]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})


async def _decline(scope: Scope, receive: Receive, send: Send) -> None:
    """Complete a lifespan, and close a websocket, without an application."""
    if scope["type"] == "websocket":
        await send({"type": "websocket.close"})
    while scope["type"] == "lifespan":
        phase = (await receive())["type"]
        await send({"type": f"{phase}.complete"})
        if phase == "lifespan.shutdown":
            return
