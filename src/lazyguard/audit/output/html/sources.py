"""The lines of the audited program around the places that a report names.

Invariants: a file that is away, that is no Python source or that does not lie below the audited path gives no lines,
and no error: the report then shows the place alone. A report without a path, such as one from
a stranger's file, gives none at all.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lazyguard.audit.report.model import Report

AROUND = 3
SUFFIXES = (".py", ".pyi", ".pyx", ".pxd")
LONGEST = 200  # characters of a line
LARGEST = 4_000_000  # bytes of a file


def excerpts(report: Report) -> dict[str, dict[int, str]]:
    """Return, by file, the lines around each place: number -> text."""
    found: dict[str, dict[int, str]] = {}
    read: dict[str, list[str]] = {}
    for file, line in dict.fromkeys(_places(report)):
        if file not in read:
            read[file] = _lines(report, file)
        lines = read[file]
        for number in range(max(1, line - AROUND), min(len(lines), line + AROUND) + 1):
            found.setdefault(file, {})[number] = lines[number - 1][:LONGEST]
    return found


def _places(report: Report) -> Iterator[tuple[str, int]]:
    """Yield every object that has a file and a line, whatever it is a part of but the trees of imports."""
    left: list[Any] = [report.treeless().to_dict()]
    while left:
        value = left.pop()
        if isinstance(value, dict):
            file, line = value.get("file"), value.get("line")  # pyright: ignore[reportUnknownVariableType]
            if isinstance(file, str) and isinstance(line, int):
                yield file, line
            left += value.values()  # pyright: ignore[reportUnknownArgumentType]
        elif isinstance(value, list):
            left += value  # pyright: ignore[reportUnknownArgumentType]


def _lines(report: Report, file: str) -> list[str]:
    try:
        for _, full in report.on_disk(file) if file.endswith(SUFFIXES) else ():
            if full.endswith(SUFFIXES) and os.path.getsize(full) <= LARGEST:
                with open(full, encoding="utf-8", errors="replace") as stream:
                    return stream.read().splitlines()
    except OSError:
        pass
    return []
