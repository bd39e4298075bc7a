"""Another state of the program beside this one, measured by turns, so that both meet the same moments of the machine.

Invariants: what decides was measured alone, in fresh interpreters, by turns, the order changing from round to round.
The least time of each state counts: load can only make a time longer. The time in which it waited for a processor is
taken off. A least time is believed when a second one is near; then a module that is beyond its allowance after the last
round is slower. A first audit of everything only selects the modules that are measured so.
"""

from __future__ import annotations

import os
import signal
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from lazyguard.audit.report.budget import CONTRIBUTORS, allowance_of, chain_to
from lazyguard.audit.report.model import Against, Slower
from lazyguard.audit.report.modules import Place
from lazyguard.audit.run import AuditInterrupted, audit
from lazyguard.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from lazyguard.audit.report.budget import Budget
    from lazyguard.audit.report.model import Report
    from lazyguard.audit.report.modules import Imported, ModuleReport

# Rounds of a module that looks slower to the end.
ROUNDS = 7
# Rounds of a module that looks slower while its least times are not confirmed.
MOST = 15
# Rounds from which on a module that is within half of its allowance is done.
SURE = 3
# The most modules that are measured by turns at a time.
CLOSE = 24
# Options of the audit that are not those of a turn.
OWN = ("path", "repeat", "advice", "shard")


class Times:
    """What was seen of each module in one state, the fastest run first."""

    def __init__(self) -> None:
        self.runs: dict[str, list[ModuleReport]] = {}

    def add(self, report: Report) -> None:
        """Add the runs of an audit that came to their ends."""
        for each in report.modules:
            if each.verdict in ("ok", "slow"):
                self.runs.setdefault(each.module, []).append(each)
                self.runs[each.module].sort(key=lambda run: run.net_seconds)


def check(other: str) -> None:
    """Raise ConfigurationError where the directory of the other state cannot be one."""
    if not os.path.isdir(other):
        raise ConfigurationError(
            f"--against {other} is no directory; give the one that has the top-level packages of the other state, such "
            "as that of `git worktree add ../main origin/main`"
        )


def measured(
    report: Report,
    targets: Sequence[str],
    other: str,
    options: Mapping[str, Any],
    *,
    quiet: bool = True,
    run: Callable[..., Report] = audit,
) -> Report:
    """Return the report with what became slower against the other state; `options` are those of its `audit`.

    Raises:
        ConfigurationError: the other state has no such targets.
        AuditInterrupted: SIGINT, SIGTERM or SIGHUP came; its report is the one that was given.
    """
    if not quiet:
        print(f"measuring by turns with {other}", file=sys.stderr, flush=True)
    try:
        return replace(report, against=_Measurement(report, targets, other, options, run).result())
    except AuditInterrupted as interrupted:
        raise AuditInterrupted(report, interrupted.signal) from None
    except KeyboardInterrupt:  # between two audits, each of which handles signals itself
        raise AuditInterrupted(report, signal.SIGINT) from None
    except ConfigurationError as error:
        raise ConfigurationError(f"--against {other}: {error}") from error


