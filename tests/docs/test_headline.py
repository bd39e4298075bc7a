"""The headline table of the README is what was measured, and nothing else."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "docs" / "headline.py"
BLAME = {"file": "core/tasks.py", "line": 12, "leaf": None, "chain": ["core.tasks"]}


def report(*modules: tuple[str, str, float, dict[str, object] | None]) -> dict[str, object]:
    names = ("module", "verdict", "seconds", "blame")
    told = [dict(zip(names, module, strict=True)) for module in modules]
    return {"schema": 1, "python": "3.11.7", "timeout": 5.0, "repeats": 3, "modules": told}


@pytest.fixture
def project(tmp_path):
    """A project with the script, a README, and what the demo writes."""
    (tmp_path / "docs").mkdir()
    shutil.copy(SCRIPT, tmp_path / "docs")
    (tmp_path / "README.md").write_text("above\n<!-- headline -->\nold\n<!-- /headline -->\nbelow\n")
    demo = tmp_path / "build" / "demo"
    demo.mkdir(parents=True)
    before = report(("core.tasks", "hangs", 5.0, BLAME), ("core.gone", "fails", 0.25, None))
    after = report(("core.tasks", "ok", 0.0041, None), ("sqlalchemy.orm", "ok", 0.2, None))
    (demo / "before.json").write_text(json.dumps(before))
    (demo / "after.json").write_text(json.dumps(after))
    return tmp_path


def fill(project: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(project / "docs" / "headline.py")], capture_output=True, text=True, timeout=60
    )


def test_the_table_has_both_sides_of_every_module(project):
    """Each module of the left side has its row, with verdict, seconds and line, and what is around the table stays."""
    assert fill(project).returncode == 0
    text = (project / "README.md").read_text()
    assert "| `core.tasks` | hangs for 5 s, `core/tasks.py:12` | 0.004 s |" in text
    assert "| `core.gone` | fails 0.250 s | not measured |" in text
    assert "0.200 s" in text
    assert text.startswith("above\n<!-- headline -->\n| module |")
    assert text.endswith("<!-- /headline -->\nbelow\n")
    assert "old" not in text


def test_filling_it_twice_changes_nothing(project):
    """The table is replaced, not added."""
    fill(project)
    once = (project / "README.md").read_text()
    fill(project)
    assert (project / "README.md").read_text() == once


def test_without_figures_it_says_how_to_get_them(project):
    """Where nothing was measured the README stays as it is."""
    (project / "build" / "demo" / "after.json").unlink()
    done = fill(project)
    assert done.returncode == 1
    assert "make demo" in done.stderr
    assert "old" in (project / "README.md").read_text()
