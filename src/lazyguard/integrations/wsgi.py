"""Health endpoints and request deadlines for WSGI: Flask, Django and whatever else PEP 3333 has.

Invariants: no framework is imported; a thread has after each part of a request the deadline that it had before.
"""

from __future__ import annotations

from lazyguard._base.typing import final
from lazyguard.errors import UsageError
from lazyguard.integrations._requests import NOT_FOUND, Answer, Requests

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

    from lazyguard._core.deadlines import Reach

__all__ = ["Middleware"]


@final
class Middleware:
    """A WSGI application in front of another one: it answers health checks, and gives requests deadlines.

    Below `prefix` there are four paths, for GET and HEAD, in the form of health+json
    (draft-inadarei-api-health-check-06). They show the state that there is; nothing is built, probed or waited for:

    - `/livez`: 200 as long as the process answers, whatever it depends on.
    - `/readyz`: 503 while a `critical` service has failed; 200 with "warn" where something is degraded.
    - `/startupz`: 503 until what `lazyguard.preload` was called for has ended. It passes where nobody has called that:
      call it before the server listens, in the application's module, in `post_fork` or in the lifespan.
    - `/healthz`: all that `lazyguard.health` has; 503 where that is "fail".

    They hold names, places of declarations and types of exceptions, never an exception's text, an argument or a URL.

    Args:
        app: The application. None: there is only this, to be mounted somewhere; all other paths are 404.
        prefix: What the four paths begin with, such as "/health".
        details: Whether the answers hold the checks; else the status alone.
        timeout_header: The request's header that says how many seconds its sender waits, "X-Request-Timeout: 1.5"; they
            are the `lazyguard.deadline` of that request. One that is no decimal number above zero is as none at all.
            None: no header is asked.
        timeout: Seconds for a request that does not say. None: it has no deadline of its own.
        max_timeout: The most seconds that a request gets, whatever it or `timeout` says.

    Raises:
        ConfigurationError: An option is invalid.
        UsageError: `app` cannot be called.

    The deadline holds while the application is called, for each part of its body and for the body's `close`; in between
    the server's thread has its own again. Nothing is interrupted: see `lazyguard.deadline`.

    Example:
        >>> from lazyguard.integrations.wsgi import Middleware
        >>> def shop(environ, start_response):
        ...     start_response("200 OK", [])
        ...     return [b"tea"]
        >>> application = Middleware(shop)
        >>> application({"REQUEST_METHOD": "GET", "PATH_INFO": "/livez"}, lambda status, headers: print(status))
        200 OK
        [b'{"status": "pass"}']
    """

    __slots__ = ("_app", "_key", "_requests")

    def __init__(
        self,
        app: WSGIApplication | None = None,
        *,
        prefix: str = "",
        details: bool = True,
        timeout_header: str | None = "X-Request-Timeout",
        timeout: float | None = None,
        max_timeout: float = 60.0,
    ) -> None:
        if app is not None and not callable(app):  # pyright: ignore[reportUnnecessaryComparison]
            raise UsageError(f"Middleware takes the WSGI application, or None, not one of type {type(app).__name__}.")
        self._app = app
        self._requests = requests = Requests(
            prefix=prefix,
            details=details,
            timeout_header=timeout_header,
            timeout=timeout,
            max_timeout=max_timeout,
        )
        self._key = "HTTP_" + (requests.header or "").upper().replace("-", "_")

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        answer = self._requests.answer(environ["REQUEST_METHOD"], environ.get("PATH_INFO", ""))
        if answer is None and self._app is None:
            answer = Answer(NOT_FOUND)
        if answer is not None:
            from http import HTTPStatus

            start_response(f"{answer.status} {HTTPStatus(answer.status).phrase}", answer.headers)
            return [answer.body]
        assert self._app is not None
        reach = self._requests.reach(environ.get(self._key))
        if reach is None:
            return self._app(environ, start_response)
        with reach:
            body = self._app(environ, start_response)
        return body if type(body) in (list, tuple) else _Body(body, reach)


@final
class _Body:
    """A body whose parts are made within the request's deadline."""

    __slots__ = ("_body", "_parts", "_reach")

    def __init__(self, body: Iterable[bytes], reach: Reach) -> None:
        self._body, self._reach = body, reach
        self._parts: Iterator[bytes] | None = None

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        with self._reach:
            if self._parts is None:
                self._parts = iter(self._body)
            return next(self._parts)

    def close(self) -> None:
        close = getattr(self._body, "close", None)
        if close is not None:
            with self._reach:
                close()
