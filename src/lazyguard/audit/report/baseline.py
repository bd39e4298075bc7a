"""An earlier report beside the present one: the two side by side, and what is new since.

Invariants: nothing is judged here. For what is new, lines are not compared, for they move. Neither are times, for those
of two moments or machines do not compare. A module is known for its verdict; a finding is known wherever it was seen.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lazyguard.audit.report.model import Report
from lazyguard.audit.report.sentences import excesses, over, verdict
from lazyguard.audit.report.steady import steady
from lazyguard.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lazyguard.audit.report.model import Spending
    from lazyguard.audit.report.modules import Finding, ModuleReport


@dataclass(frozen=True)
class Row:
    """One module in both runs; None where a run did not have it."""

    module: str
    before: ModuleReport | None
    after: ModuleReport | None

    @property
    def ratio(self) -> float | None:
        """How many times faster the import became; None where a run did not have it. A hang counts as its limit."""
        if self.before is None or self.after is None or self.after.seconds <= 0:
            return None
        return self.before.seconds / self.after.seconds


@dataclass(frozen=True)
class Comparison:
    """An earlier report and the present one."""

    before: Report
    after: Report
    rows: tuple[Row, ...]


def compare(before: Report, after: Report) -> Comparison:
    """Return two reports side by side, in the order of the present one; what only the other has comes last.

    Example:
        >>> from lazyguard.audit import audit, compare
        >>> report = audit(["colorsys"])
        >>> compare(report, report).rows[0].ratio
        1.0
    """
    for report in (before, after):
        if not isinstance(report, Report):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise UsageError(f"compare() takes two reports of audits, not one of type {type(report).__name__}.")
    old = {module.module: module for module in before.modules}
    new = {module.module: module for module in after.modules}
    rows = tuple(Row(name, old.get(name), new.get(name)) for name in dict.fromkeys((*new, *old)))
    return Comparison(before, after, rows)


def new(report: Report, known: Report) -> tuple[str, ...]:
    """Return what is new against an earlier report, a line each: verdicts, findings, budgets exceeded.

    A module that was over its budget of modules is new again when it executes more of them than before. What became
    slower than another state of the program is always new.
    """
    longer = (one.sentence for one in excesses(report) if one.kind == "slower")
    return (*_verdicts(report, known), *_findings(report, known), *_budgets(report, known), *longer)


def gone(report: Report, known: Report) -> int:
    """Return how many verdicts and findings of an earlier report are gone, in modules that both audited."""
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


def summary(report: Report, known: Report, file: str) -> str:
    """Return as text what is new against the earlier report in a file, and whether that report can be replaced."""
    lines = "".join(f"\n    {line}" for line in new(report, known))
    text = f"\nnew against {file}:{lines}" if lines else f"\nnothing is new against {file}"
    fewer = gone(report, known)
    verb = "is" if fewer == 1 else "are"
    return text + (f"\n{fewer} of its verdicts and findings {verb} gone: write it anew with --json" if fewer else "")


def _verdicts(report: Report, known: Report) -> Iterator[str]:
    before = {(each.module, each.verdict) for each in known.modules}
    for module in report.modules:
        if report.is_fault(module) and (module.module, module.verdict) not in before:
            yield verdict(module)


def _findings(report: Report, known: Report) -> Iterator[str]:
    before = {_finding(each) for module in known.modules for each in module.findings}
    for module in report.modules:
        for each in module.findings:
            if _finding(each) not in before and each.kind != "forbidden":  # it is reported as a budget
                before.add(_finding(each))
                yield f"{each.kind} at {each.place}: {each.detail}, seen in {module.module}"


def _budgets(report: Report, known: Report) -> Iterator[str]:
    before = {_limit(each): each.measured for each in known.budgets if each.exceeded}
    for one in report.budgets:
        measured = before.get(_limit(one))
        more = measured is None or (one.kind == "modules" and one.measured > measured)
        if one.exceeded and more:
            yield over(one)


def _finding(each: Finding) -> tuple[str, str, str]:
    """Return what stays the same where lines move, and names of temporary files and random waits differ."""
    return each.kind, each.file, steady(each.kind, each.detail)


def _limit(one: Spending) -> tuple[str, str, tuple[str, ...]]:
    return one.target, one.kind, one.largest if one.kind == "forbid" else ()
