"""The import statements that run when a module is imported, and what each binds.

Invariants: sources are read by the interpreter that is audited, whose syntax may be newer than ours. A statement is the
smallest thing that can be deferred alone: each module of `import a, b` is one. A `from` import is one as a whole, since
it loads its module for the first of its names. What never runs (under `TYPE_CHECKING`), what cannot be deferred
(`__future__`) and what is deferred already is left out.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

GUARDS = frozenset(("ImportError", "ModuleNotFoundError", "Exception", "BaseException"))


@dataclass(frozen=True)
class Source:
    """A module that was executed: its name, its file, and its text parsed."""

    module: str
    file: str
    package: bool
    text: str
    tree: ast.Module


@dataclass(frozen=True)
class Statement:
    """One import at module level.

    Attributes:
        importer: the module that it stands in.
        module: the absolute name of what it imports.
        names: what it binds -> the attribute that it takes; "" for a module.
        column: where the statement begins in its line.
        within: "" at the very top, else the block that it stands in: if, try, handler, with, block.
        guard: the line of the `except` that would catch the error of a missing module.
    """

    importer: str
    file: str
    line: int
    column: int
    module: str
    names: dict[str, str] = field(hash=False)
    text: str
    kind: str
    within: str = ""
    guard: int | None = None
    package: bool = False


@lru_cache(maxsize=4096)
def text(file: str) -> str:
    """Return the text of a source, in UTF-8 as far as it is; "" where it cannot be read."""
    try:
        with open(file, encoding="utf-8", errors="replace") as stream:
            return stream.read()
    except (OSError, ValueError):  # ValueError: no file can have this name
        return ""


def tree(file: str) -> ast.Module | None:
    """Return a source parsed.

    None where it cannot be read, is broken, is in no encoding that it declares, or is nested deeper than the parser
    goes, for which that raises MemoryError.
    """
    try:
        with open(file, "rb") as stream:
            return ast.parse(stream.read())
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def statements(source: Source) -> list[Statement]:
    """Return the import statements of a module that can run when it is imported, in the order of their lines."""
    return list(_walk(source, source.tree.body, "", None))


def _walk(source: Source, body: list[ast.stmt], within: str, guard: int | None) -> Iterator[Statement]:
    for node in body:
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            if not getattr(node, "is_lazy", 0):
                yield from _of(source, node, within, guard)
        elif isinstance(node, ast.If):
            checked = checks_types(node.test)
            if checked is not True:
                yield from _walk(source, node.body, within or "if", guard)
            if checked is not False:
                yield from _walk(source, node.orelse, within or "if", guard)
        elif isinstance(node, ast.Try) or type(node).__name__ == "TryStar":
            yield from _try(source, node, guard)
        elif isinstance(node, ast.With):
            if not any(_is_lazy_block(item.context_expr) for item in node.items):
                yield from _walk(source, node.body, within or "with", guard)
        elif isinstance(node, (ast.For, ast.While)):
            yield from _walk(source, [*node.body, *node.orelse], within or "block", guard)
        elif isinstance(node, ast.Match):
            for case in node.cases:
                yield from _walk(source, case.body, within or "block", guard)


def _try(source: Source, node: ast.stmt, guard: int | None) -> Iterator[Statement]:
    handlers: list[ast.ExceptHandler] = getattr(node, "handlers")  # noqa: B009 - a TryStar has them too
    caught = next((each.lineno for each in handlers if _catches_missing(each.type)), guard)
    yield from _walk(source, getattr(node, "body"), "try", caught)  # noqa: B009
    for handler in handlers:
        yield from _walk(source, handler.body, "handler", guard)
    for rest in ("orelse", "finalbody"):
        yield from _walk(source, getattr(node, rest), "try", guard)


def _catches_missing(kind: ast.expr | None) -> bool:
    if kind is None:
        return True
    kinds = kind.elts if isinstance(kind, ast.Tuple) else [kind]
    return any(isinstance(each, ast.Name) and each.id in GUARDS for each in kinds)


def checks_types(test: ast.expr) -> bool | None:
    """Return whether a condition holds for type checkers alone (True), for programs alone (False), or neither."""
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        answer = checks_types(test.operand)
        return None if answer is None else not answer
    return True if last_name(test) == "TYPE_CHECKING" else None


def _is_lazy_block(item: ast.expr) -> bool:
    """Return whether a `with` block is `lazyguard.lazy_imports()`."""
    return isinstance(item, ast.Call) and last_name(item.func) == "lazy_imports"


def last_name(node: object) -> str:
    """Return the last part of a dotted name; "" for anything else."""
    return str(getattr(node, "attr", None) or getattr(node, "id", ""))


def _of(source: Source, node: ast.Import | ast.ImportFrom, within: str, guard: int | None) -> Iterator[Statement]:
    def made(module: str, names: dict[str, str], text: str, kind: str) -> Statement:
        place = (source.module, source.file, node.lineno, node.col_offset)
        return Statement(*place, module, names, text, kind, within, guard, source.package)

    if isinstance(node, ast.Import):
        for alias in node.names:
            bound = alias.asname or alias.name.partition(".")[0]
            yield made(alias.name, {bound: ""}, ast.unparse(ast.Import(names=[alias])), "import")
        return
    module = absolute(node, source.module, package=source.package)
    if module == "__future__":
        return
    if any(alias.name == "*" for alias in node.names):
        yield made(module, {}, ast.unparse(node), "star")
        return
    yield made(module, {alias.asname or alias.name: alias.name for alias in node.names}, ast.unparse(node), "from")


def absolute(node: ast.ImportFrom, module: str, *, package: bool) -> str:
    """Return the absolute name of the module that names are taken from, by a statement in a module or package."""
    if not node.level:
        return node.module or ""
    parts = module.split(".")
    kept = parts[: len(parts) - node.level + package]
    return ".".join([*kept, *([node.module] if node.module else [])])
