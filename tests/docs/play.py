"""Plays one page of the documentation, or one docstring, in a process of its own: `play.py page|docstring PLACE`.

Invariants: a page's blocks run in order, in one namespace and in the current directory, which is empty at the start; a
block that fails names the page and its line. Standard library only; nothing of lazyguard is loaded before a block does.

What a page says to this program, in a comment on the line before a block:

    <!-- file: shop/prices.py -->     the block is the text of that file
    <!-- not run: REASON -->          the block is shown only
"""

from __future__ import annotations

import ast
import doctest
import os
import re
import subprocess
import sys
import types
from pathlib import Path
from typing import NamedTuple

# Shown, with nothing in them that could be run.
SHOWN = {"text", "toml", "yaml", "{eval-rst}", "{toctree}"}
FENCE = re.compile(r"^```(?P<kind>\S*)[^\n]*\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
MARKER = re.compile(r"<!-- (?P<what>file|not run): (?P<value>.+?) -->\n\Z")
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
# Two runs never take the same time: figures with a point are compared as figures.
FIGURE = re.compile(r"\d+(\.\d+)+")
LONGEST = 60.0


class Block(NamedTuple):
    """One fenced block of a page, and what the comment before it says."""

    kind: str
    text: str
    line: int
    marker: str
    value: str


def blocks(page: str) -> list[Block]:
    """Return the fenced blocks of a page, in order."""
    found: list[Block] = []
    for match in FENCE.finditer(page):
        marker = MARKER.search(page, 0, match.start())
        line = page.count("\n", 0, match.start()) + 2
        what, value = (marker["what"], marker["value"]) if marker else ("", "")
        found.append(Block(match["kind"], match["text"], line, what, value))
    return found


class Page:
    """A page that is being played."""

    def __init__(self, file: Path) -> None:
        self.file = file
        # In sys.modules, as the module of a program is: what is declared at module level looks there.
        self.module = types.ModuleType("__main__")
        self.module.__file__ = str(file)
        sys.modules["__main__"] = self.module

    def play(self) -> None:
        """Run every block; raise for the first that fails."""
        for block in blocks(self.file.read_text(encoding="utf-8")):
            if block.marker == "not run":
                continue
            if block.marker == "file":
                place = Path(block.value)
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_text(block.text, encoding="utf-8")
            elif block.kind == "python":
                self._python(block)
            elif block.kind == "console":
                self._console(block)
            elif block.kind not in SHOWN:
                raise SystemExit(f"{self.file}:{block.line}: a block of kind {block.kind!r} is neither run nor shown")

    def _python(self, block: Block) -> None:
        if ">>>" in block.text:
            example = doctest.DocTestParser().get_doctest(
                block.text, {}, f"{self.file.name}:{block.line}", str(self.file), block.line - 1
            )
            check(example, vars(self.module))
            return
        source = "\n" * (block.line - 1) + block.text
        exec(compile(source, str(self.file), "exec", dont_inherit=True), vars(self.module))

    def _console(self, block: Block) -> None:
        for command, wanted in commands(block):
            done = subprocess.run(
                ["sh", "-c", command],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=LONGEST,
            )
            place = f"{self.file}:{block.line}: $ {command}"
            said = f"{place}\nends with {done.returncode}:\n{done.stdout}{done.stderr}"
            if done.returncode and not wanted:
                raise SystemExit(said)
            if wanted and not doctest.OutputChecker().check_output(figures(wanted), figures(done.stdout), FLAGS):
                raise SystemExit(f"{said}\nin place of:\n{wanted}")


def commands(block: Block) -> list[tuple[str, str]]:
    """Return the commands of a console block, each with the output that is shown below it."""
    found: list[tuple[str, str]] = []
    for line in block.text.splitlines(keepends=True):
        if line.startswith("$ "):
            found.append((line[2:].strip(), ""))
        elif found:
            command, output = found[-1]
            found[-1] = (command, output + line)
    return found


def figures(text: str) -> str:
    """Return the text with every figure that has a point made one and the same."""
    return FIGURE.sub("0.0", text)


def check(example: doctest.DocTest, namespace: dict[str, object]) -> None:
    """Run a doctest in a namespace; raise with its report if it fails."""
    report: list[str] = []
    runner = doctest.DocTestRunner(optionflags=FLAGS, verbose=False)
    example.globs = namespace
    runner.run(example, out=report.append, clear_globs=False)
    if runner.failures:
        raise SystemExit("".join(report))


def docstrings(package: Path) -> list[str]:
    """Return "module:qualname" of every docstring below a package that has examples; imports nothing."""
    found: list[str] = []
    for file in sorted(package.rglob("*.py")):
        module = ".".join((package.name, *file.relative_to(package).with_suffix("").parts)).removesuffix(".__init__")
        found += [
            f"{module}:{name}" for name, node in _documented(ast.parse(file.read_text(encoding="utf-8")), "")
            if ">>>" in (ast.get_docstring(node) or "")
        ]  # fmt: skip
    return found


def _documented(node: ast.AST, name: str) -> list[tuple[str, ast.Module | ast.ClassDef | ast.FunctionDef]]:
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    found = [(name, node)] if isinstance(node, kinds) else []
    for child in ast.iter_child_nodes(node):
        if isinstance(child, kinds):
            found += _documented(child, f"{name}.{child.name}".removeprefix("."))
    return found  # type: ignore[return-value]


def play_docstring(place: str) -> None:
    """Run the examples of one docstring, in a namespace that begins as its module's."""
    name, _, qualname = place.partition(":")
    module = __import__(name, fromlist=["*"])
    file = Path(module.__file__ or "")
    for found, node in _documented(ast.parse(file.read_text(encoding="utf-8")), ""):
        text = ast.get_docstring(node)
        if found == qualname and text and ">>>" in text:
            line = node.body[0].lineno - 1
            check(doctest.DocTestParser().get_doctest(text, {}, place, str(file), line), dict(vars(module)))
            return
    raise SystemExit(f"there is no docstring with examples at {place}")


if __name__ == "__main__":
    kind, place = sys.argv[1:]
    sys.path[0] = os.getcwd()
    Page(Path(place)).play() if kind == "page" else play_docstring(place)
