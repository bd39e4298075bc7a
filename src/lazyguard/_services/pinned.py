"""Pinned blocks: a reference to what a service serves at one moment, kept for a whole `with` block.

Invariants: the reference has a cell of its own that never changes, so no fallback, recovery, reset or override reaches
it; what it shows is not closed before the block has ended; calls on it count where those on the live reference do.
"""

from __future__ import annotations

from lazyguard._base import Generic, T, final
from lazyguard._core import closing
from lazyguard._core.cell import Cell
from lazyguard._core.state import DEGRADED, Snapshot
from lazyguard._lazy_imports import access
from lazyguard._proxies import proxy as proxies
from lazyguard._proxies.proxy import find_cell
from lazyguard.errors import ServiceUnavailable, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn, overload

    from lazyguard._services.service import Service

if TYPE_CHECKING:

    @overload
    def pinned(of: Service[..., T], /) -> Pinned[T]: ...
    @overload
    def pinned(of: T, /) -> Pinned[T]: ...


def pinned(of: Any, /) -> Any:
    """Keep one object of a service for a `with` block, or an `async with` block, whatever happens meanwhile.

    `with pinned(svc) as s:` gives a reference to what is served when the block begins, built first if need be: the same
    object until the block ends, through fallback, recovery, reset and override. So what is begun on one object, such as
    a transaction, ends on that one. If it is the fallback, `s` stays with the fallback: `is_fallback(s)` tells, its
    answers are counted, and it is refused where fallbacks are. Calls on `s` count in the service's breaker as those on
    the live reference do, until it opens.

    Args:
        of: A live reference, a service (of one key, where the factory has parameters), or a lazy object.

    Returns:
        A block that can be entered once. Its object is closed after its end at the earliest; `s` is for the block
        alone.

    Raises:
        UsageError: It is none of these, or the block was entered before. `reset` and `override` take the service, not
            `s`.

    Entering raises what a use of the service would raise. Threads and tasks may use `s` until the block ends.

    Example:
        >>> import lazyguard
        >>> @lazyguard.service()
        ... def get_numbers() -> list[int]:
        ...     return [1, 2]
        >>> numbers = get_numbers()
        >>> with lazyguard.pinned(numbers) as kept:
        ...     get_numbers.reset()
        ...     numbers.append(3)
        ...     len(kept), len(numbers)
        (2, 3)
    """
    cell = find_cell(of)
    if cell is None:
        raise UsageError(
            f"pinned takes a live reference, a service or a lazy object, and this is of type {type(of).__name__}: give "
            "what the service returns, pinned(get_it())."
        )
    return Pinned(cell, of)


@final
class Pinned(Generic[T]):
    """What `pinned` returns: keeps one object from `__enter__` to `__exit__`."""

    __slots__ = ("_cell", "_entered", "_kept", "_of")

    def __init__(self, cell: Cell, of: object) -> None:
        self._cell = cell
        self._of = of  # an object of a key that is let go of lives on for those who hold its live reference
        self._entered = False
        self._kept: list[Cell] = []

    def __enter__(self) -> T:
        self._begin()
        while True:
            self._cell.resolve()
            if self._hold():
                return self._reference()

    async def __aenter__(self) -> T:
        self._begin()
        while True:
            await self._cell.aresolve()
            if self._hold():
                return self._reference()

    def __exit__(self, *_: object) -> None:
        kept = self._kept.pop()
        access.attributes.pop(kept, None)
        closing.let_go(kept.now.target)

    async def __aexit__(self, *_: object) -> None:
        self.__exit__()

    def _begin(self) -> None:
        if self._entered:
            raise UsageError(
                f"this block of {self._cell.name}, declared at {self._cell.place}, was entered before: write "
                "`with pinned(...)` for each."
            )
        self._entered = True

    def _hold(self) -> bool:
        """Hold what is served now; return whether it was served still when it was held, and so is not closed."""
        now = self._cell.now
        if not now.served:
            return False
        closing.hold(now.target)
        if not self._cell.now.shows(now):
            closing.let_go(now.target)
            return False
        self._kept.append(_still(self._cell, now))
        return True

    def _reference(self) -> T:
        kept = self._kept[-1]
        flavour = getattr(self._cell.mirror, "flavour", proxies.bound)
        # a fallback asks its cell who may be served; the real object's calls count in the service's own
        shown: type[proxies.Proxy] = flavour(kept if kept.now.state == DEGRADED else self._cell, kept.now)
        proxy: Any = object.__new__(shown)
        proxies.set_cell(proxy, kept)
        access.attributes[kept] = Kept(kept)
        reference: T = proxy
        return reference


@final
class Kept:
    """What is done to a pinned reference as if it were the service."""

    __slots__ = ("_cell",)

    def __init__(self, cell: Cell) -> None:
        self._cell = cell

    def is_resolved(self) -> bool:
        return True

    def resolve(self) -> Any:
        return self._cell.resolve(real=True)

    def reset(self) -> NoReturn:
        raise self._not_of_a_block("reset")

    def override(self, value: Any) -> NoReturn:
        raise self._not_of_a_block("override")

    def _not_of_a_block(self, what: str) -> UsageError:
        return UsageError(
            f"{what} would change nothing for {self._cell.name}, declared at {self._cell.place}, in its pinned block: "
            "give the service itself."
        )


def _still(cell: Cell, now: Snapshot) -> Cell:
    """Return a cell that shows what another one does now, and builds nothing."""

    def refuse() -> NoReturn:
        raise ServiceUnavailable(
            f"{cell.name}, declared at {cell.place}, is pinned to its fallback here: ask the service for the real one."
        )

    refuse.__wrapped__ = cell.factory  # type: ignore[attr-defined]  # what it says that it returns
    kept = Cell(
        refuse,
        name=cell.name,
        place=cell.place,
        plan=cell.plan.changed(recovery=None, retry=None, close=None, awaited=False),
    )
    kept.now = now.changed(attempt=None, abandoned=(), overrides=(), held=None, gate=None)
    kept.fallbacks = cell.fallbacks
    kept.answered = cell.answered
    return kept
