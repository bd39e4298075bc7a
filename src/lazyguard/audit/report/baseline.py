"""The ratchet: what an audit found that an earlier one had not.

Invariants: lines are not compared, for they move, and neither are times, for those of two moments or machines do not
compare. What a module is known for is its verdict; a finding is known wherever it was seen before.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from lazyguard.audit.output.text import note, over, slower

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lazyguard.audit.report.model import Finding, Report, Spending

LOOSE = ("sleep", "file-write", "circular-import", "order-dependent")
_PASSING = re.compile(r"(?<=:)\d+|(?<=tmp)[a-z0-9_]{8}|(?<=sleeps )[\d.e+-]+")


def new(report: Report, known: Report) -> tuple[str, ...]:
    """Returns what is new against an earlier report, a line each: verdicts, findings, budgets exceeded.

    A module over its budget of modules, known as such, is new again when it executes more of them than before.
    """
    return (*_verdicts(report, known), *_findings(report, known), *_budgets(report, known), *_slower(report))


def gone(report: Report, known: Report) -> int:
    """Returns how many verdicts and findings of an earlier report are no more, in modules that both audited."""
    both = {module.module for module in report.modules} & {module.module for module in known.modules}
    verdicts = {(each.module, each.verdict) for each in report.modules}
    left = {_finding(each) for module in report.modules for each in module.findings}
    lost = {_finding(each) for module in known.modules if module.module in both for each in module.findings} - left
    better = [
        each
        for each in known.modules
        if each.module in both and each.verdict != "ok" and (each.module, each.verdict) not in verdicts
    ]
    return len(better) + len(lost)


def told(report: Report, known: Report, file: str) -> str:
    """Returns as text what is new against the earlier report of a file, and whether that can be tightened."""
    lines = "".join(f"\n    {line}" for line in new(report, known))
    text = f"\nnew against {file}:{lines}" if lines else f"\nnothing is new against {file}"
    fewer = gone(report, known)
    verb = "is" if fewer == 1 else "are"
    return text + (f"\n{fewer} that it knows {verb} gone: write it anew with --json" if fewer else "")


def _verdicts(report: Report, known: Report) -> Iterator[str]:
    before = {(each.module, each.verdict) for each in known.modules}
    for module in report.modules:
        if module.verdict != "ok" and (module.module, module.verdict) not in before:
            yield f"{module.module} {module.verdict}  {note(module)}".rstrip()


def _findings(report: Report, known: Report) -> Iterator[str]:
    before = {_finding(each) for module in known.modules for each in module.findings}
    for module in report.modules:
        for each in module.findings:
            if _finding(each) not in before and each.kind != "forbidden":  # it is told as a budget
                before.add(_finding(each))
                yield f"{each.kind} at {each.place}: {each.detail}, seen in {module.module}"


def _budgets(report: Report, known: Report) -> Iterator[str]:
    before = {_limit(each): each.measured for each in known.budgets if each.exceeded}
    for one in report.budgets:
        measured = before.get(_limit(one))
        more = measured is None or (one.kind == "modules" and one.measured > measured)
        if one.exceeded and more:
            yield over(one)


def _slower(report: Report) -> Iterator[str]:
    """Yields what became slower than another state of the program: that is of now, whatever was known."""
    if report.against is not None:
        yield from (slower(one, report.against.path) for one in report.against.slower)


def _finding(each: Finding) -> tuple[str, str, str]:
    """Returns what stays the same where lines move, names of temporary files differ, and waits are drawn by lot."""
    detail = _PASSING.sub("", each.detail) if each.kind in LOOSE else each.detail
    return each.kind, each.file, detail


def _limit(one: Spending) -> tuple[str, str, tuple[str, ...]]:
    return one.target, one.kind, one.largest if one.kind == "forbid" else ()
