"""All cells that a person may ask after: services, and lazy objects that a module declares. Holds them weakly."""

from __future__ import annotations

from _weakref import ref

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lazyguard._core.cell import Cell

_known: dict[ref[Cell], str] = {}


def register(cell: Cell, kind: str) -> None:
    """Let `health` see a cell; `kind` says what it is."""
    _known[ref(cell, _known.pop)] = kind


def cells() -> list[tuple[Cell, str]]:
    """Return the cells that still exist and what they are, in the order of their declaration."""
    found = [(known(), kind) for known, kind in list(_known.items())]
    return [(cell, kind) for cell, kind in found if cell is not None]
