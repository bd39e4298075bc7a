"""What is declared: a factory with its plan, which becomes a cell at its first use.

Invariants: declaring loads this and none of the state machine; to look at what was never used loads nothing either; a
plan holds no state of a cell; the registry holds what is declared weakly.
"""

import os
from _weakref import ref

from lazyguard._base.places import Place, misconfigured, shown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lazyguard._base import Any, Callable, FrameType, Literal, TypeAlias

    OnFork: TypeAlias = "Literal['keep', 'reset'] | Callable[[Any], object]"


class Plan:
    """The policies of a cell; the attributes are those of `lazyguard.service`, the defaults those of `lazy`.

    The plan of a fallback has two more: `share`, which part of a caller's wait is kept for it, and `max_degraded`.
    `retry`, `recovery` and `bulkhead` are the policies' own objects, and `...` stands for `Recovery()`. `refuses` is
    asked with a cell and its snapshot, and `wrong` with what a factory has made: what that is, if it is of no use.
    `reads` is called with a cell at its first use, where numbers of the plan are functions.
    """

    timeout: "float | None" = None
    abandon_after: "float | None" = None
    retry: "Any" = None
    recovery: "Any" = None
    probe: "Callable[[Any], object] | None" = None
    close: "Callable[[Any], object] | None" = None
    grace: float = 0.0
    on_fork: "OnFork" = "keep"
    refuses: "Callable[[Any, Any], str | None] | None" = None
    awaited: bool = False
    allow_none: bool = False
    share: float = 0.1
    max_degraded: "float | None" = None
    bulkhead: "Any" = None
    wrong: "Callable[[Any], str | None] | None" = None
    reads: "Callable[[Any], object] | None" = None

    def __init__(self, **policies: "Any") -> None:
        for name, value in policies.items():
            setattr(self, name, value)

    def changed(self, **changes: "Any") -> "Plan":
        """Return a plan that differs in `changes` alone."""
        return Plan(**{**vars(self), **changes})


PLAIN = Plan()

# What no fallback has answered: one dict for all cells that have none, which stays empty.
NOTHING: "dict[str, int]" = {}
# Where the state machine is, which is loaded by this name.
CELL = "_core.cell"


class Declaration:
    """A factory, its name, its place and its plan, with room for what a cell keeps beside these.

    Attributes:
        used: Whether it has become a cell.
        mirror: What shows its target to the world: a `ProxyMirror`, or None. It makes ready outside the lock what it is
            to show, and under it only assigns.
        fallbacks: The cells of the fallbacks, in the order in which they are tried.
        kept: What keeps the cause why the real object is not served, as it was first; the fallback is given that.
        answered: How often a fallback has answered, by the name of what was asked of it.
        recovery_run: What the recovery keeps with the cell: its progress.
        home: The event loop on which an async factory ran last.
        calls: What counts the calls on the target of a generation: that generation, and a circuit.
        loops: The event loops of an async service, where several use it.
    """

    __slots__ = tuple(
        "__weakref__ answered calls factory fallbacks home kept loops mirror name now place plan recovery_run".split()
    )
    used = True

    def __init__(self, factory: "Callable[[], Any]", *, name: str, place: Place, plan: "Plan" = PLAIN) -> None:
        self.factory: Any = factory  # a function without parameters
        self.name: str = name
        self.place: Place = place
        self.plan: Plan = plan
        self.mirror: Any = None
        self.fallbacks: tuple[Any, ...] = ()
        self.kept: Any = None
        self.answered: dict[str, int] = NOTHING
        self.recovery_run: Any = None
        self.home: Any = None
        self.calls: tuple[int, Any] | None = None
        self.loops: Any = None


class Declared(Declaration):
    """What nothing has used yet. Whatever is asked of it that a declaration has not makes a cell of it."""

    __slots__ = ()
    used = False

    if not TYPE_CHECKING:

        def __getattr__(self, name):
            # the slot of `now` is empty until then
            from lazyguard._core import loaded

            loaded(CELL, self).begin(self)
            return getattr(self, name)


def declared(factory: "Callable[[], Any]", *, name: str, place: Place, plan: "Plan" = PLAIN) -> "Any":
    """Return what stands for a cell until its first use, and is that cell from then on."""
    return Declared(factory, name=name, place=place, plan=plan)


def check_on_fork(on_fork: object) -> None:
    """Raise ConfigurationError where `on_fork` is none of its three forms."""
    if on_fork not in ("keep", "reset") and not callable(on_fork):
        raise misconfigured(f'on_fork={shown(on_fork)} is invalid: give "keep", "reset" or a function of the object.')


def build_early(frame: "FrameType", build: "Callable[[], object]") -> None:
    """Let `build` run at the end of the import that `frame` belongs to, where LAZYGUARD_EAGER asks for it."""
    if os.environ.get("LAZYGUARD_EAGER"):
        from lazyguard._core import eager

        eager.declared(frame, build)


_registered: "dict[ref[Any], str]" = {}
# The kind of what guards a function.
GUARD = "guard"


def register(cell: "Any", kind: str) -> None:
    """Let `health` see a cell, or what guards a function; `kind` says what it is."""
    _registered[ref(cell, _registered.pop)] = kind


def kind_of(cell: "Declaration") -> str:
    """Return what `register` was told of a cell."""
    return _registered.get(ref(cell), "")


def forget(cell: "Declaration") -> None:
    """Let `health` see a cell no more."""
    _registered.pop(ref(cell), None)


def cells() -> "list[tuple[Any, str]]":
    """Return the cells that still exist and what they are, in the order of their declaration."""
    return [(cell, kind) for cell, kind in _existing() if kind != GUARD]


def guards() -> "list[Any]":
    """Return what guards functions that still exist, in the order of their declaration."""
    return [guard for guard, kind in _existing() if kind == GUARD]


def _existing() -> "list[tuple[Any, str]]":
    # a copy of the dict, not a list of its items: making that may collect garbage, and with it a cell
    try:
        found = [(known(), kind) for known, kind in _registered.copy().items()]
    except RuntimeError:  # CPython 3.10 may collect amid the copy, which then counts what has gone
        return _existing()
    return [(one, kind) for one, kind in found if one is not None]
