"""A team's own decorators and helpers around ours keep the types of what they declare."""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar

from typing_extensions import assert_type

import lazyguard
from lazyguard.types import Service  # noqa: TC001 (as a program has it)

P = ParamSpec("P")
T = TypeVar("T")


def service(factory: Callable[P, T]) -> Service[P, T]:
    return lazyguard.service(timeout=2.0)(factory)


def lazy(factory: Callable[[], T]) -> T:
    return lazyguard.lazy(factory)


@service
def get_names(tenant: str) -> list[str]:
    return [tenant]


@lazy
def numbers() -> list[int]:
    return [1]


assert_type(get_names("a"), list[str])
assert_type(numbers, list[int])
