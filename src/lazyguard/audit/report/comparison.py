"""Two audits side by side, module by module.

Invariants: the order is that of the present run; modules that only the other has come last. Nothing is judged here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lazyguard.audit.report.model import ModuleReport, Report


@dataclass(frozen=True)
class Row:
    """One module in both runs; None where a run did not have it."""

    module: str
    before: ModuleReport | None
    after: ModuleReport | None

    @property
    def ratio(self) -> float | None:
        """How many times shorter the import became; None where a run did not have it. A hang counts as its limit."""
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
    """Returns two reports side by side.

    Example:
        >>> from lazyguard.audit import audit, compare
        >>> report = audit(["colorsys"])
        >>> compare(report, report).rows[0].ratio
        1.0
    """
    old = {module.module: module for module in before.modules}
    new = {module.module: module for module in after.modules}
    rows = tuple(Row(name, old.get(name), new.get(name)) for name in dict.fromkeys((*new, *old)))
    return Comparison(before, after, rows)
