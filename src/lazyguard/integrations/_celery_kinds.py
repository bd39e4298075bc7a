"""The kinds of brokers that `lazy_celery(timeout=)` holds for; all others are refused.

Invariant: nothing of Celery is imported, since a declaration asks.
"""

from __future__ import annotations

from lazyguard._base import TYPE_CHECKING, validation
from lazyguard.errors import ConfigurationError

if TYPE_CHECKING:
    from typing import Any

KINDS = ("redis", "rediss", "amqp", "amqps", "pyamqp", "memory")


_URLS = "a URL, or several in a list"


def check_brokers(urls: Any, place: str) -> None:
    """Refuse brokers whose clients' waits cannot be limited.

    Args:
        urls: One or several, as Celery's `broker_url` takes them; or None.
    """
    several = (
        urls.split(";") if isinstance(urls, str) else validation.names("broker", () if urls is None else urls, _URLS)
    )
    for url in several:
        kind, found, _ = url.partition("://")
        kind = kind.partition("+")[0]
        if found and kind.isalnum() and kind not in KINDS:
            raise refused(kind, place)


def check_backend(url: Any, place: str) -> None:
    """Refuse the one result backend whose waits cannot be limited, and which a sender waits for."""
    if str(url).startswith("sentinel:"):
        raise refused("sentinel", place, "result backend", "redis, rediss and rpc")


def refused(
    kind: str, place: str, what: str = "broker", can: str = "redis, rediss, amqp and amqps"
) -> ConfigurationError:
    """Return the error of a broker, or what else, of that kind."""
    return ConfigurationError(
        f"lazy_celery(timeout=) at {place} cannot limit the waits for a {what} of the kind {kind}. It can for {can}: "
        "use one of these, or give timeout=None, and it waits as long as Celery's own does."
    )
