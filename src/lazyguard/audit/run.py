"""The function `audit`: options, plan, the audit itself, and the advice.

Invariants: SIGINT, SIGTERM and SIGHUP, where this runs in the main thread, end all children at once, and what is known
comes with the exception.
"""

from __future__ import annotations

import signal
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

from lazyguard._base import validation
from lazyguard.audit.processes.plan import Directories, Plan, Settings, compile_first, plan
from lazyguard.audit.report.budget import Budget, checked
from lazyguard.audit.report.model import Advice, Report
from lazyguard.audit.tiers import Audit, Interrupted, Progress, Wakeup, handled
from lazyguard.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lazyguard.audit.advice.trials import Announce


class AuditInterrupted(KeyboardInterrupt):
    """SIGINT, SIGTERM or SIGHUP ended the audit; `report` has what was known, `signal` the number."""

    def __init__(self, report: Report, number: int) -> None:
        super().__init__(f"the audit was interrupted by {signal.Signals(number).name}")
        self.report: Report = report
        self.signal: int = number


def audit(
    targets: Sequence[str],
    *,
    path: Directories = ".",
    python: str = sys.executable,
    timeout: float = 5.0,
    slow: float = 0.5,
    jobs: int | None = None,
    repeat: int = 1,
    walk: bool = True,
    fork: bool | None = None,
    env: Mapping[str, str] | None = None,
    budgets: Mapping[str, Budget] | None = None,
    advice: bool = False,
    exclude: Sequence[str] = (),
    setup: str = "",
    memory: int | None = None,
    shard: str | None = None,
    progress: Progress | None = None,
    advising: Announce | None = None,
) -> Report:
    """Import every module of the targets in a process of its own, and return what was seen.

    Args:
        targets: names of packages and modules. A package stands for all that is below it, unless walk is false.
        path: the directory that is put first on sys.path in the children, or several. What lies below is first-party.
        python: the interpreter of the children, 3.10 or newer; nothing needs to be installed there.
        timeout: seconds; an import that takes longer hangs and is ended.
        slow: seconds; an import that takes longer is slow.
        jobs: children at a time; None for as many as there are processors, 8 at most.
        repeat: how many times each module is imported; the fastest counts.
        fork: whether forks that find the dependencies loaded may decide. A module that is ok in one, quick and without
            a side effect, is not imported again, nor one that does or raises there what a fresh interpreter has
            confirmed for another. Their times are put together (`ModuleReport.tier`). None: from 12 modules on, on
            Linux, unless repeat is above 1.
        env: the whole environment of the children; None for this process's.
        budgets: what modules may take (`Budget`), by their names or patterns of them: `core.tasks`, `core.*`, `*`. A
            time that is a little over is measured again, alone, up to three times; the fastest counts.
        advice: whether to find out which imports that each target leads to can be deferred, and what that saves, by
            importing the target many times more without them (`Report.advice`). Only for targets whose import succeeds.
        exclude: names or patterns (`core.legacy`, `*.migrations`) of modules that are left out, with all below them.
            Tests (`tests`, `test_*`, `conftest`) and `__main__` are left out unless a target names them.
        setup: statements that run in each child before the import, such as "import django; django.setup()". Their time
            is told apart; what they do has a report of its own, called "(setup)".
        memory: the most megabytes that a child may take; what asks for more gets a MemoryError. None: no limit.
        shard: "2/4" for the second, sixth, tenth module and so on: one of four parts for four machines, which
            `lazyguard report combine` puts together.
        progress: called with (done, total, module report) after each module.
        advising: called before each run that the advice takes, with how many are done for this target, how many there
            will be (None: not known yet), and what it is for, in words.

    Raises:
        ConfigurationError: an option, a target or the interpreter cannot be used.
        AuditInterrupted: SIGINT, SIGTERM or SIGHUP came; a KeyboardInterrupt with the report so far. These signals are
            handled in the main thread only; elsewhere they do what they always do.

    Example:
        >>> from lazyguard.audit import audit
        >>> report = audit(["json"], timeout=10.0)
        >>> [module.module for module in report.modules if module.verdict == "hangs"]
        []
    """
    settings = Settings(
        path, python, timeout, slow, jobs, repeat, walk, env, dict(checked(budgets)), exclude, setup, memory, shard
    )
    validation.flag("advice", advice)
    if fork is not None:
        validation.flag("fork", fork)
    for name, function in (("progress", progress), ("advising", advising)):
        validation.function_of(name, function, "module's report")
    with handled() as wakeup:
        try:
            planned = plan(targets, settings, stop=wakeup.came)
        except ConfigurationError:
            if wakeup.number is not None:
                nothing = Report("", float(timeout), repeat, (), float(slow), settings.paths[0], pending=tuple(targets))
                raise AuditInterrupted(nothing, wakeup.number) from None
            raise
        compile_first(planned, settings, stop=wakeup.came)
        running = Audit(planned, settings, progress, wakeup)
        try:
            running.run(fork)
        except Interrupted:
            assert wakeup.number is not None
            raise AuditInterrupted(running.report(), wakeup.number) from None
        report = running.report()
        if advice:
            report = _advised(report, targets, planned, settings, wakeup, advising)
        if wakeup.number is not None:
            raise AuditInterrupted(report, wakeup.number)
        return report


def _advised(
    report: Report, targets: Sequence[str], planned: Plan, settings: Settings, wakeup: Wakeup, advising: Announce | None
) -> Report:
    """Return the report with the advice for each target, or why there is none."""
    from lazyguard.audit.advice.advising import advise
    from lazyguard.audit.advice.trials import AdviceStopped

    succeeded = {module.module: module for module in report.modules if module.verdict in ("ok", "slow")}
    found: list[Advice] = []
    for target in dict.fromkeys(targets):
        if settings.shard is not None and target not in planned.modules:
            continue  # another part has it
        note = "its import does not succeed, or it has no code of its own"
        if target in succeeded:
            try:
                one, blame = advise(target, planned, settings, wakeup.came, advising), succeeded[target].blame
                if blame is not None and blame.inner is not None:
                    called = f"most of its time goes into the call at {blame}, which is no import"
                    one = replace(one, note=f"{called}; {one.note}" if one.note else called)
                found.append(one)
                continue
            except AdviceStopped:
                note = "interrupted before anything was measured"
        found.append(Advice(target, 0.0, note=note))
    return replace(report, advice=tuple(found))
