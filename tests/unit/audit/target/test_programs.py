"""What the audit starts in another interpreter is there, and needs no lazyguard."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from lazyguard.audit import target
from lazyguard.audit.target import child


@pytest.mark.parametrize("name", ["CHILD", "SCAN"])
def test_each_program_is_a_file(name: str) -> None:
    """A path is a constant, and leads to the program."""
    compile(Path(getattr(target, name)).read_text(), name, "exec")


@pytest.mark.parametrize("name", [*child.ALWAYS, *(each for names in child.PROGRAMS.values() for each in names)])
def test_each_file_that_a_child_loads_is_beside_it(name: str) -> None:
    """It is named without its suffix."""
    assert (Path(target.CHILD).parent / f"{name}.py").is_file()


@pytest.mark.parametrize("program", sorted(child.PROGRAMS))
def test_a_program_of_the_child_has_a_main(program: str) -> None:
    """The last file that is loaded for it is called as the program, and has what runs."""
    assert child.PROGRAMS[program][-1] == program
    assert "def main(argv:" in (Path(target.CHILD).parent / f"{program}.py").read_text()


def test_the_scan_runs_alone(tmp_path: Path) -> None:
    """It needs no lazyguard beside it."""
    given, out = tmp_path / "in", tmp_path / "out"
    given.write_text("")
    subprocess.run([sys.executable, "-I", target.SCAN, str(out), str(given)], check=True)
    assert out.read_text() == '{"statements": [], "uncompiled": 0}'


def test_the_survey_runs_alone(tmp_path: Path) -> None:
    """Its packages are empty modules, whatever else is installed."""
    given, out = tmp_path / "in", tmp_path / "out"
    given.write_text("")
    option, command, text, *more = target.SURVEYING
    subprocess.run([sys.executable, "-S", option, command, text, *more, str(out), str(given)], check=True)
    assert out.read_text() == '{"subclasses": false, "exports": [], "judged": []}'
