"""What runs in the audited interpreter to judge sources: the modules beside this one do, without lazyguard.

Invariants: nothing of the target is imported. A file that cannot be read or parsed is left out: it was not executed
from that text.
"""

from __future__ import annotations

import ast
import json
import sys
from dataclasses import asdict

from lazyguard.audit.target.judgement import judge
from lazyguard.audit.target.statements import Source


def read(rows: list[list[str]]) -> list[Source]:
    """Returns the sources: of each module its name, its file, and whether it is a package ("1")."""
    found: list[Source] = []
    for module, file, package in rows:
        try:
            with open(file, "rb") as stream:
                data = stream.read()
            found.append(Source(module, file, package == "1", data.decode("utf-8", "replace"), ast.parse(data)))
        except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):  # the last: it is nested too deeply
            continue
    return found


def main(argv: list[str]) -> None:
    """Reads rows from the file IN, and writes to OUT what is judged."""
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
