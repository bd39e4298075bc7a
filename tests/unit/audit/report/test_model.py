"""Reports: the JSON and back, what is not a report, and grouping by cause."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from lazyguard.audit import Blame, Failure, Finding, Imported, ModuleReport, Place, Report, compare
from lazyguard.errors import ConfigurationError

BLAME = Blame("core/tasks.py", 12, Place("redis/connection.py", 64), ("core", "core.tasks"))
HANGS = ModuleReport("core", "hangs", 5.0, 0.0, 0.1, BLAME)
FAILS = ModuleReport("core.bad", "fails", 0.1, 0.1, error=Failure("ValueError", "no"))
FOUND = Finding("double-import", "core/a.py", 3, "twice", ("core", "core.a"), Place("core/b.py", None))
CORE = Imported("core", None, 0.0, 0.001, 0.0005, True, "core/__init__.py")
BELOW = Imported("core.ok", 0, 0.0002, 0.0005, 0.0005, True, None, Place("core/__init__.py", 3), failed=True)
OK = ModuleReport("core.ok", "ok", 0.001, 0.001, findings=(FOUND,), imports=(CORE, BELOW))
REPORT = Report("3.11.7", 5.0, 1, (HANGS, FAILS, OK), pending=("core.last",))


def test_json_and_back_is_the_same_report() -> None:
    """A report survives being written as JSON."""
    assert Report.from_dict(json.loads(json.dumps(REPORT.to_dict()))) == REPORT


def test_json_has_the_keys_of_the_schema() -> None:
    """The published schema: names, nesting, and null where there is nothing."""
    data = REPORT.to_dict()
    assert {"schema", "python", "timeout", "repeats", "modules"} <= set(data)
    assert data["schema"] == 1
    module = data["modules"][0]
    assert {"module", "verdict", "seconds", "own_seconds", "blame", "error", "findings"} <= set(module)
    leaf = {"file": "redis/connection.py", "line": 64}
    assert module["blame"] == {"file": "core/tasks.py", "line": 12, "leaf": leaf, "chain": ["core", "core.tasks"]}
    assert module["error"] is None
    assert data["modules"][2]["findings"][0]["also"] == {"file": "core/b.py", "line": None}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"schema": 2}, "schema 2"),
        ({"schema": None}, "schema must be a whole number, and is missing"),
        ({"modules": {}}, "modules must be an array"),
        ({"timeout": "5"}, "timeout must be a number"),
        ({"timeout": True}, "timeout must be a number"),
        ({"modules": [{"module": "a", "verdict": "good"}]}, "verdict must be one of hangs"),
        ({"modules": [{"module": "a", "verdict": "ok"}]}, "modules[0].seconds must be a number, and is missing"),
        ({"modules": [3]}, "modules[0] must be an object"),
    ],
)
def test_what_is_no_report_is_reported_with_its_place(change: dict[str, Any], said: str) -> None:
    """Broken data raises ConfigurationError that names the place, never a KeyError from inside."""
    with pytest.raises(ConfigurationError) as caught:
        Report.from_dict({**REPORT.to_dict(), **change})
    assert said in str(caught.value)


@pytest.mark.parametrize("data", [None, [], "text", 3])
def test_other_json_is_no_report(data: object) -> None:
    """Valid JSON of another shape is refused."""
    with pytest.raises(ConfigurationError, match="must be an object"):
        Report.from_dict(data)


def test_causes_group_by_the_blamed_line() -> None:
    """Modules that hang on one line are one cause, and the text counts them."""
    names = [f"core.m{number}" for number in range(9)]
    report = replace(REPORT, modules=tuple(replace(HANGS, module=name) for name in names))
    (cause,) = report.causes
    assert cause.text == "9 of 9 hang in core/tasks.py:12"
    assert cause.modules == tuple(names)


def test_causes_come_worst_first_and_only_for_what_is_not_ok() -> None:
    """The order of causes is that of the verdicts; ok is no cause."""
    assert [cause.verdict for cause in replace(REPORT, modules=(OK, FAILS, HANGS)).causes] == ["hangs", "fails"]
    assert REPORT.found
    assert not replace(REPORT, modules=(OK,)).found


def test_compare_keeps_modules_that_only_one_run_has() -> None:
    """Rows follow the present run, then what only the earlier one had."""
    new = replace(OK, module="core.new")
    comparison = compare(REPORT, replace(REPORT, modules=(new, replace(HANGS, verdict="ok", seconds=0.5))))
    assert [row.module for row in comparison.rows] == ["core.new", "core", "core.bad", "core.ok"]
    assert [row.ratio for row in comparison.rows] == [None, 10.0, None, None]


def test_the_chain_to_a_cause_begins_with_who_asked() -> None:
    """A module whose package was executed before it leads nowhere; of equal chains it is always the same one."""
    place = Blame("core/tasks.py", 12, None, ())
    chains = [("core.b", "core", "core.tasks"), ("core", "core.tasks"), ("other", "core"), ("core.tasks",)]
    modules = tuple(ModuleReport(chain[0], "slow", 0.7, 0.7, blame=replace(place, chain=chain)) for chain in chains)
    report = replace(REPORT, modules=modules)
    [cause] = report.causes
    assert report.chain_to(cause) == ("core", "core.tasks")
    assert replace(REPORT, modules=()).chain_to(cause) == ()


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        (("modules", 2, "findings", 0, "chain"), [1], "modules[2].findings[0].chain[0] must be a string, and is 1"),
        (("modules", 2, "findings", 0, "also"), 3, "modules[2].findings[0].also must be an object, and is 3"),
        (("modules", 0, "blame", "leaf", "line"), "7", "modules[0].blame.leaf.line must be a whole number, and is '7'"),
        (("modules", 2, "imports", 1, "failed"), 1, "modules[2].imports[1].failed must be true or false, and is 1"),
        (("modules", 0, "own_seconds"), None, "modules[0].own_seconds must be a number, and is missing"),
        (("pending",), {"core": 1}, "pending must be an array, and is {'core': 1}"),
    ],
)
def test_a_place_is_named_however_deep_it_is(place: tuple[Any, ...], value: object, said: str) -> None:
    """With the numbers of all that it lies in."""
    data = json.loads(json.dumps(REPORT.to_dict()))
    inner = data
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    with pytest.raises(ConfigurationError) as caught:
        Report.from_dict(data)
    assert said in str(caught.value)


def test_what_is_not_there_has_its_default() -> None:
    """So that what others write, and what was kept before a field came, can be read; what is unknown is passed over."""
    module = {"module": "core", "verdict": "ok", "seconds": 1, "own_seconds": 0.5, "blame": {"file": "core.py"}}
    data = {"schema": 1, "python": "3.12", "timeout": 5, "repeats": 1, "modules": [module], "later": True}
    blame = Blame("core.py", None, None, ())
    assert Report.from_dict(data) == Report("3.12", 5.0, 1, (ModuleReport("core", "ok", 1.0, 0.5, blame=blame),))
    assert isinstance(Report.from_dict(data).modules[0].seconds, float)


@pytest.mark.parametrize(
    ("message", "whole", "brief"),
    [
        ("no port", "ValueError: no port", "ValueError: no port"),
        (" two\nlines\n", "ValueError: two\nlines", "ValueError: two"),
        (" ", "ValueError", "ValueError"),
        ("", "ValueError", "ValueError"),
    ],
)
def test_a_failure_is_reported_by_its_type_and_message(message: str, whole: str, brief: str) -> None:
    """Without a colon where nothing follows; in brief by the first line."""
    failure = Failure("ValueError", message)
    assert (str(failure), failure.brief) == (whole, brief)
    assert Failure("", "").brief == ""


def test_a_finding_has_its_place() -> None:
    """As all else that has a line; without one it is the file alone."""
    assert str(FOUND.place) == "core/a.py:3"
    assert str(replace(FOUND, line=None).place) == "core/a.py"


def test_a_cause_is_the_line_of_a_module_or_the_line_that_all_came_to() -> None:
    """One call that takes time in many places is one cause, and one place that many calls come to is another."""

    def slow(name: str, file: str, inner: int | None) -> ModuleReport:
        within = None if inner is None else Place("core/manager.py", inner)
        return ModuleReport(name, "slow", 1.0, 0.0, blame=Blame(file, 3, None, (name,), within))

    seen = [slow(f"core.m{line}", "core/constants.py", line) for line in (12, 14, 16)]
    seen += [slow(name, f"core/{name}.py", 40) for name in ("a", "b")] + [slow("c", "core/c.py", None)]
    causes = replace(REPORT, modules=tuple(seen)).causes
    assert [(str(cause.place), len(cause.modules)) for cause in causes] == [
        ("core/constants.py:3", 3),
        ("core/manager.py:40", 2),
        ("core/c.py:3", 1),
    ]
    joined = replace(REPORT, modules=(*seen, slow("core.m40", "core/constants.py", 40))).causes
    assert [len(cause.modules) for cause in joined] == [6, 1]
