"""Budgets: their checks, their arithmetic, and what the audit makes of them."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lazyguard.audit import Allowance, Budget, Finding, Imported, ModuleReport, Place, Report, audit, table
from lazyguard.audit.options import from_pyproject, with_given
from lazyguard.audit.report.budget import budget_of, near, spent, unused
from lazyguard.cli import main
from lazyguard.errors import ConfigurationError

SEEN = ModuleReport(
    "core.tasks",
    "ok",
    0.2,
    0.01,
    imports=(
        Imported("core", None, 0.0, 0.001, 0.001, True, "core/__init__.py"),
        Imported("core.tasks", None, 0.0, 0.2, 0.01, True, "core/tasks.py"),
        Imported("pandas", 1, 0.0, 0.19, 0.19, False, "pandas/__init__.py", Place("core/tasks.py", 3)),
    ),
    executed=300,
)


def test_a_time_is_over_only_beyond_both_allowances() -> None:
    """110.0 ms are within 109.2 ms, and a jitter of milliseconds is within a limit of one."""
    tenth = Budget(seconds=0.1092, allowance=Allowance(seconds=0.005, relative=0.0))
    assert not tenth.exceeded(0.11)
    assert tenth.exceeded(0.1143)
    assert not Budget(seconds=0.001).exceeded(0.0059)
    assert Budget(seconds=1.0).exceeded(1.11)
    assert not Budget(seconds=1.0).exceeded(1.09)
    assert not Budget(modules=1).exceeded(1e9)


def test_what_is_far_over_is_not_near() -> None:
    """Only what may be owed to the machine is taken again."""
    budget = Budget(seconds=0.1)
    assert [near(budget, value) for value in (0.105, 0.12, 0.3)] == [False, True, False]
    assert not near(Budget(), 1.0)


@pytest.mark.parametrize(
    ("kind", "options", "said"),
    [
        (Budget, {"seconds": 0}, "seconds=0"),
        (Budget, {"seconds": True}, "seconds=True"),
        (Budget, {"modules": 1.5}, "modules=1.5"),
        (Budget, {"forbid": "pandas"}, "give names of modules"),
        (Budget, {"forbid": ["no name"]}, "give names of modules"),
        (Budget, {"allowance": 0.1}, "give an Allowance"),
        (Allowance, {"seconds": -1}, "seconds=-1"),
        (Allowance, {"relative": float("inf")}, "relative=inf"),
        (Allowance, {"relative": "0.1"}, "relative='0.1'"),
    ],
)
def test_a_wrong_value_is_said_when_it_is_made(kind: Any, options: dict[str, Any], said: str) -> None:
    """Nothing that cannot be right is kept."""
    with pytest.raises(ConfigurationError, match=said):
        kind(**options)


def test_the_most_exact_pattern_decides_and_what_is_forbidden_adds_up() -> None:
    """A limit for all gives way to one for a package, and that to one for a module."""
    budgets = {
        "*": Budget(seconds=1, modules=500, forbid=["pandas"]),
        "core.*": Budget(seconds=0.5),
        "core.tasks": Budget(seconds=0.1, forbid=["requests"]),
    }
    assert budget_of("core.tasks", budgets) == Budget(seconds=0.1, modules=500, forbid=["requests", "pandas"])
    assert budget_of("core.views", budgets) == Budget(seconds=0.5, modules=500, forbid=["pandas"])
    assert budget_of("core", budgets).seconds == 1
    assert budget_of("core", {}) == Budget()


def test_every_limit_is_reported_with_what_was_measured_and_the_slowest() -> None:
    """The line and the chain are those of the slowest body."""
    seconds, modules = spent(SEEN, Budget(seconds=0.1, modules=300))
    assert (seconds.kind, seconds.exceeded, seconds.limit, seconds.measured) == ("seconds", True, 0.1, 0.2)
    assert seconds.place == Place("core/tasks.py", 3)
    assert seconds.chain == ("core.tasks", "pandas")
    assert seconds.largest == ("pandas", "core.tasks", "core")
    assert (modules.kind, modules.exceeded, modules.measured) == ("modules", False, 300)
    assert spent(replace(SEEN, verdict="fails"), Budget(seconds=0.1)) == ()


def test_a_report_over_budget_is_found_reported_and_read_back() -> None:
    """All verdicts are ok, and yet there is something to tell."""
    seen = replace(SEEN, findings=(Finding("forbidden", "core/tasks.py", 3, "pandas is executed", ("a", "pandas")),))
    report = Report("3.12", 5.0, 1, (seen,), budgets=spent(seen, Budget(seconds=0.1, modules=10)))
    assert report.found
    assert Report.from_dict(report.to_dict()) == report
    text = table(report)
    assert "core.tasks takes 0.200 s, over its budget of 0.1 s and 0.010 s of allowance; the slowest: pandas" in text
    assert "core.tasks executes 300 modules, over its budget of 10" in text
    assert "core.tasks loads pandas, which its budget forbids, at core/tasks.py:3\n    by a > pandas" in text
    assert not replace(report, budgets=spent(SEEN, Budget(modules=300))).found


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """A package that loads a small third-party module two imports away."""
    (tmp_path / "core").mkdir()
    (tmp_path / "core" / "__init__.py").write_text("")
    (tmp_path / "core" / "views.py").write_text("import core.tasks\n")
    (tmp_path / "core" / "tasks.py").write_text("\nimport colorsys\n")
    return tmp_path


def test_a_forbidden_module_is_named_with_the_line_that_loads_it(program: Path) -> None:
    """However short its execution: the first-party line and the whole chain are reported, and the count is exact."""
    budgets = {"core.*": Budget(forbid=["colorsys"], modules=3)}
    report = audit(["core"], path=program, timeout=30, slow=30, budgets=budgets)
    over = [one for one in report.budgets if one.exceeded]
    assert [(one.target, one.kind, str(one.place)) for one in over if one.kind == "forbid"] == [
        ("core.tasks", "forbid", "core/tasks.py:2"),
        ("core.views", "forbid", "core/tasks.py:2"),
    ]
    assert over[-1].chain == ("core.views", "core.tasks", "colorsys")
    counts = {module.module: module.executed for module in report.modules}
    assert counts == {"core": 1, "core.tasks": 3, "core.views": 4}
    assert [one.target for one in over if one.kind == "modules"] == ["core.views"]


def test_a_pattern_that_names_nothing_is_an_error(program: Path) -> None:
    """In Python too."""
    with pytest.raises(ConfigurationError, match="names no module"):
        audit(["core"], path=program, budgets={"not a name": Budget()})
    wrong: Any = {"core": 0.1}
    with pytest.raises(ConfigurationError, match="give a Budget"):
        audit(["core"], path=program, budgets=wrong)


def test_the_command_has_status_1(program: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """--forbid and --budget are enough, without a table in a file."""
    arguments = ["audit", "core", "--path", str(program), "--timeout", "30", "--slow", "30", "-q"]
    assert main([*arguments, "--budget", "core.*=30"]) == 0
    assert main([*arguments, "--forbid", "colorsys"]) == 1
    assert "core.views loads colorsys, which its budget forbids, at core/tasks.py:2" in capsys.readouterr().out
    for wrong in ("--budget=core", "--budget=core=x", "--budget=1 2=3", "--forbid=a b"):
        assert main([*arguments, wrong]) == 2
        assert f"{wrong.replace('=', ' ', 1)} is not right" in capsys.readouterr().err


def test_what_is_given_goes_before_the_file() -> None:
    """A time takes the place of another, and keeps what else its budget says."""
    found = with_given({"core": Budget(seconds=1, modules=3), "*": Budget(forbid=["a"])}, ["core=2"], ["b"])
    assert found == {"core": Budget(seconds=2.0, modules=3), "*": Budget(forbid=["a", "b"])}


needs_toml = pytest.mark.skipif(sys.version_info < (3, 11), reason="tomllib came with Python 3.11")


@needs_toml
def test_budgets_are_read_from_pyproject(tmp_path: Path) -> None:
    """What is forbidden to all joins what `*` says."""
    (tmp_path / "pyproject.toml").write_text(
        '[tool.lazyguard.audit]\nforbid = ["pandas"]\n[tool.lazyguard.audit.budgets]\n"*" = {modules = 9}\n'
        '"core.tasks" = {seconds = 0.1, forbid = ["x"], allowance = {relative = 0.2}}\n'
    )
    assert from_pyproject([str(tmp_path)]) == {
        "budgets": {
            "*": Budget(modules=9, forbid=["pandas"]),
            "core.tasks": Budget(seconds=0.1, forbid=["x"], allowance=Allowance(relative=0.2)),
        }
    }


@needs_toml
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('"core" = 0.1', r'budgets."core"\] must be a table'),
        ('"core" = {second = 0.1}', "no option second; did you mean seconds"),
        ('"core" = {seconds = "0.1"}', r'budgets."core"\]: seconds='),
        ('"core" = {allowance = 0.1}', "allowance must be a table"),
        ('"core" = {allowance = {relative = -1}}', r'budgets."core"\] allowance: relative=-1'),
        ('"no name" = {seconds = 0.1}', "names no module"),
        ('"*" = {forbid = "x"}', "give names of modules"),
    ],
)
def test_a_wrong_budget_is_reported_with_its_key_and_file(tmp_path: Path, text: str, said: str) -> None:
    """Which key, in which file, and how to mend it."""
    (tmp_path / "pyproject.toml").write_text(f"[tool.lazyguard.audit.budgets]\n{text}\n")
    with pytest.raises(ConfigurationError, match=rf"pyproject.toml.*{said}"):
        from_pyproject([str(tmp_path)])


def test_a_budget_that_is_unused_is_reported() -> None:
    """A misspelt name would guard nothing, and nothing would show it."""
    assert unused(["core.tasks", "core.*", "*"], ["core", "core.tasks"]) == []
    assert unused(["core.task"], ["core", "core.tasks"]) == [
        "the budget core.task is for no module that was audited; did you mean core.tasks?"
    ]


@needs_toml
def test_the_command_refuses_a_budget_that_is_unused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Those of the table only where all of its targets are audited; those of an option always."""
    (tmp_path / "shop.py").write_text("")
    (tmp_path / "pyproject.toml").write_text(
        '[tool.lazyguard.audit]\ntargets = ["shop"]\n[tool.lazyguard.audit.budgets.shpo]\nseconds = 60\n'
    )
    monkeypatch.chdir(tmp_path)
    assert main(["audit", "-q"]) == 2
    assert "lazyguard: the budget shpo is for no module" in capsys.readouterr().err
    assert main(["audit", "-q", "shop"]) == 0
    assert main(["audit", "-q", "shop", "--budget", "sho=60"]) == 2
    assert "did you mean shop?" in capsys.readouterr().err
