"""kombu's connections to Redis and to AMQP brokers, whose waits end with the deadline.

Invariants: after the deadline no connecting, reading or writing begins. A connection on which an answer is still due is
dropped. Without a deadline everything is kombu's own. A broker of another kind is refused: its client's waits cannot
be limited.
"""

from __future__ import annotations

from functools import cache
from socket import SOCK_STREAM, getaddrinfo
from typing import Any

import kombu
from celery.app.amqp import AMQP
from kombu import connection as kombu_connection
from kombu.transport import memory

from lazyguard._core import deadlines
from lazyguard.errors import DeadlineExceeded, LazyguardError
from lazyguard.integrations._celery_kinds import refused


class OutOfTime(LazyguardError):
    """The deadline has passed; not an OSError, which kombu and Celery would retry."""


def left() -> float | None:
    """Return the seconds that are left of the deadline; None where there is none."""
    try:
        return deadlines.remaining()
    except DeadlineExceeded as error:
        raise OutOfTime(str(error)) from error


def least(seconds: float | None) -> float | None:
    """Return these seconds (None: any number), or what is left of the deadline, if that is less."""
    remaining = left()
    return seconds if remaining is None else remaining if seconds is None else min(seconds, remaining)


class _Deadlined:
    """The part of a connection of kombu's that keeps the deadline, also with the next host where one has failed."""

    def _init_params(self, *arguments: Any, **named: Any) -> None:
        super()._init_params(*arguments, **named)  # type: ignore[misc]
        this: Any = self
        if isinstance(this.transport_cls, str):
            this.transport_cls = _transport(this.get_transport_cls(), this.transport_cls)


def _pool(limited_to: int | None, first: Any) -> Any:
    """Return a pool of connections like the first."""
    pooled: Any = getattr(kombu_connection, "PooledConnection", None)
    pool: Any = kombu_connection.ConnectionPool
    if pooled is None:  # before kombu 5.6: they are clones
        return pool(first, limited_to)
    kept: Any = type("PooledConnection", (_Deadlined, pooled), {})

    def new(self: Any) -> Any:
        return kept(self, **dict(self.connection._info(resolve=False)))

    made: Any = type("ConnectionPool", (pool,), {"new": new})
    return made(first, limited_to)


class Connection(_Deadlined, kombu.Connection):  # type: ignore[misc,name-defined]
    """A connection of kombu's that keeps the deadline, as do its clones and those of pools."""

    def Pool(self, limit: int | None = None, **_: Any) -> Any:  # noqa: N802 (kombu's name)
        return _pool(limit, self)


class Named(type):
    """The metaclass of a transport class that is shown as its scheme, also in URLs."""

    scheme: str

    def __str__(cls) -> str:
        return cls.scheme


class DeadlinedAMQP(AMQP):  # type: ignore[misc]
    """Celery's messaging, on connections that keep the deadline."""

    Connection = BrokerConnection = Connection


@cache
def _transport(found: Any, kind: str) -> Any:
    """Return the subclass of a transport that keeps the deadline."""
    if issubclass(found, memory.Transport):
        return kind
    made = _redis(found) if kind != "sentinel" else None
    made = made or _amqp(found)
    if made is None:
        raise refused(kind, "where the application is declared")
    return Named(found.__name__, (found,), {**made, "scheme": kind, "__module__": __name__})


def _redis(found: Any) -> dict[str, Any] | None:
    try:
        from kombu.transport.redis import Transport
    except ImportError:
        return None
    if not issubclass(found, Transport):
        return None
    channel = found.Channel
    names = ("connection_class", "connection_class_ssl")
    classes = {name: limited(getattr(channel, name)) for name in names if getattr(channel, name, None) is not None}
    return {"Channel": type(channel.__name__, (channel,), {**classes, "__module__": __name__})}


@cache
def limited(connection_class: type) -> type:
    """Return a subclass of a connection class of redis-py, which does not connect after the deadline."""
    from lazyguard.integrations._redis_connection import deadlined

    base: Any = deadlined(connection_class)

    def connect(self: Any) -> None:
        left()
        base.connect(self)

    return type(base.__name__, (base,), {"connect": connect, "__module__": __name__})


def _amqp(found: Any) -> dict[str, Any] | None:
    from kombu.transport.pyamqp import Transport

    if not issubclass(found, Transport):
        return None
    return {"Connection": type("Connection", (_AMQPConnection, found.Connection), {"__module__": __name__})}


class _AMQPConnection:
    """The part of a connection of py-amqp's that keeps the deadline."""

    def connect(self, *arguments: Any, **named: Any) -> Any:
        this: Any = self
        own, seconds = this.connect_timeout, left()
        if seconds is not None:
            share = seconds / max(1, len(this.client.alt))  # each of several hosts has its part
            this.connect_timeout = share if own is None else min(own, share)
        try:
            return super().connect(*arguments, **named)  # type: ignore[misc]
        except OutOfTime:
            this.collect()
            raise
        finally:
            this.connect_timeout = own

    def Transport(self, *arguments: Any, **named: Any) -> Any:  # noqa: N802 (py-amqp's name)
        transport: Any = super().Transport(*arguments, **named)  # type: ignore[misc]
        made: Any = type(transport)
        transport.__class__ = _deadlined(made)
        return transport

    def blocking_read(self, timeout: float | None = None) -> Any:
        """Read a frame; `timeout` is None where an answer is due."""
        try:
            return super().blocking_read(least(timeout))  # type: ignore[misc]
        except (TimeoutError, OutOfTime):
            this: Any = self
            if timeout is None:
                this.collect()
            raise


@cache
def _deadlined(transport: type) -> type:
    return type(transport.__name__, (_AMQPTransport, transport), {"__module__": __name__})


class _AMQPTransport:
    """The part of a transport of py-amqp's that keeps the deadline."""

    connect_timeout: Any
    sock: Any
    having_timeout: Any

    def _connect(self, host: str, port: int, timeout: float | None) -> None:
        """Connect to one of a host's addresses, all of them within the time that there is."""
        connect: Any = super()._connect  # type: ignore[misc]
        *others, last = [address[4][0] for address in getaddrinfo(host, port, type=SOCK_STREAM)]
        for address in others:
            try:
                connect(address, port, least(timeout))
                break
            except OSError:
                pass
        else:
            connect(last, port, least(timeout))
        self.connect_timeout = least(timeout)  # for a TLS handshake

    def write(self, data: bytes) -> None:
        """Send bytes, within the deadline."""
        write: Any = super().write  # type: ignore[misc]
        seconds = left()
        if seconds is None or self.sock is None:
            write(data)
            return
        with self.having_timeout(seconds):
            write(data)
