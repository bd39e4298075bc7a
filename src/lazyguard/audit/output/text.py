"""A report as text: a table, the causes, the findings; two reports side by side.

Invariants: plain text that reads the same without colour. Colour is a handful of escape codes, only when asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lazyguard._base import validation
from lazyguard.audit.report.baseline import compare, reports_only
from lazyguard.audit.report.sentences import by, by_line, excesses, note, printable, seconds, several

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from lazyguard.audit.report.model import Report
    from lazyguard.audit.report.modules import ModuleReport

COLOURS = {"ok": "32", "slow": "33", "leaves-children": "33", "not-installed": "2", "other-platform": "2", "-": "2"}
BAD = "31"
DIM = "2"
# Characters of a line's end that are shown, however narrow the terminal is.
LEAST = 16


def paint(text: str, code: str, color: bool) -> str:
    """Return the text in a colour, where that is wanted."""
    return f"\x1b[{code}m{text}\x1b[0m" if color and text.strip() else text


def ratio(value: float | None) -> str:
    """Return how many times faster: 1,250x, 2.4x."""
    return "" if value is None else f"{value:,.0f}x" if value >= 10 else f"{value:.1f}x"


def columns(
    rows: Sequence[Sequence[str]], right: Iterable[int], colours: Sequence[Sequence[str]] = (), *, width: int = 0
) -> str:
    """Return rows with their columns aligned. The last column is left as it is, or cut at the width."""
    right = set(right)
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    lines: list[str] = []
    for number, row in enumerate(rows):
        cells = [cell.rjust(widths[at]) if at in right else cell.ljust(widths[at]) for at, cell in enumerate(row)]
        cells[-1] = _cut(row[-1], width - sum(widths[:-1]) - 2 * (len(row) - 1)) if width else row[-1]
        if colours:
            cells = [paint(cell, code, bool(code)) for cell, code in zip(cells, colours[number], strict=True)]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def _cut(text: str, room: int) -> str:
    room = max(room, LEAST)
    return text if len(text) <= room else text[: room - 3] + "..."


def table(report: Report, other: Report | None = None, *, color: bool = False, width: int = 0) -> str:
    """Return a report as text; with an earlier one, the two side by side and then the causes of the present one.

    Args:
        width: where the lines of the table end, for a terminal, which would break them; 0 for no end. The causes below
            the table have their messages in full.
    """
    reports_only("table", report, *([] if other is None else [other]))
    validation.flag("color", color)
    validation.whole("width", width, least=0)
    rows = _rows(report) if other is None else _rows_beside(other, report)
    verdicts = [1] if other is None else [1, 4]

    def code(row: Sequence[str], column: int) -> str:
        return DIM if row is rows[0] else COLOURS.get(row[column], BAD) if column in verdicts else ""

    colours = [[code(row, column) for column in range(len(row))] for row in rows] if color else []
    numbers = [2, 3, 4, 5] if other is None else [2, 3, 5, 6, 7]
    parts = [
        columns(rows, numbers, colours, width=width),
        _causes(report, color),
        "\n".join("\n    ".join(one.lines) for one in excesses(report) if one.kind != "slower"),
        _slower(report),
        _findings(report),
        _summary(report),
    ]
    return "\n\n".join(part for part in parts if part)


def _rows(report: Report) -> list[list[str]]:
    rows = [["module", "verdict", "total s", "own s", "3rd party s", "peak MB", "where"]]
    for module in report.modules:
        sign = "~" if module.tier == "forked" else ""
        times = [sign + seconds(each) for each in (module.seconds, module.own_seconds, module.third_party_seconds)]
        rows.append([module.module, module.verdict, *times, megabytes(module), note(module)])
    return rows


def megabytes(module: ModuleReport) -> str:
    """Return the memory of an import in megabytes, marked as a time is; "" where it is unknown."""
    sign = "~" if module.tier == "forked" else ""
    return "" if module.memory is None else f"{sign}{module.memory / (1 << 20):.1f}"


def _rows_beside(before: Report, after: Report) -> list[list[str]]:
    rows = [["module", "before", "total s", "own s", "after", "total s", "own s", "ratio"]]
    for row in compare(before, after).rows:
        cells = [row.module]
        for module in (row.before, row.after):
            if module is None:
                cells += ["-"] * 3
            else:
                cells += [module.verdict, seconds(module.seconds), seconds(module.own_seconds)]
        rows.append([*cells, ratio(row.ratio)])
    return rows


def _causes(report: Report, color: bool) -> str:
    lines: list[str] = []
    for cause in report.causes:
        lines.append(paint(cause.text, COLOURS.get(cause.verdict, BAD), color))
        if cause.error is not None and cause.verdict == "fails":
            lines.append(f"    {printable(str(cause.error))}".replace("\n", "\n    "))
            lines += [f"    {cause.error.hint}"] if cause.error.hint else []
        chain = report.chain_to(cause)
        lines += [f"    {line}" for line in by(chain)]
        if len(cause.modules) > 1 or chain[:1] != cause.modules:
            lines.append("    in " + several(cause.modules))
    return "\n".join(lines)


def _slower(report: Report) -> str:
    beside = report.against
    if beside is None:
        return ""
    lines = ["\n    ".join(one.lines) for one in excesses(report) if one.kind == "slower"]
    if beside.left:
        lines.append(f"{len(beside.left)} may be slower, but this is not certain: {', '.join(beside.left)}")
    if beside.uncompiled != report.uncompiled:
        lines.append(f"{beside.uncompiled} sources of {beside.path} have no byte code, {report.uncompiled} here")
    if not beside.slower and not beside.left:
        lines.append(f"none of {beside.modules} became slower than in {beside.path}")
    return "\n".join(lines)


def _findings(report: Report) -> str:
    rows = [["while importing", "where", "seen in", "what"]]
    for finding, names in by_line(report):
        also = f" (also {finding.also})" if finding.also else ""
        seen = f"{len(names)} of {len(report.modules)}"
        rows.append([finding.kind, str(finding.place), seen, printable(finding.detail) + also])
    return columns(rows, []) if len(rows) > 1 else ""


def _summary(report: Report) -> str:
    """Return the counts, and where the figures come from, unless it is one fresh interpreter a module."""
    start = f"the interpreter's own start, {seconds(report.interpreter_seconds)} s, not included"
    lines = [f"{report.verdicts}; Python {report.python or '?'}, time limit {report.timeout:g} s, {start}"]
    forked = [module.module for module in report.modules if module.tier == "forked"]
    if forked:
        lines.append(f"{len(forked)} of {len(report.modules)} decided by forks, their times put together (~)")
    if forked and report.left_out:
        reasons = "; ".join(report.left_out)
        lines.append(f"not loaded before forking, so that modules that need them take longer to audit: {reasons}")
    if report.uncompiled:
        have = "source has" if report.uncompiled == 1 else "sources have"
        lines.append(f"{report.uncompiled} {have} no byte code and could get none: times include the compiler's")
    lines += report.notes
    if left := report.passed_over:
        lines.append(f"{len(left)} left out (tests, __main__, what was excluded): {several(left)}")
    if report.pending:
        lines.append(f"not audited: {several(report.pending)}")
    return "\n".join(lines)
