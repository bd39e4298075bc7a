"""The command `lazyguard report`, which shows what an audit has written."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import lazyguard
from lazyguard.audit import Against, Blame, Failure, ModuleReport, Place, Report, Slower
from lazyguard.cli import main

BAD = ModuleReport("core", "slow", 0.7, 0.7, blame=Blame("core.py", 1, None, ("core",)))
OK = ModuleReport("core", "ok", 0.1, 0.1)


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """Write a report, and the source that it names, and return the report's file."""
    (tmp_path / "core.py").write_text("word = 1\n")
    file = tmp_path / "report.json"
    file.write_text(json.dumps(Report("3.12.1", 5.0, 1, (BAD,), path=str(tmp_path)).to_dict()))
    return file


def test_the_table_of_a_kept_report(kept: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The table is printed, and the exit status is that of the audit."""
    assert main(["report", str(kept)]) == 1
    assert "core.py:1" in capsys.readouterr().out
    kept.write_text(json.dumps(Report("3.12.1", 5.0, 1, (OK,)).to_dict()))
    assert main(["report", str(kept)]) == 0


def test_the_page_of_a_kept_report(kept: Path, tmp_path: Path) -> None:
    """The page has lines of the sources only where the caller says that they are the program's."""
    page = tmp_path / "report.html"
    main(["report", str(kept), "--html", str(page)])
    assert "word = 1" not in page.read_text()
    main(["report", str(kept), "--html", str(page), "--path", str(tmp_path), "--compare", str(kept)])
    assert "word = 1" in page.read_text()


def test_what_became_slower_is_kept(kept: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The table and the page have what `--against` found, with the source of its line, and so does the exit status."""
    slower = Slower("core", 0.1, 0.3, ("pandas",), (), Place("core.py", 1), ("core", "pandas"))
    against = Against("../main", 1, slower=(slower,), left=("core.a",))
    kept.write_text(json.dumps(Report("3.12.1", 5.0, 1, (OK,), against=against).to_dict()))
    page = tmp_path / "report.html"
    assert main(["report", str(kept), "--html", str(page), "--path", str(tmp_path)]) == 1
    out = capsys.readouterr().out
    assert "core takes 0.300 s, 3.00 times the 0.100 s of ../main; new: pandas at core.py:1" in out
    assert "1 may be slower, but this is not certain: core.a" in out
    assert '"new":["pandas"]' in page.read_text()
    assert "word = 1" in page.read_text()


@pytest.mark.parametrize(
    ("text", "wrong"),
    [("{", "is not JSON"), ("[" * 100_000, "is not JSON"), ("[]", "not a report"), (None, "cannot be read")],
    ids=["torn", "deep", "other", "away"],
)
def test_what_is_no_report_is_reported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str | None, wrong: str
) -> None:
    """A file that is away or holds something else is named, with what to do, and the exit status is 2."""
    file = tmp_path / "report.json"
    if text is not None:
        file.write_text(text)
    assert main(["report", str(file)]) == 2
    reported = capsys.readouterr().err
    assert str(file) in reported
    assert wrong in reported


@pytest.mark.parametrize(
    ("where", "status", "reported"),
    [
        ("", 1, ""),
        (">&-", 1, ""),
        ("2>&-", 1, ""),
        pytest.param(
            ">/dev/full",
            2,
            "the output cannot be written: No space left on device",
            marks=pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full"),
        ),
    ],
)
def test_what_a_shell_does_with_the_output(tmp_path: Path, where: str, status: int, reported: str) -> None:
    """Neither a closed or full stream nor a character that it cannot take makes a traceback of the command's own."""
    file = tmp_path / "report.json"
    odd = ModuleReport("core", "fails", 0.1, 0.1, error=Failure("ValueError", "\udcff ü"))
    file.write_text(json.dumps(Report("3.12.1", 5.0, 1, (odd,)).to_dict()))
    line = f'"{sys.executable}" -m lazyguard report "{file}" {where}'
    ended = subprocess.run(
        line, shell=True, env=os.environ | {"PYTHONIOENCODING": "ascii"}, capture_output=True, text=True, timeout=60
    )
    assert ended.returncode == status
    assert reported in ended.stderr
    assert "Traceback" not in ended.stderr
    if not where:
        assert "ValueError: \\udcff \\xfc" in ended.stdout


def test_a_current_directory_that_is_gone(tmp_path: Path) -> None:
    """Where the directory was removed, that is what is said."""
    line = f'cd "{tmp_path}" && mkdir gone && cd gone && rmdir ../gone && "{sys.executable}" -m lazyguard report x'
    env = os.environ | {"PYTHONPATH": str(Path(lazyguard.__file__).parents[1])}
    ended = subprocess.run(line, shell=True, env=env, capture_output=True, text=True, timeout=60)
    assert (ended.returncode, ended.stderr.startswith("lazyguard: the current directory: ")) == (2, True)
