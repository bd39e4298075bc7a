"""The reference is complete, and every page of the documentation can be found from the first one.

What has no public name is read from the source, so no library of an integration is needed.
"""

from __future__ import annotations

import argparse
import ast
import importlib
import re
from pathlib import Path

import pytest

import lazyguard
from lazyguard import cli

PACKAGE = Path(lazyguard.__file__).parent
DOCS = Path(__file__).parents[2] / "docs"
REFERENCE = "\n".join(page.read_text(encoding="utf-8") for page in sorted((DOCS / "reference").glob("*.md")))
MODULES = [PACKAGE / name for name in ("__init__.py", "errors.py", "types.py", "testing.py", "audit/__init__.py")]
INTEGRATIONS = [file for file in sorted((PACKAGE / "integrations").glob("*.py")) if not file.name.startswith("_")]


def named(file: Path) -> str:
    """Return the module's name."""
    parts = (PACKAGE.name, *file.relative_to(PACKAGE).with_suffix("").parts)
    return ".".join(parts).removesuffix(".__init__")


def public(file: Path) -> list[str]:
    """Return the names in a module's `__all__`; where it has none, its functions and classes without an underscore."""
    if file == PACKAGE / "__init__.py":
        return list(lazyguard.__all__)  # made when it is asked for
    body = ast.parse(file.read_text(encoding="utf-8")).body
    for node in body:
        if isinstance(node, ast.Assign) and [ast.unparse(target) for target in node.targets] == ["__all__"]:
            return list(ast.literal_eval(node.value))
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    return [node.name for node in body if isinstance(node, kinds) and not node.name.startswith("_")]


@pytest.mark.parametrize("file", [*MODULES, *INTEGRATIONS], ids=named)
def test_every_public_name_has_its_place_in_the_reference(file):
    """No public name of a module is missing from docs/reference; errors are there under either of their names."""
    module = named(file).replace("lazyguard.errors", "lazyguard(?:.errors)?")
    missing = [name for name in public(file) if not re.search(rf":: {module}\.{name}\b", REFERENCE)]
    assert public(file)
    assert not missing


# Written as a name of ours; what is within an address or a longer word is none.
NAME = re.compile(r"(?<![\w./-])lazyguard(?:\.[A-Za-z_]\w*)+")
METRICS = re.findall(r'"(lazyguard\.\w+)"', (PACKAGE / "integrations/opentelemetry.py").read_text(encoding="utf-8"))
PAGES = [DOCS.parent / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")]
PAGES += [page for page in sorted(DOCS.rglob("*.md")) if "examples" not in page.parts]


def exists(name: str) -> bool:
    """Return whether a dotted name leads to something. Integrations are not imported: their library may be missing."""
    found: object = lazyguard
    for at, part in enumerate(name.split(".")[1:], start=2):
        module = ".".join(name.split(".")[:at])
        if module.startswith("lazyguard.integrations."):
            path = PACKAGE.parent.joinpath(*module.split("."))
            return path.is_dir() or path.with_suffix(".py").exists()
        if not hasattr(found, part):
            try:
                importlib.import_module(module)
            except ImportError:
                return False
        found = getattr(found, part)
    return True


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(DOCS.parent)))
def test_each_name_of_ours_on_a_page_exists(page):
    """No page names what was renamed or is gone. The changelog may."""
    names = set(NAME.findall(page.read_text(encoding="utf-8"))).difference(METRICS)
    assert not [name for name in sorted(names) if not exists(name)]


def options(parser: argparse.ArgumentParser) -> set[str]:
    """Return the long options of a command, and of those below it."""
    found: set[str] = set()
    for action in parser._actions:
        found |= {option for option in action.option_strings if option.startswith("--")}
        for below in action.choices.values() if isinstance(action, argparse._SubParsersAction) else ():
            found |= options(below)
    return found


def test_every_option_of_a_command_is_in_the_reference():
    """No option that the command line takes is missing from its page."""
    page = (DOCS / "reference" / "command-line.md").read_text(encoding="utf-8")
    known = options(cli.parser())
    assert {"--timeout", "--html"} <= known
    assert not [option for option in sorted(known) if not re.search(rf"{option}\b", page)]


@pytest.mark.parametrize("section", ["howto", "reference", "explanation"])
def test_every_page_has_a_line_in_the_index_of_its_section(section):
    """A stranger finds each page from the index above it: a line in the list, and a place in the side bar."""
    index = (DOCS / section / "index.md").read_text(encoding="utf-8")
    pages = sorted(page.stem for page in (DOCS / section).glob("*.md") if page.name != "index.md")
    assert not [page for page in pages if f"]({page}.md)" not in index]
    assert not [page for page in pages if f"\n{page}\n" not in index]


def test_the_first_page_leads_to_every_section():
    """The index links the tutorials, and the index of each section."""
    index = (DOCS / "index.md").read_text(encoding="utf-8")
    wanted = [f"{section}/index" for section in ("howto", "reference", "explanation")]
    wanted += [f"tutorial/{page.stem}" for page in (DOCS / "tutorial").glob("*.md")]
    assert not [page for page in wanted if f"]({page}.md)" not in index or f"\n{page}\n" not in index]
