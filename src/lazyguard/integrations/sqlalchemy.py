"""SQLAlchemy engines that keep the deadline and survive forks: `lazy_engine`, `make_engine` and their async twins.

Invariants: importing this module and declaring an engine imports nothing of SQLAlchemy. A forked child uses none of its
parent's connections, and closes none of them.
"""

from __future__ import annotations

from functools import cache, partial

import lazyguard
from lazyguard._base import TYPE_CHECKING, places
from lazyguard._base import validation as checks
from lazyguard._core import clock, deadlines, loaded
from lazyguard._policies import failures
from lazyguard._proxies.proxy import Proxy

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from sqlalchemy import Engine
    from sqlalchemy.ext.asyncio import AsyncEngine

# The argument that bounds connecting, by driver.
_TIMEOUTS = {"psycopg": "connect_timeout", "asyncpg": "timeout"}


def make_engine(url: str, *, connect_timeout: float = 5.0, **options: Any) -> Engine:
    """Return a sqlalchemy.Engine whose connecting keeps the deadline, for a service's factory.

    Args:
        url: As `sqlalchemy.create_engine` takes it.
        connect_timeout: Seconds that connecting may take, with the drivers psycopg and asyncpg. In a
            `lazyguard.deadline` the time that is left bounds it, too. A value in `connect_args` takes precedence. An
            async engine of psycopg waits for whole seconds, two at the least.
        **options: Those of `sqlalchemy.create_engine`. Left out, `pool_pre_ping` is True, so that a connection that the
            server has dropped is replaced before its use.

    Raises:
        MissingModuleError: SQLAlchemy is not installed.
        ConfigurationError: `connect_timeout` is no number of seconds above zero.

    Nothing connects before the first use. If a connection is not made in time, the driver's own error is raised, or
    DeadlineExceeded. With psycopg, statements too wait no longer than the deadline: the connection is closed, and
    OperationalError is raised; give them a `statement_timeout`, with which the server ends them. With other drivers the
    deadline bounds no statement, and with none the wait for a place in a full pool, which is `pool_timeout`. Declare
    the service with `close=dispose` and `on_fork=renew`.

    Example:
        >>> from lazyguard.integrations.sqlalchemy import make_engine
        >>> engine = make_engine("sqlite://")
        >>> with engine.connect() as connection:
        ...     connection.exec_driver_sql("select 1").scalar()
        1
    """
    checks.seconds("connect_timeout", connect_timeout)
    _check_url(url)
    lazyguard.require("sqlalchemy", extra="sqlalchemy", why="for make_engine")
    from sqlalchemy import create_engine

    engine: Engine = _created(create_engine, url, options)
    _limit_connecting(engine, connect_timeout)
    return engine


def make_async_engine(url: str, *, connect_timeout: float = 5.0, **options: Any) -> AsyncEngine:
    """Return a sqlalchemy.ext.asyncio.AsyncEngine like `make_engine`'s, whose pool belongs to one event loop.

    The factory of an async service makes it anew on another loop, and `close=dispose_async` closes it on its own loop.
    """
    checks.seconds("connect_timeout", connect_timeout)
    _check_url(url)
    lazyguard.require("sqlalchemy", extra="sqlalchemy", why="for make_async_engine")
    from sqlalchemy.ext.asyncio import create_async_engine

    engine: AsyncEngine = _created(create_async_engine, url, options)
    _limit_connecting(engine.sync_engine, connect_timeout)
    # through it sessions connect
    loaded("_services.counted_view").parts[type(engine)] = frozenset(("sync_engine",))
    return engine


def lazy_engine(
    url: str | Callable[[], str], *, name: str = "", configure: Callable[[Engine], object] | None = None, **options: Any
) -> Engine:
    """Return a lazy engine of `make_engine`, to declare in a module: SQLAlchemy is imported at the first use.

    Args:
        url: The URL, or a function that returns it, which is called at the first use.
        name: Its name in errors, `repr` and `lazyguard.health`.
        configure: Called with each engine that is built, before its first use. Set event listeners there:
            `sqlalchemy.event.listens_for` on the lazy engine would build it.
        **options: Those of `make_engine`.

    Raises:
        ConfigurationError: `configure` is no function.

    It is disposed of at exit, and by `lazyguard.reset` and `lazyguard.close`; in a forked child its pool is empty.

    Example:
        >>> import lazyguard
        >>> from lazyguard.integrations.sqlalchemy import lazy_engine
        >>> engine = lazy_engine("sqlite://", name="shop database")
        >>> lazyguard.is_resolved(engine)
        False
    """
    _check_lazy(url, name, configure)
    name = name or places.name_in(places.caller(), "engine")
    declare = lazyguard.service(name=name, recovery=None, close=dispose, on_fork=renew, grace=0.0)
    engine: Engine = declare(partial(_made, make_engine, url, configure, options))()
    return engine


