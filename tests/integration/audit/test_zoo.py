"""Every fault of the zoo, audited in real processes: verdict, line, leaf, chain."""

from __future__ import annotations

import os
import runpy
import tempfile
from pathlib import Path

import pytest

from lazyguard.audit import ModuleReport, Report, audit

ZOO = Path(__file__).parents[2] / "audit_zoo"
TIMEOUT = 1.0
TABLE = runpy.run_path(str(ZOO / "expected.py"))
EXPECTED: dict[str, tuple[str, int | None]] = TABLE["VERDICTS"]
BLAMED: dict[str, str] = TABLE["BLAMED"]
UNBLAMED: dict[str, str] = TABLE["UNBLAMED"]
INNER: dict[str, int] = TABLE["INNER"]
LEAVES: dict[str, str | None] = TABLE["LEAVES"]
HINTS: dict[str, str | None] = TABLE["HINTS"]
FINDINGS: dict[str, set[tuple[str, int, str]]] = TABLE["FINDINGS"]


@pytest.fixture(scope="module")
def seen(zoo: Path) -> dict[str, ModuleReport]:
    """One audit of the whole zoo, several children at a time."""
    report = audit(["zoo"], path=[zoo, zoo / "site-packages"], timeout=TIMEOUT, slow=0.5, jobs=4)
    assert Report.from_dict(report.to_dict()) == report
    return {module.module.removeprefix("zoo."): module for module in report.modules}


@pytest.mark.parametrize("name", EXPECTED)
def test_each_fault_has_its_verdict_and_its_line(seen: dict[str, ModuleReport], name: str) -> None:
    """The verdict is that of the module's name, the blame on the line with the fault."""
    verdict, line = EXPECTED[name]
    module = seen[name]
    assert module.verdict == verdict
    assert module.blame is not None
    assert module.blame.file == f"zoo/{BLAMED.get(name, name)}.py"
    assert line == 0 or module.blame.line == line or (name == "hangs_spin" and module.blame.line == 4)
    assert (module.blame.inner and module.blame.inner.line) == INNER.get(name)
    assert module.blame.chain[0] == f"zoo.{name}"
    assert module.blame.chain[-1] == f"zoo.{BLAMED.get(name, name)}"
    assert name in BLAMED or len(module.blame.chain) == 1


def test_the_zoo_is_expected_whole(seen: dict[str, ModuleReport]) -> None:
    """No module of the zoo goes without an expectation, and those without a fault are ok."""
    rest = {name: module.verdict for name, module in seen.items() if name not in EXPECTED}
    chain = dict.fromkeys(("chain.root", "chain.middle", "chain.end"), "hangs")
    ok = ["zoo", "chain", "plain", *(name for name in rest if name.startswith("ok_"))]
    assert rest == {**chain, **UNBLAMED, **dict.fromkeys(ok, "ok")}


def test_a_hang_three_imports_away_is_one_cause(seen: dict[str, ModuleReport]) -> None:
    """The line is that of the innermost module, the chain leads from the target to it, and own time stays small."""
    root = seen["chain.root"]
    assert root.blame is not None
    assert (root.blame.file, root.blame.line) == ("zoo/chain/end.py", 5)
    assert root.blame.chain == ("zoo.chain.root", "zoo.chain.middle", "zoo.chain.end")
    assert root.seconds >= TIMEOUT > root.own_seconds + TIMEOUT / 2
    assert seen["chain.end"].own_seconds > TIMEOUT / 2


@pytest.mark.parametrize("name", LEAVES)
def test_the_leaf_is_shown_beside_the_first_party_line(seen: dict[str, ModuleReport], name: str) -> None:
    """A wait inside the standard library is blamed on the line that asked for it, the leaf named from its sys.path."""
    blame = seen[name].blame
    assert blame is not None
    assert (blame.leaf.file if blame.leaf else None) == LEAVES[name]


def test_errors_are_the_real_ones(seen: dict[str, ModuleReport]) -> None:
    """Type and message as raised."""
    said = {name: (error.type, error.message) for name, module in seen.items() if (error := module.error)}
    assert said["fails_raising"] == ("RuntimeError", "the port is no number")
    assert said["fails_missing"] == ("ModuleNotFoundError", "No module named 'no_such_package_anywhere'")
    assert said["exits_sys"] == ("SystemExit", "this needs a display")
    assert said["exits_os"] == ("os._exit", "status 3")
    assert said["exits_input"][0] == "EOFError"
    assert said["crashes_segv"] == ("SIGSEGV", "Segmentation fault")
    assert said["crashes_kill"][0] == "SIGKILL"
    assert said["exits_exec"][0] == "os.exec"


@pytest.mark.parametrize("name", HINTS)
def test_what_is_missing_is_reported_with_how_to_get_it(seen: dict[str, ModuleReport], name: str) -> None:
    """A distribution, a module or a name that is like it, or that it is a circle; nothing where nothing is known."""
    error = seen[name].error
    assert error is not None
    assert error.hint == HINTS[name]


def test_times_are_distinguished(seen: dict[str, ModuleReport]) -> None:
    """A slow body is own time, a slow dependency third-party time."""
    body, dependency = seen["slow_body"], seen["slow_import"]
    assert body.own_seconds >= 0.69
    assert body.third_party_seconds < 0.2
    assert dependency.third_party_seconds >= 0.69
    assert dependency.own_seconds < 0.2
    assert dependency.seconds >= 0.69


@pytest.mark.parametrize("name", FINDINGS)
def test_what_was_seen_on_the_way_has_its_line(seen: dict[str, ModuleReport], name: str) -> None:
    """The findings are the expected ones and no others, each with file, line and words."""
    found = {(each.kind, each.line, each.detail) for each in seen[name].findings}
    assert {each[:2] for each in found} == {each[:2] for each in FINDINGS[name]}
    for kind, line, words in FINDINGS[name]:
        assert any(each[:2] == (kind, line) and words in each[2] for each in found), found


def test_a_double_import_has_both_lines(seen: dict[str, ModuleReport]) -> None:
    """The second execution is the place, the first beside it; what has no fault has no finding."""
    (double,) = [each for each in seen["ok_doubled"].findings if each.kind == "double-import"]
    assert double.also is not None
    assert (double.also.file, double.also.line) == ("zoo/ok_doubled.py", 6)
    assert seen["plain"].findings == ()


def test_nothing_is_left_on_disk(zoo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The directories of the children are gone, also those of children that were killed."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    audit(["zoo.hangs_spin", "zoo.plain"], path=zoo, timeout=0.3, jobs=1, walk=False)
    assert os.listdir(tmp_path) == []


@pytest.mark.usefixtures("leaves_nothing")
def test_no_process_is_left(zoo: Path) -> None:
    """Daemons, strangers and forks that hang are ended with the child they came from."""
    names = ["exits_daemonised", "leaves_child", "leaves_stranger", "hangs_fork_bomb_of_two", "hangs_signals"]
    audit([f"zoo.{name}" for name in names], path=zoo, timeout=0.5, jobs=2)
