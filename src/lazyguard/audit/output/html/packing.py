"""A report in the form that the page reads: texts that occur often are in it once.

Invariants: all that `Report.to_dict` has is in it, fields that this module does not know included; only the trees of
imports have another form, since a program of a thousand modules has some hundred thousand rows of them.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lazyguard.audit.report.model import Report
    from lazyguard.audit.report.modules import Imported

COLUMNS = 7
"""Numbers a row: module, parent, start and seconds and own seconds in microseconds, flags, place."""
FIRST_PARTY, FAILED = 1, 2


class Strings:
    """Texts by number."""

    def __init__(self) -> None:
        self.known: dict[str, int] = {}

    def number(self, text: str) -> int:
        return self.known.setdefault(text, len(self.known))


def treeless(report: Report) -> Report:
    """Return the report without its trees of imports, which are nearly all of it."""
    return replace(report, modules=tuple(replace(module, imports=()) for module in report.modules))


def packed(report: Report) -> dict[str, Any]:
    """Return the report as JSON has it, with the imports of each module as one flat list of numbers."""
    strings = Strings()
    found = treeless(report).to_dict()
    for data, module in zip(found["modules"], report.modules, strict=True):
        data["imports"] = [number for row in module.imports for number in _row(row, strings)]
    return found | {"strings": list(strings.known)}


def _row(row: Imported, strings: Strings) -> tuple[int, ...]:
    return (
        strings.number(row.module),
        -1 if row.parent is None else row.parent,
        _micro(row.start),
        _micro(row.seconds),
        _micro(row.own_seconds),
        FIRST_PARTY * row.first_party | FAILED * row.failed,
        strings.number(f"{row.file or ''}\n{row.by or ''}"),
    )


def _micro(seconds: float) -> int:
    return round(seconds * 1e6)
