"""The audit itself: every module in a child of its own, several at a time, until all are done or a signal comes.

Invariants: one thread, one loop, no call in it that blocks for long. However it ends, no child and no descendant of
one is left. SIGINT and SIGTERM, where this runs in the main thread, end all children at once; what is known comes
with the exception. A time that was taken beside other children and decides a verdict is taken again alone.
"""

from __future__ import annotations

import os
import selectors
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from lazyguard.audit.analysis import import_order
from lazyguard.audit.analysis.verdict import explain
from lazyguard.audit.processes import tiers, zygote_process
from lazyguard.audit.processes.child_process import Child
from lazyguard.audit.processes.plan import Plan, Settings, compile_first, plan
from lazyguard.audit.processes.signals import Wakeup, taken
from lazyguard.audit.processes.trace import Job, Trace
from lazyguard.audit.report.budget import Budget, budget_of, checked, near, spent
from lazyguard.audit.report.model import Advice, ModuleReport, Report, cause_of
from lazyguard.errors import ConfigurationError

Progress = Callable[[int, int, ModuleReport], object]
Advising = Callable[[int, "int | None", str], object]
AGAIN = 3
"""How many times a time that is a little over its budget is taken again."""
NEAR = 2.0
"""A slow verdict below this many times its limit is near it."""


class AuditInterrupted(KeyboardInterrupt):
    """SIGINT or SIGTERM ended the audit; `report` has what was known, `signal` the number."""

    def __init__(self, report: Report, number: int) -> None:
        super().__init__(f"the audit was interrupted by {signal.Signals(number).name}")
        self.report: Report = report
        self.signal: int = number


def audit(
    targets: Sequence[str],
    *,
    path: str | os.PathLike[str] = ".",
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
    progress: Progress | None = None,
    advising: Advising | None = None,
) -> Report:
    """Imports every module of the targets in a process of its own and returns what was seen.

    Args:
        targets: names of packages and modules. A package stands for all that is below it, unless walk is false.
        path: the directory that is put first on sys.path in the children.
        python: the interpreter of the children, 3.10 or newer; nothing needs to be installed there.
        timeout: seconds; an import that takes longer hangs and is ended.
        slow: seconds; an import that takes longer is slow.
        jobs: children at a time; None for as many as there are processors, 8 at most.
        repeat: how many times each module is imported; the fastest counts.
        fork: whether forks that find the dependencies loaded may decide: what is ok in one, quick and without a
            finding, is not imported again, nor what fails in one as a module does in a fresh interpreter. None: from
            12 modules on, on Linux, unless repeat is above 1. The times of such a module are put together
            (`ModuleReport.tier`).
        env: the whole environment of the children; None for this process's.
        budgets: what modules may take (`Budget`), by their names or patterns of them: `core.tasks`, `core.*`, `*`. A
            time that is a little over is taken again, alone, up to three times; the fastest counts.
        advice: whether to find out which imports that each target leads to can be deferred, and what that saves, by
            importing the target many times more without them (`Report.advice`). Only of targets that go through.
        progress: called with (done, total, module report) after each module.
        advising: called before each run that the advice takes, with how many are done for this target, how many there
            will be (None: not known yet), and what it is for, in words.

    Raises:
        ConfigurationError: an option, a target or the interpreter cannot be used.
        AuditInterrupted: SIGINT or SIGTERM came; a KeyboardInterrupt with the report so far. Only in the main thread
            are these signals taken; elsewhere they do what they always do.

    Example:
        >>> from lazyguard.audit import audit
        >>> report = audit(["json"], timeout=10.0)
        >>> [module.module for module in report.modules if module.verdict == "hangs"]
        []
    """
    settings = Settings(os.fspath(path), python, timeout, slow, jobs, repeat, walk, env, dict(checked(budgets)))
    with taken() as wakeup:
        try:
            planned = plan(targets, settings, stop=wakeup.came)
        except ConfigurationError:
            if wakeup.number is not None:
                nothing = Report("", float(timeout), repeat, (), float(slow), settings.path, pending=tuple(targets))
                raise AuditInterrupted(nothing, wakeup.number) from None
            raise
        compile_first(planned, settings, stop=wakeup.came)
        report = _Audit(planned, settings, progress, wakeup).run(fork)
        if advice:
            report = _advised(report, targets, planned, settings, wakeup, advising)
        if wakeup.number is not None:
            raise AuditInterrupted(report, wakeup.number)
        return report


def _advised(
    report: Report,
    targets: Sequence[str],
    planned: Plan,
    settings: Settings,
    wakeup: Wakeup,
    advising: Advising | None,
) -> Report:
    """Returns the report with the advice for each target, or why there is none."""
    from lazyguard.audit.advice.advising import advise
    from lazyguard.audit.advice.saving import AdviceStopped

    through = {module.module for module in report.modules if module.verdict in ("ok", "slow")}
    found: list[Advice] = []
    for target in dict.fromkeys(targets):
        note = "its import does not go through, or it has no code of its own"
        if target in through:
            try:
                found.append(advise(target, planned, settings, wakeup.came, advising))
                continue
            except AdviceStopped:
                note = "interrupted before anything was measured"
        found.append(Advice(target, 0.0, note=note))
    return replace(report, advice=tuple(found))


