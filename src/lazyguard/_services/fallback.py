"""Declaring a fallback: what a function must be to make a service's fallback, and how a cell comes by it.

Invariant: what could not be called in need is refused where it is declared.
"""

from __future__ import annotations

from lazyguard import events
from lazyguard._base import places, signatures, validation
from lazyguard._base.typing import final
from lazyguard._core import mode
from lazyguard._core.cell import NOTHING, Cell
from lazyguard._core.loading import loaded
from lazyguard._core.plan import Plan
from lazyguard._core.state import READY, RESOLVING
from lazyguard._proxies.inspection import annotated_class
from lazyguard._proxies.proxy import Proxy, find_cell
from lazyguard.errors import ConfigurationError, ConformityWarning

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from typing import Any

    from lazyguard._services.conformity import Difference

# Where the classes of mocks come from: of the standard library, and of its backport.
_MOCKS = ("unittest.mock", "mock.mock")
# What is kept of a caller's wait for a fallback that names no timeout of its own, and for all of them at the most.
_SHARE, _MOST = 0.1, 0.9


@final
class Fallback:
    """One declared fallback, shared by all cells that have it."""

    __slots__ = (
        "_compared",
        "awaited",
        "bulkhead",
        "close",
        "function",
        "max_degraded",
        "partial",
        "place",
        "share",
        "takes",
        "takes_cause",
        "timeout",
    )

    def __init__(
        self,
        cell: Cell,
        function: Callable[..., Any],
        *,
        timeout: float | None = None,
        max_degraded: float | None = None,
        partial: bool = False,
        close: Callable[[Any], object] | None = None,
        parameters: tuple[str, ...] = (),
    ) -> None:
        validation.seconds("timeout", timeout, optional=True)
        validation.seconds("max_degraded", max_degraded, optional=True)
        validation.flag("partial", partial)
        self.function = function
        self.place = place = places.of_callable(function, cell.place)
        if not hasattr(function, "__code__"):
            raise ConfigurationError(
                f"the fallback of {cell.name} ({cell.place}) must be a function, "
                f"not one of type {type(function).__name__}: wrap it in one that returns the fallback."
            )
        required = signatures.required_parameters(function)
        flags = signatures.flags_of(function)
        positional = signatures.positional_parameters(function)
        self.takes = tuple(name for name in signatures.all_parameters(function)[1:] if name in parameters)
        needs = [name for name in required if name not in self.takes]
        of_key = positional[:1] and positional[0] in parameters and (required or self.takes)  # where the cause goes
        if len(needs) > 1 or (needs and needs[0] not in positional[:1]) or of_key:
            also = f" and after that {', '.join(parameters)}" if parameters else " alone"
            raise ConfigurationError(
                f"the fallback of {cell.name} ({place}) needs {', '.join(required)}, but it is called without "
                f"arguments, or with the cause{also}: give the others defaults."
            )
        if flags & (signatures.GENERATOR | signatures.ASYNC_GENERATOR):
            raise ConfigurationError(
                f"the fallback of {cell.name} ({place}) is a generator: use `return` for the fallback."
            )
        self.awaited = bool(flags & signatures.COROUTINE)
        if self.awaited and not cell.plan.awaited:
            raise ConfigurationError(
                f"the fallback of {cell.name} ({place}) is an `async def`, but its service is not: make both alike."
            )
        validation.function_of("close", close)
        if not self.awaited:
            validation.plain("close", close, f"the fallback of {cell.name} ({place})", "the fallback")
        self.close = close
        self.bulkhead = None if cell.plan.bulkhead is None else cell.plan.bulkhead.of_fallback()
        # one that has a default, other than this name, is there for another reason: lambda url=url: Cache(url)
        self.takes_cause = bool(required or self.takes) or positional[:1] == ("cause",)
        self.timeout = timeout
        self.max_degraded = max_degraded
        whole = cell.plan.timeout
        self.share = _SHARE if timeout is None or whole is None else timeout / whole
        self.partial = partial
        self._compared: type | None = None
        self._compare_declared(cell)

    def check(self, cell: Cell, made: object) -> None:
        """Raise ConfigurationError where what the function made may not stand in."""
        if is_mock(made) and not mode.is_testing():
            raise ConfigurationError(
                f"the fallback of {cell.name} ({self.place}) returned an object of unittest.mock "
                f"({type(made).__name__}), which answers whatever it is asked, and this is no test: return an object "
                "that knows what it cannot do, such as one of lazyguard.mock_service. Tests say so with "
                "lazyguard.testing.set_testing(True)."
            )
        if find_cell(made) is cell:
            raise ConfigurationError(
                f"the fallback of {cell.name} ({self.place}) returned the service itself, for which it is to stand "
                "in: return an object of its own."
            )
        kind = type(made)
        if kind is not self._compared:
            self._compared = kind
            _conform = loaded("_services.conformity", cell)
            found = self._differences(cell, kind, _conform.vars_of(made))
            if found:
                self._tell(cell, f"{kind.__qualname__}: {_conform.said(found)}")

    def _compare_declared(self, cell: Cell) -> None:
        """Compare the classes that the two annotations name: what is certain is an error, the rest a warning."""
        real, kind = annotated_class(cell.factory), annotated_class(self.function)
        if real is None or kind is None or kind in real.__mro__:
            return  # not to be told before it is made
        self._compared = kind
        found = self._differences(cell, kind)
        if not found:
            return
        _conform = loaded("_services.conformity", cell)
        certain = [one for one in found if one.certain]
        text = (
            f"the fallback of {cell.name} ({self.place}), a {kind.__qualname__}, does not conform to "
            f"{real.__qualname__}: {_conform.said(certain or found)}."
        )
        if certain:
            raise ConfigurationError(f"{text} Calls that are right for the real object would fail.")
        import warnings

        filename, _, line = self.place.rpartition(":")
        text += "" if self.partial else " Where less is meant, say so: fallback(partial=True)."
        warnings.warn_explicit(text, ConformityWarning, filename, int(line))

    def _differences(self, cell: Cell, kind: type, own: Collection[str] = ()) -> list[Difference]:
        real = annotated_class(cell.factory)
        if real is None or issubclass(kind, Proxy):
            return []
        _conform = loaded("_services.conformity", cell)
        return [one for one in _conform.differences(kind, real, own) if not (self.partial and one.missing)]

    def _tell(self, cell: Cell, text: str) -> None:
        """Tell of a fallback that was made: by now it is better than nothing, so it is no error."""
        events.emit(
            events.Event(
                "differs",
                name=f"the fallback of {cell.name}",
                place=self.place,
                before=RESOLVING,
                after=READY,
                generation=cell.now.generation,
                cause=text,
            )
        )

    def join(self, cell: Cell, given: dict[str, Any] | None = None) -> None:
        """Make this the last of a cell's fallbacks.

        Args:
            cell: The cell.
            given: What the parameters of its factory are given, where it has any.

        Raises:
            ConfigurationError: It is one of them already, or they leave the real object no time.
        """
        for fallback_cell in cell.fallbacks:
            if getattr(fallback_cell.factory, "__wrapped__", None) is self.function:
                raise ConfigurationError(
                    f"{cell.name} ({cell.place}) has this fallback already ({self.place}): a second try of the same "
                    "one would fail as the first did."
                )
        whole = cell.plan.timeout
        shares = self.share + sum(fallback_cell.plan.share for fallback_cell in cell.fallbacks)
        if whole is not None and shares > _MOST + 1e-9:
            raise ConfigurationError(
                f"the fallbacks of {cell.name} ({cell.place}) take {shares * whole:g} s of its timeout={whole:g} with "
                f"this one ({self.place}), and at least {(1 - _MOST) * whole:g} s are left to the real object: give "
                "them less, or the service more."
            )
        fallback = loaded("_policies.fallback", cell)
        function = self.function
        named = {} if given is None else {name: given[name] for name in self.takes}

        def build() -> Any:
            return function(cell.cause, **named) if self.takes_cause else function()

        build.__wrapped__ = function  # type: ignore[attr-defined]
        fallback_cell = Cell(
            build,
            name=f"the fallback of {cell.name}",
            place=self.place,
            plan=Plan(
                timeout=whole if self.timeout is None else self.timeout,
                awaited=self.awaited,
                probe=lambda made: self.check(cell, made),
                close=self.close,
                grace=cell.plan.grace,
                share=self.share,
                bulkhead=self.bulkhead,
                max_degraded=self.max_degraded,
            ),
        )
        cell.plan = cell.plan.changed(refuses=fallback.refusal)
        cell.fallbacks = (*cell.fallbacks, fallback_cell)
        if cell.answered is NOTHING:
            cell.answered = {}


def is_mock(thing: object) -> bool:
    """Return whether this is an object of `unittest.mock`, a function that `create_autospec` made among them.

    By its type, since a mock says of itself that it is something else. `unittest.mock` is not loaded for it.
    """
    if any(base.__module__ in _MOCKS for base in type(thing).__mro__):
        return True
    return hasattr(type(thing), "__code__") and is_mock(vars(thing).get("mock"))
