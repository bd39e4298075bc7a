"""Reads sources in the interpreter whose syntax they have: what they import, and what can be deferred.

Invariants: nothing of the target is imported. A file that cannot be read or parsed is left out: it was not executed
from that text. Of the foreign modules those count that every import of a module reaches: by statements of its body and
of the `try` and `with` blocks in it, not by those under a condition, in a handler or in a function.
"""

from __future__ import annotations

import ast
import json
import os
import sys
from dataclasses import asdict
from importlib.util import cache_from_source
from typing import TYPE_CHECKING, Any

from lazyguard.audit.target.judgement import judge
from lazyguard.audit.target.statements import Source, text, tree

if TYPE_CHECKING:
    from collections.abc import Iterator


def main(argv: list[str]) -> None:
    """Run `survey.py foreign|judged OUT IN`: IN has rows of which tabs separate the fields, OUT gets JSON."""
    question, out, given = argv
    with open(given, encoding="utf-8", errors="surrogateescape") as stream:
        rows = [line.split("\t") for line in stream.read().split("\n")[:-1]]
    answer = foreign(rows) if question == "foreign" else judged(read(rows))
    with open(out, "w", encoding="ascii") as stream:
        json.dump(answer, stream)


def read(rows: list[list[str]]) -> list[Source]:
    """Return the sources: of each module its name, its file, and whether it is a package ("1")."""
    found = [(module, file, package == "1", tree(file)) for module, file, package in rows]
    return [Source(module, file, package, text(file), body) for module, file, package, body in found if body]


def judged(sources: list[Source]) -> dict[str, Any]:
    """Return the import statements of the sources, judged, and what else matters to the advice."""
    return {
        "subclasses": any("__subclasses__" in source.text for source in sources),
        "exports": [source.module for source in sources if "__all__" in source.text],
        "judged": [asdict(one) for one in judge(sources, sys.version_info[:2])],
    }


def foreign(rows: list[list[str]]) -> dict[str, Any]:
    """Return which foreign modules some modules import, and how many sources have no byte code.

    A row has a module and its roots. Tabs separate the fields of a statement: its module, and the names that it takes.
    First-party names, by the first fields of the rows, are left out.
    """
    own = {module.partition(".")[0] for module, *_ in rows}
    found: dict[str, None] = {}
    uncompiled = 0
    for module, *roots in rows:
        source = source_of(module, roots)
        parsed = tree(source) if source is not None and source.endswith(".py") else None
        if source is not None and parsed is not None:
            uncompiled += not os.path.isfile(cache_from_source(source))
            every = reached(parsed.body)
            found.update(("\t".join(each), None) for each in every if each[0].partition(".")[0] not in own)
    return {"statements": list(found), "uncompiled": uncompiled}


def reached(body: list[ast.stmt]) -> Iterator[tuple[str, ...]]:
    """Yield the module and the names of each import that is certainly reached."""
    for node in body:
        if isinstance(node, ast.Import):
            yield from ((alias.name,) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module and node.module != "__future__":
            yield node.module, *(alias.name for alias in node.names if alias.name != "*")
        elif isinstance(node, (ast.Try, ast.With)):
            yield from reached(node.body)


def source_of(module: str, roots: list[str]) -> str | None:
    """Return the file of a module below one of the roots of its top-level package."""
    parts = module.split(".")
    for root in roots:
        if not root.endswith("/"):
            return root
        base = os.path.join(root, *parts[1:])
        for file in (os.path.join(base, "__init__.py"), base + ".py"):
            if os.path.isfile(file):
                return file
    return None
