"""What type checkers must accept, and the types that they must see. Checked, never run."""

# pyright: strict, reportUnusedFunction=false, reportUnusedExpression=false, reportPrivateUsage=false

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

from typing_extensions import assert_type

import lazyguard


class Client:
    def ping(self) -> None: ...

    def get(self, key: str) -> bytes:
        return b""


def make_client() -> Client:
    return Client()


# lazy objects are typed as what the factory returns
client = lazyguard.lazy(make_client)
assert_type(client, Client)


@lazyguard.lazy
def plain() -> Client:
    return Client()


@lazyguard.lazy(name="client", on_fork="reset", record=("task",))
def with_options() -> Client:
    return Client()


assert_type(plain, Client)
assert_type(with_options, Client)
assert_type(lazyguard.resolve(client), Client)
assert_type(client.get("key"), bytes)
assert_type(lazyguard.is_resolved(client), bool)


@lazyguard.lazy(on_fork=Client.ping)
def forked() -> Client:
    return Client()


@lazyguard.lazy_attribute
def attribute() -> Client:
    return Client()


@lazyguard.lazy_attribute("renamed")
def _make_renamed() -> Client:
    return Client()


assert_type(attribute, Client)
assert_type(_make_renamed, Client)


# guards keep the signature
@lazyguard.once
def register(name: str, *, twice: bool = False) -> int:
    return 1


@lazyguard.once(key="registration")
def register_by_key() -> str:
    return ""


assert_type(register("models", twice=True), int)
assert_type(register_by_key(), str)


@lazyguard.when_imported("celery")
def hook(module: Any) -> None: ...


# services are called for the live reference, which is typed as the object
@lazyguard.service(
    timeout=2.0,
    retry=lazyguard.Retry(attempts=3, on=(ConnectionError,)),
    breaker=lazyguard.Breaker(failure_threshold=5),
    recovery=lazyguard.Recovery(initial=1, maximum=60, success_threshold=2),
    failures=(ConnectionError, "redis:RedisError"),
    probe=Client.ping,
    close=Client.ping,
    critical=True,
    on_fork="reset",
)
def get_client() -> Client:
    return Client()


@get_client.fallback(max_degraded=300)
def _offline(cause: Exception) -> Client:
    return Client()


@lazyguard.service
def get_numbers() -> list[int]:
    return [1]


@lazyguard.service
async def get_texts(first: str) -> list[str]:
    return [first]


first_number: int = get_numbers()[0]
first_text: str = get_texts("a")[0]


@lazyguard.service()
async def get_async_client() -> Client:
    return Client()


@get_async_client.fallback
def _without_cause() -> Client:
    return Client()


assert_type(get_client(), Client)
assert_type(get_async_client(), Client)
assert_type(get_client.require_real(timeout=1), Client)
assert_type(get_client.health().state == "ready", bool)
assert_type(lazyguard.is_fallback(get_client()), bool)
with get_client.override(Client()), lazyguard.fallbacks("deny"), lazyguard.override(client, Client()):
    pass


async def awaiting() -> None:
    assert_type(await get_async_client.aget(), Client)
    assert_type(await get_client.aget(), Client)
    assert_type(await lazyguard.aresolve(client), Client)


undo: Callable[[], None] = lazyguard.subscribe(lambda event: event.name)
assert_type(lazyguard.health().to_dict(), dict[str, Any])
assert_type(lazyguard.health_file("/run/shop/{pid}.json", every=5.0)(), None)
lazyguard.wait_until_ready(get_client, timeout=30)
lazyguard.drain(delay=0, then=lambda: 1)

# import statements in lazy_imports() keep their real types
with lazyguard.lazy_imports():
    import decimal
    from json import dumps

assert_type(decimal.Decimal("1"), decimal.Decimal)
assert_type(dumps({}), str)


# a factory may be a class, a lambda, or have defaults
@lazyguard.lazy
def defaulted(size: int = 3) -> list[int]:
    return [size]


assert_type(defaulted, list[int])
assert_type(lazyguard.lazy(Client), Client)
assert_type(lazyguard.lazy(lambda: 5), int)
assert_type(lazyguard.resolve("as it is"), str)
assert_type(lazyguard.is_resolved("core:app"), bool)
assert_type(lazyguard.load("numpy"), Any)
lazyguard.reset("core:app")
with lazyguard.override("core:app", None):
    pass


class FakeClient(Client):
    """A fallback may be more than the service promises, and a fake as well."""


@lazyguard.service(recovery=None)
def get_other(size: int = 1) -> Client:
    return Client()


@get_other.fallback
def _fake() -> FakeClient:
    return FakeClient()


# only a coroutine is a promise of the object; a generator is the object
@lazyguard.service()
def get_generator() -> Generator[int, None, None]:
    yield 1


assert_type(get_other(size=2), Client)
assert_type(get_generator(), Generator[int, None, None])
with get_other.override(FakeClient()):
    pass
named_in_an_annotation: lazyguard.types.Service[[], Client] = get_client
