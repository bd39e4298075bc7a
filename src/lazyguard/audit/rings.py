"""Circular imports: the whole ring, each line of it, and the name that was not yet bound.

Invariants: a ring was seen, not guessed: a module asked for one that its own thread was executing. The finding is the
line that got the unfinished module, which is first-party as the module is. That a package is asked for its
submodules while it runs is no ring.
"""

from __future__ import annotations

import ast
import os
import re
from functools import lru_cache
from typing import TYPE_CHECKING

from lazyguard.audit.report import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lazyguard.audit.imports import ImportTree, Ring, Span
    from lazyguard.audit.report import Failure
    from lazyguard.audit.scope import Frame, Scope

_UNBOUND = re.compile(r"partially initialized module '([^']+)'.* has no attribute '([^']+)'")


def circular(tree: ImportTree, scope: Scope, error: Failure | None) -> Iterator[Finding]:
    """Yields a finding for each line that was given a module before it was done."""
    told: set[tuple[str, str, int | None]] = set()
    for ring in tree.rings:
        near, lineage = ring.near, ring.span.lineage() if ring.span is not None else []
        key = (ring.asked, near.file, near.line)
        names = [span.name for span in lineage]
        if ring.asked not in names or key in told or not scope.owns(near.file):
            continue
        members = lineage[names.index(ring.asked) :]
        wanted = _wanted(ring, members[-1], tree)
        if not members[0].first_party or wanted is None or (len(members) == 1 and not wanted):
            continue
        told.add(key)
        place = scope.place(near.file, near.line)
        asked = [after.importer or after.site for after in members[1:]]
        lines = [*(_place(each, scope) for each in asked), str(place)]
        ring_of = " > ".join(f"{member.name} ({line})" for member, line in zip(members, lines, strict=True))
        missing = [name for name in wanted if name in ring.unbound] or _in_error(ring.asked, error)
        state = f", whose {', '.join(missing)} is not yet bound" if missing else ", which is not done"
        also = scope.place(asked[0].file, asked[0].line) if asked and asked[0] is not None else None
        detail = f"{ring_of} > {ring.asked}{state}"
        yield Finding("circular-import", place.file, place.line, detail, tree.chain(ring.span), also)


def _place(frame: Frame | None, scope: Scope) -> str:
    return "an unknown line" if frame is None else str(scope.place(frame.file, frame.line))


def _in_error(module: str, error: Failure | None) -> list[str]:
    found = _UNBOUND.search(error.message) if error is not None else None
    return [found[2]] if found is not None and found[1] == module else []


def _wanted(ring: Ring, importing: Span, tree: ImportTree) -> tuple[str, ...] | None:
    """Returns the names that the line takes out of the unfinished module; None when it wants only what is below it."""
    statement = statement_at(ring.near.file, ring.near.line)
    inside = importing.name if importing.file == ring.near.file else ""
    if isinstance(statement, ast.Import):
        return () if any(alias.name == ring.asked for alias in statement.names) else None
    if statement is None:  # import_module, or __import__
        return None if inside.startswith(ring.asked + ".") else ()
    base = _base(statement, inside, is_package=os.path.basename(ring.near.file).startswith("__init__."))
    if ring.asked != base:  # a submodule that is itself being executed, or a package above what is wanted
        return () if any(f"{base}.{alias.name}" == ring.asked for alias in statement.names) else None
    executed = {span.name: span.file for span in tree.spans}
    names = tuple(
        alias.name for alias in statement.names if not _is_below(base, executed.get(base), alias.name, executed)
    )
    return names or None


def _base(statement: ast.ImportFrom, inside: str, *, is_package: bool) -> str:
    if not statement.level:
        return statement.module or ""
    parts = inside.split(".")
    parts = parts[: len(parts) - statement.level + is_package]
    return ".".join([*parts, *([statement.module] if statement.module else [])])


def _is_below(package: str, file: str | None, name: str, executed: dict[str, str | None]) -> bool:
    """Returns whether a name is that of a submodule."""
    if f"{package}.{name}" in executed:
        return True
    if file is None or not os.path.basename(file).startswith("__init__."):
        return False
    path = os.path.join(os.path.dirname(file), name)
    return os.path.isfile(path + ".py") or os.path.isdir(path)


def statement_at(file: str, line: int | None) -> ast.Import | ast.ImportFrom | None:
    """Returns the import statement on a line of a source."""
    for node in _statements(file):
        if line is not None and node.lineno <= line <= (node.end_lineno or node.lineno):
            return node
    return None


@lru_cache(maxsize=256)
def _statements(file: str) -> tuple[ast.Import | ast.ImportFrom, ...]:
    try:
        with open(file, "rb") as source:
            tree = ast.parse(source.read())
    except (OSError, SyntaxError, ValueError, RecursionError):
        return ()
    return tuple(node for node in ast.walk(tree) if isinstance(node, (ast.Import, ast.ImportFrom)))
