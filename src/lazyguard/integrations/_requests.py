"""The health answers and the deadline of a request, for the WSGI and the ASGI middleware.

Invariants: an answer is made of the present state, so it builds, probes and waits for nothing. It has names, places and
types of exceptions, never an exception's text, an argument or a URL. An invalid header is ignored.
"""

from __future__ import annotations

import lazyguard
from lazyguard._base import TYPE_CHECKING, final, validation
from lazyguard._base.places import shown
from lazyguard._core import whole
from lazyguard._core.deadlines import Deadline, Reach
from lazyguard._monitoring.health import Health
from lazyguard.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Literal, TypeAlias

    Details: TypeAlias = bool | Literal["places"]


@final
class Answer:
    """A response: its status, headers and body."""

    __slots__ = ("body", "headers", "status")

    def __init__(self, status: int, content: dict[str, Any] | None = None, *, head: bool = False, **more: str) -> None:
        import json

        body = b"" if content is None else json.dumps(content).encode()
        self.status = status
        kind = "text/plain" if content is None else "application/health+json"
        self.headers = [("Cache-Control", "no-store"), ("Content-Type", kind), ("Content-Length", str(len(body)))]
        self.headers += more.items()
        self.body = b"" if head else body


NOT_FOUND = 404
# The options of every middleware, as they are where nothing is said.
DEFAULTS: dict[str, Any] = {
    "prefix": "",
    "details": False,
    "timeout_header": None,
    "timeout": None,
    "max_timeout": None,
}


# Seconds that a header can ask for, where no option limits it.
_LONGEST = 60.0


@final
class Requests:
    """The answers and deadlines of requests, by the options of a middleware."""

    __slots__ = ("_details", "_maximum", "_prefix", "_seconds", "header")

    def __init__(
        self,
        *,
        prefix: str,
        details: Details,
        timeout_header: str | None,
        timeout: float | None,
        max_timeout: float | None,
    ) -> None:
        value: object = prefix
        if not isinstance(value, str) or (value and not value.startswith("/")) or value.endswith("/"):
            raise ConfigurationError(f'prefix={shown(prefix)} is invalid: give a path such as "/health", or "".')
        if timeout_header is not None and not _is_token(timeout_header):
            raise ConfigurationError(
                f"timeout_header={shown(timeout_header)} is invalid: give a header's name, or None."
            )
        if type(details) is not bool and details != "places":
            raise ConfigurationError(f'details={shown(details)} is invalid: give False, True or "places".')
        validation.seconds("timeout", timeout, optional=True)
        validation.seconds("max_timeout", max_timeout, optional=True)
        self._prefix = prefix
        self._details: Details = details
        longest = _LONGEST if max_timeout is None else max_timeout
        self._seconds = timeout if timeout is None else min(timeout, longest)
        # A client has no more than the server's own limit, unless the server says how much.
        self._maximum = longest if max_timeout is not None or timeout is None else timeout
        self.header: str | None = timeout_header

    def answer(self, method: str, path: str) -> Answer | None:
        """Return the answer to a health check; None for a request to the application."""
        if not path.startswith(self._prefix):
            return None
        endpoint = _ENDPOINTS.get(path[len(self._prefix) :])
        if endpoint is None:
            return None
        if method not in ("GET", "HEAD"):
            return Answer(405, Allow="GET, HEAD")
        if endpoint is _page:
            return _page(head=method == "HEAD") if self._details else None
        status, checks = endpoint()
        content: dict[str, Any] = {"status": status}
        if checks is not None:
            content["checks"] = shown_to(self._details, checks)
        return Answer(503 if status == "fail" else 200, content, head=method == "HEAD")

    def reach(self, value: str | None) -> Reach | None:
        """Return the reach of a request's deadline, by its header; None if it has no deadline."""
        asked = None if value is None or self.header is None else _seconds(value)
        seconds = self._seconds if asked is None else min(asked, self._maximum)
        if seconds is None:
            return None
        by = "its header allows" if seconds == asked else "the middleware allows"
        return Reach(Deadline(seconds, f"the deadline of {seconds:g} s for this request has passed; {by} no more."))


