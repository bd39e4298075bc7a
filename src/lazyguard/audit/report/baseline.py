"""An earlier report beside the present one: the two side by side, and what is new since.

Invariants: nothing is judged here. For what is new, lines are not compared, for they move. Neither are times, for those
of two moments or machines do not compare. A module is known for its verdict; a finding is known wherever it was seen.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from lazyguard.audit.report.model import Report
from lazyguard.audit.report.modules import steady
from lazyguard.audit.report.sentences import excesses, over, verdict
from lazyguard.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lazyguard.audit.report.modules import ModuleReport

NEVER_NEW = -1


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
    reports_only("compare", before, after)
    old = {module.module: module for module in before.modules}
    new = {module.module: module for module in after.modules}
    rows = tuple(Row(name, old.get(name), new.get(name)) for name in dict.fromkeys((*new, *old)))
    return Comparison(before, after, rows)


def reports_only(function: str, *given: object) -> None:
    """Raise UsageError where something is no report."""
    for one in given:
        if not isinstance(one, Report):
            raise UsageError(f"{function}() takes reports of audits, not one of type {type(one).__name__}.")


def new(report: Report, known: Report) -> tuple[str, ...]:
    """Return what is new against an earlier report, a line each: verdicts, findings, budgets exceeded.

    A module that was over its budget of modules is new again when it executes more of them than before. What became
    slower than another state of the program is always new.
    """
    before = {fact: count for fact, _, _, count in _facts(replace(known, strict=True))}
    found: dict[object, str] = {}
    for fact, _, line, count in _facts(report):
        if count > before.get(fact, NEVER_NEW):
            found.setdefault(fact, line)
    return (*found.values(), *(one.sentence for one in excesses(report) if one.kind == "slower"))


def gone(report: Report, known: Report) -> int:
    """Return how many verdicts and findings of an earlier report are gone, in modules that both audited."""
    both = {module.module for module in report.modules}
    left = {fact for fact, *_ in _facts(replace(report, strict=True))}
    before = _facts(replace(known, strict=True))
    return len({fact for fact, module, *_ in before if module in both and fact not in left})


def summary(report: Report, known: Report, file: str) -> str:
    """Return as text what is new against the earlier report in a file, and whether that report can be replaced."""
    lines = "".join(f"\n    {line}" for line in new(report, known))
    text = f"\nnew against {file}:{lines}" if lines else f"\nnothing is new against {file}"
    fewer = gone(report, known)
    verb = "is" if fewer == 1 else "are"
    return text + (f"\n{fewer} of its verdicts and findings {verb} gone: write it anew with --json" if fewer else "")


def _facts(report: Report) -> Iterator[tuple[object, str, str, float]]:
    """Yield what counts of a report: the fact as it stays where lines move, its module, a line of text, and a count.

    Names of temporary files and random waits are left out of a fact. A budget is of no module that could be better.
    """
    for each in report.modules:
        if report.is_fault(each):
            yield (each.module, each.verdict), each.module, verdict(each), 0
    for each in report.modules:
        for one in each.findings:
            line = f"{one.kind} at {one.place}: {one.detail}, seen in {each.module}"
            count = NEVER_NEW if one.kind == "forbidden" else 0  # it is reported as a budget
            yield (one.kind, one.file, steady(one.kind, one.detail)), each.module, line, count
    for spent in report.budgets:
        if spent.exceeded:
            fact = spent.target, spent.kind, spent.largest if spent.kind == "forbid" else ()
            yield fact, "", over(spent), spent.measured if spent.kind == "modules" else 0
