"""The report as one HTML page that needs nothing else: no network, no other file, no framework.

Invariants: the page's own policy lets it load nothing and run its one script only (both by hash). What the audited
program has named, printed or raised is data in the page, never markup: it is written as JSON in which no `<` is left,
and shown as text. Of the program's sources the lines around the places that the report names are in it, no others. A
file that is away, that is no Python source or that does not lie below the audited path gives no lines, and no error.
A report without a path, such as one from a stranger's file, gives none at all.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from lazyguard.audit.report.schema import plain
from lazyguard.audit.report.sentences import by_line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lazyguard.audit.report.model import Report

# In the order in which they run: each uses what stands before it.
SCRIPTS = "dom model overview modules timeline waterfall findings comparison against main".split()
AROUND = 3  # lines before and after a place
SUFFIXES = (".py", ".pyi", ".pyx", ".pxd")
LONGEST = 200  # characters of a line
LARGEST = 4_000_000  # bytes of a file


def page(report: Report, before: Report | None = None) -> str:
    """Return the page of a report, beside an earlier one where that is given.

    Example:
        >>> from lazyguard.audit import audit
        >>> from lazyguard.audit.output.html import page
        >>> page(audit(["colorsys"])).startswith("<!doctype html>")
        True
    """
    style = _asset("style.css")
    script = "".join(f"(() => {{\n{_asset(name + '.js')}}})();\n" for name in SCRIPTS)
    data = {
        "report": report.packed(),
        "before": None if before is None else before.packed(),
        "findings": [{"finding": plain(each), "modules": names} for each, names in by_line(report)],
        "sources": excerpts(report),
    }
    parts = {
        "STYLE-HASH": _hash(style),
        "SCRIPT-HASH": _hash(script),
        "STYLE": style,
        "SCRIPT": script,
        # json leaves no character above 127, so that no line separator and no lone surrogate is in the page either
        "DATA": json.dumps(data, separators=(",", ":")).replace("<", "\\u003c"),
    }
    return re.sub(r"\{\{([A-Z-]+)\}\}", lambda found: parts[found[1]], _asset("page.html"))


def _asset(name: str) -> str:
    return files(__name__).joinpath(name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


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
