"""What type checkers must accept of pinned blocks: the reference has the type of the object."""

# pyright: strict

from __future__ import annotations

from typing_extensions import assert_type

import lazyguard


class Client: ...


@lazyguard.service(failures=(ConnectionError,), breaker=lazyguard.Breaker(failure_rate=0.5, window_calls=20))
def get_client() -> Client:
    return Client()


@lazyguard.service()
def get_of_key(tenant: str) -> Client:
    return Client()


@lazyguard.service()
async def get_async() -> Client:
    return Client()


with lazyguard.pinned(get_client()) as one:
    assert_type(one, Client)
with lazyguard.pinned(get_client) as same:
    assert_type(same, Client)
with lazyguard.pinned(get_of_key("a")) as key, lazyguard.pinned(get_of_key.of("b")) as other:
    assert_type(key, Client)
    assert_type(other, Client)


async def use() -> None:
    async with lazyguard.pinned(get_async()) as awaited:
        assert_type(awaited, Client)
