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


assert_type(price("apple", pieces=2), float)
assert_type(stock("apple"), int)
assert_type(Client().get("key"), bytes)
assert_type(Client.get(Client(), "key"), bytes)
assert_type(Client().get.health().status == "pass", bool)
price.reset()


async def awaiting() -> None:
    assert_type(await search("apples"), list[str])


with lazyguard.deadline(2.0):
    assert_type(lazyguard.remaining(), float | None)
