"""All that a person may ask after: services, lazy objects that a module declares, guarded functions with a breaker.

Invariant: it holds them weakly.
"""

from __future__ import annotations

from _weakref import ref

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from lazyguard._core.cell import Cell

_known: dict[ref[Cell], str] = {}
_guards: dict[ref[Any], None] = {}


def register(cell: Cell, kind: str) -> None:
    """Let `health` see a cell; `kind` says what it is."""
    _known[ref(cell, _known.pop)] = kind


def cells() -> list[tuple[Cell, str]]:
    """Return the cells that still exist and what they are, in the order of their declaration."""
    # a copy of the dict, not a list of its items: making that may collect garbage, and with it a cell
    found = [(known(), kind) for known, kind in _known.copy().items()]
    return [(cell, kind) for cell, kind in found if cell is not None]


def register_guard(guard: Any) -> None:
    """Let `health` see what guards a function."""
    _guards[ref(guard, lambda gone: _guards.pop(gone, None))] = None


def guards() -> list[Any]:
    """Return what guards functions that still exist, in the order of their declaration."""
    return [guard for known in list(_guards) if (guard := known()) is not None]
