"""Health endpoints and request deadlines for ASGI: FastAPI, Starlette, Django and other ASGI frameworks.

Invariants: neither a framework nor asyncio is imported. The event loop is not blocked.
"""

from __future__ import annotations

from lazyguard._base import TYPE_CHECKING, final, validation
from lazyguard._core import loaded
from lazyguard._core.wait_cycles import current_loop
from lazyguard.errors import DeadlineExceeded, UsageError
from lazyguard.integrations._requests import NOT_FOUND, Answer, Requests

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

    When it passes, the application is cancelled where it waits. Where it has sent nothing yet, the answer is 504 at
    once, with a body in health+json; what the application sends while it cleans up is dropped. It is 504 too where the
    application raises DeadlineExceeded itself, alone or in a group. Where it has begun to send, DeadlineExceeded
    reaches the server, which closes the connection. A response that is sent in parts goes on: once its first part is
    sent, nothing is cancelled.

    Args:
        cancel: False: nothing is cancelled; the application sees what is left by `lazyguard.remaining` alone.

    Example:
        >>> import asyncio
        >>> from lazyguard.integrations.asgi import Middleware
        >>> async def send(message):
        ...     print(message.get("status"), message.get("body"))
        >>> asyncio.run(Middleware()({"type": "http", "method": "GET", "path": "/livez", "headers": []}, None, send))
        200 None
        None b'{"status": "pass"}'
    """

    __slots__ = ("_app", "_cancel", "_key", "_requests")

    def __init__(
        self,
        app: ASGIApplication | None = None,
        *,
        prefix: str = "",
        details: Details = False,
        timeout_header: str | None = None,
        timeout: float | None = None,
        max_timeout: float | None = None,
        cancel: bool = True,
    ) -> None:
        validation.flag("cancel", cancel)
        if app is not None and not callable(app):  # pyright: ignore[reportUnnecessaryComparison]
            raise UsageError(f"Middleware takes the ASGI application, or None, not one of type {type(app).__name__}.")
        self._app = app
        self._cancel = cancel
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

        limit, begun = reach.given, False
        cancellation: Any = None
        refusal: Any = None  # the task that answers 504, while that of the application may still clean up

        async def answering(message: MutableMapping[str, Any]) -> None:
            nonlocal begun
            if refusal is not None:
                return
            begun = True
            await send(message)
            if message["type"] != "http.response.body":
                return
            if not message.get("more_body"):
                reach.end()
            if cancellation is not None:
                cancellation.stop()

        def refuse() -> None:
            nonlocal refusal
            if not begun:
                refusal = cancellation.task.get_loop().create_task(_send(Answer(*_LATE), send))

        if not self._cancel or current_loop() is None:  # that of trio is none
            with reach:
                await self._app(scope, receive, answering)
            return
        cancellation = loaded("_core.cancellation").Cancellation(limit, refuse)
        try:
            with reach:
                await self._app(scope, receive, answering)
        except BaseException as error:
            late = cancellation.ended(error)
            if refusal is not None and (late or isinstance(error, Exception)):
                await refusal
                if not late:
                    raise
            elif begun or refusal is not None or not loaded("_policies.failures").matches(error, (DeadlineExceeded,)):
                if late:
                    raise limit.exceeded() from error
                raise
            else:
                await _send(Answer(*_LATE), send)
        else:
            cancellation.ended(None)
            if refusal is not None:
                await refusal


_LATE = 504, {"status": "fail", "output": "DeadlineExceeded"}


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
