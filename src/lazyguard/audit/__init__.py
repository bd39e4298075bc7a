"""The audit: importing a program's modules one by one, each in a process of its own.

`audit` imports and judges, `Report` is what it found, `compare` sets two side by side, `table` prints either. To import
this imports nothing of the target, and of the rest of lazyguard only its errors and the checks of its options.
"""

from __future__ import annotations

from lazyguard.audit.output.text import table
from lazyguard.audit.report.baseline import Comparison, Row, compare
from lazyguard.audit.report.budget import Allowance, Budget
from lazyguard.audit.report.model import Against, Report, Slower, Spending
from lazyguard.audit.report.modules import Blame, Cause, Failure, Finding, Imported, ModuleReport, Place
from lazyguard.audit.run import AuditInterrupted, audit

__all__ = [
    "audit",
    "compare",
    "table",
    "Budget",
    "Allowance",
    "AuditInterrupted",
    "Report",
    "ModuleReport",
    "Imported",
    "Blame",
    "Cause",
    "Failure",
    "Finding",
    "Place",
    "Spending",
    "Against",
    "Slower",
    "Comparison",
    "Row",
]