def lazy_async_engine(
    url: str | Callable[[], str],
    *,
    name: str = "",
    configure: Callable[[AsyncEngine], object] | None = None,
    **options: Any,
) -> AsyncEngine:
    """Return a lazy engine of `make_async_engine`, to declare in a module; dispose of it before its loop ends."""
    _check_lazy(url, name, configure)
    name = name or places.name_in(places.caller(), "async engine")
    declare = lazyguard.service(name=name, recovery=None, on_fork=renew)
    engine: AsyncEngine = declare(partial(_made, make_async_engine, url, configure, options))()
    return engine


def _made(
    make: Callable[..., Any], url: Any, configure: Callable[[Any], object] | None, options: dict[str, Any]
) -> Any:
    engine = make(url() if callable(url) else url, **options)
    if configure is not None:
        configure(engine)
    return engine


def _created(create: Callable[..., Any], url: str, options: dict[str, Any]) -> Any:
    try:
        return create(url, **{"pool_pre_ping": True, **options})
    except ImportError:
        raise  # of the driver
    except Exception as error:
        raise places.misconfigured(
            "url=, or another option, is none that SQLAlchemy makes this engine of: its error is above."
        ) from error


def _check_url(url: object) -> None:
    if not hasattr(url, "drivername"):  # else it is a URL of SQLAlchemy's
        checks.text("url", url)


def _check_lazy(url: object, name: object, configure: object) -> None:
    if not callable(url):
        _check_url(url)
    checks.text("name", name)
    checks.function_of("configure", configure, "engine")


def ping(engine: Engine) -> None:
    """Connect and run `select 1`, or raise the driver's error. The `probe=` of a service."""
    with engine.connect() as connection:
        connection.exec_driver_sql("select 1")


async def ping_async(engine: AsyncEngine) -> None:
    """Do what `ping` does on an async engine. The `probe=` of an async service."""
    async with engine.connect() as connection:
        await connection.exec_driver_sql("select 1")


def dispose(engine: Engine) -> None:
    """Close the engine's connections. The `close=` of a service."""
    engine.dispose()


async def dispose_async(engine: AsyncEngine) -> None:
    """Close the engine's connections. The `close=` of an async service."""
    await engine.dispose()


def renew(engine: Any) -> None:
    """Give a forked child an empty pool, without closing the parent's connections. The `on_fork=` of a service."""
    getattr(engine, "sync_engine", engine).dispose(close=False)


def _limit_connecting(engine: Engine, own: float) -> None:
    """Limit the time of each connecting of an engine."""
    from sqlalchemy import event

    @event.listens_for(engine, "do_connect")
    def within(dialect: Any, _record: object, arguments: list[Any], named: dict[str, Any]) -> Any:
        name = _TIMEOUTS.get(dialect.driver)
        if name is None:
            return None
        seconds = float(named.get(name, own))
        with failures.Wait(seconds):
            seconds, connect = min(seconds, deadlines.remaining() or seconds), dialect.connect
            if dialect.driver == "asyncpg":
                named[name] = seconds
            else:
                named[name] = max(2, -int(-seconds // 1))  # whole seconds, two at the least, as libpq has it
                if not dialect.is_async:
                    from lazyguard.integrations._psycopg_connection import Connection

                    connect = Connection.connect
            made = connect(*arguments, **named)
            if hasattr(made, "_terminate_graceful_close"):
                kind: Any = type(made)
                made.__class__ = _closing_at_once(kind)
            return made


@cache
def _closing_at_once(kind: Any) -> Any:
    """Return the class of async connections that say no goodbye once the deadline has passed."""

    async def close(self: Any) -> None:
        given = deadlines.current()
        if given is not None and given.ends <= clock.now():
            raise ConnectionAbortedError  # on which SQLAlchemy drops the connection; a silent server costs 2 seconds
        await kind._terminate_graceful_close(self)

    return type(kind.__name__, (kind,), {"__slots__": (), "_terminate_graceful_close": close})


@lazyguard.when_imported("sqlalchemy.inspection")
def _let_it_look_behind_proxies(inspection: Any) -> None:
    """Let `inspect`, and so `select(LazyModel)`, see the target of a proxy: SQLAlchemy looks at its type."""
    if Proxy not in inspection._registrars:
        inspection._registrars[Proxy] = lambda proxy: inspection.inspect(lazyguard.resolve(proxy), raiseerr=False)
