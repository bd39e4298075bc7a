"""The text of a report."""

from __future__ import annotations

import re
from dataclasses import replace

from lazyguard.audit import Blame, Failure, Finding, ModuleReport, Place, Report, table
from lazyguard.audit.report.sentences import seconds

BLAME = Blame("core/tasks.py", 12, Place("redis/connection.py", 64), ("core.views", "core.tasks"))
FOUND = Finding("connect", "core/tasks.py", 12, "127.0.0.1:6379", ("core.tasks",))
BEFORE = Report(
    "3.11.7",
    5.0,
    1,
    (
        ModuleReport("core.views", "hangs", 5.0, 0.0, 0.1, BLAME, findings=(FOUND,)),
        ModuleReport("core.bad", "fails", 0.1, 0.1, error=Failure("ValueError", "first\nsecond")),
    ),
)
AFTER = replace(BEFORE, modules=(ModuleReport("core.views", "ok", 0.004, 0.004),))


def test_the_table_has_verdict_line_leaf_chain_cause_and_finding() -> None:
    """All that the report knows of a hang is in the text."""
    text = table(BEFORE)
    assert re.search(r"^core\.views +hangs +5\.00 .* core/tasks\.py:12 -> redis/connection\.py:64$", text, re.MULTILINE)
    assert "1 of 2 hangs in core/tasks.py:12\n    by core.views > core.tasks" in text
    assert re.search(r"connect +core/tasks\.py:12 +1 of 2 +127\.0\.0\.1:6379", text)
    assert "ValueError: first\n    second" in text
    assert "\x1b" not in text


def test_two_reports_stand_side_by_side() -> None:
    """Both verdicts and times in a row, and a dash for what a run did not have."""
    text = table(AFTER, BEFORE)
    assert re.search(r"^core\.views +hangs +5\.00 +0\.0000 +ok +0\.004 +0\.004 +1,250x$", text, re.MULTILINE)
    assert re.search(r"^core\.bad +fails .* - +- +-$", text, re.MULTILINE)


def test_colour_changes_nothing_but_the_colour() -> None:
    """Without its escape codes the coloured text is the plain one."""
    for other in (None, BEFORE):
        coloured = table(AFTER, other, color=True)
        assert "\x1b[32m" in coloured
        stripped = re.sub(r"\x1b\[\d+m", "", coloured)
        assert [line.rstrip() for line in stripped.splitlines()] == table(AFTER, other).splitlines()


def test_an_interrupted_report_names_what_is_missing() -> None:
    """What was not reached is listed; an empty report prints, too."""
    text = table(replace(BEFORE, modules=(), pending=("core.a", "core.b")))
    assert "nothing audited" in text
    assert "not audited: core.a, core.b" in text


def test_seconds_keep_their_meaning() -> None:
    """Long times need no thousandths, short ones do."""
    assert [seconds(value) for value in (5.0, 0.0123, 0.00042)] == ["5.00", "0.012", "0.0004"]


def test_a_narrow_terminal_gets_short_lines() -> None:
    """Rows of the table end with the terminal; the cause has the whole message."""
    long = ModuleReport("core.bad", "fails", 0.1, 0.1, error=Failure("ValueError", "word " * 40))
    rows, causes = table(replace(BEFORE, modules=(long,)), width=80).split("\n\n")[:2]
    assert max(map(len, rows.splitlines())) == 80
    assert rows.endswith("...")
    assert ("word " * 40).strip() in causes


def test_a_message_gives_the_terminal_no_command() -> None:
    """Control characters of a message are shown as what they are."""
    text = table(
        replace(
            BEFORE,
            modules=(ModuleReport("a", "fails", 0.1, 0.1, error=Failure("E", "\x1b[31m\x07")),),
        )
    )
    assert "\x1b" not in text
    assert text.count(r"E: \x1b[31m\x07") == 2


def test_a_module_that_no_chain_begins_with_is_named() -> None:
    """A single module is named below its cause where nothing else there does it."""
    assert "ValueError: first\n    second\n    in core.bad" in table(BEFORE)


def test_a_circle_is_one_row_and_so_is_what_a_line_does_again() -> None:
    """Forty lines of one circle do not hide two connections, which come first."""
    names = [f"core.m{n:02}" for n in range(40)]

    def circle(at: int) -> Finding:
        members = names[at:] + names[:at]
        detail = (
            " > ".join(f"{name} (core/{name[5:]}.py:1)" for name in members) + f" > {members[0]}, which is not done"
        )
        return Finding("circular-import", f"core/m{at - 1:02}.py", 1, detail, (names[at],))

    modules = [ModuleReport(name, "ok", 0.1, 0.0, findings=(circle(at),)) for at, name in enumerate(names)]
    connects = [
        Finding("connect", "core/db.py", line, f"db{n}:5432", ("core.db",)) for line, n in ((3, 1), (9, 1), (9, 2))
    ]
    modules.append(ModuleReport("core.db", "slow", 1.0, 0.0, findings=tuple(connects)))
    text = table(replace(BEFORE, modules=tuple(modules)))
    rows = text.partition("while importing")[2].splitlines()[1:4]
    assert [re.split("  +", row)[:3] for row in rows] == [
        ["connect", "core/db.py:3", "1 of 41"],
        ["connect", "core/db.py:9", "1 of 41"],
        ["circular-import", "core/m-1.py:1", "40 of 41"],
    ]
    assert rows[1].endswith("db1:5432 (and 1 more)")
    assert rows[2].endswith("(and 39 more)")
    blame = Blame("core/db.py", 3, None, ("core.db",))
    slow = [replace(modules[-1], module=name, blame=blame) for name in names]
    assert "core.m19 and 20 more" in table(replace(BEFORE, modules=tuple(slow)))
