"""Reads sources in the interpreter whose syntax they have: what they import, and what can be deferred.

Invariants: nothing of the target is imported, and nothing is run: what only a run shows (a function that is called at
import, a registration) is not judged here. A file that cannot be read or parsed is left out: it was not executed from
that text. Of the foreign modules those count that every import of a module reaches: by statements of its body and of
the `try` and `with` blocks in it, not by those under a condition, in a handler or in a function.

A name may be needed while its module is imported, or only once its functions are called. What runs at import is what
Python runs then: bases, decorators, defaults, bodies of classes, and annotations unless they are deferred (PEP 563, or
PEP 649 from 3.14 on). Names are compared by spelling: a local variable of the same name counts as a use in a function,
which delays nothing.
"""

from __future__ import annotations

import ast
import json
import os
import sys
from dataclasses import asdict, dataclass
from importlib.util import cache_from_source
from typing import TYPE_CHECKING, Any

from lazyguard.audit.target.statements import Source, Statement, checks_types, statements, text, tree

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence


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


# The reason of a statement whose name is never used.
FOR_EFFECTS = "nothing uses its name: it is imported for its side effects"
LATER = "in a function"
ANNOTATION = "in an annotation"
EXPORT = "in __all__"
AGAIN = "bound again"
CLASS = "where Python takes a real class alone"
DEFERRED = frozenset((LATER, EXPORT, "in an annotation that is not evaluated"))


@dataclass(frozen=True)
class Judged:
    """A statement with the reason why it must stay as it is (None: it may be deferred), and the place of that.

    Attributes:
        optional: whether its module may be missing, so that `lazyguard.optional_import` replaces it.
        exported: whether it is a re-export of a package, and nothing in the module uses it.
    """

    statement: Statement
    reason: str | None = None
    file: str = ""
    line: int | None = None
    optional: bool = False
    exported: bool = False


def judge(sources: Sequence[Source], version: tuple[int, ...]) -> list[Judged]:
    """Return all import statements of the sources, judged; `version` is that of the interpreter."""
    known = [(source, statements(source)) for source in sources]
    stars: dict[str, Statement] = {}
    asked: set[tuple[str, str]] = set()
    for _, found in known:
        for each in found:
            if each.kind == "star":
                stars.setdefault(each.module, each)
            asked.update((each.module, name) for name in each.names.values())
    return [
        _judge(each, found, uses_, stars.get(source.module), asked)
        for source, found in known
        for uses_ in [uses(source, version)]
        for each in found
    ]


def _judge(
    one: Statement,
    beside: Sequence[Statement],
    found: Sequence[Use],
    star: Statement | None,
    asked: set[tuple[str, str]],
) -> Judged:
    def stays(reason: str, line: int | None, file: str = one.file) -> Judged:
        return Judged(one, reason, file, line)

    mine = [use for use in found if use.name in one.names]
    early = next((use for use in mine if use.at_import and use.kind != AGAIN), None)
    again = next((use.line for use in mine if use.kind == AGAIN), None)
    twice = next((each.line for each in beside if each is not one and one.names.keys() & each.names.keys()), None)
    exported = any(use.kind == EXPORT for use in mine)
    wanted = exported or any((one.importer, name) in asked for name in one.names)
    if one.kind == "star":
        return stays("a star import must know the names at once", one.line)
    if early is not None:
        return stays(f"{early.name} is used {early.kind}", early.line)
    if one.within == "try" and one.guard is not None and one.kind == "import":
        reason = f"its except in line {one.guard} needs to see whether it is missing"
        return Judged(one, reason, one.file, one.guard, True)
    if one.within in ("try", "handler"):
        block = "an except" if one.within == "handler" else "a try"
        return stays(f"it stands in {block}, which waits for it", one.line)
    if again is not None or twice is not None:
        return stays("its name is bound again", twice if again is None else again)
    if star is not None and any(exported or not name.startswith("_") for name in one.names):
        return stays(f"`from {one.importer} import *` takes it at once", star.line, star.file)
    if not mine and not one.package and not wanted:
        return stays(FOR_EFFECTS, one.line)
    return Judged(one, exported=all(use.kind == EXPORT for use in mine))


@dataclass(frozen=True)
class Use:
    """One use of a name: its line, and in which part of the module it stands."""

    name: str
    line: int
    kind: str

    @property
    def at_import(self) -> bool:
        return self.kind not in DEFERRED


def uses(source: Source, version: tuple[int, ...]) -> list[Use]:
    """Return the uses of all names in a module, in the order in which it is read; `version` is the interpreter's."""
    future = any(
        isinstance(node, ast.ImportFrom)
        and node.module == "__future__"
        and any(alias.name == "annotations" for alias in node.names)
        for node in source.tree.body
    )
    # From 3.15 on what is advised are lazy imports of the language, which are real at their first use.
    reader = _Reader(evaluated=version < (3, 14) and not future, proxies=version < (3, 15))
    for node in source.tree.body:
        reader.visit(node)
    return reader.found


