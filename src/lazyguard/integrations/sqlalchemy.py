"""SQLAlchemy engines that keep the deadline and survive forks: `lazy_engine`, `make_engine` and their async twins.

Invariants: importing this and declaring an engine imports nothing of SQLAlchemy; a forked child uses none of its
parent's connections, and ends none of them.
"""

from __future__ import annotations

import lazyguard
from lazyguard._base import final, places
from lazyguard._base import validation as checks
from lazyguard._core import deadlines
from lazyguard._proxies.proxy import Proxy

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from sqlalchemy import Engine
    from sqlalchemy.ext.asyncio import AsyncEngine

# The argument that bounds connecting, by driver.
_TIMEOUTS = {"psycopg": "connect_timeout", "asyncpg": "timeout"}


def make_engine(url: str, *, connect_timeout: float = 5.0, **options: Any) -> Engine:
    """Return a sqlalchemy.Engine whose connecting ends with the deadline; a service's factory returns it.

    Args:
        url: As `sqlalchemy.create_engine` takes it.
        connect_timeout: Seconds that connecting may take, with the drivers psycopg and asyncpg; in a
            `lazyguard.deadline` no more than what is left of that. One in `connect_args` comes first. An async engine
            of psycopg waits for whole seconds, two at the least.
        **options: Those of `sqlalchemy.create_engine`. Left out, `pool_pre_ping` is True, so that a connection which
            the server has dropped is replaced before it is used.

    Raises:
        MissingModuleError: SQLAlchemy is not installed.
        ConfigurationError: `connect_timeout` is no number of seconds above zero.

    Nothing connects before the first use. A new connection that is not there in time is the driver's own error, or
    DeadlineExceeded; one that the pool has already is not asked for the deadline, nor is a statement. A service is
    declared with `close=dispose` and `on_fork=renew`.

    Example:
        >>> from lazyguard.integrations.sqlalchemy import make_engine
        >>> engine = make_engine("sqlite://")
        >>> with engine.connect() as connection:
        ...     connection.exec_driver_sql("select 1").scalar()
        1
    """
    checks.seconds("connect_timeout", connect_timeout)
    lazyguard.require("sqlalchemy", extra="sqlalchemy", why="for make_engine")
    from sqlalchemy import create_engine

    engine = create_engine(url, **{"pool_pre_ping": True, **options})
    _bound(engine, connect_timeout)
    return engine


def make_async_engine(url: str, *, connect_timeout: float = 5.0, **options: Any) -> AsyncEngine:
    """Return what `make_engine` does as a sqlalchemy.ext.asyncio.AsyncEngine, whose pool belongs to one event loop.

    In an async service's factory it is made anew on another loop, and `close=dispose_async` ends it on its own.
    """
    checks.seconds("connect_timeout", connect_timeout)
    lazyguard.require("sqlalchemy", extra="sqlalchemy", why="for make_async_engine")
    from sqlalchemy.ext.asyncio import create_async_engine

    engine = create_async_engine(url, **{"pool_pre_ping": True, **options})
    _bound(engine.sync_engine, connect_timeout)
    return engine


def lazy_engine(
    url: str | Callable[[], str], *, name: str = "", configure: Callable[[Engine], object] | None = None, **options: Any
) -> Engine:
    """Return a lazy `make_engine`, for a module to declare: SQLAlchemy is imported at its first use.

    Args:
        url: The URL, or a function that returns it, called at the first use.
        name: What errors, `repr` and `lazyguard.health` call it.
        configure: Called with each engine that is built, before anything uses it: where its event listeners are set,
            since `sqlalchemy.event.listens_for` on the lazy one would build it.
        **options: Those of `make_engine`.

    Raises:
        ConfigurationError: `configure` is no function.

    It is disposed of at the exit, and by `lazyguard.reset` and `lazyguard.close`; in a forked child its pool is empty.

    Example:
        >>> import lazyguard
        >>> from lazyguard.integrations.sqlalchemy import lazy_engine
        >>> engine = lazy_engine("sqlite://", name="shop database")
        >>> lazyguard.is_resolved(engine)
        False
    """
    name = name or places.name_in(places.caller(), "engine")
    declare = lazyguard.service(name=name, recovery=None, close=dispose, on_fork=renew, grace=0.0)
    engine: Engine = declare(_Factory(make_engine, url, configure, options))()
    return engine


def lazy_async_engine(
    url: str | Callable[[], str],
    *,
    name: str = "",
    configure: Callable[[AsyncEngine], object] | None = None,
    **options: Any,
) -> AsyncEngine:
    """Return a lazy `make_async_engine`, for a module to declare; `await engine.dispose()` before its loop ends."""
    name = name or places.name_in(places.caller(), "async engine")
    declare = lazyguard.service(name=name, recovery=None, on_fork=renew)
    engine: AsyncEngine = declare(_Factory(make_async_engine, url, configure, options))()
    return engine


@final
class _Factory:
    """What builds a lazy engine."""

    __slots__ = ("_configure", "_make", "_options", "_url")

    def __init__(
        self,
        make: Callable[..., Any],
        url: str | Callable[[], str],
        configure: Callable[[Any], object] | None,
        options: dict[str, Any],
    ) -> None:
        checks.function_of("configure", configure, "engine")
        self._make, self._url, self._configure, self._options = make, url, configure, options

    def __call__(self) -> Any:
        engine = self._make(self._url if isinstance(self._url, str) else self._url(), **self._options)
        if self._configure is not None:
            self._configure(engine)
        return engine


def ping(engine: Engine) -> None:
    """Connect and ask for nothing; what raises is the driver's error. The `probe=` of a service."""
    with engine.connect() as connection:
        connection.exec_driver_sql("select 1")


def dispose(engine: Engine) -> None:
    """Close the engine's connections. The `close=` of a service."""
    engine.dispose()


async def dispose_async(engine: AsyncEngine) -> None:
    """Close the engine's connections. The `close=` of an async service."""
    await engine.dispose()


def renew(engine: Any) -> None:
    """Let a forked child have an empty pool, and leave the parent's connections as they are. The `on_fork=`."""
    getattr(engine, "sync_engine", engine).dispose(close=False)


def _bound(engine: Engine, own: float) -> None:
    """Bound each connecting of an engine."""
    from sqlalchemy import event

    @event.listens_for(engine, "do_connect")
    def within(dialect: Any, _record: object, arguments: list[Any], named: dict[str, Any]) -> Any:
        name = _TIMEOUTS.get(dialect.driver)
        if name is None:
            return None
        seconds, left = float(named.get(name, own)), deadlines.remaining()
        seconds = seconds if left is None else min(left, seconds)
        if dialect.driver == "asyncpg":
            named[name] = seconds
            return None
        named[name] = max(2, -int(-seconds // 1))  # whole seconds, two at the least: so has libpq
        if left is None or left >= named[name] or dialect.is_async:
            return None
        from lazyguard.integrations._psycopg_connection import Connection

        return Connection.connect(*arguments, **named)


@lazyguard.when_imported("sqlalchemy.inspection")
def _let_it_look_behind_proxies(inspection: Any) -> None:
    """Let `inspect`, and with it `select(LazyModel)`, take a proxy for its target: they ask for its type."""
    if Proxy not in inspection._registrars:
        inspection._registrars[Proxy] = lambda proxy: inspection.inspect(lazyguard.resolve(proxy), raiseerr=False)
