"""`[tool.lazyguard.audit]` in a pyproject.toml."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from lazyguard.audit.options import from_pyproject
from lazyguard.errors import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path

if sys.version_info < (3, 11):
    pytest.importorskip("tomli")


def write(directory: Path, text: str) -> list[str]:
    (directory / "pyproject.toml").write_text(text)
    return [str(directory)]


def test_options_are_read(tmp_path: Path) -> None:
    """Known keys come back, paths relative to the file, not to the directory one happens to be in."""
    table = '[tool.lazyguard.audit]\ntargets = ["core"]\npath = "src"\ntimeout = 2\nwalk = false\nadvice = true\n'
    table += 'python = "python3"\n'
    found = from_pyproject(write(tmp_path, table))
    path = str(tmp_path / "src")
    assert found == {
        "targets": ["core"],
        "path": path,
        "timeout": 2,
        "walk": False,
        "advice": True,
        "python": "python3",
    }


def test_a_project_without_the_table_gives_nothing(tmp_path: Path) -> None:
    """Neither a missing file, nor one of another tool, nor one that only mentions the name is an error."""
    assert from_pyproject([str(tmp_path)]) == {}
    assert from_pyproject(write(tmp_path, '[project]\nname = "x"\ndependencies = ["lazyguard"]\n')) == {}
    assert from_pyproject(write(tmp_path, "[tool.lazyguard]\n")) == {}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[tool.lazyguard.audit]\ntime_out = 5\n", "no option time_out; did you mean timeout?"),
        ("[tool.lazyguard.audit]\nzzz = 5\n", "there are targets, path"),
        ('[tool.lazyguard.audit]\ntimeout = "5"\n', "timeout must be a number, and is '5'"),
        ("[tool.lazyguard.audit]\njobs = true\n", "jobs must be a number, and is True"),
        ('[tool.lazyguard.audit]\nadvice = "yes"\n', "advice must be true or false, and is 'yes'"),
        ('[tool.lazyguard.audit]\ntargets = "core"\n', "targets must be an array of names"),
        ("[tool.lazyguard.audit]\ntargets = [1]\n", "targets must be an array of names"),
        ("[tool.lazyguard]\naudit = 3\n", "must be a table"),
        ("[tool.lazyguard.audit\n", "is not TOML"),
        ("[tool.lazyguard.audti]\n", "has no audti; there is [tool.lazyguard.audit]"),
    ],
)
def test_what_cannot_be_right_names_the_file(tmp_path: Path, text: str, said: str) -> None:
    """Unknown keys, wrong types and broken files are errors with the file's name."""
    with pytest.raises(ConfigurationError) as caught:
        from_pyproject(write(tmp_path, text))
    assert said in str(caught.value)
    assert str(tmp_path) in str(caught.value)
