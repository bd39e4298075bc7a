"""Pending objects of every kind of which it is known what they will be.

>>> 1 + 1
2
"""

from __future__ import annotations

import lazyguard
from pending import build


class Client:
    """What the factories make."""

    kind = "client"

    def ping(self) -> str:
        """Answer.

        >>> 2 + 2
        4
        """
        return "pong"

    async def aping(self) -> str:
        return "pong"

    def __len__(self) -> int:
        return 3


class Called(Client):
    """One that can be called."""

    def __call__(self) -> None: ...


@lazyguard.lazy
def client() -> Client:
    return build("client")


@lazyguard.lazy(record=("task",), on_fork="reset")
def test_app() -> Client:
    return build("test_app")


@lazyguard.lazy
def test_called() -> Called:
    return build("test_called")


@lazyguard.lazy
def numbers() -> list[int]:
    return build("numbers")


@lazyguard.lazy
def names() -> dict[str, int]:
    return build("names")


@lazyguard.lazy_attribute
def attribute() -> Client:
    return build("attribute")


@lazyguard.lazy_attribute("test_other")
def make_other() -> Called:
    return build("test_other")


@lazyguard.service(recovery=None)
def get_service() -> Client:
    return build("get_service")


@get_service.fallback
def offline() -> Client:
    return build("offline")


@lazyguard.service(failures=(OSError,), timeout=5.0, recovery=None)
def get_watched() -> Client:
    return build("get_watched")


@lazyguard.service(recovery=None)
async def get_async() -> Client:
    return build("get_async")


live, watched, live_async = get_service(), get_watched(), get_async()
loaded = lazyguard.load("pending.sub")
with lazyguard.lazy_imports():
    import pending.other as renamed
    import pending.sub
optional = lazyguard.optional_import("pending.sub")


class TestHolder:
    """Holds some of them as its attributes."""

    held, held_live, held_module = client, live, loaded


CONTAINERS = [client, {"live": live}, (loaded, {"names": names}), optional]
