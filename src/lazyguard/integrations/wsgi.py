"""Health endpoints and request deadlines for WSGI (PEP 3333): Flask, Django and other WSGI frameworks.

Invariants: no framework is imported. After each part of a request its thread has the deadline that it had before.
"""

from __future__ import annotations

from lazyguard._base import TYPE_CHECKING, final
from lazyguard.errors import UsageError
from lazyguard.integrations._requests import NOT_FOUND, Answer, Requests

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

    from lazyguard._core.deadlines import Reach
    from lazyguard.integrations._requests import Details

__all__ = ["Middleware"]


@final
class Middleware:
    """WSGI middleware that answers health checks, and gives requests deadlines.

    Below `prefix` there are these paths, for GET and HEAD, in the form of health+json
    (draft-inadarei-api-health-check-06). They show the present state; nothing is built, probed or waited for:

    - `/livez`: 200 while the process answers, whatever the state of its dependencies.
    - `/readyz`: 503 while a `critical` service has failed, and after `lazyguard.drain`; 200 with "warn" while
      something is degraded.
    - `/startupz`: 503 until all calls of `lazyguard.preload` have ended. Without a preload it passes: call that before
      the server listens, in the application's module, in `post_fork` or in the lifespan.
    - `/healthz`: all checks of `lazyguard.health`; 503 if its status is "fail".
    - `/statusz`, only with `details`: a page for browsers, which shows the same and renews itself.

    Answers have names and states, never an exception's text, an argument or a URL; more with `details`.

    Args:
        app: The application. None: the middleware is mounted by itself, and all other paths are 404.
        prefix: The begin of the four paths, such as "/health".
        details: What the answers tell beside names and states. True: since when and why, by the types of exceptions,
            and what fallbacks have answered. "places": also files and lines.
        timeout_header: The name of a request header with the seconds that the sender waits, such as
            "X-Request-Timeout: 1.5"; they are the `lazyguard.deadline` of that request. A value that is no decimal
            number above zero is ignored. None: no header is read.
        timeout: Seconds for a request. A header gives less, not more, unless there is `max_timeout`. None: a request
            without the header has no deadline of its own.
        max_timeout: The most seconds that a header may give; a minute where this and `timeout` are left out.

    Raises:
        ConfigurationError: An option is invalid.
        UsageError: `app` cannot be called.

    The deadline holds while the application is called, for each part of its body and for the body's `close`. In between
    the server's thread has its own deadline again. It ends with the answer: what the request has left running, such as
    a thread with its context, has it no more. Nothing is interrupted: see `lazyguard.deadline`.

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
        details: Details = False,
        timeout_header: str | None = None,
        timeout: float | None = None,
        max_timeout: float | None = None,
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
        if type(body) not in (list, tuple):
            return _Body(body, reach)
        reach.end()
        return body


@final
class _Body:
    """A response body whose parts are made within the request's deadline."""

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
        try:
            if close is not None:
                with self._reach:
                    close()
        finally:
            self._reach.end()
