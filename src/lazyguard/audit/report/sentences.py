"""What a report says of one module, one budget or one slower import, on one line.

Invariants: every format and the baseline say it in these words. What the audited program has named or raised is
printable: no terminal takes it for a command.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from lazyguard.audit.report.modules import steady

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from lazyguard.audit.report.model import Report, Slower, Spending
    from lazyguard.audit.report.modules import Finding, ModuleReport, Place


# In the order in which findings are told; what is not among them comes last.
KINDS = ("connect", "dns", "subprocess", "thread", "sleep", "file-write", "process-state", "double-import")
# How many of them, the first, are such that a loop does them with other details.
LOOPED = 6
# Names of modules that are told beside a cause.
NAMED = 20


class Excess(NamedTuple):
    """A module that exceeds its budget (kind `seconds`, `modules` or `forbid`) or became slower (`slower`)."""

    module: str
    kind: str
    sentence: str
    place: Place | None
    chain: tuple[str, ...]

    @property
    def lines(self) -> list[str]:
        """The sentence, and the chain of imports."""
        return [self.sentence, *by(self.chain)]


def excesses(report: Report) -> Iterator[Excess]:
    """Yield what exceeds a budget, then what became slower than in another state."""
    for one in report.budgets:
        if one.exceeded:
            yield Excess(one.target, one.kind, over(one), one.place, one.chain)
    for each in report.slower:
        path = report.against.path if report.against else ""
        yield Excess(each.module, "slower", slower(each, path), each.place, each.chain)


def printable(text: str) -> str:
    """Return a message without what a terminal would take for a command."""
    return "".join(each if each.isprintable() or each in "\n\t" else ascii(each)[1:-1] for each in text)


def seconds(value: float) -> str:
    """Return seconds with as many digits as matter: 5.00, 0.012, 0.0004."""
    return f"{value:.2f}" if value >= 1 else f"{value:.3f}" if value >= 0.001 else f"{value:.4f}"


def by_line(report: Report) -> list[tuple[Finding, list[str]]]:
    """Return each finding once, however its detail depends on the run, with the modules that it was seen in.

    Kinds stay together, those that reach outside first. What one line does again and again is one finding, and so are
    the lines of one circle, which has another end from each module that is imported first.
    """
    seen: dict[tuple[object, ...], tuple[Finding, dict[str, None], set[object]]] = {}
    for module in report.modules:
        for each in module.findings:
            same = (each.place, steady(each.kind, each.detail))
            key: object = each.place if each.kind in KINDS[:LOOPED] and each.line is not None else same
            if each.kind == "circular-import":
                key = frozenset(member.partition(" (")[0] for member in each.detail.split(" > ")[:-1])
            _, names, merged = seen.setdefault((each.kind, key), (each, {}, set()))
            names[module.module] = None
            merged.add(same)
    rows = [
        (each if len(merged) < 2 else replace(each, detail=f"{each.detail} (and {len(merged) - 1} more)"), list(names))
        for each, names, merged in seen.values()
    ]
    return sorted(rows, key=lambda row: KINDS.index(row[0].kind) if row[0].kind in KINDS else len(KINDS))


def several(names: Sequence[str]) -> str:
    """Return names as a text, the first of them where they are many."""
    return ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")


def by(chain: Sequence[str]) -> list[str]:
    """Return a chain of imports as a line; none where it is empty."""
    return ["by " + " > ".join(chain)] if chain else []


def note(module: ModuleReport) -> str:
    """Return where a verdict comes from, and why."""
    where = str(module.blame) if module.blame is not None else ""
    error = printable(module.error.brief) if module.error is not None else ""
    return "  ".join(part for part in (where, error, module.detail) if part)


def verdict(module: ModuleReport) -> str:
    """Return a module, its verdict, and where and why."""
    return f"{module.module} {module.verdict}  {note(module)}".rstrip()


def over(one: Spending) -> str:
    """Return what was spent beyond a budget."""
    at = f" at {one.place}" if one.place else ""
    if one.kind == "forbid":
        return f"{one.target} loads {one.largest[0]}, which its budget forbids,{at}"
    slowest = f"; the slowest: {', '.join(one.largest)}{at}" if one.largest else ""
    if one.kind == "modules":
        return f"{one.target} executes {one.measured:g} modules, over its budget of {one.limit:g}{slowest}"
    took = f"{one.target} takes {seconds(one.measured)} s, over its budget of {one.limit:g} s"
    return took + f" and {seconds(one.allowance)} s of allowance{slowest}"


def slower(one: Slower, path: str) -> str:
    """Return what became slower than in the directory of another state."""
    times = f"{one.factor:.2f} times the {seconds(one.before)} s of" if one.before > 0 else "nothing measurable in"
    at = f" at {one.place}" if one.place else ""
    parts = [f"new: {', '.join(one.new)}"] if one.new else []
    parts += [f"longer than there: {', '.join(one.grown)}"] if one.grown else []
    why = f"; {'; '.join(parts)}{at}" if parts else ""
    return f"{one.module} takes {seconds(one.after)} s, {times} {path}{why}"
