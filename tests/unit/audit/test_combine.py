"""Reports of parts, put together."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lazyguard.audit.combine import combined
from lazyguard.audit.report.model import Against, Report, Slower, Spending
from lazyguard.audit.report.modules import Blame, Failure, Imported, ModuleReport
from lazyguard.cli import main
from lazyguard.errors import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path

WHOLE = Report("3.12.1", 5.0, 1, tuple(ModuleReport(f"core.m{n}", "ok", 0.1, 0.0) for n in range(9)))


def parts(whole: Report, count: int) -> dict[str, Report]:
    """Returns the parts of a report by the names of files, the last first."""
    divided = [
        replace(whole, shard=f"{at + 1}/{count}", modules=whole.modules[at::count], pending=whole.pending[at::count])
        for at in range(count)
    ]
    return {f"{each.shard}.json": each for each in reversed(divided)}


@given(st.integers(0, 9), st.integers(1, 12))
def test_the_parts_of_a_report_are_the_report(modules: int, count: int) -> None:
    """However many parts there are, and in whatever order they are given."""
    whole = replace(WHOLE, modules=WHOLE.modules[:modules])
    assert combined(parts(whole, count)) == whole


def test_what_one_run_would_have_found_is_found() -> None:
    """A module that fails alone in one part and passes in another's import; the setup is told once."""
    fails = ModuleReport(
        "core.b", "fails", 0.1, 0.0, blame=Blame("core/b.py", 1, None, ("core.b",)), error=Failure("ImportError", "no")
    )
    imports = tuple(Imported(name, None, 0.0, 0.1, 0.1, True) for name in ("core.a", "core.b"))
    setup = ModuleReport("(setup)", "ok", 0.3, 0.0)
    passes = ModuleReport("core.a", "ok", 0.1, 0.0, imports=imports)
    first = replace(WHOLE, modules=(setup, passes), shard="1/2")
    second = replace(WHOLE, modules=(setup, fails), shard="2/2")
    found = combined({"2": second, "1": first})
    assert [each.module for each in found.modules] == ["(setup)", "core.a", "core.b"]
    (finding,) = found.modules[2].findings
    assert finding.detail == "core.b fails when it is imported first, and passes when core.a is"
    again = combined({"1": first, "2": replace(second, modules=(setup, found.modules[2]))})
    assert again == found


def test_counts_and_budgets_are_those_of_all() -> None:
    spent = [Spending(f"core.m{n}", "seconds", 1.0, 0.5, 0.1, exceeded=False) for n in range(2)]
    slower = [Slower(f"core.m{n}", 0.1, 0.3) for n in range(2)]
    found = combined(
        {
            f"{n}": replace(
                WHOLE,
                shard=f"{n + 1}/2",
                modules=WHOLE.modules[n:2:2],
                budgets=(spent[n],),
                uncompiled=n + 1,
                left_out=("numpy warns", f"p{n} hangs"),
                notes=(f"a start takes 0.{n} s",),
                against=Against("../main", 3, slower=(slower[n],), left=(f"core.l{n}",)),
            )
            for n in (1, 0)
        }
    )
    assert (found.budgets, found.uncompiled) == (tuple(spent), 3)
    assert found.left_out == ("numpy warns", "p0 hangs", "p1 hangs")
    assert len(found.notes) == 1
    assert found.against == Against("../main", 6, slower=tuple(slower), left=("core.l0", "core.l1"))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"shard": None}, "1/2.json is no part of an audit"),
        ({"shard": "1/3"}, "1/3.*each is to be from --shard|is 1/3"),
        ({"shard": "2/2"}, "is 2/2, as another one is"),
        ({"python": "3.10.0"}, "has python 3.10.0, and others 3.12.1"),
        ({"timeout": 9.0}, "has timeout 9.0"),
    ],
)
def test_what_is_no_part_of_the_whole_is_reported(change: dict[str, object], said: str) -> None:
    given_ = parts(WHOLE, 2)
    given_["1/2.json"] = replace(given_["1/2.json"], **change)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match=said):
        combined(given_)


def test_a_part_that_is_missing_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The command says which; with all of them it writes what one run would have written."""
    files = []
    for number, part in enumerate(parts(WHOLE, 3).values()):
        file = tmp_path / f"{number}.json"
        file.write_text(json.dumps(part.to_dict()))
        files.append(str(file))
    assert main(["report", "combine", *files[:2]]) == 2
    assert "1/3 is not there; give all 3 parts" in capsys.readouterr().err
    assert main(["report", *files]) == 2
    out = tmp_path / "all.json"
    assert main(["report", "combine", *files, "--json", str(out)]) == 0
    assert Report.from_dict(json.loads(out.read_text())) == WHOLE


def test_one_part_is_the_whole_of_a_single_shard(tmp_path: Path) -> None:
    """A matrix of one job needs no other command; one part of several is not enough."""
    for count, status in ((1, 0), (2, 2)):
        file, out = tmp_path / "part.json", tmp_path / "all.json"
        file.write_text(json.dumps(parts(WHOLE, count)[f"1/{count}.json"].to_dict()))
        assert main(["report", "combine", str(file), "--json", str(out)]) == status
        assert Report.from_dict(json.loads(out.read_text())) == WHOLE
