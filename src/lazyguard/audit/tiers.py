"""One audit: every module in a child of its own, forked, fresh or repeated, until all are judged or a signal comes.

Invariants: one thread, one loop, no call in it that blocks for long. However it ends, no child and no descendant of one
is left. A fork alone convicts no module. One that is ok in it, quick and without a side effect is done; so is one that
misses what the zygote has missed. What is found in forks, an error or a side effect on a line, a fresh interpreter
confirms once; then all modules in which nothing else was found are done. Everything else is imported again in a fresh
interpreter, and that decides. Where there is no zygote all children are fresh, and the report says why. A time that was
measured beside other children, and decides a verdict, is measured again alone. Only the main thread can handle signals;
elsewhere none arrives, and they do what they always do. Those that the host ignores stay ignored, and its handlers are
back when the audit ends.
"""

from __future__ import annotations

import os
import selectors
import signal
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from lazyguard.audit import django
from lazyguard.audit.analysis.import_order import with_order_findings
from lazyguard.audit.analysis.import_tree import scope_of
from lazyguard.audit.analysis.verdict import judge
from lazyguard.audit.processes.child_process import Child
from lazyguard.audit.processes.zygote_process import Forked, Zygote, ZygoteLost, scan
from lazyguard.audit.report.budget import Budget, budget_of, near, spent
from lazyguard.audit.report.model import Report
from lazyguard.audit.report.modules import ModuleReport, lines_of, steady
from lazyguard.audit.report.sentences import seconds
from lazyguard.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Container, Generator, Iterable, Iterator, Mapping, Sequence

    from lazyguard.audit.processes.child_process import Trace
    from lazyguard.audit.processes.plan import Plan, Settings


class Wakeup:
    """The signal that came, and a pipe that becomes readable then, so that a select returns."""

    def __init__(self) -> None:
        self.number: int | None = None
        reader, self._writer = os.pipe()
        self.reader: int = reader
        os.set_blocking(self._writer, False)

    def came(self) -> bool:
        return self.number is not None

    def receive(self, number: int, _frame: object) -> None:
        self.number = number
        with suppress(OSError):
            os.write(self._writer, b"!")

    def close(self) -> None:
        os.close(self.reader)
        os.close(self._writer)


@contextmanager
def handled() -> Generator[Wakeup]:
    """Handle the signals meanwhile; yield what has the one that came."""
    wakeup = Wakeup()
    before: dict[signal.Signals, Any] = {}
    try:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                if signal.getsignal(number) not in (signal.SIG_IGN, None):
                    before[number] = signal.signal(number, wakeup.receive)
        yield wakeup
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        wakeup.close()


# Called with how many modules are done, how many there are, and the last report.
Progress = Callable[[int, int, ModuleReport], object]
# Modules below which a zygote takes longer than it saves.
FEWEST = 12
# What stands for the setup among the modules of a report.
SETUP = "(setup)"
# Seconds above which a package is imported once for all modules below it.
WORTH = 0.004
# The part of `slow` below which a time put together from a fork is certain enough.
SURE = 0.8
# Findings about the program's own modules alone, which a fork executes like any interpreter: it may decide these.
SEEN_IN_FORKS = ("circular-import", "order-dependent", "process-state")
# Verdicts on an import that raises an error.
FAILED = ("fails", "not-installed", "other-platform")
# How many times a time that is a little over its budget is measured again.
AGAIN = 3
# A slow verdict below this many times its limit is near it.
NEAR = 2.0


def why_fresh(count: int, settings: Settings, fork: bool | None) -> str | None:
    """Return why all children are to be fresh; None when forks may be used."""
    if fork is False:
        return "asked for"
    if settings.repeat > 1:
        return "times are repeated"
    if not os.path.isfile(f"/proc/self/task/{os.getpid()}/children"):
        return "forks are used on Linux only"
    if fork is None and count < FEWEST:
        return f"fewer than {FEWEST} modules"
    return None


def below(modules: Sequence[str]) -> Mapping[str, int]:
    """Return how many of the modules lie below each package."""
    names = [module.split(".") for module in modules]
    return Counter(".".join(parts[:count]) for parts in names for count in range(1, len(parts)))


class Interrupted(Exception):
    """A signal came."""


