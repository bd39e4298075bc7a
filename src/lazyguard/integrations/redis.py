"""Redis clients whose waits end with the deadline: `redis_client`, `aredis_client`, and `lazy_redis` for modules.

Invariants: importing this does not import redis; making a client connects to nothing; there is one pool for each URL
and set of options in a process, and for asyncio in an event loop.
"""

from __future__ import annotations

import lazyguard
from lazyguard._base import T, final, places
from lazyguard._proxies import lazy

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from redis import ConnectionPool, Redis
    from redis.asyncio import ConnectionPool as AsyncConnectionPool
    from redis.asyncio import Redis as AsyncRedis

__all__ = ["redis_client", "aredis_client", "lazy_redis"]

# Over what redis-py leaves open: for ever in its versions before 8, and no look at a connection that was idle.
DEFAULTS: dict[str, Any] = {"socket_timeout": 5.0, "health_check_interval": 30}


def redis_client(url: str, **options: Any) -> Redis:
    """Return a redis.Redis for a URL, whose waits end with the deadline of the context that waits.

    Args:
        url: redis://, rediss:// or unix://, as `redis.Redis.from_url` takes it; what its query says comes first.
        **options: Those of `redis.Redis.from_url`. Left out, `socket_timeout` is 5 seconds, for connecting as well
            unless `socket_connect_timeout` says otherwise, and `health_check_interval` 30. `retry` is a
            `redis.retry.Retry`; it begins no wait that would pass the deadline.

    Raises:
        MissingModuleError: redis is not installed.
        ResolutionError: The URL or an option is none of redis-py's, which is what it comes from.

    Nothing is connected before the first command. Each wait for a socket is bounded by its option and by what is left
    of `lazyguard.deadline`; a wait that ends there raises redis.TimeoutError. Looking up a host's name is not bounded.
    Threads share the pool; a forked child has connections of its own, as redis-py sees to; the pool is closed at exit
    and by `lazyguard.close`.

    Example:
        >>> from lazyguard.integrations.redis import redis_client
        >>> client = redis_client("redis://127.0.0.1:6379/0", socket_timeout=2.0)
        >>> client.connection_pool is redis_client("redis://127.0.0.1:6379/0", socket_timeout=2.0).connection_pool
        True
    """
    redis: Any = lazyguard.require("redis", extra="redis", why="for redis_client")
    client: Redis = redis.Redis(connection_pool=_pool.of(url, **{**DEFAULTS, **options}).require_real())
    return client


async def aredis_client(url: str, **options: Any) -> AsyncRedis:
    """Return what `redis_client` does as a redis.asyncio.Redis, whose pool belongs to the running event loop.

    `await lazyguard.aclose()` closes the pools. As an async service's factory it is made anew on another loop.
    """
    redis: Any = lazyguard.require("redis.asyncio", extra="redis", why="for aredis_client")
    pool = await lazyguard.aresolve(_apool(url, **{**DEFAULTS, **options}))
    client: AsyncRedis = redis.Redis(connection_pool=pool)
    return client


def lazy_redis(url: str | Callable[[], str], *, name: str = "", **options: Any) -> Redis:
    """Return a lazy `redis_client`, for a module to declare: redis is imported at its first use.

    Args:
        url: The URL, or a function that returns it, called at the first use.
        name: What errors, `repr` and `lazyguard.health` call it.
        **options: Those of `redis_client`.

    Example:
        >>> import lazyguard
        >>> from lazyguard.integrations.redis import lazy_redis
        >>> cache = lazy_redis(lambda: "redis://127.0.0.1:6379/0")
        >>> lazyguard.is_resolved(cache)
        False
    """
    frame = places.caller()
    return lazy.make(_Factory(url, options), frame, name=name or places.name_in(frame, "redis"))


@final
class _Factory:
    """What builds a lazy client."""

    __slots__ = ("_options", "_url")

    def __init__(self, url: str | Callable[[], str], options: dict[str, Any]) -> None:
        self._url, self._options = url, options

    def __call__(self) -> Redis:
        return redis_client(self._url if isinstance(self._url, str) else self._url(), **self._options)


@lazyguard.service(name="redis connection pools", close=lambda pool: pool.disconnect(), recovery=None, grace=0.0)
def _pool(url: str, **options: Any) -> ConnectionPool:
    from redis import ConnectionPool

    return _keeping_the_deadline(ConnectionPool.from_url(url, **options))


@lazyguard.service(
    name="redis.asyncio connection pools", close=lambda pool: pool.disconnect(), recovery=None, grace=0.0
)
async def _apool(url: str, **options: Any) -> AsyncConnectionPool:
    from redis.asyncio import ConnectionPool

    return _keeping_the_deadline(ConnectionPool.from_url(url, **options))


def _keeping_the_deadline(pool: T) -> T:
    from lazyguard.integrations._redis_connection import deadlined

    this: Any = pool
    this.connection_class = deadlined(this.connection_class)
    return pool
