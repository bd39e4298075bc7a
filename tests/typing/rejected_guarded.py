"""What type checkers must reject of guarded functions and deadlines: each ignore is needed. Checked, never run."""

# pyright: basic, reportUnnecessaryTypeIgnoreComment=true

from __future__ import annotations

import lazyguard


@lazyguard.guarded()
def price(article: str) -> float:
    return 1.0


price(5)  # type: ignore[arg-type]
text: str = price("apple")  # type: ignore[assignment]


def other_type(article: str) -> list[str]:
    return []


def other_arguments(article: int) -> float:
    return 0.0


price.fallback(other_type)  # type: ignore[arg-type]
price.fallback(other_arguments)  # type: ignore[arg-type]
lazyguard.guarded(timeout="2")  # type: ignore[arg-type]
lazyguard.guarded(retry=3)  # type: ignore[arg-type]
lazyguard.guarded(breaker=lazyguard.Retry())  # type: ignore[arg-type]
lazyguard.deadline("2")  # type: ignore[arg-type]


class Client:
    @lazyguard.guarded()
    def get(self, key: str) -> bytes:
        return b""

    @lazyguard.guarded()
    async def aget(self, key: str) -> bytes:
        return b""

    @classmethod
    @lazyguard.guarded()
    def below(cls, key: str) -> int:
        return 1

    @lazyguard.guarded()
    @classmethod
    def above(cls, key: str) -> int:
        return 1

    @lazyguard.guarded()
    @staticmethod
    def static(key: str) -> int:
        return 1

    def _other_type(self, cause: Exception, key: str) -> str:
        return ""

    def _other_key(self, key: int) -> bytes:
        return b""

    def _not_async(self, key: str) -> bytes:
        return b""

    get.fallback(_other_type)  # type: ignore[arg-type]
    get.fallback(_other_key)  # type: ignore[arg-type]
    aget.fallback(_not_async)  # type: ignore[arg-type]


Client().get(5)  # type: ignore[arg-type]
Client.get("key")  # type: ignore[call-arg, arg-type]
Client.below(5)  # type: ignore[arg-type]
Client().below(5)  # type: ignore[arg-type]
Client.above(5)  # type: ignore[arg-type]
Client().above(5)  # type: ignore[arg-type]
Client.static(5)  # type: ignore[arg-type]
Client().static(5)  # type: ignore[arg-type]


async def awaiting() -> None:
    await Client().aget(5)  # type: ignore[arg-type]


lazyguard.guarded(key="host")  # type: ignore[arg-type]
lazyguard.guarded(max_concurrent="2")  # type: ignore[arg-type]
lazyguard.guarded(max_concurrent=lambda: "2")  # type: ignore[arg-type]
lazyguard.guarded(timeout=lambda given: 2.0)  # type: ignore[arg-type]
lazyguard.Breaker(open_time=lambda: None)  # type: ignore[arg-type, return-value]
price.isolate(5)  # type: ignore[call-arg]
price.fallback(on=3)  # type: ignore[call-overload]


@price.fallback(on=ConnectionError)  # type: ignore[arg-type]
def _other_type(article: str) -> list[str]:
    return []


@price.fallback(on=ConnectionError)  # type: ignore[arg-type]
def _other_arguments(cause: Exception, article: int) -> float:
    return 0.0
