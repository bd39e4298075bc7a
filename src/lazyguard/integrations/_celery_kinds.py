"""The kinds of brokers that `lazy_celery(timeout=)` holds for; all others are refused.

Invariant: nothing of Celery is imported, since a declaration asks.
"""

from __future__ import annotations

from lazyguard.errors import ConfigurationError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

KINDS = ("redis", "rediss", "amqp", "amqps", "pyamqp", "memory")


def check_brokers(urls: Any, place: str) -> None:
    """Refuse brokers whose clients' waits cannot be limited.

    Args:
        urls: One or several, as Celery's `broker_url` takes them. What Celery itself would refuse passes.
    """
    for url in urls.split(";") if isinstance(urls, str) else urls or ():
        kind, found, _ = str(url).partition("://")
        kind = kind.partition("+")[0]
        if found and kind.isalnum() and kind not in KINDS:
            raise refused(kind, place)


def refused(kind: str, place: str) -> ConfigurationError:
    """Return the error of a broker of that kind."""
    return ConfigurationError(
        f"lazy_celery(timeout=) at {place} cannot limit the waits for a broker of the kind {kind}. It can for redis, "
        "rediss, amqp and amqps: use one of these, or give timeout=None, and it waits as long as Celery's own does."
    )
