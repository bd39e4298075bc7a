"""Two states of a program, measured by turns on a simulated machine: no time passes in here."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from lazyguard.audit import (
    Against,
    Allowance,
    AuditInterrupted,
    Budget,
    Imported,
    ModuleReport,
    Place,
    Report,
    Slower,
    table,
)
from lazyguard.audit.against import CLOSE, MOST, ROUNDS, SURE, measured
from lazyguard.audit.output import github, junit
from lazyguard.audit.report import baseline
from lazyguard.audit.report.sentences import slower
from lazyguard.cli import main
from lazyguard.errors import ConfigurationError


class Machine:
    """Imports that take what is said, and longer while the machine is busy."""

    queued = False

    def __init__(
        self, here: float, there: float, busy: tuple[float, ...] = (0.0,), names: tuple[str, ...] = ()
    ) -> None:
        self.takes, self.busy = {"here": here, "there": there}, busy
        self.names = names or ("core",)
        self.calls: list[tuple[str, tuple[str, ...], dict[str, Any]]] = []
        self.verdicts: dict[str, str] = {}

    def run(self, targets: Any, *, path: str, **options: Any) -> Report:
        self.calls.append((path, tuple(targets), options))
        names = targets if options.get("walk") is False else self.names
        return self.report(path, names, self.busy[len(self.calls) % len(self.busy)])

    def report(self, path: str, names: Any, busy: float = 0.0) -> Report:
        verdict = self.verdicts.get(path, "ok")
        stood = busy if self.queued else 0.0
        modules = [ModuleReport(name, verdict, self.takes[path] + busy, 0.0, queued_seconds=stood) for name in names]
        return Report("3.12", 5, 1, tuple(modules), path=path)

    def beside(self, **options: Any) -> Against:
        given = {"path": "here", "timeout": 5, **options}
        found = measured(self.report("here", self.names), ["core"], "there", given, run=self.run).against
        assert found is not None
        return found


BUSY = [(0.0,), (0.0, 0.5, 0.1), (0.3, 0.0), (0.2, 0.0, 0.0, 0.7, 0.1), (0.9, 0.9, 0.0)]


@pytest.mark.parametrize("busy", BUSY)
def test_load_makes_nothing_slower_and_hides_nothing(busy: tuple[float, ...]) -> None:
    """As long as a quiet moment comes to each state: the same is the same, and 30 % more is found."""
    assert Machine(0.3, 0.3, busy).beside().slower == ()
    (found,) = Machine(0.39, 0.3, busy).beside().slower
    assert (found.module, found.before, found.after) == ("core", 0.3, 0.39)
    assert found.factor == pytest.approx(1.3)


def test_waiting_for_a_processor_is_no_slowness() -> None:
    """Where the kernel tells how long it was, no quiet moment is needed."""
    for here, count in ((0.3, 0), (0.39, 1)):
        machine = Machine(here, 0.3, tuple(0.1 + 0.17 * at % 1 for at in range(31)))
        machine.queued = True
        assert len(machine.beside().slower) == count


def test_a_least_time_that_nothing_confirms_says_nothing() -> None:
    """Neither that a module is slower, nor that it is not: it is named."""
    machine = Machine(0.39, 0.3, tuple(3.0 - 0.05 * at for at in range(40)))
    found = machine.beside(budgets={"*": Budget(allowance=Allowance(seconds=0.01, relative=0.0))})
    assert (found.slower, found.left) == ((), ("core",))
    assert len(machine.calls) == 1 + 2 * MOST
    report = replace(machine.report("here", ["core"]), against=found)
    assert not report.found
    assert "1 may be slower, but this is not certain: core" in table(report)
    assert "none of" not in table(report)


def test_turns_change_their_order_and_end() -> None:
    """Neither state is always the one after a pause; alone, fresh, and nothing but what is in question."""
    machine = Machine(0.2, 0.1)
    assert len(machine.beside(jobs=8, repeat=3, fork=True, advice=True).slower) == 1
    assert [path for path, _, _ in machine.calls][:6] == ["there", "there", "here", "here", "there", "there"]
    assert len(machine.calls) == 1 + 2 * ROUNDS
    assert machine.calls[0][2] == {"timeout": 5, "jobs": 8, "fork": True}
    for _, targets, options in machine.calls[1:]:
        assert targets == ("core",)
        assert options == {"timeout": 5, "jobs": 1, "fork": False, "walk": False}


def test_what_is_plainly_no_slower_takes_the_fewest_rounds() -> None:
    """No more than are needed for a quiet moment."""
    machine = Machine(0.1, 0.1)
    assert machine.beside() == Against("there", 1)
    assert len(machine.calls) == 1 + 2 * SURE


@pytest.mark.parametrize(
    ("allowance", "found"),
    [
        (None, ["core"]),
        (Allowance(relative=0.5), []),
        (Allowance(seconds=0.05), []),
        (Allowance(seconds=0.0, relative=0.0), ["core"]),
    ],
)
def test_the_allowance_is_that_of_the_budget(allowance: Allowance | None, found: list[str]) -> None:
    """Whether or not the budget limits seconds; the most exact pattern that has one."""
    budgets = {"*": Budget(allowance=Allowance(relative=9.0)), "core": Budget(allowance=allowance)} if allowance else {}
    if allowance is not None and allowance == Allowance():
        budgets = {}
    assert [each.module for each in Machine(0.14, 0.1).beside(budgets=budgets).slower] == found


def test_nothing_is_allowed_where_nothing_shall_be() -> None:
    """An allowance of zero is one."""
    budgets = {"*": Budget(allowance=Allowance(seconds=0.0, relative=0.0))}
    assert Machine(0.1, 0.1).beside(budgets=budgets).slower == ()
    assert len(Machine(0.1001, 0.1).beside(budgets=budgets).slower) == 1


def test_what_took_no_time_there_has_no_factor() -> None:
    """An empty module whose whole time was spent waiting for a processor is not called infinitely slower."""
    (found,) = Machine(0.2, 0.0).beside().slower
    assert slower(found, "there") == "core takes 0.200 s, nothing measurable in there"


def test_of_a_large_program_what_looks_slower_is_measured() -> None:
    """Two looks of each state; then so many by turns, and what is left is named once something was found."""
    names = tuple(f"core.m{at:02}" for at in range(CLOSE + 4))
    same = Machine(0.1, 0.1, names=names)
    assert same.beside() == Against("there", CLOSE + 4)
    assert [path for path, _, _ in same.calls] == ["there", "there", "here"]
    slower = Machine(0.2, 0.1, names=names)
    found = slower.beside()
    assert [each.module for each in found.slower] == list(names[:CLOSE])
    assert found.left == names[CLOSE:]
    assert "4 may be slower" in table(replace(slower.report("here", names), against=found))


def test_what_does_not_end_has_no_time() -> None:
    """A module that fails in one state is a verdict, and nothing to compare."""
    machine = Machine(5.0, 0.1)
    machine.verdicts["there"] = "fails"
    assert machine.beside() == Against("there", 0)


def body(name: str, own: float, parent: int | None, total: float = 0.0, line: int | None = None) -> Imported:
    by = Place("core/a.py", line) if line else None
    return Imported(name, parent, 0.0, total or own, own, True, f"{name}.py", by)


def test_the_slowest_new_imports_are_named() -> None:
    """A new one with all below it, at the line that asked for it; a body that takes longer beside it."""
    before = (body("core", 0.1, None), body("json", 0.01, 0))
    after = (
        body("core", 0.12, None),
        body("json", 0.01, 0),
        body("pandas", 0.02, 0, 0.3, 7),
        body("numpy", 0.2, 2),
        body("tiny", 0.001, 0),
    )

    def run(_: Any, *, path: str, **options: Any) -> Report:
        there = path == "there"
        imports = before if there else after
        return Report("3.12", 5, 1, (ModuleReport("core", "ok", 0.11 if there else 0.3, 0.1, imports=imports),))

    report = measured(run(None, path="here"), ["core"], "there", {"path": "here"}, run=run)
    assert report.slower == (
        Slower("core", 0.11, 0.3, ("pandas",), ("core",), Place("core/a.py", 7), ("core", "pandas")),
    )
    assert report.found
    reported = (
        "core takes 0.300 s, 2.73 times the 0.110 s of there; new: pandas; longer than there: core at core/a.py:7"
    )
    assert reported in table(report)
    assert reported in baseline.new(report, run(None, path="here"))
    assert reported.partition(";")[0] in github.commands(report, {})
    assert github.commands(report, {}).startswith("::error title=slower import::core/a.py:7: core takes")
    suite = ElementTree.fromstring(junit.page(report))[0]
    assert suite.get("failures") == "1"
    assert [(each.get("type"), each.get("message")) for each in suite[0]] == [("slower", reported)]
    assert Report.from_dict(json.loads(json.dumps(report.to_dict()))) == report


def test_what_is_known_outlives_an_interrupt() -> None:
    """The report of the exception is the one that was there before, not that of a turn; between two turns as well."""
    machine = Machine(0.1, 0.1)
    first = machine.report("here", ["core"])

    def interrupted(*_: Any, **__: Any) -> Report:
        raise AuditInterrupted(machine.report("there", []), 2)

    def between(*_: Any, **__: Any) -> Report:
        raise KeyboardInterrupt

    for run in (interrupted, between):
        with pytest.raises(AuditInterrupted) as caught:
            measured(first, ["core"], "there", {}, run=run)
        assert caught.value.report is first
        assert caught.value.signal == 2


def test_a_state_that_cannot_be_audited_is_reported_with_its_option(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """No directory, before anything is imported; a directory without the targets."""
    (tmp_path / "shop.py").write_text("raise ValueError\n")
    arguments = ["audit", "shop", "-q", "--path", str(tmp_path), "--against"]
    assert main([*arguments, str(tmp_path / "nosuch")]) == 2
    assert "git worktree add" in capsys.readouterr().err

    def without(*_: Any, **__: Any) -> Report:
        raise ConfigurationError("there is no module core")

    with pytest.raises(ConfigurationError, match="--against there: there is no module core"):
        measured(Machine(0.1, 0.1).report("here", ["core"]), ["core"], "there", {}, run=without)
