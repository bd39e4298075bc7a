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
