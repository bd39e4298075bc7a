"""What is reported while an audit runs: lines elsewhere, one bar at a time on a terminal."""

from __future__ import annotations

import io
import re
import sys
from typing import Any

import pytest

from lazyguard.audit import ModuleReport
from lazyguard.audit.output.progress import shown

MODULE = ModuleReport("core", "ok", 0.25, 0.1)


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_lines_are_one_a_module_and_one_a_purpose_of_the_advice(capsys: pytest.CaptureFixture[str]) -> None:
    """A hundred runs for the same thing are not a hundred lines."""
    with shown(plain=False) as tell:
        tell.module(1, 2, MODULE)
        for done in range(3):
            tell.advice(done, None, "advice for core: what it imports")
        tell.advice(3, 9, "advice for core: round 1 of 2, 1 to defer")
        tell.module(2, 2, MODULE)
        tell.advice(4, 9, "advice for core: round 1 of 2, 1 to defer")
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "[1/2] core ok 0.250 s",
        "advice for core: what it imports",
        "advice for core: round 1 of 2, 1 to defer",
        "[2/2] core ok 0.250 s",
        "advice for core: round 1 of 2, 1 to defer",
    ]


@pytest.mark.parametrize(("plain", "kind"), [(True, "xterm"), (False, "dumb")])
def test_a_terminal_has_lines_where_it_is_to_or_knows_no_better(
    monkeypatch: pytest.MonkeyPatch, plain: bool, kind: str
) -> None:
    """Without an escape code."""
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", kind)
    with shown(plain=plain) as tell:
        tell.advice(0, None, "advice for core: what it imports")
    assert terminal.getvalue() == "advice for core: what it imports\n"


def drawn(tell: Any) -> list[tuple[str, float, float | None]]:
    return [(task.description, task.completed, task.total) for task in tell._bars.tasks]


def test_the_bar_is_that_of_what_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the modules, then of each target's advice, whose number of runs is known only when it measures."""
    pytest.importorskip("rich", reason="the bar is drawn by rich")
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "160")
    with shown(plain=False) as tell:
        assert drawn(tell) == [("auditing", 0, None)]
        tell.module(2, 2, MODULE)
        assert drawn(tell) == [("core ok", 2, 2)]
        tell.advice(0, None, "advice for core: what it imports")
        assert drawn(tell) == [("advice for core: what it imports", 0, None)]
        tell.advice(4, 19, "advice for core: round 1 of 5, 1 to defer")
        assert drawn(tell) == [("advice for core: round 1 of 5, 1 to defer", 4, 19)]
        tell.advice(0, None, "advice for more: what it imports")
        assert drawn(tell) == [("advice for more: what it imports", 0, None)]
    assert "advice for more: what it imports" in re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", terminal.getvalue())
