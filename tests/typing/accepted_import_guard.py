"""What type checkers must accept of guards around imports and of metrics. Checked, never run."""

# pyright: strict, reportUnusedFunction=false, reportUnusedExpression=false, reportPrivateUsage=false

from __future__ import annotations

from collections.abc import Callable

from typing_extensions import assert_type

import lazyguard

guard = lazyguard.import_guard(timeout=2.0, network="forbid", subprocess="warn")

with guard:
    import json

with lazyguard.import_guard(), lazyguard.import_guard(timeout=None):
    json.dumps(1)


@lazyguard.import_guard(timeout=1)
def load(name: str, *, times: int = 1) -> list[str]:
    return [name] * times


assert_type(load("a", times=2), list[str])
undo: Callable[[], None] = lazyguard.prevent_duplicate_imports("core", action="error")

try:
    load("b")
except lazyguard.errors.ImportTimeout as late:
    assert_type(late.place, str)
    assert_type(late.chain, tuple[str, ...])