class _Measurement:
    """Two states under measurement."""

    def __init__(
        self, report: Report, targets: Sequence[str], other: str, options: Mapping[str, Any], run: Callable[..., Report]
    ) -> None:
        self.report, self.targets, self.other = report, targets, other
        self.options: dict[str, Any] = {key: value for key, value in options.items() if key not in OWN}
        self.budgets: Mapping[str, Budget] = self.options.pop("budgets", {})
        self.path: str | Sequence[str] = options.get("path", ".")
        self.theirs: str | Sequence[str] = other
        if not isinstance(self.path, str):  # further directories lie there where they lie here, seen from the first
            first, *more = self.path
            self.theirs = [
                other,
                *(os.path.normpath(os.path.join(other, os.path.relpath(each, first))) for each in more),
            ]
        self.run = run

    def result(self) -> Against:
        """Return what became slower."""
        first = self.run(self.targets, path=self.theirs, **self.options)
        before, after = Times(), Times()
        before.add(first)
        after.add(self.report)
        both = [name for name in after.runs if name in before.runs]
        suspects = both
        if len(both) > CLOSE:
            # Forks make an audit cheap. With only one of each state a busy moment could hide what became slower.
            for path, times in ((self.theirs, before), (self.path, after)):
                times.add(self.run(self.targets, path=path, **self.options))
            suspects = [name for name in both if self._beyond(name, before, after) > 0.5]
            suspects.sort(key=lambda name: self._beyond(name, before, after), reverse=True)
        slower, left = list[Slower](), list[str]()
        while suspects and not slower:
            slower, unsure = self._closely(suspects[:CLOSE])
            left += unsure
            suspects = suspects[CLOSE:]
        return Against(self.other, len(both), first.uncompiled, tuple(slower), (*left, *suspects))

    def _closely(self, names: Sequence[str]) -> tuple[list[Slower], list[str]]:
        """Return what is slower of some modules, measured alone and by turns, and what is uncertain."""
        plain = {**self.options, "walk": False, "jobs": 1, "fork": False}
        before, after = Times(), Times()
        states = [(self.theirs, before), (self.path, after)]
        left, slower = list(names), list[str]()
        for turn in range(1, MOST + 1):
            for path, times in states:
                times.add(self.run(left, path=path, **plain))
            states.reverse()
            left = [
                name
                for name in left
                if name in before.runs
                and name in after.runs
                and (turn < SURE or self._beyond(name, before, after) > 0.5)
            ]
            if turn >= ROUNDS:
                sure = [name for name in left if all(self._is_confirmed(name, times) for _, times in states)]
                slower += [name for name in sure if self._beyond(name, before, after) > 1.0]
                left = [name for name in left if name not in sure]
            if not left:
                break
        return [_slower(before.runs[name][0], after.runs[name][0]) for name in slower], left

    def _allowed(self, name: str, limit: float) -> float:
        """Return how many seconds a module may take more than the limit."""
        return allowance_of(name, self.budgets).most(limit) - limit

    def _is_confirmed(self, name: str, times: Times) -> bool:
        """Return whether a second time confirms the least one."""
        least, *others = [each.net_seconds for each in times.runs[name]]
        return bool(others) and others[0] - least <= self._allowed(name, least) / 2

    def _beyond(self, name: str, before: Times, after: Times) -> float:
        """Return how much longer a module takes, as a multiple of what is allowed to it."""
        limit = before.runs[name][0].net_seconds
        allowed = self._allowed(name, limit)
        more = after.runs[name][0].net_seconds - limit
        return more / allowed if allowed else float("inf") if more > 0 else 0.0


def _slower(before: ModuleReport, after: ModuleReport) -> Slower:
    """Return a module that became slower, with the imports and the bodies that its time went into."""
    known = {one.module: one.own_seconds for one in before.imports}
    worth = (after.net_seconds - before.net_seconds) / 10
    new: list[tuple[float, Imported]] = []
    grown: list[tuple[float, Imported]] = []
    for one in after.imports:
        if one.module in known:
            grown.append((one.own_seconds - known[one.module], one))
        elif one.parent is None or after.imports[one.parent].module in known:
            new.append((one.seconds, one))  # what it imported itself is in its seconds
    new, grown = (
        sorted((each for each in some if each[0] >= worth), key=lambda each: -each[0])[:CONTRIBUTORS]
        for some in (new, grown)
    )
    place: Place | None = None
    chain: tuple[str, ...] = ()
    if new or grown:
        _, one = max(new[:1] + grown[:1], key=lambda each: each[0])
        place = one.by if one.module not in known else Place(one.file, None) if one.file else None
        chain = chain_to(after, one)
    names = [tuple(one.module for _, one in some) for some in (new, grown)]
    return Slower(after.module, before.net_seconds, after.net_seconds, names[0], names[1], place, chain)
