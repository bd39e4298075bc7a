"""A pool of Redis connections whose waits end with the deadline, for cache backends that take the name of a pool."""

from __future__ import annotations

from typing import Any

from redis import ConnectionPool

from lazyguard.integrations._redis_connection import deadlined


class Pool(ConnectionPool):  # type: ignore[misc, unused-ignore]
    """redis-py's pool, of connections that keep the deadline."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.connection_class = deadlined(self.connection_class)
