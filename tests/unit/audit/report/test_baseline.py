"""The ratchet: what an earlier report knew does not count."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from lazyguard.audit import Blame, Finding, ModuleReport, Report, Spending
from lazyguard.audit.report.baseline import gone, new
from lazyguard.cli import main

if TYPE_CHECKING:
    import pytest

FOUND = Finding("connect", "core/a.py", 3, "10.0.0.1:80", ("core.a",))
OVER = Spending("core.a", "modules", 10, 12, 0, True)
LOADS = Spending("core.a", "forbid", 0, 1, 0, True, largest=("pandas",))
SLOW = ModuleReport("core.a", "slow", 1.0, 1.0, blame=Blame("core/a.py", 3, None, ("core.a",)), findings=(FOUND,))
KNOWN = Report("3.12", 5.0, 1, (SLOW, ModuleReport("core.b", "ok", 0.1, 0.1)), budgets=(OVER, LOADS))


def test_what_is_known_is_not_new_wherever_its_line_has_moved() -> None:
    """Neither are other times, nor the same finding in another module."""
    moved = replace(SLOW, seconds=3.0, blame=Blame("core/a.py", 9, None, ()), findings=(replace(FOUND, line=9),))
    other = ModuleReport("core.b", "ok", 0.2, 0.1, findings=(FOUND,))
    report = replace(KNOWN, modules=(moved, other), budgets=(replace(OVER, measured=11), LOADS))
    assert new(report, KNOWN) == ()
    assert gone(report, KNOWN) == 0


def test_what_is_new_is_reported_once_with_its_line() -> None:
    """Another verdict, another finding, more modules than before, another forbidden one."""
    found = replace(FOUND, detail="10.0.0.2:80")
    modules = (replace(SLOW, verdict="hangs", findings=(found,)), replace(SLOW, module="core.b", findings=(found,)))
    budgets = (replace(OVER, measured=13), replace(LOADS, largest=("numpy",)))
    assert new(replace(KNOWN, modules=modules, budgets=budgets), KNOWN) == (
        "core.a hangs  core/a.py:3",
        "core.b slow  core/a.py:3",
        "connect at core/a.py:3: 10.0.0.2:80, seen in core.a",
        "core.a executes 13 modules, over its budget of 10",
        "core.a loads numpy, which its budget forbids,",
    )
    assert gone(replace(KNOWN, modules=modules), KNOWN) == 2


def test_the_command_fails_over_what_is_new_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Known failures leave the status 0; a new one, and a baseline that is none, do not."""
    (tmp_path / "core").mkdir()
    (tmp_path / "core" / "__init__.py").touch()
    (tmp_path / "core" / "bad.py").write_text("raise ValueError\n")
    file = str(tmp_path / "known.json")
    arguments = ["audit", "core", "--path", str(tmp_path), "-q", "--timeout", "30", "--slow", "30"]
    assert main([*arguments, "--json", file]) == 1
    assert main([*arguments, "--baseline", file]) == 0
    assert "nothing is new against" in capsys.readouterr().out
    (tmp_path / "core" / "worse.py").write_text("raise KeyError\n")
    (tmp_path / "core" / "bad.py").write_text("")
    assert main([*arguments, "--baseline", file]) == 1
    out = capsys.readouterr().out
    assert f"new against {file}:\n    core.worse fails  core/worse.py:1  KeyError" in out
    assert "1 of its verdicts and findings is gone: write it anew with --json" in out
    assert main([*arguments, "--baseline", str(tmp_path / "core" / "bad.py")]) == 2


def test_what_differs_from_run_to_run_is_not_new() -> None:
    """Names of temporary files, waits drawn by lot; another file is new."""
    wrote = replace(FOUND, kind="file-write", detail="opens /tmp/tmpab1_cd2e for writing")
    slept = replace(FOUND, kind="sleep", detail="sleeps 0.125 s")
    known = replace(KNOWN, modules=(replace(SLOW, findings=(wrote, slept)),))
    again = (replace(wrote, detail="opens /tmp/tmpzz9_zz9z for writing"), replace(slept, detail="sleeps 1e-05 s"))
    assert new(replace(known, modules=(replace(SLOW, findings=again),)), known) == ()
    other = replace(wrote, detail="opens /tmp/kept for writing")
    assert len(new(replace(known, modules=(replace(SLOW, findings=(other,)),)), known)) == 1
