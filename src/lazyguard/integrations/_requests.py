"""What a request is answered and how long it may take: all that the WSGI and the ASGI middleware have in common.

Invariants: an answer is made of cached state, so that it builds, probes and waits for nothing; it has names, places and
types of exceptions, never an exception's text, an argument or a URL; an invalid header changes nothing.
"""

from __future__ import annotations

import lazyguard
from lazyguard._base import validation
from lazyguard._base.typing import final
from lazyguard._core.deadlines import Deadline, Reach
from lazyguard._monitoring.health import Health
from lazyguard.errors import ConfigurationError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


@final
class Answer:
    """What is sent: the status, the headers, the body."""

    __slots__ = ("body", "headers", "status")

    def __init__(self, status: int, told: dict[str, Any] | None = None, *, head: bool = False, **more: str) -> None:
        import json

        body = b"" if told is None else json.dumps(told).encode()
        self.status = status
        kind = "text/plain" if told is None else "application/health+json"
        self.headers = [("Cache-Control", "no-store"), ("Content-Type", kind), ("Content-Length", str(len(body)))]
        self.headers += more.items()
        self.body = b"" if head else body


NOT_FOUND = 404


@final
class Requests:
    """How requests are answered and limited, by the options of a middleware."""

    __slots__ = ("_details", "_longest", "_prefix", "_seconds", "header")

    def __init__(
        self, *, prefix: str, details: bool, timeout_header: str | None, timeout: float | None, max_timeout: float
    ) -> None:
        given: object = prefix
        if not isinstance(given, str) or (given and not given.startswith("/")) or given.endswith("/"):
            raise ConfigurationError(f'prefix={prefix!r} is invalid: give a path such as "/health", or "".')
        if timeout_header is not None and not _is_token(timeout_header):
            raise ConfigurationError(f"timeout_header={timeout_header!r} is invalid: give a header's name, or None.")
        validation.flag("details", details)
        validation.seconds("timeout", timeout, optional=True)
        validation.seconds("max_timeout", max_timeout)
        self._prefix, self._details = prefix, details
        self._seconds, self._longest = timeout, max_timeout
        self.header: str | None = timeout_header

    def answer(self, method: str, path: str) -> Answer | None:
        """Return what a request is answered here; None where that is the application's affair."""
        if not path.startswith(self._prefix):
            return None
        tell = _ENDPOINTS.get(path[len(self._prefix) :])
        if tell is None:
            return None
        if method not in ("GET", "HEAD"):
            return Answer(405, Allow="GET, HEAD")
        status, checks = tell()
        told: dict[str, Any] = {"status": status}
        if self._details and checks is not None:
            told["checks"] = checks.to_dict()["checks"]
        return Answer(503 if status == "fail" else 200, told, head=method == "HEAD")

    def reach(self, asked: str | None) -> Reach | None:
        """Return the reach of a request's deadline, by what its header says; None where it has none."""
        seconds = None if asked is None else _seconds(asked)
        by = "its header asks for" if seconds is not None else "a request is given"
        if seconds is None:
            seconds = self._seconds
        if seconds is None:
            return None
        seconds = min(seconds, self._longest)
        return Reach(Deadline(seconds, f"the deadline of {seconds:g} s for this request has passed; {by} no more."))


def _alive() -> tuple[str, Health | None]:
    """Say that the process answers, which is all that a restart could mend."""
    return "pass", None


def _ready() -> tuple[str, Health]:
    """Say whether requests are welcome: only a critical service's check is ever "fail"."""
    found = Health(tuple(c for c in lazyguard.health().checks if c.kind == "critical service" or c.status != "pass"))
    return found.status, found


def _started() -> tuple[str, Health]:
    """Say whether all that was to be preloaded is over; what failed of it does not hold the program back.

    Where nobody has called `preload` there is nothing to wait for: most programs do not call it, and those that do have
    done so before their server answers anybody, in the application's module, in `post_fork` or in the lifespan. What a
    fork has interrupted does not end in this process any more, so it is told and not waited for.
    """
    found = Health(tuple(check for check in lazyguard.health().checks if check.kind == "preload"))
    going = any(check.state == "resolving" for check in found.checks)
    return "fail" if going else found.status, found


def _all() -> tuple[str, Health]:
    found = lazyguard.health()
    return found.status, found


_ENDPOINTS: dict[str, Callable[[], tuple[str, Health | None]]] = {
    "/livez": _alive,
    "/readyz": _ready,
    "/startupz": _started,
    "/healthz": _all,
}


def _seconds(asked: str) -> float | None:
    """Return the seconds that a header's value is: a decimal number above zero, such as 1.5; None if it is not."""
    asked = asked.strip()
    if len(asked) > 32 or not asked.isascii() or not asked.replace(".", "", 1).isdigit():
        return None
    return float(asked) or None


def _is_token(name: object) -> bool:
    return isinstance(name, str) and name.isascii() and name.replace("-", "").isalnum()