@dataclass
class Audit:
    """One audit under way."""

    plan: Plan
    settings: Settings
    progress: Progress | None
    wakeup: Wakeup
    done: dict[str, ModuleReport] = field(default_factory=dict[str, ModuleReport])
    interpreter_seconds: float = 0.0
    setup: ModuleReport | None = None
    _cpu_seconds: dict[str, float] = field(default_factory=dict[str, float])
    _sampled: bool = True
    _zygote: Zygote | None = None
    _unconfirmed: dict[str, ModuleReport] = field(default_factory=dict[str, ModuleReport])
    _running: Sequence[str] = ()
    _fresh_because: str | None = None
    _lost: str = ""
    _left_out: tuple[str, ...] = ()
    _uncompiled: int = 0

    def run(self, fork: bool | None) -> None:
        """Audit all modules.

        Raises:
            Interrupted: a signal came; what is known until then is in the report.
        """
        at_a_time = self.settings.children_at_a_time
        self._children([""], 1, self._started)
        if self.setup is not None and self.setup.verdict != "ok":
            return
        statements, self._uncompiled = scan(self.plan, self.settings, self.wakeup.came)
        self._fresh_because = why_fresh(self.plan.whole, self.settings, fork)
        if self._fresh_because is None:
            self._fork(statements)
            self._confirm()
        self._children(self._pending(), at_a_time, self._first)
        # A sample is taken without the GIL, of frames that move: CPython 3.11 and 3.12 may crash over it. What crashes
        # is run again without samples. Times that are kept are better measured without them, too.
        self._sampled = False
        self._children(self._pending(), at_a_time, self._first)
        for _ in range(1, self.settings.repeat):
            again = [name for name, seen in self.done.items() if seen.verdict in ("ok", "slow")]
            self._children(again, at_a_time, self._again)
        if at_a_time > 1:
            self._children([name for name in self.plan.modules if self._is_doubtful(name)], 1, self._again)
        for _ in range(AGAIN):
            self._children([name for name in self.plan.modules if self._is_near(name)], 1, self._again)

    def report(self) -> Report:
        """Return what is known."""
        settings, modules = self.settings, [name for name in self.plan.modules if name in self.done]
        setup = () if self.setup is None else (self.setup,)
        budgeted = modules if settings.budgets else []
        notes = [
            f"the interpreter's start runs {file}, which takes {seconds(s)} s each time"
            for file, s in self.plan.start_up
        ]
        if self._lost:
            notes.append(f"forks ended early, and an interpreter for each module takes longer: {self._lost}")
        notes += [f"exclude {pattern} fits no module: correct it, or take it out" for pattern in self.plan.idle]
        return Report(
            python=self.plan.python,
            timeout=float(settings.timeout),
            repeats=settings.repeat,
            modules=(*setup, *with_order_findings([self.done[name] for name in modules])),
            slow=float(settings.slow),
            path=settings.paths[0],
            paths=settings.paths[1:],
            passed_over=self.plan.passed_over,
            notes=tuple(filter(None, [django.advice(list(self.done.values()), settings.paths), *notes])),
            interpreter_seconds=self.interpreter_seconds,
            pending=tuple(self._pending()),
            budgets=tuple(each for name in budgeted for each in spent(self.done[name], self._budget(name))),
            fresh_because=self._fresh_because,
            left_out=self._left_out,
            uncompiled=self._uncompiled,
            shard=settings.shard,
        )

    def _pending(self) -> list[str]:
        return [name for name in self.plan.modules if name not in self.done]

    def _fork(self, statements: Sequence[str]) -> None:
        """Let forks decide what they can; leave the rest, and all below it, for fresh children."""
        zygote = self._zygote = Zygote(self.plan, self.settings, self.wakeup.came)
        try:
            zygote.start([] if self.settings.setup else statements)  # what the setup loads, it loads in its own order
            if self.settings.setup and not zygote.hold(""):
                raise ZygoteLost("the setup leaves behind what cannot be forked, or does not end")
            self._fork_all(zygote)
        except ZygoteLost as lost:
            if self.wakeup.came():
                raise Interrupted from None
            self._fresh_because = self._lost = str(lost)
        finally:
            self._zygote = None
            self._left_out = tuple(f"{name} {reason}" for name, reason in sorted(zygote.left_out.items()))
            zygote.close()

    def _fork_all(self, zygote: Zygote) -> None:
        undecided: set[str] = set()
        waiting = [name for name in self.plan.modules if self._budget(name) == Budget()]
        count = below(self.plan.modules)

        def candidates() -> Iterator[str]:
            while waiting:
                name = waiting.pop(0)
                if not any(name.startswith(package + ".") for package in undecided):
                    yield name

        def needed(package: str) -> bool:
            return not package or any(name.startswith(package + ".") for name in (*waiting, *self._running))

        def judged(trace: Trace) -> None:
            seen = self._judge(trace)
            seen = replace(seen, tier="forked", repeats=0, executed=seen.executed + trace.unseen)
            name = trace.module
            certain = seen.net_seconds <= self.settings.slow * SURE and not trace.doubtful
            if not certain or seen.verdict not in ("ok", *FAILED):
                if count.get(name):
                    undecided.add(name)
                return
            if _claims(seen, zygote.missing, trace.missed):
                self._unconfirmed[name] = seen
            else:
                self._keep(seen)
            zygote.release(needed)
            own = seen.own_seconds + seen.seconds - seen.third_party_seconds
            if seen.verdict == "ok" and count.get(name, 0) > 1 and own > WORTH:
                zygote.hold(name)

        self._children(candidates(), self.settings.children_at_a_time, judged)

    def _confirm(self) -> None:
        """Have fresh interpreters confirm what forks have found, each thing once; believe the others then."""
        asked: set[object] = set()
        firsts: list[str] = []
        for name in self.plan.modules:  # in this order, so that reports do not differ by chance
            if name in self._unconfirmed and not (claims := _claims(self._unconfirmed[name])) <= asked:
                firsts.append(name)
                asked |= claims
        self._children(firsts, self.settings.children_at_a_time, self._first)
        known = {claim for name in firsts if name in self.done for claim in _claims(self.done[name])}
        for name, seen in self._unconfirmed.items():
            if name not in self.done and _claims(seen) <= known:
                self._keep(seen)

    def _keep(self, seen: ModuleReport) -> None:
        self.done[seen.module] = seen
        if self.progress is not None:
            self.progress(len(self.done), len(self.plan.modules), seen)

    def _started(self, trace: Trace) -> None:
        self.interpreter_seconds = trace.start_seconds
        if self.settings.setup:
            self.setup = self._judge(replace(trace, module=SETUP), slow=self.settings.timeout)

    def _first(self, trace: Trace) -> None:
        seen = self._judge(trace)
        self._cpu_seconds[trace.module] = trace.cpu_seconds
        if self._sampled and seen.verdict == "crashes":
            return  # it is run again
        self._keep(seen)

    def _again(self, trace: Trace) -> None:
        """Keep the faster of two runs; findings of both."""
        before, after = self.done[trace.module], self._judge(trace)
        kept, other = (after, before) if after.net_seconds < before.net_seconds else (before, after)
        if other.verdict not in ("ok", "slow", "hangs") and kept.verdict in ("ok", "slow"):
            kept, other = other, kept
        if kept.verdict == other.verdict == "slow" and kept.blame is not None and kept.blame.line is None:
            kept = replace(kept, blame=other.blame)  # the one that was sampled
        more = tuple(finding for finding in other.findings if finding not in kept.findings)
        repeats = before.repeats + 1
        self.done[trace.module] = replace(kept, findings=kept.findings + more, tier="repeated", repeats=repeats)

    def _is_doubtful(self, name: str) -> bool:
        """Return whether other children may have caused a verdict: near the limit, or out of time while computing."""
        seen, settings = self.done[name], self.settings
        if seen.verdict == "hangs":
            return self._cpu_seconds[name] > settings.timeout / 2
        return seen.verdict == "slow" and seen.net_seconds < settings.slow * NEAR

    def _is_near(self, name: str) -> bool:
        """Return whether a time is so little over its budget that it is measured again."""
        seen = self.done[name]
        return seen.verdict in ("ok", "slow") and near(self._budget(name), seen.net_seconds)

    def _budget(self, name: str) -> Budget:
        return budget_of(name, self.settings.budgets)

    def _judge(self, trace: Trace, *, slow: float | None = None) -> ModuleReport:
        settings, scope = self.settings, scope_of(self.plan, trace.module)
        judged = partial(judge, scope=scope, timeout=settings.timeout, slow=slow or settings.slow)
        try:
            seen = judged(trace, budget=self._budget(trace.module))
        except Exception as error:  # a child can write what it likes: that is to cost its own module's report alone
            trace.doubtful = True
            seen = judged(replace(trace, events=[], dump="", leaving_dump="", threads=[]))
            return replace(seen, detail=f"what it reported cannot be read ({type(error).__name__})")
        if settings.memory and seen.error and (trace.started is None or seen.error.type == "MemoryError"):
            return replace(seen, detail=f"it asked for more than the {settings.memory} MB of --memory")
        return seen

    def _children(self, modules: Iterable[str], at_a_time: int, done: Callable[[Trace], None]) -> None:
        """Run a child for each module, so many at a time."""
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
                        self._running = [each.trace.module for each in running]
                        done(child.finish())
        finally:
            for child in running:
                with suppress(OSError):  # the others are to be ended in any case
                    child.finish()

    def _wait(self, running: Sequence[Child]) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self.wakeup.reader, selectors.EVENT_READ)
            for descriptor in (each for child in running for each in child.descriptors):
                selector.register(descriptor, selectors.EVENT_READ)
            selector.select(min(child.due() for child in running))
        if self.wakeup.came():
            raise Interrupted

    def _child(self, module: str) -> Child:
        settings = self.settings
        timeout = float(settings.timeout)
        period = settings.period if self._sampled and module else timeout  # the setup is never slow, only too slow
        try:
            if self._zygote is not None:
                return Forked(module, self.plan, settings, server=self._zygote.nearest(module))
            return Child(module, self.plan, settings, timeout=timeout, period=period)
        except OSError as error:
            raise ConfigurationError(
                f"no child can be started ({error.strerror}); give fewer jobs, or look at {settings.python}"
            ) from error


def _claims(seen: ModuleReport, missing: Container[str | None] = (), missed: str | None = None) -> frozenset[object]:
    """Return what was found of a module, each thing as it is compared; not that it misses what is `missing`."""
    found: set[object] = {
        (each.kind, each.file, each.line, steady(each.kind, each.detail))
        for each in seen.findings
        if each.kind not in SEEN_IN_FORKS
    }
    if seen.verdict != "ok" and not (seen.verdict == "not-installed" and missed in missing):
        found.add((seen.verdict, lines_of(replace(seen, verdict="fails"))[-1]))
    return frozenset(found)
