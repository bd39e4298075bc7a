"""Redis clients that keep the deadline: `redis_client`, `aredis_client`, and `lazy_redis` for modules.

Invariants: importing this module does not import redis. Making a client connects to nothing. There is one pool for each
URL and set of options in a process, and for asyncio in an event loop.
"""

from __future__ import annotations

import lazyguard
from lazyguard._base import TYPE_CHECKING, T, final, places, validation
from lazyguard._proxies import lazy

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from redis import ConnectionPool, Redis
    from redis.asyncio import ConnectionPool as AsyncConnectionPool
    from redis.asyncio import Redis as AsyncRedis

__all__ = ["redis_client", "aredis_client", "lazy_redis"]

# In place of redis-py's defaults: no limit in its versions before 8, and no check of an idle connection.
DEFAULTS: dict[str, Any] = {"socket_timeout": 5.0, "health_check_interval": 30}


def redis_client(url: str, **options: Any) -> Redis:
    """Return a redis.Redis for a URL, whose waits end with the deadline of the calling context.

    Args:
        url: redis://, rediss:// or unix://, as `redis.Redis.from_url` takes it; its query takes precedence.
        **options: Those of `redis.Redis.from_url`. Left out, `socket_timeout` is 5 seconds, also for connecting unless
            there is a `socket_connect_timeout`, and `health_check_interval` is 30. `retry` is a `redis.retry.Retry`; it
            begins no wait that would pass the deadline.

    Raises:
        MissingModuleError: redis is not installed.
        ResolutionError: redis-py refuses the URL or an option; its error is the cause.

    Nothing connects before the first command. Each wait for a socket is bounded by its option and by the time that is
    left of `lazyguard.deadline`; a wait that exceeds that raises redis.TimeoutError. A host's name is looked up without
    a limit. Threads share the pool. A forked child has connections of its own, by redis-py. The pool is closed at exit
    and by `lazyguard.close`.

    Example:
        >>> from lazyguard.integrations.redis import redis_client
        >>> client = redis_client("redis://127.0.0.1:6379/0", socket_timeout=2.0)
        >>> client.connection_pool is redis_client("redis://127.0.0.1:6379/0", socket_timeout=2.0).connection_pool
        True
    """
    validation.text("url", url)
    redis: Any = lazyguard.require("redis", extra="redis", why="for redis_client")
    client: Redis = redis.Redis(connection_pool=_pool.of(url, **_with_defaults(options)).require_real())
    return client


async def aredis_client(url: str, **options: Any) -> AsyncRedis:
    """Return a redis.asyncio.Redis like `redis_client`'s, whose pool belongs to the running event loop.

    `await lazyguard.aclose()` closes the pools. The factory of an async service makes it anew on another loop.
    """
    validation.text("url", url)
    redis: Any = lazyguard.require("redis.asyncio", extra="redis", why="for aredis_client")
    pool = await lazyguard.aresolve(_apool(url, **_with_defaults(options)))
    client: AsyncRedis = redis.Redis(connection_pool=pool)
    return client


def lazy_redis(url: str | Callable[[], str], *, name: str = "", **options: Any) -> Redis:
    """Return a lazy client of `redis_client`, to declare in a module: redis is imported at the first use.

    Args:
        url: The URL, or a function that returns it, which is called at the first use.
        name: Its name in errors, `repr` and `lazyguard.health`.
        **options: Those of `redis_client`.

    Example:
        >>> import lazyguard
        >>> from lazyguard.integrations.redis import lazy_redis
        >>> cache = lazy_redis(lambda: "redis://127.0.0.1:6379/0")
        >>> lazyguard.is_resolved(cache)
        False
    """
    frame = places.caller()
    if not callable(url):
        validation.text("url", url)
    validation.text("name", name)
    return lazy.make(_Factory(url, options), frame, name=name or places.name_in(frame, "redis"))


@final
class _Factory:
    """The factory of a lazy client."""

    __slots__ = ("_options", "_url")

    def __init__(self, url: str | Callable[[], str], options: dict[str, Any]) -> None:
        self._url, self._options = url, options

    def __call__(self) -> Redis:
        return redis_client(self._url if isinstance(self._url, str) else self._url(), **self._options)


def _with_defaults(options: dict[str, Any]) -> dict[str, Any]:
    options = {**DEFAULTS, **options}
    return {"socket_connect_timeout": options["socket_timeout"], **options}


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