class _Reader(ast.NodeVisitor):
    def __init__(self, *, evaluated: bool, proxies: bool) -> None:
        self.found: list[Use] = []
        self.evaluated = evaluated
        self.proxies = proxies
        self.kind = "in an expression at module level"
        self.hidden: frozenset[str] = frozenset()

    def within(self, kind: str, nodes: Iterable[ast.AST | None]) -> None:
        """Read nodes that stand in some part of the module; what is in a function stays in it."""
        before = self.kind
        if before != LATER:
            self.kind = kind
        for node in nodes:
            if node is not None:
                self.visit(node)
        self.kind = before

    def visit_Name(self, node: ast.Name) -> None:
        if node.id in self.hidden:
            return
        if isinstance(node.ctx, ast.Load):
            self.found.append(Use(node.id, node.lineno, self.kind))
        else:
            self._bind(node.id, node.lineno)

    def visit_Global(self, node: ast.Global) -> None:
        self.found += [Use(name, node.lineno, AGAIN) for name in node.names]

    def visit_If(self, node: ast.If) -> None:
        checked = checks_types(node.test)
        self.visit(node.test)
        for body, skipped in ((node.body, checked is True), (node.orelse, checked is False)):
            for each in [] if skipped else body:
                self.visit(each)

    def _class(self, *nodes: ast.AST | None) -> None:
        """Note the names that stand where no proxy of a class will do."""
        for node in nodes:
            if self.proxies and isinstance(node, ast.Name) and node.id not in self.hidden:
                self.found.append(Use(node.id, node.lineno, CLASS))

    def visit_MatchClass(self, node: ast.MatchClass) -> None:
        self._class(node.cls)
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        called = getattr(node.func, "id", "")  # super(Name, self), issubclass(Name, Abstract)
        if node.args and (called in ("super", "issubclass") or getattr(node.func, "attr", "") == "register"):
            self._class(node.args[0])
        general = self.kind == "in an expression at module level"
        self.within("in a call at module level" if general else self.kind, ast.iter_child_nodes(node))

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self._bind(node.name, node.lineno)
        self.within("as a decorator", node.decorator_list)
        self.within("as a base class", node.bases)
        self.within("as a keyword of a class", node.keywords)
        self._parameters(node)
        self.within("in the body of a class", node.body)

    def _function(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        self._bind(node.name, node.lineno)
        self.within("as a decorator", node.decorator_list)
        self._arguments(node.args)
        self._annotation([node.returns])
        self._parameters(node)
        self.within(LATER, node.body)

    visit_FunctionDef = visit_AsyncFunctionDef = _function

    def visit_Lambda(self, node: ast.Lambda) -> None:
        self._arguments(node.args)
        self.within(LATER, [node.body])

    def _bind(self, name: str, line: int) -> None:
        if self.kind not in (LATER, "in the body of a class"):
            self.found.append(Use(name, line, AGAIN))

    def _parameters(self, node: ast.AST) -> None:
        """Read type parameters, whose bounds are evaluated on demand."""
        self.within(LATER, getattr(node, "type_params", ()))

    def _arguments(self, given: ast.arguments) -> None:
        self.within("as a default argument", [*given.defaults, *given.kw_defaults])
        every = [*given.posonlyargs, *given.args, *given.kwonlyargs, given.vararg, given.kwarg]
        self._annotation([each.annotation for each in every if each is not None])

    def _annotation(self, nodes: Iterable[ast.expr | None]) -> None:
        self.within(ANNOTATION if self.evaluated else "in an annotation that is not evaluated", nodes)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        self._annotation([node.annotation])
        if node.value is not None:
            self.visit(node.value)
            self.visit(node.target)

    def visit_TypeAlias(self, node: ast.AST) -> None:
        self.within(LATER, [getattr(node, "value", None)])

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> None:
        self.within("in an except at module level", [node.type])
        if self.kind == LATER:
            self._class(*(node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]))
        for each in node.body:
            self.visit(each)

    def visit_Assign(self, node: ast.Assign | ast.AugAssign) -> None:
        if not self._exports(node.targets if isinstance(node, ast.Assign) else [node.target], node.value):
            self.generic_visit(node)

    visit_AugAssign = visit_Assign

    def _exports(self, targets: list[ast.expr], value: ast.expr) -> bool:
        if not any(isinstance(each, ast.Name) and each.id == "__all__" for each in targets):
            return False
        for part in ast.walk(value):
            if isinstance(part, ast.Constant) and isinstance(part.value, str):
                self.found.append(Use(part.value, part.lineno, EXPORT))
            elif isinstance(part, ast.Name):
                self.found.append(Use(part.id, part.lineno, self.kind))
        return True

    def _comprehension(self, node: ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp) -> None:
        targets = {each.id for part in node.generators for each in ast.walk(part.target) if isinstance(each, ast.Name)}
        self.visit(node.generators[0].iter)
        before, self.hidden = self.hidden, self.hidden | targets
        for at, part in enumerate(node.generators):
            for each in [*([part.iter] if at else []), *part.ifs]:
                self.visit(each)
        for each in (node.key, node.value) if isinstance(node, ast.DictComp) else (node.elt,):
            self.visit(each)
        self.hidden = before

    visit_ListComp = visit_SetComp = visit_DictComp = visit_GeneratorExp = _comprehension
