"""What other programs read: the JSON schema, JUnit XML, and the annotations of GitHub."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from lazyguard.audit import (
    Against,
    Blame,
    Budget,
    Cause,
    Failure,
    Finding,
    Imported,
    ModuleReport,
    Place,
    Report,
    Slower,
    Spending,
    audit,
)
from lazyguard.audit.output import files, github, junit
from lazyguard.audit.report.model import Advice, Deferral
from lazyguard.cli import main

BLAME = Blame("core/tasks.py", 2, Place("redis/connection.py", 64), ("core.views", "core.tasks"))
FOUND = Finding("connect", "core/tasks.py", 2, "127.0.0.1:6379", ("core.tasks",), Place("core/a.py", None))
FAILS = ModuleReport("core.bad", "fails", 0.1, 0.1, error=Failure("ValueError", "100%\n\x1b[1m]]> <b> \udcff,:\x00"))
REPORT = Report(
    "3.12.1",
    5.0,
    1,
    (
        ModuleReport("core.views", "hangs", 5.0, 0.0, 0.1, BLAME, findings=(FOUND,), output="\x00 reported"),
        FAILS,
        ModuleReport("core.slow", "slow", 1.0, 1.0, blame=Blame("core/slow.py", 1, None, ("core.slow",))),
        ModuleReport("core", "ok", 0.1, 0.1, imports=(Imported("core", None, 0.0, 0.1, 0.1, True),), executed=1),
    ),
    pending=("core.late",),
    budgets=(Spending("core", "modules", 1, 4, 0, True, Place("core/tasks.py", 2), ("core", "x"), ("x",)),),
)


def checker() -> Any:
    """What checks against the written schema, itself checked."""
    jsonschema = pytest.importorskip("jsonschema")
    schema = json.loads(files.schema())
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def test_reports_are_what_the_schema_says() -> None:
    """One that was made, and one of real children with findings, budgets and a failure."""
    check = checker()
    check.validate(json.loads(json.dumps(REPORT.to_dict())))
    zoo = Path(__file__).parents[3] / "audit_zoo"
    modules = sorted(f"zoo.{file.stem}" for file in (zoo / "zoo").glob("*.py") if file.stem.startswith(("a", "c", "d")))
    report = audit(modules, path=zoo, timeout=5, walk=False, budgets={"*": Budget(modules=1, seconds=60)})
    check.validate(json.loads(json.dumps(report.to_dict())))
    assert not check.is_valid({**REPORT.to_dict(), "python": None})
    assert not check.is_valid({key: value for key, value in REPORT.to_dict().items() if key != "modules"})


@pytest.mark.parametrize(
    "kind",
    [
        Report,
        ModuleReport,
        Blame,
        Place,
        Failure,
        Finding,
        Imported,
        Spending,
        Cause,
        Advice,
        Deferral,
        Against,
        Slower,
    ],
    ids=lambda kind: kind.__name__,
)
def test_the_schema_has_every_field_and_no_other(kind: Any) -> None:
    """It cannot drift from the objects."""
    schema = json.loads(files.schema())
    properties = set((schema if kind is Report else schema["$defs"][kind.__name__])["properties"])
    derived = {"causes", "strings"} if kind is Report else set[str]()
    assert properties == {field.name for field in dataclasses.fields(kind)} | derived


def test_the_command_prints_the_schema(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a target."""
    assert main(["audit", "--schema"]) == 0
    assert json.loads(capsys.readouterr().out)["$schema"].endswith("2020-12/schema")


