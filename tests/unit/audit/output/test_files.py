"""The files that a report is written to."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from lazyguard.audit import Finding, Imported, ModuleReport, Place, Report
from lazyguard.audit.output import files
from lazyguard.errors import ConfigurationError

REPORT = Report("3.12.1", 5.0, 1, (ModuleReport("core", "ok", 0.1, 0.1),))


def test_a_file_is_replaced_as_a_whole_and_nothing_else_is_left(tmp_path: Path) -> None:
    """The report is in the file, and its directory has no other."""
    file = tmp_path / "report.json"
    file.write_text("before")
    files.check({"json": str(file)})
    assert file.read_text() == "before"
    files.write(REPORT, {"json": str(file)})
    assert Report.from_dict(json.loads(file.read_text())) == REPORT
    assert os.listdir(tmp_path) == ["report.json"]


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    """What is written is the file that a link leads to."""
    (tmp_path / "link").symlink_to("target")
    files.write(REPORT, {"json": str(tmp_path / "link")})
    assert (tmp_path / "link").is_symlink()
    assert json.loads((tmp_path / "target").read_text())["schema"] == 1


def test_what_is_no_regular_file_is_written_as_it_is(capfd: pytest.CaptureFixture[str]) -> None:
    """A device is not replaced by a file."""
    files.check({"json": "/dev/null"})
    files.write(REPORT, {"json": "/dev/null"})
    assert not os.path.isfile("/dev/null")
    files.write(REPORT, {"json": "-"})
    assert json.loads(capfd.readouterr().out)["python"] == "3.12.1"


@pytest.mark.parametrize(
    ("name", "said"), [("nosuch/a.json", "make it first"), (".", "this is a directory"), ("a" * 300, "too long")]
)
def test_a_path_that_cannot_be_written_is_said_before_the_audit(tmp_path: Path, name: str, said: str) -> None:
    """`check` raises, names the option and the file."""
    with pytest.raises(ConfigurationError, match=f"--json .*{said}"):
        files.check({"json": str(tmp_path / name)})


def test_what_fails_while_it_is_written_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    """A directory that vanished after the check is reported too."""
    with pytest.raises(ConfigurationError, match="cannot be written"):
        files.write(REPORT, {"json": str(tmp_path / "nosuch" / "a.json")})


def test_a_module_is_a_line_of_json_below_ten_kilobytes() -> None:
    """With the tree of a large package and findings: texts that occur often are there once, for all modules."""
    rows = tuple(
        Imported(
            f"core.package.sub{at % 40}.module{at}",
            at // 2 if at else None,
            at / 1000,
            0.5,
            0.004321,
            at % 3 == 0,
            f"core/package/sub{at % 40}/module{at}.py",
            Place(f"core/package/sub{at % 7}/module{at // 2}.py", at),
        )
        for at in range(150)
    )
    chain = tuple(f"core.package.sub{at}.module{at}" for at in range(6))
    findings = tuple(Finding("connect", "core/net.py", at, "127.0.0.1:6379", chain) for at in range(6))
    whole = replace(
        REPORT,
        modules=tuple(ModuleReport(f"core.m{at}", "ok", 0.5, 0.1, findings=findings, imports=rows) for at in range(3)),
    )
    text = files.FORMATS["json"](whole, None)
    lines = [line for line in text.splitlines() if line.startswith('{"module"')]
    assert len(lines) == 3
    assert max(map(len, lines)) < 10_000
    assert Report.from_dict(json.loads(text)) == whole
    assert Report.from_dict(whole.to_dict()) == whole


@pytest.mark.parametrize("imports", [[1, 2, 3], [9] * 9, ["a"] * 9, [None] * 9, [0, 0, 0, 0, 0, 0, 0, 0, "x"]])
def test_rows_that_stand_for_nothing_are_reported(imports: list[object]) -> None:
    """A report that was changed by hand ends no command with a traceback."""
    data = json.loads(files.FORMATS["json"](REPORT, None))
    data["modules"][0]["imports"] = imports
    with pytest.raises(ConfigurationError, match="not a report"):
        Report.from_dict(data)
