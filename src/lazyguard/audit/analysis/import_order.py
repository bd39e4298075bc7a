"""Imports that depend on what was imported before.

Invariants: there are two findings, and both were seen, not guessed. A module failed when it was imported first, and was
executed to its end in the import of another one. Or a module uses a submodule as an attribute of its package, which
neither it nor the package imports: it was there because another module had asked for it.
"""

from __future__ import annotations

import ast
import re
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING

from lazyguard.audit.report.modules import Finding, ModuleReport, Place
from lazyguard.audit.target.statements import text, tree

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from lazyguard.audit.analysis.import_tree import ImportTree, Span
    from lazyguard.audit.analysis.scope import Scope

_IMPORT = re.compile(r"\bimport\b((?:[^\n\\]|\\\n)*)")
_WORD = re.compile(r"\w+")
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
    by_top: dict[str, list[str]] = {}
    for name in given:
        by_top.setdefault(name.partition(".")[0], []).append(name)
    users = {span.file: span for span in imports.importing() if span.first_party and span.file} if given else {}
    for file, user in users.items():
        for name, line in _submodules_used(file, by_top).items():
            span = given[name]
            by = span.site or span.importer
            if by is None or (span.importer is not None and span.importer.file == file):
                continue
            place = scope.place(file, line)
            detail = f"{user.name} uses {name}, which neither it nor {name.rpartition('.')[0]} imports: others did"
            yield Finding(
                "order-dependent", place.file, place.line, detail, imports.chain(user), scope.place(by.file, by.line)
            )


def _is_from_outside(span: Span, files: Mapping[str, str]) -> bool:
    """Return whether a line outside its package asked for a submodule, and the package does not load it on demand."""
    package = span.name.rpartition(".")[0]
    above = [each.name for each in span.lineage()[:-1]]
    if not package or any(name == package or name.startswith(package + ".") for name in above):
        return False
    return "__getattr__" not in text(files.get(package, ""))


def _submodules_used(file: str, by_top: Mapping[str, Sequence[str]]) -> Mapping[str, int]:
    """Return the names that a source uses as attributes of a package that it imports as a whole -> first line.

    The names are grouped by their top-level packages. A source is searched only where it imports one of those, and
    parsed only where it may contain one of the names, once a run: a thousand modules share most of theirs.
    """
    source = text(file)
    candidates = {name for top in _words_imported(file) & by_top.keys() for name in by_top[top] if name in source}
    return {name: line for name, line in _dotted_names(file).items() if name in candidates} if candidates else {}


@lru_cache(maxsize=4096)
def _words_imported(file: str) -> frozenset[str]:
    """Return the words that follow an `import`: among them are all names that it binds without `as`."""
    return frozenset(word for names in _IMPORT.findall(text(file)) for word in _WORD.findall(names))


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
