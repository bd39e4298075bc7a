"""What the audit starts in another interpreter is there, and needs no lazyguard."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from lazyguard.audit import target
from lazyguard.audit.target import child


@pytest.mark.parametrize("name", [*child.ALWAYS, *" ".join(child.PROGRAMS.values()).split()])
def test_each_file_that_a_child_loads_is_beside_it(name: str) -> None:
    """It is named without its suffix."""
    assert (Path(target.CHILD).parent / f"{name}.py").is_file()


@pytest.mark.parametrize("program", sorted(child.PROGRAMS))
def test_a_program_of_the_child_has_a_main(program: str) -> None:
    """The last file that is loaded for it is called as the program, and has what runs."""
    assert child.PROGRAMS[program].split()[-1] == program
    assert "def main(argv:" in (Path(target.CHILD).parent / f"{program}.py").read_text()


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("foreign", '{"statements": [], "uncompiled": 0}'),
        ("judged", '{"subclasses": false, "exports": [], "judged": []}'),
    ],
)
def test_the_survey_runs_alone(tmp_path: Path, question: str, answer: str) -> None:
    """Its packages are empty modules, whatever else is installed, and what lies around hides no module of Python."""
    given, out = tmp_path / "in", tmp_path / "out"
    given.write_text("")
    (tmp_path / "json.py").write_text("raise SystemExit\n")
    command = [sys.executable, "-S", *target.SURVEYING, question, str(out), str(given)]
    subprocess.run(command, check=True, cwd=tmp_path)
    assert out.read_text() == answer
