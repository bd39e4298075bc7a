"""What type checkers must reject of fallbacks and fallbacks. Checked, never run: an ignore too many is an error."""

# pyright: reportUnnecessaryTypeIgnoreComment=true

from __future__ import annotations

from typing import Protocol

import lazyguard
import lazyguard.testing


class Client:
    def get(self, key: str) -> bytes:
        return b""


class Other: ...


class Port(Protocol):
    def send(self, text: str) -> None: ...


@lazyguard.service(timeout=2.0)
def get_client() -> Client:
    return Client()


@lazyguard.service(timeout=2.0)
async def get_async_client() -> Client:
    return Client()


@get_client.fallback  # type: ignore[arg-type]
def _other() -> Other:
    return Other()


@get_client.fallback(timeout=0.5)  # type: ignore[arg-type]
def _other_again(cause: Exception) -> Other:
    return Other()


@get_async_client.fallback  # type: ignore[arg-type]
async def _other_async() -> Other:
    return Other()


@get_client.fallback  # type: ignore[arg-type]
def _of_two(cause: Exception, more: int) -> Client:
    return Client()


get_client.fallback(lambda: lazyguard.mock_service(Other))  # type: ignore[arg-type]
get_client.fallback(timeout="1")  # type: ignore[call-overload]
get_client.fallback(answers_failed_calls="yes")  # type: ignore[call-overload]
get_client.isolate(True)  # type: ignore[call-arg]
get_client.fallback(partial=1)  # type: ignore[call-overload]
get_client.fallback(close="dispose")  # type: ignore[call-overload]
lazyguard.mock_service(Port).put("x")  # type: ignore[attr-defined]
client: Client = lazyguard.mock_service(Port)  # type: ignore[assignment]
lazyguard.mock_service("Client")  # type: ignore[arg-type]
lazyguard.mock_service(Client, returns={3: 4})  # type: ignore[dict-item]
lazyguard.mock_service(Client, get=b"")  # type: ignore[call-arg]
lazyguard.testing.assert_conforms(Client(), Client())  # type: ignore[arg-type]
