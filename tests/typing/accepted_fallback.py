"""What type checkers must accept of fallbacks and fallbacks, and the types that they must see. Checked, never run."""

# pyright: strict, reportUnusedFunction=false, reportUnusedExpression=false, reportPrivateUsage=false

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Protocol

from typing_extensions import assert_type

import lazyguard
import lazyguard.testing


class Client:
    def get(self, key: str) -> bytes:
        return b""


class Replica(Client): ...


class Port(Protocol):
    def send(self, text: str) -> None: ...


class Abstract(ABC):
    @abstractmethod
    async def fetch(self) -> str: ...


# fallbacks are typed as what they stand in for, be it a class, a protocol or an ABC
assert_type(lazyguard.mock_service(Client), Client)
assert_type(lazyguard.mock_service(Port, returns={"send": None}), Port)
assert_type(lazyguard.mock_service(Abstract, returns={"fetch": "x"}), Abstract)
lazyguard.testing.assert_conforms(lazyguard.mock_service(Client), Client)
lazyguard.testing.assert_conforms(Replica, Client, partial=True)


@lazyguard.service(timeout=2.0)
def get_client() -> Client:
    return Client()


@get_client.fallback(timeout=0.5)
def _replica() -> Client:
    return Replica()


@get_client.fallback(max_degraded=300, partial=True)
def _more_exact(cause: Exception) -> Replica:
    return Replica()


@get_client.fallback
def _offline(cause: Exception) -> Client:
    return lazyguard.mock_service(Client, returns={"get": b""})


def _close(client: Client) -> None: ...


@get_client.fallback(close=_close)
def _one_of_its_own() -> Client:
    return Replica()


get_client.fallback(Replica)


@lazyguard.service(timeout=2.0)
def get_port() -> Port:
    raise ConnectionError


@get_port.fallback
def _no_port() -> Port:
    return lazyguard.mock_service(Port)


@lazyguard.service(timeout=2.0)
async def get_abstract() -> Abstract:
    raise ConnectionError


@get_abstract.fallback(timeout=0.1)
async def _cached(cause: Exception) -> Abstract:
    return lazyguard.mock_service(Abstract)


async def _aclose(abstract: Abstract) -> None: ...


@get_abstract.fallback(close=_aclose)
async def _closed_too() -> Abstract:
    return lazyguard.mock_service(Abstract)


@get_abstract.fallback
async def _offline_too() -> Abstract:
    return lazyguard.mock_service(Abstract)


@get_abstract.fallback
def _plain() -> Abstract:
    return lazyguard.mock_service(Abstract)


check = get_client.health()
assert_type(check.answered, dict[str, int])
assert_type(check.fallbacks, tuple[dict[str, str], ...])


@lazyguard.service(timeout=lambda: 2.0, failures=(ConnectionError,), recovery=lazyguard.Recovery(initial=lambda: 1.0))
def get_late() -> Client:
    return Client()


@get_late.fallback(timeout=lambda: 0.5, max_degraded=lambda: 60.0, answers_failed_calls=True)
def _late(cause: Exception) -> Client:
    return Replica()


assert_type(get_late.isolate(), None)
