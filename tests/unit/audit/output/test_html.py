"""The page of a report: what is in it, and what cannot get out of its data."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest

from lazyguard.audit import Blame, Failure, Finding, Imported, ModuleReport, Place, Report
from lazyguard.audit.output.html import excerpts, page
from lazyguard.audit.report.schema import COLUMNS

EVIL = "</script><script>alert(1)</script><!-- \u2028 \ud800 & \"'"


def report(path: Path | str = ".", **changes: Any) -> Report:
    module = ModuleReport("core", "fails", 0.1, 0.05, **changes)
    return Report("3.12.1", 5.0, 1, (module,), path=str(path))


def data(text: str) -> Any:
    """Return what the page's script reads."""
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    assert found is not None
    return json.loads(found[1])


def test_all_of_the_report_is_in_the_page() -> None:
    """The page has the report as JSON has it, but for the trees of imports, whose numbers say the same."""
    rows = (
        Imported("core", None, 0.0, 0.1, 0.02, True, "core/__init__.py"),
        Imported("json", 0, 0.01, 0.08, 0.03, False, None, Place("core/__init__.py", 3), failed=True),
    )
    made = report(imports=rows, detail="why")
    found = data(page(made))
    assert found["before"] is None
    modules = found["report"].pop("modules")
    strings = found["report"].pop("strings")
    plain = made.to_dict()
    assert found["report"] == {key: value for key, value in plain.items() if key != "modules"}
    numbers = modules[0].pop("imports")
    assert modules[0] == {key: value for key, value in plain["modules"][0].items() if key != "imports"}
    one, two = numbers[:COLUMNS], numbers[COLUMNS:]
    assert (strings[one[0]], one[1:6], strings[one[6]]) == ("core", [-1, 0, 100_000, 20_000, 1], "core/__init__.py")
    assert (strings[two[0]], two[1:7]) == ("json", [0, 10_000, 80_000, 30_000, 2, -1])
    assert (strings[two[7]], two[8]) == ("core/__init__.py", 3)


def test_what_a_program_names_or_raises_is_never_markup() -> None:
    """No text of the audited program ends the page's data, whatever it holds, and it comes back as it was."""
    made = report(error=Failure(EVIL, EVIL), output=EVIL, findings=(Finding(EVIL, EVIL, 1, EVIL, (EVIL,)),))
    text = page(made, made)
    assert text.count("</script>") == 2
    assert "<!--" not in text
    assert data(text)["before"]["modules"][0]["error"] == {"type": EVIL, "message": EVIL, "hint": None}
    text.encode("utf-8")


def test_the_page_may_load_nothing_and_run_its_own_script_only() -> None:
    """The policy names the hashes of the one style and the one script that are there, and allows nothing else."""
    text = page(report())
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)
    style = re.search(r"<style>(.*?)</style>", text, re.DOTALL)
    script = re.search(r"<script>(.*?)</script>", text, re.DOTALL)
    assert policy is not None
    assert style is not None
    assert script is not None
    rules = dict(rule.strip().partition(" ")[::2] for rule in policy[1].split(";"))
    assert rules["default-src"] == "'none'"
    for rule, block in (("style-src", style[1]), ("script-src", script[1])):
        wanted = base64.b64encode(hashlib.sha256(block.encode()).digest()).decode()
        assert rules[rule] == f"'sha256-{wanted}'"
    assert not re.search(r"""\b(?:src|href)\s*=\s*["'](?!#)|https?://|url\(|@import""", text)


def test_the_lines_around_each_place_are_there_and_no_others(tmp_path: Path) -> None:
    """Of a file of a hundred lines seven are in the page, for blame, finding and the finding's other place alike."""
    (tmp_path / "core.py").write_text("".join(f"line = {number}\n" for number in range(1, 101)))
    blame = Blame("core.py", 10, Place("nowhere.py", 3), ("core",))
    finding = Finding("double-import", "core.py", 50, "", (), also=Place("core.py", 99))
    found = excerpts(report(tmp_path, blame=blame, findings=(finding,)))
    assert list(found) == ["core.py"]
    assert sorted(found["core.py"]) == [*range(7, 14), *range(47, 54), *range(96, 101)]
    assert found["core.py"][50] == "line = 50"


@pytest.mark.parametrize("file", ["../secret.py", "/etc/hostname", "core", ".env", "link.py", "gone.py", "nul\0.py"])
def test_what_is_not_of_the_program_is_not_shown(tmp_path: Path, file: str) -> None:
    """What is above the audited path, no Python source, or a link to such a file, has no lines."""
    (tmp_path / "secret.py").write_text("password = 1\n")
    (tmp_path / "program" / "core").mkdir(parents=True)
    (tmp_path / "program" / ".env").write_text("password = 1\n")
    (tmp_path / "program" / "link.py").symlink_to(tmp_path / "secret.py")
    found = excerpts(report(tmp_path / "program", blame=Blame(file, 1, None, ())))
    assert found == {}


def test_a_report_without_a_path_shows_no_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A report that came from a file has no path: whatever it names, nothing is read."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "core.py").write_text("secret = 1\n")
    assert excerpts(report("", blame=Blame("core.py", 1, None, ()))) == {}


def test_many_modules_stay_small() -> None:
    """Hundreds of trees of a hundred rows are less than fifty bytes a row."""
    rows = tuple(
        Imported(f"package.module{at}", at - 1 if at else None, 0.0, 0.1, 0.1, True, f"package/module{at}.py")
        for at in range(100)
    )
    modules = tuple(ModuleReport(f"package.module{at}", "ok", 0.1, 0.1, imports=rows) for at in range(300))
    size = len(json.dumps(Report("3.12.1", 5.0, 1, modules).packed(), separators=(",", ":")))
    assert size < 30_000 * 50
