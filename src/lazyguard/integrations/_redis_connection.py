"""Redis connections that keep the deadline: redis-py's own classes, whose waits end with it.

Invariants: no wait is longer than the connection's own option, nor passes the deadline of the calling context. A
connection on which an answer is still due is closed, never used for the next command. A deadline changes nothing on a
connection that outlives it.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from lazyguard._core import clock, deadlines
from lazyguard._policies.failures import Wait
from lazyguard.errors import DeadlineExceeded


class DeadlinedBackoff:
    """A backoff of redis-py that begins no wait which would pass the deadline."""

    def __init__(self, backoff: Any) -> None:
        self._backoff = backoff

    def reset(self) -> None:
        self._backoff.reset()

    def compute(self, failures: int) -> float:
        """Return the seconds to wait; if they would pass the deadline, raise the failure again."""
        seconds: float = self._backoff.compute(failures)
        nearest = deadlines.current()
        if nearest is not None and nearest.ends - clock.now() <= seconds:
            raise  # redis-py calls this while it handles the failure
        return seconds


class _Limit:
    """The attribute of that name: the connection's own seconds, or the time that is left, if that is less."""

    def __init__(self, base: type, name: str) -> None:
        self._name = name
        self._inherited: Any = getattr(base, name, None)
        # a slot or a property, by version; else it is in the instance's dict
        self._described = hasattr(self._inherited, "__set__")

    def own(self, connection: Any) -> float | None:
        """Return what the connection was given, whatever is left."""
        seconds: float | None = self._inherited.__get__(connection) if self._described else vars(connection)[self._name]
        return seconds

    def __get__(self, connection: Any, _: object = None) -> Any:
        if connection is None:
            return self
        seconds = self.own(connection)
        left = deadlines.remaining() if vars(connection).get("lazyguard_made") else None
        return left if seconds is None else seconds if left is None else min(left, seconds)

    def __set__(self, connection: Any, seconds: float | None) -> None:
        if self._described:
            self._inherited.__set__(connection, seconds)
        else:
            vars(connection)[self._name] = seconds


def _wait(connection: Any, name: str = "socket_timeout") -> Wait:
    return Wait(getattr(type(connection), name).own(connection))


def _capped(named: dict[str, Any]) -> dict[str, Any]:
    """Return a read's arguments, with a timeout of its own (such as get_message's) limited to the deadline."""
    if isinstance(named.get("timeout"), int | float) and (left := deadlines.remaining()) is not None:
        return {**named, "timeout": min(left, named["timeout"])}
    return named


class _Deadlined:
    """The part that sync and async connections share."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        retry: Any = self.retry  # type: ignore[attr-defined]
        if not isinstance(retry._backoff, DeadlinedBackoff):
            retry._backoff = DeadlinedBackoff(retry._backoff)
        vars(self)["lazyguard_made"] = True


class _Sync(_Deadlined):
    def connect(self, *arguments: Any, **named: Any) -> Any:
        with _wait(self, "socket_connect_timeout"):
            return super().connect(*arguments, **named)  # type: ignore[misc]

    def send_packed_command(self, *arguments: Any, **named: Any) -> Any:
        with _wait(self):
            self._apply_deadline()
            return super().send_packed_command(*arguments, **named)  # type: ignore[misc]

    def read_response(self, *arguments: Any, **named: Any) -> Any:
        with _wait(self):
            self._apply_deadline()
            return super().read_response(*arguments, **_capped(named))  # type: ignore[misc]

    def disconnect(self, *arguments: Any, **named: Any) -> Any:
        with deadlines.Unlimited():  # closing does not wait, but redis-py reads its timeouts
            return super().disconnect(*arguments, **named)  # type: ignore[misc]

    def _apply_deadline(self) -> None:
        """Set the socket's timeout for this command."""
        this: Any = self
        if this._sock is None:
            return
        try:
            seconds = this.socket_timeout
        except DeadlineExceeded as error:
            this.disconnect()
            raise _failure("TimeoutError", error) from error
        if this._sock.gettimeout() != seconds:
            this._sock.settimeout(seconds)


class _Async(_Deadlined):
    async def connect(self, *arguments: Any, **named: Any) -> Any:
        with _wait(self, "socket_connect_timeout"):
            return await super().connect(*arguments, **named)  # type: ignore[misc]

    async def send_packed_command(self, *arguments: Any, **named: Any) -> Any:
        with _wait(self):
            await self._apply_deadline()
            try:
                return await super().send_packed_command(*arguments, **named)  # type: ignore[misc]
            except RuntimeError as error:
                if not str(error).endswith("the handler is closed"):  # as uvloop says where the server has reset it
                    raise
                raise _failure("ConnectionError", error) from error

    async def read_response(self, *arguments: Any, **named: Any) -> Any:
        with _wait(self):
            await self._apply_deadline()
            return await super().read_response(*arguments, **_capped(named))  # type: ignore[misc]

    async def disconnect(self, nowait: bool = False, **named: Any) -> Any:
        nearest = deadlines.current()
        over = nearest is not None and nearest.ends <= clock.now()
        with deadlines.Unlimited():  # redis-py reads its timeouts
            return await super().disconnect(nowait=nowait or over, **named)  # type: ignore[misc]

    async def _apply_deadline(self) -> None:
        """Close the connection if the deadline has passed before it waits."""
        this: Any = self
        if not this.is_connected:
            return
        try:
            _ = this.socket_timeout
        except DeadlineExceeded as error:
            await this.disconnect(nowait=True)
            raise _failure("TimeoutError", error) from error


def _failure(name: str, error: Exception) -> Exception:
    import redis

    return getattr(redis, name)(str(error))  # type: ignore[no-any-return]


@cache
def deadlined(connection_class: type) -> type:
    """Return a subclass of one of redis-py's connection classes, sync or async, that keeps the deadline."""
    if issubclass(connection_class, _Deadlined):
        return connection_class
    awaited = connection_class.__module__.startswith("redis.asyncio")
    limits = {name: _Limit(connection_class, name) for name in ("socket_timeout", "socket_connect_timeout")}
    bases = (_Async if awaited else _Sync, connection_class)
    return type(connection_class.__name__, bases, {**limits, "__module__": __name__})
