"""The forms of advice: the text to write, the lists of ruff, and what the terminal and the JSON say."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from lazyguard.audit.advice import text
from lazyguard.audit.report.model import Advice, Deferral, Report
from lazyguard.audit.report.modules import Place

if TYPE_CHECKING:
    from pathlib import Path


def statement(text: str, module: str, kind: str = "import", within: str = "", **names: str) -> dict[str, Any]:
    return {"text": text, "module": module, "kind": kind, "within": within, "names": names}


@pytest.mark.parametrize(
    ("within", "version", "wanted"),
    [
        ("", (3, 15), "lazy import a.b as c"),
        ("if", (3, 15), "lazy import a.b as c"),
        ("with", (3, 15), 'c = lazyguard.load("a.b")'),
        ("", (3, 14), "with lazyguard.lazy_imports():\n    import a.b as c"),
    ],
)
def test_the_form_is_what_the_interpreter_has(within: str, version: tuple[int, int], wanted: str) -> None:
    """From 3.15 on it is `lazy import` where that may stand, before and elsewhere what lazyguard has."""
    assert text.replacement(statement("import a.b as c", "a.b", within=within, c=""), version) == wanted


def test_an_optional_import_has_its_own_form() -> None:
    """What may be missing becomes an `optional_import`."""
    one = statement("import a", "a", within="try", a="")
    assert text.replacement(one, (3, 15), optional=True) == 'a = lazyguard.optional_import("a")'


def test_the_re_exports_of_a_package_are_one_call() -> None:
    """All re-exports of a package are one `attach`, with its own `__all__` kept, and the call is right Python."""
    written = text.attached(
        [
            statement("from . import a", "core", "from", a="a"),
            statement("from .b import c as d", "core.b", "from", d="c"),
            statement("from x import y", "x", "from", y="y"),
        ],
        "core",
        has_all=True,
    )
    assert written.startswith("__getattr__, __dir__, _ = lazyguard.attach(")
    assert 'submodules=["a"]' in written
    assert 'submod_attrs={"b": ["c as d"]}' in written
    assert 'absolute_attrs={"x": ["y"]}' in written
    compile(written, "", "exec")


@pytest.mark.parametrize(("native", "rule"), [(False, "TID253"), (True, "TID254")])
def test_ruff_takes_the_lists(native: bool, rule: str, tmp_path: Path) -> None:
    """What is printed for ruff is settings that it knows, and its rule finds the imports that are listed, no others."""
    pytest.importorskip("ruff", reason="ruff is not installed")
    settings = text.ruff_settings(["heavy", "mixed"], ["mixed.part", "effects"], ["effects"], native=native)
    (tmp_path / "pyproject.toml").write_text(settings)
    (tmp_path / "code.py").write_text("import heavy.part\nimport mixed.part\nimport effects\n")
    command = [sys.executable, "-m", "ruff", "check", "--no-cache", "--output-format", "concise", str(tmp_path)]
    reported = subprocess.run([*command, "--select", rule], capture_output=True, text=True, check=False)
    assert "code.py:1" in reported.stdout, reported.stderr
    assert rule in reported.stdout
    assert "code.py:2" not in reported.stdout
    assert "code.py:3" not in reported.stdout


def test_there_is_nothing_for_ruff_without_advice() -> None:
    """No settings are printed where nothing is listed."""
    assert text.ruff_settings([], ["a"], [], native=True) == ""


def report() -> Report:
    imports = (
        Deferral("core/a.py", 3, "core.a", "heavy", "import heavy", True, 0.08, 0.8, replacement="lazy import heavy"),
        Deferral("core/b.py", 1, "core.b", "light", "import light", True, 0.0, 0.0, replacement="lazy import light"),
        Deferral("core/c.py", 2, "core.c", "base", "import base", False, reason="no", because=Place("core/c.py", 9)),
        Deferral("core/d.py", 2, "core.d", "x", "import x", False, reason="x is loaded all the same"),
    )
    one = Advice("core", 0.1, 0.085, 5, imports, "[tool.ruff.lint]\n", "a note", 0.001)
    return Report("3.15.0", 5.0, 1, (), advice=(one,))


def test_the_text_has_savings_reasons_and_replacements() -> None:
    """The text is sorted by saving, tells noise as none, and names what to write and what stays, why and where."""
    lines = [line.strip() for line in text.advice(report()).splitlines()]
    assert lines[0] == "advice for core, whose import takes 100.0 ms: 2 to defer, which save 85.0 ms together (85%)"
    assert "80.0 ms    80%  import heavy  core/a.py:3" in lines
    assert "~0 ms         import light  core/b.py:1" in lines
    assert "lazy import heavy" in lines
    assert "lazy import light" not in lines  # what saves nothing is not worth a change
    assert "import base     core/c.py:2  no (core/c.py:9)" in lines
    assert "and 1 whose modules are loaded all the same: --json has them" in lines
    assert lines[-1] == "[tool.ruff.lint]"


def test_advice_is_read_back_from_its_json() -> None:
    """A report with advice is the same when it is written and read, and one without has none."""
    assert Report.from_dict(report().to_dict()) == report()
    old = report().to_dict()
    del old["advice"]
    assert Report.from_dict(old).advice == ()
