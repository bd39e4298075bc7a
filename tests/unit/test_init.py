"""The package's own names."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import lazyguard
from lazyguard._services import service

# Name -> module, as the table has them.
HOMES = {
    name: home
    for line in lazyguard._HOMES.splitlines()
    for home, _, names in [line.partition(":")]
    for name in names.split()
}
TREE = ast.parse(Path(lazyguard.__file__).read_text())


def imported_for_checkers() -> dict[str, str]:
    """Return name -> module of the imports below `if TYPE_CHECKING`."""
    blocks = [node for node in TREE.body if isinstance(node, ast.If)]
    return {
        alias.name: node.module or ""
        for block in blocks
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if node.module != "lazyguard"  # its own modules
    }


def test_all_homes_and_checkers_agree():
    """`__all__`, the table of homes and the block for checkers name the same things in the same modules."""
    homes = {name: f"lazyguard.{home}" for name, home in HOMES.items()}
    assert homes == imported_for_checkers()
    assert sorted(lazyguard.__all__) == sorted(homes)
    assert len(set(lazyguard.__all__)) == len(lazyguard.__all__)


def test_no_home_twice():
    """No name has two homes, of which the table would forget one."""
    names = " ".join(line.partition(":")[2] for line in lazyguard._HOMES.splitlines()).split()
    assert len(names) == len(set(names)) == len(HOMES)


@pytest.mark.parametrize("name", lazyguard.__all__)
def test_every_name_is_there(name):
    """Every public name is what its home defines, has a docstring, and is public there."""
    value = getattr(lazyguard, name)
    home = importlib.import_module(f"lazyguard.{HOMES[name]}")
    assert value is getattr(home, name)
    assert value.__doc__
    assert name in getattr(home, "__all__", [name])
    assert vars(lazyguard)[name] is value


def test_no_name_is_a_submodule():
    """A public function and a submodule never share a name: importing the one would hide the other."""
    below = {path.stem for path in Path(lazyguard.__file__).parent.iterdir()}
    assert not below & set(lazyguard.__all__)


def test_unknown_name():
    """An unknown name is an AttributeError that says what was asked of what."""
    with pytest.raises(AttributeError, match=r"module 'lazyguard' has no attribute 'no_such_name'"):
        lazyguard.no_such_name
    with pytest.raises(ImportError):
        from lazyguard import no_such_name  # noqa: F401


def test_dir_is_complete():
    """`dir(lazyguard)` names what is public, and imports nothing."""
    code = "import sys, lazyguard; names = dir(lazyguard); print(len(sys.modules) - before, *names)"
    result = subprocess.run(
        [sys.executable, "-c", f"import sys; import __future__; before = len(sys.modules); {code}"],
        env={"PYTHONPATH": str(Path(lazyguard.__file__).parents[1])},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    added, *names = result.stdout.split()
    assert added == "1"
    assert set(lazyguard.__all__) <= set(names)
    assert "__version__" in names


def overloaded(tree: ast.AST):
    """Yield each overloaded function's name, what is its implementation, and what its overloads."""
    found: dict[str, list[ast.FunctionDef]] = {}
    for node in ast.walk(tree):
        if isinstance(node, (ast.ClassDef, ast.Module)):
            inside = [one for part in node.body for one in (part.body if isinstance(part, ast.If) else [part])]
            for one in inside:
                if isinstance(one, ast.FunctionDef):
                    found.setdefault(f"{getattr(node, 'name', '')}.{one.name}", []).append(one)
    for name, functions in found.items():
        overloads = [one for one in functions if any(ast.unparse(by) == "overload" for by in one.decorator_list)]
        rest = [one for one in functions if one not in overloads]
        if overloads and rest:
            yield name, rest[-1], overloads


def test_overloads_have_every_option():
    """What a function takes by name is what type checkers let pass."""
    looked_at = set()
    for path in Path(lazyguard.__file__).parent.rglob("*.py"):
        for name, implementation, overloads in overloaded(ast.parse(path.read_text())):
            takes = {option.arg for option in implementation.args.kwonlyargs}
            assert takes == {option.arg for one in overloads for option in one.args.kwonlyargs}, f"{path}: {name}"
            looked_at.add(name)
    assert {".service", ".lazy", ".once"} <= looked_at


def test_the_type_of_fallback_has_every_option():
    classes = [
        node for node in ast.walk(ast.parse(Path(service.__file__).read_text())) if isinstance(node, ast.ClassDef)
    ]
    takes = {
        (node.name, one.name): {option.arg for option in one.args.kwonlyargs}
        for node in classes
        for one in node.body
        if isinstance(one, ast.FunctionDef)
    }  # of the overloads the last: that with the options
    assert takes["FallbackDeclaration", "__call__"] == takes["Service", "_fallback"] != set()
