"""Circular imports: the whole circle, each line of it, and the name that was not yet bound.

Invariants: a circle was seen, not guessed: a module asked for one that its own thread was executing. The finding is the
line that got the unfinished module; both are first-party. A package that is asked for its submodules while it runs
makes no circle.
"""

from __future__ import annotations

import ast
import os
import re
from functools import lru_cache
from typing import TYPE_CHECKING

from lazyguard.audit.report.modules import Finding
from lazyguard.audit.target.statements import absolute, tree

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from lazyguard.audit.analysis.import_tree import ImportTree, Span, Unfinished
    from lazyguard.audit.analysis.scope import Frame, Scope
    from lazyguard.audit.report.modules import Failure

    Executed = Mapping[str, str | None]
    """The files of modules by their names."""

_UNBOUND = re.compile(r"partially initialized module '([^']+)'.* has no attribute '([^']+)'")


def circular_findings(imports: ImportTree, scope: Scope, error: Failure | None) -> Iterator[Finding]:
    """Yield a finding for each line that got a module before it was done."""
    reported: set[tuple[str, str, int | None]] = set()
    executed = {span.name: span.file for span in imports.spans}
    for one in imports.unfinished:
        near, lineage = one.near, one.span.lineage() if one.span is not None else []
        key = (one.asked, near.file, near.line)
        names = [span.name for span in lineage]
        if one.asked not in names or key in reported or not scope.owns(near.file):
            continue
        members = lineage[names.index(one.asked) :]
        wanted = _names_wanted(one, members[-1], imports, executed)
        if not members[0].first_party or wanted is None or (len(members) == 1 and not wanted):
            continue
        reported.add(key)
        place = scope.place(near.file, near.line)
        asked = [after.importer or after.site for after in members[1:]]
        lines = [*(_place(each, scope) for each in asked), str(place)]
        circle = " > ".join(f"{member.name} ({line})" for member, line in zip(members, lines, strict=True))
        missing = [name for name in wanted if name in one.unbound] or _in_error(one.asked, error)
        state = f", whose {', '.join(missing)} is not yet bound" if missing else ", which is not done"
        also = scope.place(asked[0].file, asked[0].line) if asked and asked[0] is not None else None
        detail = f"{circle} > {one.asked}{state}"
        yield Finding("circular-import", place.file, place.line, detail, imports.chain(one.span), also)


def _place(frame: Frame | None, scope: Scope) -> str:
    return "an unknown line" if frame is None else str(scope.place(frame.file, frame.line))


def _in_error(module: str, error: Failure | None) -> list[str]:
    found = _UNBOUND.search(error.message) if error is not None else None
    return [found[2]] if found is not None and found[1] == module else []


def _names_wanted(one: Unfinished, importing: Span, imports: ImportTree, executed: Executed) -> tuple[str, ...] | None:
    """Return the names that the line takes from the unfinished module; None where it wants only a submodule."""
    near = one.near
    # For a line in a function, the module that the function is in, not that of its caller.
    inside = importing.name if importing.file == near.file else imports.module_of(near.file) or ""
    statements = _statements(near.file).get(near.line or 0, ())
    if not statements:  # import_module, or __import__
        return None if inside.startswith(one.asked + ".") else ()
    asks = [_names_taken(each, one.asked, inside, near.file, executed) for each in statements]
    known = [names for names in asks if names is not None]
    return tuple(name for names in known for name in names) if known else None


def _names_taken(
    statement: ast.Import | ast.ImportFrom, asked: str, inside: str, file: str, executed: Executed
) -> tuple[str, ...] | None:
    """Return the names that a statement takes from a module; None where it does not ask for that module."""
    if isinstance(statement, ast.Import):
        return () if any(alias.name == asked for alias in statement.names) else None
    base = absolute(statement, inside, package=_is_package(file))
    if asked != base:  # a submodule that is itself being executed, or a package above what is wanted
        return () if any(f"{base}.{alias.name}" == asked for alias in statement.names) else None
    names = tuple(
        alias.name for alias in statement.names if not _is_below(base, executed.get(base), alias.name, executed)
    )
    return names or None


def _is_package(file: str) -> bool:
    return os.path.basename(file).startswith("__init__.")


def _is_below(package: str, file: str | None, name: str, executed: Executed) -> bool:
    """Return whether a name is that of a submodule."""
    if f"{package}.{name}" in executed:
        return True
    if file is None or not _is_package(file):
        return False
    path = os.path.join(os.path.dirname(file), name)
    return os.path.isfile(path + ".py") or os.path.isdir(path)


@lru_cache(maxsize=4096)
def _statements(file: str) -> Mapping[int, Sequence[ast.Import | ast.ImportFrom]]:
    """Return the import statements of a source by each of their lines."""
    found: dict[int, list[ast.Import | ast.ImportFrom]] = {}
    for node in ast.walk(tree(file) or ast.Module([], [])):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            for line in range(node.lineno, (node.end_lineno or node.lineno) + 1):
                found.setdefault(line, []).append(node)
    return found