class _Interrupted(Exception):
    pass


class _Audit:
    """One audit under way."""

    def __init__(self, planned: Plan, settings: Settings, progress: Progress | None, wakeup: Wakeup) -> None:
        self.plan, self.settings, self.progress, self.wakeup = planned, settings, progress, wakeup
        self.known: dict[str, ModuleReport] = {}
        self.interpreter_seconds = 0.0
        self._busy: dict[str, float] = {}
        self._sampled = True
        self._zygote: zygote_process.Zygote | None = None
        self._accused: dict[str, ModuleReport] = {}
        self._running: list[str] = []
        self._fresh_because: str | None = None
        self._left_out: tuple[str, ...] = ()
        self._uncompiled = 0

    def run(self, fork: bool | None) -> Report:
        try:
            self._children([""], 1, self._started)
            statements, self._uncompiled = tiers.scanned(self.plan, self.settings, self.wakeup.came)
            self._fresh_because = tiers.why_fresh(len(self.plan.modules), self.settings, fork)
            if self._fresh_because is None:
                self._forked(statements)
                self._convict()
            rest = [name for name in self.plan.modules if name not in self.known]
            self._children(rest, self.settings.children_at_a_time, self._first)
            # A sample is taken without the GIL, of frames that move: CPython 3.11 and 3.12 may crash over it. What
            # crashes, crashes without samples, too; and a time that is to be kept is better taken without.
            self._sampled = False
            crashed = [name for name, seen in self.known.items() if seen.verdict == "crashes"]
            self._children(crashed, self.settings.children_at_a_time, self._first)
            for _ in range(1, self.settings.repeat):
                again = [name for name, seen in self.known.items() if seen.verdict in ("ok", "slow")]
                self._children(again, self.settings.children_at_a_time, self._again)
            if self.settings.children_at_a_time > 1:
                self._children([name for name in self.plan.modules if self._is_doubtful(name)], 1, self._again)
            for _ in range(AGAIN):
                self._children([name for name in self.plan.modules if self._is_near(name)], 1, self._again)
        except _Interrupted:
            assert self.wakeup.number is not None
            raise AuditInterrupted(self._report(), self.wakeup.number) from None
        return self._report()

    def _forked(self, statements: Sequence[str]) -> None:
        """Has forks decide what they can; what they cannot is left for fresh children, and all below it."""
        zygote = self._zygote = zygote_process.Zygote(self.plan, self.settings, self.wakeup.came)
        try:
            zygote.start(statements)
            self._decide(zygote)
        except zygote_process.ZygoteLost as lost:
            if self.wakeup.came():
                raise _Interrupted from None
            self._fresh_because = str(lost)
        finally:
            self._zygote = None
            self._left_out = tuple(f"{name} {reason}" for name, reason in sorted(zygote.left_out.items()))
            zygote.close()

    def _decide(self, zygote: zygote_process.Zygote) -> None:
        suspects: set[str] = set()
        waiting = [name for name in self.plan.modules if self._budget(name) == Budget()]
        count = tiers.below(self.plan.modules)

        def candidates() -> Iterator[str]:
            while waiting:
                name = waiting.pop(0)
                if not any(name.startswith(package + ".") for package in suspects):
                    yield name

        def needed(package: str) -> bool:
            return any(name.startswith(package + ".") for name in (*waiting, *self._running))

        def judged(trace: Trace) -> None:
            seen = self._explain(trace)
            seen = replace(seen, tier="forked", repeats=0, executed=seen.executed + trace.unseen)
            name = trace.module
            sure = seen.seconds <= self.settings.slow * tiers.SURE
            certain = sure and not trace.doubtful
            if certain and seen.verdict == "fails":
                self._accused[name] = seen
                return
            if not certain or seen.verdict != "ok" or _effects(seen):
                if count.get(name):
                    suspects.add(name)
                return
            self._keep(seen)
            zygote.release(needed)
            if count.get(name, 0) > 1 and seen.own_seconds + seen.seconds - seen.third_party_seconds > tiers.WORTH:
                zygote.hold(name)

        self._children(candidates(), self.settings.children_at_a_time, judged)

    def _convict(self) -> None:
        """Believes forks that modules fail alike, where the first of them fails so in a fresh interpreter."""
        cases: dict[tuple[object, ...], list[ModuleReport]] = {}
        for name in self.plan.modules:  # not as they came, or reports would differ by chance
            if name in self._accused:
                cases.setdefault(_case(self._accused[name]), []).append(self._accused[name])
        alike = {case: seen for case, seen in cases.items() if len(seen) > 1}
        self._children([first.module for first, *_ in alike.values()], self.settings.children_at_a_time, self._first)
        for case, (first, *others) in alike.items():
            if _case(self.known[first.module]) == case:
                for seen in others:
                    self._keep(seen)

    def _keep(self, seen: ModuleReport) -> None:
        self.known[seen.module] = seen
        if self.progress is not None:
            self.progress(len(self.known), len(self.plan.modules), seen)

    def _started(self, trace: Trace) -> None:
        self.interpreter_seconds = trace.start_seconds

    def _first(self, trace: Trace) -> None:
        seen = self._explain(trace)
        self._busy[trace.module] = trace.cpu_seconds
        if self._sampled and seen.verdict == "crashes":
            self.known[trace.module] = seen  # it is to run again
            return
        self._keep(seen)

    def _again(self, trace: Trace) -> None:
        """Keeps the faster of two runs; findings of both."""
        before, after = self.known[trace.module], self._explain(trace)
        kept, other = (after, before) if after.seconds < before.seconds else (before, after)
        if other.verdict not in ("ok", "slow", "hangs") and kept.verdict in ("ok", "slow"):
            kept, other = other, kept
        if kept.verdict == other.verdict == "slow" and kept.blame is not None and kept.blame.line is None:
            kept = replace(kept, blame=other.blame)  # the one that was sampled
        more = tuple(finding for finding in other.findings if finding not in kept.findings)
        repeats = before.repeats + 1
        self.known[trace.module] = replace(kept, findings=kept.findings + more, tier="repeated", repeats=repeats)

    def _is_doubtful(self, name: str) -> bool:
        """Whether a verdict may be owed to the other children: near the limit, or out of time while it computed."""
        seen, settings = self.known[name], self.settings
        if seen.verdict == "hangs":
            return self._busy[name] > settings.timeout / 2
        return seen.verdict == "slow" and seen.seconds < settings.slow * NEAR

    def _is_near(self, name: str) -> bool:
        """Whether a time is over its budget by so little that it is to be taken again."""
        seen = self.known[name]
        return seen.verdict in ("ok", "slow") and near(self._budget(name), seen.seconds)

    def _budget(self, name: str) -> Budget:
        return budget_of(name, self.settings.budgets)

    def _explain(self, trace: Trace) -> ModuleReport:
        settings = self.settings
        return explain(
            trace,
            self.plan.scope(trace.module),
            timeout=settings.timeout,
            slow=settings.slow,
            budget=self._budget(trace.module) if settings.budgets else None,
        )

    def _report(self) -> Report:
        settings = self.settings
        return Report(
            python=self.plan.python,
            timeout=float(settings.timeout),
            repeats=settings.repeat,
            modules=import_order.told([self.known[name] for name in self.plan.modules if name in self.known]),
            slow=float(settings.slow),
            path=settings.path,
            interpreter_seconds=self.interpreter_seconds,
            pending=tuple(name for name in self.plan.modules if name not in self.known),
            budgets=tuple(
                each
                for name in (self.plan.modules if settings.budgets else ())
                if name in self.known
                for each in spent(self.known[name], self._budget(name))
            ),
            fresh_because=self._fresh_because,
            left_out=self._left_out,
            uncompiled=self._uncompiled,
        )

    def _children(self, modules: Iterable[str], at_a_time: int, done: Callable[[Trace], None]) -> None:
        """Runs a child for each module, so many at a time."""
        waiting = iter(modules)
        running: list[Child] = []
        try:
            while True:
                while len(running) < at_a_time and (name := next(waiting, None)) is not None:
                    running.append(self._child(name))
                if not running:
                    return
                self._wait(running)
                for child in list(running):
                    child.pump()
                    if child.over:
                        running.remove(child)
                        self._running = [each.job.module for each in running]
                        done(child.finish())
        finally:
            for child in running:
                try:
                    child.finish()
                except OSError:
                    continue  # the others are to be ended all the same

    def _wait(self, running: Sequence[Child]) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self.wakeup.reader, selectors.EVENT_READ)
            for child in running:
                for descriptor in child.descriptors:
                    selector.register(descriptor, selectors.EVENT_READ)
            selector.select(min(child.due() for child in running))
        if self.wakeup.came():
            raise _Interrupted

    def _child(self, module: str) -> Child:
        settings = self.settings
        job = Job(
            module=module,
            command=(settings.python,),
            path=self.plan.path,
            timeout=float(settings.timeout),
            period=settings.period if self._sampled else float(settings.timeout),
            roots=self.plan.scope(module).roots,
            env=settings.environment,
        )
        try:
            if self._zygote is not None:
                # A fork that takes longer than `slow` decides nothing.
                limit = min(job.timeout, settings.slow)
                return self._zygote.fork(replace(job, timeout=limit))
            return Child(job)
        except OSError as error:
            raise ConfigurationError(
                f"no child can be started ({error.strerror}); give fewer jobs, or look at {settings.python}"
            ) from error


def _effects(seen: ModuleReport) -> frozenset[tuple[object, ...]]:
    """Returns what was found beyond the program's own modules."""
    return frozenset(
        (each.kind, each.file, each.line, each.detail) for each in seen.findings if each.kind not in tiers.SEEN_IN_FORKS
    )


def _case(seen: ModuleReport) -> tuple[object, ...]:
    """Returns what two failures have to have in common for one of them to be believed for the other's sake."""
    return cause_of(seen), _effects(seen)
