"""Redis connections that ask the deadline: redis-py's own classes, with what is left of it as the longest wait.

Invariants: no wait is longer than the connection's own option says, nor longer than the deadline of the context that
waits; a connection on which an answer may still come is closed, never handed to the next command; a deadline leaves no
trace on a connection that outlives it.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from lazyguard._core import clock, deadlines
from lazyguard.errors import DeadlineExceeded


class Patience:
    """A backoff of redis-py's that begins no wait which would pass the deadline."""

    def __init__(self, backoff: Any) -> None:
        self._backoff = backoff

    def reset(self) -> None:
        self._backoff.reset()

    def compute(self, failures: int) -> float:
        """Return the seconds to wait; where there is no time for it, raise again what was to be retried."""
        seconds: float = self._backoff.compute(failures)
        nearest = deadlines.current()
        if nearest is not None and nearest.ends - clock.now() <= seconds:
            raise  # redis-py asks while it handles that
        return seconds


def _within_deadline(base: type, name: str) -> property:
    """Return the property of that name: the connection's own seconds, or what is left of the deadline."""
    inherited: Any = getattr(base, name, None)
    described = hasattr(inherited, "__set__")  # a slot or a property, by version; else it is in the instance's dict

    def own(self: Any) -> float | None:
        seconds: float | None = inherited.__get__(self) if described else vars(self)[name]
        return seconds

    def get(self: Any) -> float | None:
        seconds = own(self)
        left = deadlines.remaining() if vars(self).get("lazyguard_made") else None
        return left if seconds is None else seconds if left is None else min(left, seconds)

    def set(self: Any, seconds: float | None) -> None:
        if described:
            inherited.__set__(self, seconds)
        else:
            vars(self)[name] = seconds

    return property(get, set)


def _capped(named: dict[str, Any]) -> dict[str, Any]:
    """Return a read's arguments with a time-out of its own, such as get_message's, brought down to the deadline."""
    if isinstance(named.get("timeout"), int | float) and (left := deadlines.remaining()) is not None:
        return {**named, "timeout": min(left, named["timeout"])}
    return named


class _Deadlined:
    """What sync and async connections have in common."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        retry: Any = self.retry  # type: ignore[attr-defined]
        if not isinstance(retry._backoff, Patience):
            retry._backoff = Patience(retry._backoff)
        vars(self)["lazyguard_made"] = True


class _Sync(_Deadlined):
    def send_packed_command(self, *arguments: Any, **named: Any) -> Any:
        self._hold()
        return super().send_packed_command(*arguments, **named)  # type: ignore[misc]

    def read_response(self, *arguments: Any, **named: Any) -> Any:
        self._hold()
        return super().read_response(*arguments, **_capped(named))  # type: ignore[misc]

    def disconnect(self, *arguments: Any, **named: Any) -> Any:
        with deadlines.Unlimited():  # to close is not to wait, and redis-py reads its time-outs on the way
            return super().disconnect(*arguments, **named)  # type: ignore[misc]

    def _hold(self) -> None:
        """Give the socket the time that this command has."""
        this: Any = self
        if this._sock is None:
            return
        try:
            seconds = this.socket_timeout
        except DeadlineExceeded as error:
            this.disconnect()
            raise _timeout(error) from error
        if this._sock.gettimeout() != seconds:
            this._sock.settimeout(seconds)


class _Async(_Deadlined):
    async def send_packed_command(self, *arguments: Any, **named: Any) -> Any:
        await self._hold()
        return await super().send_packed_command(*arguments, **named)  # type: ignore[misc]

    async def read_response(self, *arguments: Any, **named: Any) -> Any:
        await self._hold()
        return await super().read_response(*arguments, **_capped(named))  # type: ignore[misc]

    async def disconnect(self, nowait: bool = False, **named: Any) -> Any:
        nearest = deadlines.current()
        over = nearest is not None and nearest.ends <= clock.now()
        with deadlines.Unlimited():  # redis-py reads its time-outs on the way
            return await super().disconnect(nowait=nowait or over, **named)  # type: ignore[misc]

    async def _hold(self) -> None:
        """Close the connection where its time is over before it has begun to wait."""
        this: Any = self
        if not this.is_connected:
            return
        try:
            _ = this.socket_timeout
        except DeadlineExceeded as error:
            await this.disconnect(nowait=True)
            raise _timeout(error) from error


def _timeout(error: DeadlineExceeded) -> Exception:
    import redis

    return redis.TimeoutError(str(error))


@cache
def deadlined(connection_class: type) -> type:
    """Return a subclass of one of redis-py's connection classes, sync or async, that keeps the deadline."""
    if issubclass(connection_class, _Deadlined):
        return connection_class
    awaited = connection_class.__module__.startswith("redis.asyncio")
    limits = {name: _within_deadline(connection_class, name) for name in ("socket_timeout", "socket_connect_timeout")}
    bases = (_Async if awaited else _Sync, connection_class)
    return type(connection_class.__name__, bases, {**limits, "__module__": __name__})
