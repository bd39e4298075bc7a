"""Which children are forked."""

from __future__ import annotations

import pytest

from lazyguard.audit import tiers
from lazyguard.audit.processes.plan import Settings


@pytest.mark.parametrize(
    ("count", "repeat", "fork", "said"),
    [(3, 1, None, "fewer than"), (50, 2, None, "repeated"), (50, 2, True, "repeated"), (50, 1, False, "asked for")],
)
def test_when_no_fork_is_used(count: int, repeat: int, fork: bool | None, said: str) -> None:
    """Few modules, repeated times and --no-fork: all children are fresh, for a reason that is reported."""
    found = tiers.why_fresh(count, Settings(repeat=repeat), fork)
    assert found is not None
    assert said in found


def test_modules_below_packages_are_counted() -> None:
    """A package that is imported for one module alone needs no process of its own."""
    assert tiers.below(["a", "a.b", "a.b.c", "a.d", "e"]) == {"a": 3, "a.b": 1}
