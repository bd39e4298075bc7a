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

from lazyguard.audit.analysis import source
from lazyguard.audit.report.model import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from lazyguard.audit.analysis.import_tree import ImportTree, Ring, Span
    from lazyguard.audit.analysis.scope import Frame, Scope
    from lazyguard.audit.report.model import Failure

    Executed = Mapping[str, str | None]
    """The files of modules by their names."""

_UNBOUND = re.compile(r"partially initialized module '([^']+)'.* has no attribute '([^']+)'")


def circular(tree: ImportTree, scope: Scope, error: Failure | None) -> Iterator[Finding]:
    """Yields a finding for each line that was given a module before it was done."""
    told: set[tuple[str, str, int | None]] = set()
    executed = {span.name: span.file for span in tree.spans}
    for ring in tree.rings:
        near, lineage = ring.near, ring.span.lineage() if ring.span is not None else []
        key = (ring.asked, near.file, near.line)
        names = [span.name for span in lineage]
        if ring.asked not in names or key in told or not scope.owns(near.file):
            continue
        members = lineage[names.index(ring.asked) :]
        wanted = _wanted(ring, members[-1], tree, executed)
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


def _wanted(ring: Ring, importing: Span, tree: ImportTree, executed: Executed) -> tuple[str, ...] | None:
    """Returns the names that the line takes out of the unfinished module; None when it wants only what is below it."""
    near = ring.near
    # Of a function: where it stands, not who calls it.
    inside = importing.name if importing.file == near.file else tree.module_of(near.file) or ""
    statements = _statements(near.file).get(near.line or 0, ())
    if not statements:  # import_module, or __import__
        return None if inside.startswith(ring.asked + ".") else ()
    asks = [_taken(each, ring.asked, inside, near.file, executed) for each in statements]
    known = [names for names in asks if names is not None]
    return tuple(name for names in known for name in names) if known else None


def _taken(
    statement: ast.Import | ast.ImportFrom, asked: str, inside: str, file: str, executed: Executed
) -> tuple[str, ...] | None:
    """Returns the names that a statement takes out of a module that is asked for; None where it does not ask for it."""
    if isinstance(statement, ast.Import):
        return () if any(alias.name == asked for alias in statement.names) else None
    base = _base(statement, inside, is_package=_is_package(file))
    if asked != base:  # a submodule that is itself being executed, or a package above what is wanted
        return () if any(f"{base}.{alias.name}" == asked for alias in statement.names) else None
    names = tuple(
        alias.name for alias in statement.names if not _is_below(base, executed.get(base), alias.name, executed)
    )
    return names or None


def _is_package(file: str) -> bool:
    return os.path.basename(file).startswith("__init__.")


def _base(statement: ast.ImportFrom, inside: str, *, is_package: bool) -> str:
    if not statement.level:
        return statement.module or ""
    parts = inside.split(".")
    parts = parts[: len(parts) - statement.level + is_package]
    return ".".join([*parts, *([statement.module] if statement.module else [])])


def _is_below(package: str, file: str | None, name: str, executed: Executed) -> bool:
    """Returns whether a name is that of a submodule."""
    if f"{package}.{name}" in executed:
        return True
    if file is None or not _is_package(file):
        return False
    path = os.path.join(os.path.dirname(file), name)
    return os.path.isfile(path + ".py") or os.path.isdir(path)


@lru_cache(maxsize=4096)
def _statements(file: str) -> Mapping[int, Sequence[ast.Import | ast.ImportFrom]]:
    """Returns the import statements of a source by each of their lines."""
    found: dict[int, list[ast.Import | ast.ImportFrom]] = {}
    for node in ast.walk(source.tree(file)):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            for line in range(node.lineno, (node.end_lineno or node.lineno) + 1):
                found.setdefault(line, []).append(node)
    return found
