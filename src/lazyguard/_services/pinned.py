"""`pinned`: a reference that keeps the present target of a service for a whole `with` block.

Invariants: the reference has a cell of its own that never changes, so no fallback, recovery, reset or override affects
it. Its target is not closed before the block has ended. Calls on it count like those on the live reference.
"""

from __future__ import annotations

from lazyguard._base import TYPE_CHECKING, Any, Generic, NoReturn, Record, T, final, overload
from lazyguard._core import closing, interruptions
from lazyguard._core.cell import Cell
from lazyguard._core.state import DEGRADED, Snapshot
from lazyguard._proxies import proxy as proxies
from lazyguard._proxies.proxy import find_cell
from lazyguard.errors import ServiceUnavailable, UsageError

if TYPE_CHECKING:
    from lazyguard._services.service import Service

if TYPE_CHECKING:

    @overload
    def pinned(of: Service[..., T], /) -> Pinned[T]: ...
    @overload
    def pinned(of: T, /) -> Pinned[T]: ...


def pinned(of: Any, /) -> Any:
    """Keep one target of a service for a `with` or `async with` block.

    `with pinned(svc) as s:` builds the target if needed, and gives a reference to it. `s` keeps that object until the
    block ends, through fallback, recovery, reset and override. So what begins on one object, such as a transaction,
    ends on it. If the target is a fallback, `s` keeps the fallback: `is_fallback(s)` is true, its answers are counted,
    and it is refused where fallbacks are. Calls on `s` count in the service's breaker, until that opens.

    Args:
        of: A live reference, a service (of one key, if the factory has parameters), or a lazy object.

    Returns:
        A block that can be entered once. The target is closed after its end at the earliest; use `s` only in the block.

    Raises:
        UsageError: `of` is none of these, the block was entered before, or `s` was given to `reset` or `override`:
            they take the service.

    Entering raises what a use of the service would raise. Threads and tasks can use `s` until the block ends.

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
            f"pinned takes a live reference, a service or a lazy object, not one of type {type(of).__name__}: give "
            "what the service returns, pinned(get_it())."
        )
    return Pinned(_cell=cell, _of=of)


@final
class Pinned(Record, Generic[T]):
    """The block that `pinned` returns: it keeps one object from its entry to its exit."""

    _cell: Cell
    _of: object  # a reference to it keeps the object of an evicted key alive
    _entered: bool = False
    _key: object = None
    _kept: PinnedCell | None = None

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
        interruptions.ended(self._key)

    async def __aexit__(self, *_: object) -> None:
        self.__exit__()

    def _begin(self) -> None:
        if self._entered:
            raise UsageError(
                f"this block of {self._cell.name}, declared at {self._cell.place}, was entered before: write "
                "`with pinned(...)` for each block."
            )
        self._entered = True

    def _hold(self) -> bool:
        """Hold the present target; return whether it was still served then, so that it is not closed."""
        cell = self._cell = self._cell.here()
        now = cell.now
        if not now.served:
            return False
        self._kept = kept = PinnedCell(cell, now)
        self._key = interruptions.at_end_of(self, lambda: closing.let_go(now.target, kept))
        closing.hold(now.target, kept)
        if not cell.now.shows(now):
            interruptions.ended(self._key)
            return False
        return True

    def _reference(self) -> T:
        kept = self._kept
        assert kept is not None
        flavour = getattr(self._cell.mirror, "flavour", proxies.bound)
        # the view of a fallback checks the permission by its cell; calls on the real object count in the service's cell
        shown: type[proxies.Proxy] = flavour(kept if kept.now.state == DEGRADED else self._cell, kept.now)
        proxy: Any = object.__new__(shown)
        proxies.set_cell(proxy, kept)
        reference: T = proxy
        return reference


class PinnedCell(Cell):
    """A cell that keeps another cell's present target, builds nothing and is not changed."""

    __slots__ = ()

    def __init__(self, of: Cell, now: Snapshot) -> None:
        def refuse() -> NoReturn:
            raise ServiceUnavailable(
                f"{of.name}, declared at {of.place}, is pinned to its fallback here: ask the service for the real one."
            )

        refuse.__wrapped__ = of.factory  # type: ignore[attr-defined]  # for its return annotation
        plan = of.plan.changed(recovery=None, retry=None, close=None, awaited=False)
        super().__init__(refuse, name=of.name, place=of.place, plan=plan)
        self.now = now.changed(attempt=None, abandoned=(), overrides=(), held=None, gate=None, made=None)
        self.fallbacks = of.fallbacks
        self.answered = of.answered

    def reset(self) -> NoReturn:
        raise self._not_of_a_block("reset")

    def override(self, value: Any, note: object = None) -> NoReturn:
        raise self._not_of_a_block("override")

    def _not_of_a_block(self, what: str) -> UsageError:
        return UsageError(
            f"{what} would change nothing for {self.name}, declared at {self.place}, in its pinned block: give the "
            "service itself."
        )
