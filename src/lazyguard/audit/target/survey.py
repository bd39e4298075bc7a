"""The program that judges the import statements of sources, in the interpreter whose syntax they have.

Invariants: nothing of the target is imported. A file that cannot be read or parsed is left out: it was not executed
from that text.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict

from lazyguard.audit.target.judgement import judge
from lazyguard.audit.target.statements import Source, text, tree


def read(rows: list[list[str]]) -> list[Source]:
    """Return the sources: of each module its name, its file, and whether it is a package ("1")."""
    found = [(module, file, package == "1", tree(file)) for module, file, package in rows]
    return [Source(module, file, package, text(file), body) for module, file, package, body in found if body]


def main(argv: list[str]) -> None:
    """Read rows from the file IN, and write the judgement to OUT."""
    out, given = argv
    with open(given, encoding="utf-8", errors="surrogateescape") as stream:
        sources = read([line.split("\t") for line in stream.read().splitlines()])
    answer = {
        "subclasses": any("__subclasses__" in source.text for source in sources),
        "exports": [source.module for source in sources if "__all__" in source.text],
        "judged": [asdict(one) for one in judge(sources, sys.version_info[:2])],
    }
    with open(out, "w", encoding="ascii") as stream:
        json.dump(answer, stream)
