"""Imports that depend on what was imported before, or is being imported: order and circles.

Invariants: all was seen, not guessed. There are two findings of order. A module failed when it was imported first, and
was executed to its end in the import of another one. Or a module uses a submodule as an attribute of its package, which
neither it nor the package imports: it was there because another module had asked for it. In a circle a module asked for
one that its own thread was executing. The finding is the line that got the unfinished module; both are first-party. A
package that is asked for its submodules while it runs makes no circle.
"""

from __future__ import annotations

import ast
import os
import re
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING

from lazyguard.audit.analysis.import_tree import Frame
from lazyguard.audit.report.modules import Finding, ModuleReport, Place
from lazyguard.audit.target.statements import absolute, text, tree

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from lazyguard.audit.analysis.import_tree import ImportTree, Scope, Span, Unfinished
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
        asked = [after.importer or after.site for after in members[1:]]
        lines = [scope.at(each) or "an unknown line" for each in (*asked, near)]
        circle = " > ".join(f"{member.name} ({line})" for member, line in zip(members, lines, strict=True))
        missing = [name for name in wanted if name in one.unbound] or _in_error(one.asked, error)
        state = f", whose {', '.join(missing)} is not yet bound" if missing else ", which is not done"
        detail = f"{circle} > {one.asked}{state}"
        yield scope.finding("circular-import", near, detail, imports.chain(one.span), asked[0] if asked else None)


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


_DOTTED = re.compile(r"[^\W\d]\w*(?:\.\w+)+")
PASSES = ("cannot-exit", "leaves-children", "slow", "ok")


def with_order_findings(modules: Sequence[ModuleReport]) -> tuple[ModuleReport, ...]:
    """Return the reports, with a finding for each module that failed alone and passed in another's import.

    Those of an earlier look at some of them are replaced.
    """
    failed = {each.module for each in modules if each.verdict == "fails" and each.blame is not None}
    passed: dict[str, tuple[str, Place | None]] = {}
    for each in modules if failed else ():
        for done in each.imports if each.verdict in PASSES else ():
            if done.module in failed and not done.failed:
                passed.setdefault(done.module, (each.module, done.by))
    return tuple(_with_finding(each, *passed[each.module]) if each.module in passed else each for each in modules)


def _with_finding(report: ModuleReport, other: str, by: Place | None) -> ModuleReport:
    assert report.blame is not None
    blame, fails = report.blame, f"{report.module} fails when it is imported first"
    detail = f"{fails}, and passes when {other} is"
    found = Finding("order-dependent", blame.file, blame.line, detail, blame.chain, by)
    return replace(report, findings=(*(each for each in report.findings if not each.detail.startswith(fails)), found))


def submodule_findings(imports: ImportTree, scope: Scope) -> Iterator[Finding]:
    """Yield a finding for each submodule that a module uses, and only other modules import."""
    files = {span.name: span.file or "" for span in imports.spans}
    given = {span.name: span for span in reversed(imports.importing()) if _is_from_outside(span, files)}
    users = {span.file: span for span in imports.importing() if span.first_party and span.file} if given else {}
    for file, user in users.items():
        used = _dotted_names(file) if _dotted_words(file) & given.keys() else {}
        for name, span in [(each, given[each]) for each in used if each in given]:
            by = span.site or span.importer
            if by is None or (span.importer is not None and span.importer.file == file):
                continue
            detail = f"{user.name} uses {name}, which neither it nor {name.rpartition('.')[0]} imports: others did"
            yield scope.finding("order-dependent", Frame(file, used[name], ""), detail, imports.chain(user), by)


def _is_from_outside(span: Span, files: Mapping[str, str]) -> bool:
    """Return whether a line outside its package asked for a submodule, and the package does not load it on demand."""
    package = span.name.rpartition(".")[0]
    above = [each.name for each in span.lineage()[:-1]]
    if not package or any(name == package or name.startswith(package + ".") for name in above):
        return False
    return "__getattr__" not in text(files.get(package, ""))


@lru_cache(maxsize=4096)
def _dotted_words(file: str) -> frozenset[str]:
    """Return what looks like dotted names in a source, which is parsed only where one of them is a submodule's."""
    found = [word.split(".") for word in set(_DOTTED.findall(text(file)))]
    return frozenset(".".join(parts[:count]) for parts in found for count in range(2, len(parts) + 1))


@lru_cache(maxsize=4096)
def _dotted_names(file: str) -> Mapping[str, int]:
    """Return the dotted names that begin with what `import` has bound, and that no statement here imports."""
    nodes = list(ast.walk(tree(file) or ast.Module([], [])))
    bound: set[str] = set()
    imported: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            for alias in node.names:
                parts = alias.name.split(".")
                imported.update(".".join(parts[:count]) for count in range(1, len(parts) + 1))
                bound |= {parts[0]} if alias.asname in (None, parts[0]) else set()
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            parts = node.module.split(".")
            imported.update(".".join(parts[:count]) for count in range(1, len(parts) + 1))
            imported.update(f"{node.module}.{alias.name}" for alias in node.names)
    found: dict[str, int] = {}
    for node in nodes:
        if not isinstance(node, ast.Attribute):
            continue
        name = _dotted(node)
        if name.partition(".")[0] in bound and name not in imported:
            found[name] = min(node.lineno, found.get(name, node.lineno))
    return found


def _dotted(node: ast.expr) -> str:
    """Return a.b.c of an attribute of an attribute of a name; "" for anything else."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join([node.id, *parts[::-1]]) if isinstance(node, ast.Name) else ""
