"""A report as files have it: the trees of imports, which are nearly all of it, are rows of numbers.

Invariants: what is packed and unpacked is what `Report.to_dict` gives; times of a tree are whole microseconds.
Texts that occur often are there once. What has the trees as objects, as `lazyguard.track_imports` writes them, is left
as it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lazyguard.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from lazyguard.audit.report.modules import Imported, ModuleReport

COLUMNS = 9
"""Numbers a row: module, parent, start and seconds and own seconds in microseconds, flags, file, file and line that
asked for it. A text is its place among `strings`; -1 is none."""
FIRST_PARTY, FAILED = 1, 2


class Strings:
    """Texts by number."""

    def __init__(self) -> None:
        self.known: dict[str, int] = {}

    def number(self, text: str | None) -> int:
        return -1 if text is None else self.known.setdefault(text, len(self.known))


def packed(data: dict[str, Any], modules: Iterable[ModuleReport]) -> dict[str, Any]:
    """Return the data of a report without trees, with the imports of its modules as one flat list of numbers each."""
    strings = Strings()
    for each, module in zip(data["modules"], modules, strict=True):
        each["imports"] = [number for row in module.imports for number in _row(row, strings)]
    return data | {"strings": list(strings.known)}


def unpacked(data: Any) -> Any:
    """Return what `packed` gave with objects in place of the rows.

    Raises:
        ConfigurationError: a number stands for nothing.
    """
    strings = data.get("strings") if isinstance(data, dict) else None
    if not isinstance(strings, list):
        return data
    try:
        modules = [{**each, "imports": [*_objects(each["imports"], strings)]} for each in data["modules"]]
    except (TypeError, ValueError, LookupError) as error:
        raise ConfigurationError(
            f"not a report of `lazyguard audit --json`: the imports cannot be read ({error})"
        ) from error
    return {key: value for key, value in data.items() if key != "strings"} | {"modules": modules}


def _row(row: Imported, strings: Strings) -> tuple[int, ...]:
    by = row.by
    return (
        strings.number(row.module),
        -1 if row.parent is None else row.parent,
        *(round(each * 1e6) for each in (row.start, row.seconds, row.own_seconds)),
        FIRST_PARTY * row.first_party | FAILED * row.failed,
        strings.number(row.file),
        strings.number(None if by is None else by.file),
        -1 if by is None or by.line is None else by.line,
    )


def _objects(numbers: list[int], strings: list[str]) -> list[dict[str, Any]]:
    def text(number: int) -> str | None:
        return None if number < 0 else strings[number]

    rows = [numbers[at : at + COLUMNS] for at in range(0, len(numbers), COLUMNS)]
    return [
        {
            "module": text(name),
            "parent": None if parent < 0 else parent,
            "start": start / 1e6,
            "seconds": seconds / 1e6,
            "own_seconds": own / 1e6,
            "first_party": bool(flags & FIRST_PARTY),
            "failed": bool(flags & FAILED),
            "file": text(file),
            "by": None if asking < 0 else {"file": text(asking), "line": None if line < 0 else line},
        }
        for name, parent, start, seconds, own, flags, file, asking, line in rows
    ]
