"""The report as one HTML page that needs nothing else: no network, no other file, no framework.

Invariants: the page's own policy lets it load nothing and run its one script only (both by hash). What the audited
program has named, printed or raised is data in the page, never markup: it is written as JSON in which no `<` is left,
and shown as text. Of the program's sources the lines around the places that the report names are in it, no others.
"""

from __future__ import annotations

import base64
import hashlib
import json
from importlib.resources import files
from typing import TYPE_CHECKING

from lazyguard.audit.output.html.sources import excerpts
from lazyguard.audit.report.schema import plain
from lazyguard.audit.report.sentences import by_line

if TYPE_CHECKING:
    from lazyguard.audit.report.model import Report

# In the order in which they run: each uses what stands before it.
SCRIPTS = (
    "dom.js",
    "model.js",
    "overview.js",
    "modules.js",
    "timeline.js",
    "waterfall.js",
    "findings.js",
    "comparison.js",
    "against.js",
    "main.js",
)


def page(report: Report, before: Report | None = None) -> str:
    """Return the page of a report, beside an earlier one where that is given.

    Example:
        >>> from lazyguard.audit import audit
        >>> from lazyguard.audit.output.html import page
        >>> page(audit(["colorsys"])).startswith("<!doctype html>")
        True
    """
    style = _asset("style.css")
    script = "".join(f"(() => {{\n{_asset(name)}}})();\n" for name in SCRIPTS)
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
    text = _asset("page.html")
    head, *rest = text.split("{{")
    pieces = [head]
    for each in rest:
        name, _, after = each.partition("}}")
        pieces += [parts[name], after]
    return "".join(pieces)


def _asset(name: str) -> str:
    return files(__name__).joinpath(name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
