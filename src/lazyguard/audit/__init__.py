"""The audit: importing a program's modules one by one, each in a process of its own.

`audit` imports and judges, `Report` is what it found, `compare` sets two side by side, `table` prints either. To import
this imports nothing of the target, and of the rest of lazyguard only its errors and the checks of its options.
"""

from __future__ import annotations

from lazyguard.audit.output.text import table as table
from lazyguard.audit.report.baseline import Comparison as Comparison
from lazyguard.audit.report.baseline import Row as Row
from lazyguard.audit.report.baseline import compare as compare
from lazyguard.audit.report.budget import Allowance as Allowance
from lazyguard.audit.report.budget import Budget as Budget
from lazyguard.audit.report.model import Against as Against
from lazyguard.audit.report.model import Report as Report
from lazyguard.audit.report.model import Slower as Slower
from lazyguard.audit.report.model import Spending as Spending
from lazyguard.audit.report.modules import Blame as Blame
from lazyguard.audit.report.modules import Cause as Cause
from lazyguard.audit.report.modules import Failure as Failure
from lazyguard.audit.report.modules import Finding as Finding
from lazyguard.audit.report.modules import Imported as Imported
from lazyguard.audit.report.modules import ModuleReport as ModuleReport
from lazyguard.audit.report.modules import Place as Place
from lazyguard.audit.run import AuditInterrupted as AuditInterrupted
from lazyguard.audit.run import audit as audit
