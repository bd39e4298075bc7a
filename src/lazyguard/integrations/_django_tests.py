"""Tests by Django's own runner: each begins with services that nothing has built yet."""

from __future__ import annotations

from typing import Any

from lazyguard._core import declaration, mode


class ResetServices:
    """Mixin for test cases: after each test all services and breakers are as if nothing had used them.

    Stand it before Django's class: `class ShopTest(ResetServices, TestCase)`. While a test runs, fallbacks may be
    objects of `unittest.mock`, and retries do not wait; see `lazyguard.testing.set_testing`.
    """

    def run(self, result: Any = None) -> Any:
        """Run the test, and reset."""
        before, mode.limit = mode.limit, 1
        try:
            return super().run(result)  # type: ignore[misc]
        finally:
            mode.limit = before
            reset_services()


def reset_services() -> None:
    """Reset all services, and close all breakers, that this process has used."""
    for cell, kind in declaration.cells():
        if cell.used and kind.endswith("service"):
            cell.reset()
    for guard in declaration.guards():
        guard.reset()
