"""What a cell needs to know of its policies: a Plan, shared by all cells that are declared alike.

Invariant: a plan holds no state of a cell; policies keep theirs in the cell's own slots.
"""

from __future__ import annotations

from lazyguard._base.typing import final

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Literal, Protocol, TypeAlias

    from lazyguard._core.attempt import Attempt
    from lazyguard._core.cell import Cell
    from lazyguard._core.effects import Steps
    from lazyguard._core.state import Outcome, Snapshot

    OnFork: TypeAlias = "Literal['keep', 'reset'] | Callable[[Any], object]"

    class Retries(Protocol):
        """One attempt's retries, entered after its first failure."""

        def again(self, outcome: Outcome, until: float | None = None) -> Steps[Outcome | None]:
            """Wait for the next attempt: None when it is due, else the outcome in which the attempt ends."""
            ...

    class Retrying(Protocol):
        """The retry policy as the core sees it."""

        @property
        def awaits(self) -> bool:
            """Whether it is for what is async only."""
            ...

        def begin(self) -> Retries: ...

    class Places(Protocol):
        """The bulkhead of a service with many keys, as the core sees it."""

        most: int

        def enter(self, attempt: Attempt) -> bool:
            """Give the attempt a place until it ends; return whether there is one."""
            ...

        def leave(self, attempt: Attempt) -> None:
            """Take back the place of an attempt that does not begin."""
            ...

        def of_fallback(self) -> Places:
            """Return the one of a fallback."""
            ...

        def full(self, now: float, patience: float | None) -> bool:
            """Return whether there is no place; an attempt older than `patience` hangs."""
            ...

        def hanging(self, now: float, patience: float | None) -> int:
            """Return how many attempts hang."""
            ...

        def turn(self, now: float, wait: float) -> float:
            """Return when the next try of a recovery may begin, whose first wait is `wait` seconds."""
            ...

    class Recovering(Protocol):
        """The recovery policy as the core sees it."""

        initial: float

        def begin(self, cell: Cell) -> None:
            """See to it that the cell's real object is tried again in the background; idempotent."""
            ...


@final
class Plan:
    """The policies of a cell; the attributes are those of `lazyguard.service`, the defaults those of `lazy`.

    The plan of a fallback has two more: `share`, which part of a caller's wait is kept for it, and `max_degraded`.
    """

    __slots__ = (
        "abandon_after",
        "allow_none",
        "awaited",
        "bulkhead",
        "close",
        "grace",
        "max_degraded",
        "on_fork",
        "probe",
        "recovery",
        "refuses",
        "retry",
        "share",
        "timeout",
    )

    def __init__(
        self,
        *,
        timeout: float | None = None,
        abandon_after: float | None = None,
        retry: Retrying | None = None,
        recovery: Recovering | None = None,
        probe: Callable[[Any], object] | None = None,
        close: Callable[[Any], object] | None = None,
        grace: float = 0.0,
        on_fork: OnFork = "keep",
        refuses: Callable[[Cell, Snapshot], str | None] | None = None,
        awaited: bool = False,
        allow_none: bool = False,
        share: float = 0.1,
        max_degraded: float | None = None,
        bulkhead: Places | None = None,
    ) -> None:
        self.timeout: float | None = timeout
        self.abandon_after: float | None = abandon_after
        self.retry: Retrying | None = retry
        self.recovery: Recovering | None = recovery
        self.probe: Callable[[Any], object] | None = probe
        self.close: Callable[[Any], object] | None = close
        self.grace: float = grace
        self.on_fork = on_fork
        self.refuses: Callable[[Cell, Snapshot], str | None] | None = refuses
        self.awaited: bool = awaited
        self.allow_none: bool = allow_none
        self.share: float = share
        self.max_degraded: float | None = max_degraded
        self.bulkhead: Places | None = bulkhead

    def changed(self, **changes: Any) -> Plan:
        """Return a plan that differs in `changes` alone."""
        values: dict[str, Any] = {name: getattr(self, name) for name in self.__slots__}
        return Plan(**{**values, **changes})


PLAIN = Plan()
