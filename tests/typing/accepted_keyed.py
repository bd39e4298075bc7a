"""What type checkers must accept of services whose factory has parameters, and of what is done to one key."""

# pyright: strict, reportUnusedFunction=false, reportUnusedExpression=false, reportPrivateUsage=false

from __future__ import annotations

from typing_extensions import assert_type

import lazyguard


class Client:
    def __init__(self, tenant: str) -> None:
        self.tenant = tenant


@lazyguard.service(max_keys=16, max_concurrent=4, close=lambda client: None)
def get_client(tenant: str, *, region: str = "eu") -> Client:
    return Client(tenant)


@get_client.fallback
def _with_the_key(cause: Exception, tenant: str, *, region: str = "eu") -> Client:
    return Client("nobody")


@get_client.fallback(max_degraded=300)
def _with_the_key_and_options(cause: Exception, tenant: str, *, region: str = "eu") -> Client:
    return Client("nobody")


@get_client.fallback
def _with_the_cause(cause: Exception) -> Client:
    return Client("nobody")


@get_client.fallback
def _without_anything() -> Client:
    return Client("nobody")


assert_type(get_client("one"), Client)
assert_type(get_client("one", region="us"), Client)
assert_type(get_client.of("one"), lazyguard.types.Service[[], Client])
assert_type(get_client.of("one").require_real(timeout=1.0), Client)
get_client.of("one").health().state
get_client.of("one").reset()
with get_client.of("one").override(Client("fake")):
    pass
get_client.health()
get_client.reset()


@lazyguard.service()
async def get_async_client(tenant: str) -> Client:
    return Client(tenant)


@get_async_client.fallback
async def _async_with_the_key(cause: Exception, tenant: str) -> Client:
    return Client("nobody")


@get_async_client.fallback(max_degraded=300)
async def _async_with_the_cause(cause: Exception) -> Client:
    return Client("nobody")


async def use() -> None:
    assert_type(await get_async_client.aget("one"), Client)
    assert_type(await get_async_client.aget(tenant="one"), Client)
    assert_type(await get_async_client.of("one").aget(), Client)


assert_type(get_client.of("a").isolate(), None)
