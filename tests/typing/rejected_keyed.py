"""What type checkers must reject of services whose factory has parameters: an ignore that is not needed is an error."""

# pyright: reportUnnecessaryTypeIgnoreComment=true

from __future__ import annotations

import lazyguard


class Client:
    def get(self, key: str) -> bytes:
        return b""


@lazyguard.service(max_keys=16)
def get_client(tenant: str) -> Client:
    return Client()


@get_client.fallback  # type: ignore[arg-type]
def _of_another_type(cause: Exception, tenant: str) -> str:
    return tenant


@get_client.fallback  # type: ignore[arg-type]
def _of_another_key(cause: Exception, tenant: int) -> Client:
    return Client()


@get_client.fallback  # type: ignore[arg-type]
def _without_the_cause(tenant: str) -> Client:
    return Client()


get_client()  # type: ignore[call-arg]
get_client(5)  # type: ignore[arg-type]
get_client("one", "two")  # type: ignore[call-arg]
get_client(name="one")  # type: ignore[call-arg]
get_client.of()  # type: ignore[call-arg]
get_client.of("one").require_real().put("key")  # type: ignore[attr-defined]
get_client.of("one").override("a fake")  # type: ignore[arg-type]
lazyguard.service(max_keys="many")  # type: ignore[call-overload]


async def use() -> None:
    await get_client.aget()  # type: ignore[call-arg]
    await get_client.aget(5)  # type: ignore[arg-type]
