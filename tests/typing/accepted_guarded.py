"""What type checkers must accept of guarded functions and deadlines. Checked, never run."""

# pyright: strict, reportUnusedFunction=false, reportUnusedExpression=false, reportPrivateUsage=false

from __future__ import annotations

import tenacity
from typing_extensions import assert_type

import lazyguard


@lazyguard.guarded(
    timeout=2.0,
    retry=lazyguard.Retry(stop=tenacity.stop_after_delay(3)),
    breaker=lazyguard.Breaker(failure_threshold=3),
)
def price(article: str, *, pieces: int = 1) -> float:
    return 1.0


@price.fallback
def _no_price(article: str, *, pieces: int = 1) -> float:
    return 0.0


@lazyguard.guarded(retry=tenacity.Retrying())
def stock(article: str) -> int:
    return 1


@stock.fallback
def _no_stock(cause: Exception, article: str) -> int:
    return 0


@lazyguard.guarded(timeout=1.0)
async def search(words: str) -> list[str]:
    return [words]


@search.fallback
async def _found_nothing(words: str) -> list[str]:
    return []


class Client:
    @lazyguard.guarded(breaker=lazyguard.Breaker(failure_rate=0.5, window_calls=20))
    def get(self, key: str) -> bytes:
        return b""

    @get.fallback
    def _missing(self, cause: Exception, key: str) -> bytes:
        return b""

    @lazyguard.guarded(timeout=2.0)
    async def aget(self, key: str, *, times: int = 1) -> bytes:
        return b""

    @aget.fallback
    async def _amissing(self, key: str, *, times: int = 1) -> bytes:
        return b""

    @classmethod
    @lazyguard.guarded()
    def below(cls, key: str) -> int:
        return 1

    @lazyguard.guarded()
    @classmethod
    def above(cls, key: str) -> int:
        return 1

    @above.fallback
    @classmethod
    def _above(cls, key: str) -> int:
        return 0

    @staticmethod
    @lazyguard.guarded()
    def static_below(key: str) -> int:
        return 1

    @lazyguard.guarded()
    @staticmethod
    def static_above(key: str) -> int:
        return 1

    @static_above.fallback
    @staticmethod
    def _static_above(cause: Exception, key: str) -> int:
        return 0

    @classmethod
    @lazyguard.guarded()
    async def asome(cls, key: str) -> int:
        return 1


def _timeout() -> float:
    return 2.0


def _host(host: str, path: str) -> str:
    return host


def _host_of_method(of: object, host: str) -> str:
    return host


@lazyguard.guarded(
    timeout=_timeout,
    retry=lazyguard.Retry(attempts=lambda: 3),
    breaker=lazyguard.Breaker(slow_call_duration=lambda: 0.5, on=("redis:RedisError", lambda error: True)),
    key=_host,
    max_concurrent=20,
)
def ask(host: str, path: str) -> int:
    return 1


@ask.fallback(on=(ConnectionError, "redis:RedisError"))
def _not_asked(host: str, path: str) -> int:
    return 0


@ask.fallback(on=lambda error: True)
def _not_asked_either(cause: Exception, host: str, path: str) -> int:
    return 0


class Asking:
    @lazyguard.guarded(breaker=lazyguard.Breaker(), key=_host_of_method, max_concurrent=lambda: 3)
    def ask(self, host: str) -> int:
        return 1

    @ask.fallback(on=ConnectionError)
    def _not(self, cause: Exception, host: str) -> int:
        return 0


assert_type(ask("host", "path"), int)
assert_type(ask.isolate(), None)
assert_type(Asking().ask.isolate(), None)
assert_type(Asking().ask("host"), int)


class Child(Client):
    """Inherits them."""


assert_type(price("apple", pieces=2), float)
assert_type(stock("apple"), int)
assert_type(Client().get("key"), bytes)
assert_type(Client.get(Client(), "key"), bytes)
assert_type(Client().get.health().status == "pass", bool)
assert_type(Client.below("key"), int)
assert_type(Client().below(key="key"), int)
assert_type(Client.above("key"), int)
assert_type(Client().above("key"), int)
assert_type(Child.above("key"), int)
assert_type(Child().get("key"), bytes)
assert_type(Client.static_below("key"), int)
assert_type(Client().static_below("key"), int)
assert_type(Client.static_above("key"), int)
assert_type(Client().static_above("key"), int)
price.reset()


async def awaiting() -> None:
    assert_type(await search("apples"), list[str])
    assert_type(await Client().aget("key", times=2), bytes)
    assert_type(await Client.asome("key"), int)


with lazyguard.deadline(2.0):
    assert_type(lazyguard.remaining(), float | None)


async def in_time() -> float:
    async with lazyguard.deadline(1.0) as budget:
        return budget.seconds
