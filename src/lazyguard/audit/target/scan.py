"""The program that reads, in the sources, which foreign modules an audited program imports.

Invariants: runs alone, and imports only the standard library. Nothing of the target is run. Only statements count that
every import of the module reaches: those of its body and of the `try` and `with` blocks in it, not those under a
condition, in a handler or in a function.
"""

import ast
import importlib.util
import json
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


def statements(body: "list[ast.stmt]") -> "Iterator[tuple[str, tuple[str, ...]]]":
    """Yield the module and the names of each import that is certainly reached."""
    for node in body:
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, ()
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module and node.module != "__future__":
            yield node.module, tuple(alias.name for alias in node.names if alias.name != "*")
        elif isinstance(node, (ast.Try, ast.With)):
            yield from statements(node.body)


def source_of(module: str, roots: "list[str]") -> "str | None":
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


def main(argv: "list[str]") -> None:
    """Run `scan.py OUT IN`: IN has a module and its roots a line, OUT gets JSON.

    Tabs separate the fields, and those of a statement: its module, and the names that it takes. First-party names, by
    the first fields of IN, are left out.
    """
    out, given = argv
    with open(given, encoding="utf-8") as file:
        rows = [line.rstrip("\n").split("\t") for line in file]
    own = {module.partition(".")[0] for module, *_ in rows}
    found: dict[tuple[str, tuple[str, ...]], None] = {}
    uncompiled = 0
    for module, *roots in rows:
        source = source_of(module, roots)
        if source is None or not source.endswith(".py"):
            continue
        try:
            with open(source, "rb") as code:
                body = ast.parse(code.read()).body
        except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):  # the last: it is nested too deeply
            continue
        uncompiled += not os.path.isfile(importlib.util.cache_from_source(source))
        found.update((each, None) for each in statements(body) if each[0].partition(".")[0] not in own)
    with open(out, "w", encoding="ascii") as answer:
        json.dump(
            {"statements": ["\t".join((name, *names)) for name, names in found], "uncompiled": uncompiled}, answer
        )


if __name__ == "__main__":
    main(sys.argv[1:])
