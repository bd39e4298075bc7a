"""Live references: how a service's proxy shows a real object, and one whose calls are watched.

Invariants: a ready service without `failures=` costs what a resolved proxy costs; a call keeps the target that it began
with.
"""

from __future__ import annotations

from lazyguard import _proxy
from lazyguard._core.late import loaded
from lazyguard._core.state import DEGRADED
from lazyguard._lazy import find_cell
from lazyguard._policies import options
from lazyguard._typing import final

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from lazyguard._core.cell import Cell
    from lazyguard._core.state import Snapshot
    from lazyguard._proxy import Proxy


def is_fallback(obj: object) -> bool:
    """Return whether a live reference or a service serves its fallback now. Builds nothing.

    Anything that is neither is no fallback.

    Example:
        >>> import lazyguard
        >>> lazyguard.is_fallback("as it is")
        False
    """
    cell = find_cell(obj)
    return cell is not None and cell.now.state == DEGRADED


@final
class Live:
    """The flavour of a service's proxy: what its class is in each state."""

    __slots__ = ("_failures", "_threshold")

    def __init__(self, failures: tuple[type[BaseException] | str, ...], threshold: int) -> None:
        self._failures = failures
        self._threshold = threshold

    def __call__(self, cell: Cell, snapshot: Snapshot) -> type[Proxy]:
        """Return the class for what the snapshot serves."""
        if snapshot.state == DEGRADED:
            view: type[Proxy] = loaded("_degraded", cell).view(cell, snapshot)
            return view
        if self._failures and not snapshot.overrides:
            options.check_loaded("failures", self._failures)
            return Watch(cell, snapshot, self._failures, self._threshold).view()
        return _proxy.bound(cell, snapshot)


@final
class Watch:
    """Counts the calls on one target that fail in a row, and opens the breaker.

    The count is kept without a lock: two failures at the same moment may count as one.
    """

    __slots__ = ("_cell", "_failures", "_generation", "_strikes", "_target", "_threshold")

    def __init__(
        self, cell: Cell, snapshot: Snapshot, failures: tuple[type[BaseException] | str, ...], threshold: int
    ) -> None:
        self._cell = cell
        self._generation = snapshot.generation
        self._target = snapshot.target
        self._failures = failures
        self._threshold = threshold
        self._strikes = 0

    def failed(self, error: BaseException) -> None:
        """Count a call that raised; open at the threshold."""
        if isinstance(error, options.loaded(self._failures)):
            self._strikes += 1
            if self._strikes >= self._threshold:
                self._cell.open(self._generation, error)

    def view(self) -> type[Proxy]:
        """Return the class of the proxy while this target is served."""
        target, views = self._target, loaded("_view", self._cell)
        operations = loaded("_operations", self._cell)

        def attribute(_: Proxy, name: str) -> Any:
            try:
                value = getattr(target, name)
            except BaseException as error:
                self.failed(error)
                raise
            if name.startswith("__") or not callable(value) or isinstance(value, type):
                return value
            return self.watched(value)

        def run(name: str, proxy: Proxy, of: Any, arguments: tuple[Any, ...], named: dict[str, Any]) -> Any:
            return self.run(operations.perform, name, proxy, of, arguments, named)

        view: type[Proxy] = views.forwarding(target, lambda _: target, attribute, run)
        return view

    def run(self, function: Callable[..., Any], /, *arguments: Any, **named: Any) -> Any:
        """Call and count; what an async function returns is counted when it has been awaited."""
        try:
            result = function(*arguments, **named)
        except BaseException as error:
            self.failed(error)
            raise
        if type(result) is _COROUTINE:
            return self._awaited(result)
        self._strikes = 0
        return result

    def watched(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function that is like it to whoever looks, and whose calls are counted."""
        import wrapt

        def counted(wrapped: Callable[..., Any], _: object, arguments: tuple[Any, ...], named: dict[str, Any]) -> Any:
            return self.run(wrapped, *arguments, **named)

        return wrapt.FunctionWrapper(function, counted)

    async def _awaited(self, coroutine: Any) -> Any:
        try:
            result = await coroutine
        except BaseException as error:
            self.failed(error)
            raise
        self._strikes = 0
        return result


async def _nothing() -> None: ...


_sample = _nothing()
_COROUTINE = type(_sample)
_sample.close()
