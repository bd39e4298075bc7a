"""Declared fallbacks: the checks of a fallback function, of what it returns, and the cell that a service gets for it.

Invariant: a function that could not be called as a fallback is refused where it is declared.
"""

from __future__ import annotations

from lazyguard._base import TYPE_CHECKING, Any, Callable, Record, signatures, validation
from lazyguard._base.places import misconfigured
from lazyguard._core import loaded
from lazyguard._core.declaration import NOTHING, Plan, declared
from lazyguard._proxies.proxy import Proxy, annotated_class, find_cell

if TYPE_CHECKING:
    from collections.abc import Collection

    from lazyguard._core.cell import Cell
    from lazyguard._core.state import Snapshot
    from lazyguard._services.conformity import Difference

# The modules of mocks: the standard library's, and the backport's.
_MOCKS = ("unittest.mock", "mock.mock")
# The share of a caller's wait that is kept for a fallback without a timeout, and for all fallbacks at the most.
_SHARE, _MOST = 0.1, 0.9


class Fallback(Record):
    """One declared fallback, which many cells can share."""

    function: Callable[..., Any]
    timeout: Any
    max_degraded: Any
    partial: bool
    answers: bool
    close: Callable[[Any], object] | None
    bulkhead: Any = None
    _compared: type | None = None

    def __init__(self, cell: Cell, function: Callable[..., Any], parameters: tuple[str, ...], **options: Any) -> None:
        super().__init__(function=function, **options)
        self.place, self.awaited = place, _ = validation.fallback_function(function, cell.name, cell.place)
        self.name = f"the fallback of {cell.name}"
        required = signatures.required_parameters(function)
        positional = signatures.positional_parameters(function)
        self.takes = tuple(name for name in signatures.all_parameters(function)[1:] if name in parameters)
        needs = [name for name in required if name not in self.takes]
        of_key = positional[:1] and positional[0] in parameters and (required or self.takes)  # where the cause goes
        if len(needs) > 1 or (needs and needs[0] not in positional[:1]) or of_key:
            also = f" and after that {', '.join(parameters)}" if parameters else " alone"
            raise misconfigured(
                f"{self.name} ({place}) needs {', '.join(required)}, but it is called without "
                f"arguments, or with the cause{also}: give the others defaults."
            )
        if self.awaited and not cell.plan.awaited:
            raise misconfigured(
                f"{self.name} ({place}) is an `async def`, but its service is not: make both async, or neither."
            )
        if not self.awaited:
            validation.plain("close", self.close, f"{self.name} ({place})", "the fallback")
        # a parameter with a default and another name has another purpose: lambda url=url: Cache(url)
        self.takes_cause = bool(required or self.takes) or positional[:1] == ("cause",)
        self._compare_declared(cell)

    def check(self, cell: Cell, made: object) -> None:
        """Raise ConfigurationError if the object that the function returned cannot be a fallback."""
        if is_mock(made) and not loaded("_core.mode").is_testing():
            raise misconfigured(
                f"{self.name} ({self.place}) returned an object of unittest.mock "
                f"({type(made).__name__}), which hides every missing answer: outside tests return an object that "
                "raises for what it cannot do, such as one of lazyguard.mock_service. In tests call "
                "lazyguard.testing.set_testing(True)."
            )
        if find_cell(made) is cell:
            raise misconfigured(f"{self.name} ({self.place}) returned the service itself: return an object of its own.")
        kind = type(made)
        if kind is not self._compared:
            self._compared = kind
            _conform = loaded("_services.conformity", cell)
            found = self._differences(cell, kind, _conform.vars_of(made))
            if found:  # it is no error, since it is served all the same
                cause = f"{kind.__qualname__}: {_conform.describe(found)}"
                tell = loaded("events", cell).tell
                tell(self, "differs", "resolving", "ready", generation=cell.now.generation, cause=cause)

    def _compare_declared(self, cell: Cell) -> None:
        """Compare the classes of the two return annotations: a certain difference is an error, any other a warning."""
        real, kind = annotated_class(cell.factory), annotated_class(self.function)
        if real is None or kind is None or kind in real.__mro__:
            return  # it can only be compared when it is made
        self._compared = kind
        found = self._differences(cell, kind)
        if not found:
            return
        _conform = loaded("_services.conformity", cell)
        certain = [one for one in found if one.certain]
        text = (
            f"{self.name} ({self.place}), a {kind.__qualname__}, does not conform to "
            f"{real.__qualname__}: {_conform.describe(certain or found)}."
        )
        if certain:
            raise misconfigured(f"{text} Calls that are valid for the real object would fail.")
        import warnings

        from lazyguard.errors import ConformityWarning

        text += "" if self.partial else " If it need not have all members, declare it with fallback(partial=True)."
        warnings.warn_explicit(text, ConformityWarning, self.place.file, self.place.line)

    def _differences(self, cell: Cell, kind: type, own: Collection[str] = ()) -> list[Difference]:
        real = annotated_class(cell.factory)
        if real is None or issubclass(kind, Proxy):
            return []
        _conform = loaded("_services.conformity", cell)
        return [one for one in _conform.differences(kind, real, own) if not (self.partial and one.missing)]

    def read(self) -> None:
        """Ask for the numbers that are functions."""
        for name in ("timeout", "max_degraded"):
            value = getattr(self, name)
            setattr(self, name, validation.read(name, value, self.place, validation.seconds, optional=True))

    def join(self, cell: Cell, arguments: dict[str, Any] | None = None) -> None:
        """Make this the last fallback of a cell.

        Args:
            cell: The cell.
            arguments: The arguments of its factory by name, if that has parameters.

        Raises:
            ConfigurationError: The cell has this fallback already, or its fallbacks leave the real object no time.
        """
        for other in cell.fallbacks:
            if getattr(other.factory, "__wrapped__", None) is self.function:
                raise misconfigured(
                    f"{cell.name} ({cell.place}) has this fallback already ({self.place}): remove one, since a second "
                    "try would fail as the first did."
                )
        plan: Any = cell.plan
        if any(map(callable, (self.timeout, self.max_degraded))):
            if cell.used:
                self.read()
            elif plan.reads is None:
                plan = cell.plan = plan.changed(reads=loaded("_services.declare").read)
        whole: Any = None if plan.reads is not None else plan.timeout  # which may be a function, until it is read
        timeout = self.timeout
        share = _SHARE if timeout is None or whole is None else timeout / whole
        shares = share + sum(other.plan.share for other in cell.fallbacks)
        if self.bulkhead is None and plan.bulkhead is not None and plan.reads is None:
            self.bulkhead = plan.bulkhead.of_fallback()
        if whole is not None and shares > _MOST + 1e-9:
            raise misconfigured(
                f"the fallbacks of {cell.name} ({cell.place}) take {shares * whole:g} s of its timeout={whole:g} with "
                f"this one ({self.place}), and the real object needs at least {(1 - _MOST) * whole:g} s: give the "
                "fallbacks less, or the service more."
            )
        function = self.function
        named = {} if arguments is None else {name: arguments[name] for name in self.takes}

        def build() -> Any:
            if not self.takes_cause:
                return function()
            kept = cell.kept
            if kept is None:
                from lazyguard.errors import ResolutionError

                raise ResolutionError(f"{cell.name} has its real object again, and needs no fallback.")
            return function(kept.again(), **named)

        build.__wrapped__ = function  # type: ignore[attr-defined]
        build.of = self  # type: ignore[attr-defined]
        build.join = lambda other: self.join(other, arguments)  # type: ignore[attr-defined]  # another loop's cell
        fallback_cell: Cell = declared(
            build,
            name=self.name,
            place=self.place,
            plan=Plan(
                timeout=whole if timeout is None else timeout,
                awaited=self.awaited,
                probe=lambda made: self.check(cell, made),
                close=self.close,
                grace=plan.grace,
                share=share,
                bulkhead=self.bulkhead,
                max_degraded=self.max_degraded,
            ),
        )
        cell.plan = cell.plan.changed(refuses=_refusal)
        cell.fallbacks = (*cell.fallbacks, fallback_cell)
        if cell.answered is NOTHING:
            cell.answered = {}
        for other in () if cell.loops is None else cell.loops.others(cell):
            self.join(other, arguments)


def _refusal(cell: Cell, snapshot: Snapshot) -> str | None:
    """Return why the fallback may not be served here; None: it may."""
    refusal: str | None = loaded("_policies.fallback", cell).refusal(cell, snapshot)
    return refusal


def is_mock(thing: object) -> bool:
    """Return whether this is an object of `unittest.mock`, also a function that `create_autospec` made.

    The type decides, since a mock pretends to be something else. `unittest.mock` is not loaded for it.
    """
    if any(base.__module__ in _MOCKS for base in type(thing).__mro__):
        return True
    return hasattr(type(thing), "__code__") and is_mock(vars(thing).get("mock"))