def shown_to(details: Details, found: Health) -> dict[str, list[dict[str, Any]]]:
    """Return the checks, as far as a reader may see them: names and states; with details why; "places" too."""
    checks: dict[str, list[dict[str, Any]]] = found.to_dict()["checks"]
    if details == "places":
        return checks
    return {name: [_without(details, one) for one in several] for name, several in checks.items()}


def _without(details: Details, check: dict[str, Any]) -> dict[str, Any]:
    if not details:
        return {name: value for name, value in check.items() if name in _OPEN}
    from re import sub

    shorter = {name: value for name, value in check.items() if name != "stacks"}
    if "output" in check:
        shorter["output"] = sub(_PLACE, "", check["output"])
    if "fallbacks" in check:
        shorter["fallbacks"] = [
            {"state": one["state"], "cause": sub(_PLACE, "", one["cause"])} for one in check["fallbacks"]
        ]
    return shorter


# What everybody may see of a check; and the place in a cause, `OSError at /srv/shop/db.py:12`.
_OPEN = frozenset(("componentType", "status", "observedValue", "observedUnit"))
_PLACE = r" at .*?:\d+"


def _alive() -> tuple[str, Health | None]:
    """Pass while the process answers; a restart could mend nothing else."""
    return "pass", None


def _ready() -> tuple[str, Health | None]:
    """Fail if the process drains, or a critical service has failed; no other check is ever "fail"."""
    readiness = whole("_services.readiness")  # not loaded: nothing drains
    if readiness is not None and readiness.draining():
        return "fail", None
    found = Health(
        checks=tuple(c for c in lazyguard.health().checks if c.kind == "critical service" or c.status != "pass")
    )
    return found.status, found


def _started() -> tuple[str, Health]:
    """Fail until all preloads have ended; a failure of a preload does not hold the program back.

    Without a preload there is nothing to wait for. Most programs have none. Those that have one call it before their
    server answers requests: in the application's module, in `post_fork` or in the lifespan. A preload that a fork has
    interrupted does not end in this process, so it is shown and not waited for.
    """
    found = Health(checks=tuple(check for check in lazyguard.health().checks if check.kind == "preload"))
    running = any(check.state == "resolving" for check in found.checks)
    return "fail" if running else found.status, found


def _all() -> tuple[str, Health]:
    found = lazyguard.health()
    return found.status, found


def _page(*, head: bool = False) -> Answer:
    """Return the page for browsers, which asks `/healthz` beside it."""
    from pkgutil import get_data

    page = Answer(200)
    text = get_data("lazyguard.integrations", "statusz.html") or b""
    page.headers = [
        ("Cache-Control", "no-store"),
        ("Content-Type", "text/html; charset=utf-8"),
        ("Content-Length", str(len(text))),
        ("Content-Security-Policy", "default-src 'none'; connect-src 'self'; style-src 'unsafe-inline'; "
         "script-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"),
        ("X-Content-Type-Options", "nosniff"),
    ]  # fmt: skip
    page.body = b"" if head else text
    return page


_ENDPOINTS: dict[str, Callable[..., Any]] = {
    "/livez": _alive,
    "/readyz": _ready,
    "/startupz": _started,
    "/healthz": _all,
    "/statusz": _page,
}


def _seconds(value: str) -> float | None:
    """Return the seconds of a header's value, a decimal number above zero such as 1.5; None for any other value."""
    value = value.strip()
    if len(value) > 32 or not value.isascii() or not value.replace(".", "", 1).isdigit():
        return None
    return float(value) or None


def _is_token(name: object) -> bool:
    return isinstance(name, str) and name.isascii() and name.replace("-", "").isalnum()
