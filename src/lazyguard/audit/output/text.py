"""A report as text: a table, the causes, the findings; two reports side by side.

Invariants: plain text that reads the same without colour; colour is a handful of escape codes, only when asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lazyguard.audit.report.comparison import compare

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from lazyguard.audit.report.model import Blame, ModuleReport, Report, Slower, Spending

COLOURS = {"ok": "32", "slow": "33", "leaves-children": "33"}
BAD = "31"
DIM = "2"
LEAST = 16
"""Characters of a line's end that are shown, however narrow the terminal is."""


def paint(text: str, code: str, color: bool) -> str:
    return f"\x1b[{code}m{text}\x1b[0m" if color and text.strip() else text


def printable(text: str) -> str:
    """Returns a message without what a terminal would take for a command."""
    return "".join(each if each.isprintable() or each in "\n\t" else ascii(each)[1:-1] for each in text)


def seconds(value: float) -> str:
    """Returns seconds with as many digits as tell something: 5.00, 0.012, 0.0004."""
    return f"{value:.2f}" if value >= 1 else f"{value:.3f}" if value >= 0.001 else f"{value:.4f}"


def ratio(value: float | None) -> str:
    """Returns how many times faster: 1,250x, 2.4x."""
    return "" if value is None else f"{value:,.0f}x" if value >= 10 else f"{value:.1f}x"


def where(blame: Blame | None) -> str:
    """Returns the blamed line, and the innermost line beside it."""
    if blame is None:
        return ""
    return f"{blame.place}" + (f" -> {blame.leaf}" if blame.leaf else "")


def note(module: ModuleReport) -> str:
    """Returns where and why, on one line."""
    parts = [where(module.blame)]
    if module.error is not None:
        parts.append(printable(module.error.brief))
    parts.append(module.detail or "")
    return "  ".join(part for part in parts if part)


def columns(
    rows: Sequence[Sequence[str]], right: Iterable[int], colours: Sequence[Sequence[str]] = (), *, width: int = 0
) -> str:
    """Returns rows with their columns aligned; the last column is left as it is, or cut where the width has an end."""
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
    """Returns a report as text; with an earlier one, the two side by side and then the present one's causes.

    Args:
        width: where the lines of the table end, for a terminal, which would break them; the causes below have
            messages in full. 0 for no end.
    """
    rows = _alone(report) if other is None else _beside(other, report)
    verdicts = [1] if other is None else [1, 4]
    colours: list[list[str]] = []
    if color:
        for at, row in enumerate(rows):
            code = [DIM if at == 0 else ""] * len(row)
            for column in verdicts if at else []:
                code[column] = COLOURS.get(row[column], BAD) if row[column] != "-" else DIM
            colours.append(code)
    numbers = [2, 3, 4] if other is None else [2, 3, 5, 6, 7]
    parts = [
        columns(rows, numbers, colours, width=width),
        _causes(report, color),
        _budgets(report),
        _slower(report),
        _findings(report),
        _summary(report),
    ]
    return "\n\n".join(part for part in parts if part)


def _alone(report: Report) -> list[list[str]]:
    rows = [["module", "verdict", "total s", "own s", "3rd party s", "where"]]
    for module in report.modules:
        sign = "~" if module.tier == "forked" else ""
        times = [sign + seconds(each) for each in (module.seconds, module.own_seconds, module.third_party_seconds)]
        rows.append([module.module, module.verdict, *times, note(module)])
    return rows


def _beside(before: Report, after: Report) -> list[list[str]]:
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
        lines += ["    by " + " > ".join(chain)] if chain else []
        if len(cause.modules) > 1 or chain[:1] != cause.modules:
            lines.append("    in " + ", ".join(cause.modules))
    return "\n".join(lines)


def _budgets(report: Report) -> str:
    lines: list[str] = []
    for one in report.budgets:
        if one.exceeded:
            lines.append(over(one))
            lines += [f"    by {' > '.join(one.chain)}"] if one.chain else []
    return "\n".join(lines)


def over(one: Spending) -> str:
    """Returns what was spent beyond a budget, on one line."""
    at = f" at {one.place}" if one.place else ""
    if one.kind == "forbid":
        return f"{one.target} loads {one.largest[0]}, which its budget forbids,{at}"
    dear = f"; the dearest: {', '.join(one.largest)}{at}" if one.largest else ""
    if one.kind == "modules":
        return f"{one.target} executes {one.measured:g} modules, over its budget of {one.limit:g}{dear}"
    took = f"{one.target} takes {seconds(one.measured)} s, over its budget of {one.limit:g} s"
    return took + f" and {seconds(one.allowance)} s of allowance{dear}"


def slower(one: Slower, path: str) -> str:
    """Returns what became slower than in the other state's directory, on one line."""
    times = f"{one.factor:.2f} times the {seconds(one.before)} s of" if one.before > 0 else "nothing measurable in"
    at = f" at {one.place}" if one.place else ""
    parts = [f"new: {', '.join(one.new)}"] if one.new else []
    parts += [f"longer than there: {', '.join(one.grown)}"] if one.grown else []
    dear = f"; {'; '.join(parts)}{at}" if parts else ""
    return f"{one.module} takes {seconds(one.after)} s, {times} {path}{dear}"


def _slower(report: Report) -> str:
    beside = report.against
    if beside is None:
        return ""
    lines: list[str] = []
    for one in beside.slower:
        lines.append(slower(one, beside.path))
        lines += [f"    by {' > '.join(one.chain)}"] if one.chain else []
    if beside.left:
        lines.append(f"{len(beside.left)} may be slower, which could not be told for sure: {', '.join(beside.left)}")
    if beside.uncompiled != report.uncompiled:
        lines.append(f"{beside.uncompiled} sources of {beside.path} have no byte code, {report.uncompiled} here")
    if not beside.slower and not beside.left:
        lines.append(f"none of {beside.modules} became slower than in {beside.path}")
    return "\n".join(lines)


def _findings(report: Report) -> str:
    seen: dict[tuple[str, str, str], list[str]] = {}
    for module in report.modules:
        for finding in module.findings:
            also = f" (also {finding.also})" if finding.also else ""
            seen.setdefault((finding.kind, str(finding.place), finding.detail + also), []).append(module.module)
    if not seen:
        return ""
    rows = [["while importing", "where", "seen in", "what"]]
    rows += [
        [kind, place, f"{len(names)} of {len(report.modules)}", what] for (kind, place, what), names in seen.items()
    ]
    return columns(rows, [])


def _tiers(report: Report) -> str:
    """Returns where the figures come from, as far as it is not simply one fresh interpreter a module."""
    forked = [module.module for module in report.modules if module.tier == "forked"]
    text = ""
    if forked:
        text += f"\n{len(forked)} of {len(report.modules)} decided by forks, their times put together (~)"
    if forked and report.left_out:
        text += "\nnot loaded before forking, so that what needs them is slower to audit: " + "; ".join(report.left_out)
    if report.uncompiled:
        have = "source has" if report.uncompiled == 1 else "sources have"
        text += f"\n{report.uncompiled} {have} no byte code and could get none: times have the compiler's in them"
    return text


def _summary(report: Report) -> str:
    start = f"the interpreter's own start, {seconds(report.interpreter_seconds)} s, not included"
    text = f"{report.verdicts}; Python {report.python or '?'}, time limit {report.timeout:g} s, {start}"
    return (
        text + _tiers(report) + (f"\ninterrupted; not audited: {', '.join(report.pending)}" if report.pending else "")
    )