def test_junit_has_a_case_a_module() -> None:
    """Errors, failures, skipped ones and their counts; the line and the chain; anything a module wrote is XML."""
    root = ElementTree.fromstring(junit.page(REPORT).encode())
    suite = root[0]
    assert (root.tag, suite.tag) == ("testsuites", "testsuite")
    assert [suite.get(key) for key in ("tests", "errors", "failures", "skipped")] == ["5", "2", "2", "1"]
    cases = {case.get("name"): case for case in suite}
    assert list(cases) == ["core.views", "core.bad", "core.slow", "core", "core.late"]
    assert [[child.tag for child in case] for case in cases.values()] == [
        ["error", "system-out", "system-err"],
        ["error"],
        ["failure"],
        ["failure"],
        ["skipped"],
    ]
    error = cases["core.views"][0]
    assert error.get("type") == "hangs"
    assert "core/tasks.py:2" in (error.get("message") or "")
    assert "by core.views > core.tasks" in (error.text or "")
    assert "\\x1b[1m]]> <b> \\udcff,:\\x00" in (cases["core.bad"][0].text or "")
    assert "over its budget of 1" in (cases["core"][0].get("message") or "")
    assert all(float(case.get("time") or "x") >= 0 for case in suite)


def test_annotations_are_one_a_cause_and_escaped(tmp_path: Path) -> None:
    """Levels by verdict, files from the root of the repository, and no way out of a message."""
    (tmp_path / "src" / "core").mkdir(parents=True)
    (tmp_path / "src" / "core" / "tasks.py").touch()
    report = dataclasses.replace(REPORT, path=str(tmp_path / "src"))
    lines = github.commands(report, {"GITHUB_WORKSPACE": str(tmp_path)}).splitlines()
    assert [line.split(" ")[0] for line in lines] == ["::error", "::error", "::error", "::warning", "::notice"]
    assert lines[0].startswith("::error file=src/core/tasks.py,line=2,title=1 of 4 hangs in core/tasks.py%3A2::")
    assert "100%25%0A" in lines[1]
    assert lines[3].startswith("::warning title=1 of 4 is slow in core/slow.py%3A1::core/slow.py:1: ")


def test_more_than_github_shows_are_counted() -> None:
    """The tenth says how many are left, and the summary has them all."""
    modules = tuple(dataclasses.replace(FAILS, module=f"core.m{at}") for at in range(15))
    report = dataclasses.replace(REPORT, modules=modules, budgets=(), pending=())
    lines = github.commands(report, {}).splitlines()
    assert len(lines) == 10
    assert "(5 more of this level are in the summary of the step)" in lines[-1]
    assert github.summary(report).count("| error |") == 15


def test_the_summary_is_appended_and_is_markdown(tmp_path: Path) -> None:
    """No cell ends its row, and none opens a tag."""
    file = tmp_path / "summary.md"
    file.write_text("before\n")
    github.publish(REPORT, {"GITHUB_STEP_SUMMARY": str(file)})
    text = file.read_text()
    assert text.startswith("before\n### Audit of imports")
    row = next(line for line in text.splitlines() if "ValueError" in line)
    assert row.count("|") == 5
    assert "&lt;b>" in row


def test_the_command_annotates(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """--github and --junit together, and what a module says is no command."""
    (tmp_path / "bad.py").write_text("raise ValueError('::error::made up')\n")
    monkeypatch.setenv("GITHUB_WORKSPACE", str(tmp_path))
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    arguments = ["audit", "bad", "--path", str(tmp_path), "-q", "--timeout", "30", "--github"]
    assert main([*arguments, "--junit", str(tmp_path / "junit.xml")]) == 1
    lines = capsys.readouterr().out.splitlines()
    token = lines[0].removeprefix("::stop-commands::")
    assert lines.index(f"::{token}::") == len(lines) - 2
    assert lines[-1].startswith("::error file=bad.py,line=1,title=")
    assert ElementTree.parse(tmp_path / "junit.xml").getroot()[0].get("errors") == "1"
    assert main([*arguments, "--json", "-"]) == 1
    out, err = capsys.readouterr()
    assert json.loads(out)["modules"][0]["verdict"] == "fails"
    assert err.startswith("::error ")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path))
    assert main(arguments) == 2
