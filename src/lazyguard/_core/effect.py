"""What a generator of the core asks of its driver: run this, sleep so long, launch a flight, wait for one.

Invariant: the logic yields effects and never performs one, so that it is written once for threads and for tasks.
"""

from __future__ import annotations

from lazyguard._typing import final

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from typing import Any, TypeAlias, TypeVar

    from lazyguard._core.flight import Flight

    R = TypeVar("R")
    Effect: TypeAlias = "Call | Sleep | Launch | Join"
    Steps: TypeAlias = Generator[Effect, Any, R]


@final
class Call:
    """Run user code; answered with its Outcome. What it returns is awaited where `awaited` says so."""

    __slots__ = ("arguments", "awaited", "function")

    def __init__(self, function: Callable[..., Any], *arguments: Any, awaited: bool = False) -> None:
        self.function = function
        self.arguments = arguments
        self.awaited = awaited


@final
class Sleep:
    """Let `seconds` pass."""

    __slots__ = ("seconds",)

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds


@final
class Launch:
    """Let a flight begin: here, or on a daemon thread, or as a task, as its cell and the driver require."""

    __slots__ = ("flight",)

    def __init__(self, flight: Flight) -> None:
        self.flight = flight


@final
class Join:
    """Wait for a flight until a time by the clock (None: for ever); answered with whether it has ended."""

    __slots__ = ("flight", "until")

    def __init__(self, flight: Flight, until: float | None) -> None:
        self.flight = flight
        self.until = until
