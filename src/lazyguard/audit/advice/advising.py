"""The advice: what the sources say, then runs without all statements that may wait, then runs without each alone.

Invariants: what is advised has been left out, alone and together with all else that is advised, and the import of the
target succeeded and did not use it. A shared dependency is no statement's own saving: what all save together is
measured, never added up. What is saved is the median of what it was in each round: the machine is as busy for both runs
of one.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lazyguard.audit.advice.text import NATIVE, NEEDLESS, attached, is_noise, replacement, ruff_settings
from lazyguard.audit.advice.trials import AdviceStopped, Span, Trial, Trials, Unit, least, saved
from lazyguard.audit.analysis.import_tree import Scope, scope_of
from lazyguard.audit.report.model import Advice, Deferral
from lazyguard.audit.target.survey import FOR_EFFECTS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from lazyguard.audit.advice.trials import Announce
    from lazyguard.audit.processes.plan import Plan, Settings
    from lazyguard.audit.report.modules import Place

ROUNDS = 5
# Seconds: a module that takes less, with all that it imports, is not worth a line.
SHORTEST = 0.001
# Seconds after which no further round begins.
LIMIT = 60.0
# The most statements that are measured alone, those of the slowest modules.
MOST = 20


def _counted(count: int, name: str) -> str:
    """Return a count and what was counted: "14 entries in core.db.TABLES", "1 entry in core.db.TABLES"."""
    what, of, where = name.partition(" ")
    if count == 1:
        what = {"entries": "entry", "subclasses": "subclass"}.get(what, what.removesuffix("s"))
    return f"{count} {what}{of}{where}"


@dataclass
class Candidate:
    """One statement on its way through the measurements. One that has a reason to stay is out of them."""

    statement: dict[str, Any]
    modules: tuple[str, ...]
    seconds: float
    reason: str | None
    because: Place | None
    optional: bool
    exported: bool
    # Whether it is imported for its side effects.
    effects: bool = False
    saving: float | None = None
    defer: bool = False
    replacement: str | None = None

    @property
    def unit(self) -> Unit:
        one = self.statement
        return (one["file"], one["line"], one["column"], one["module"] if one["kind"] == "import" else "")

    def keep(self, reason: str, because: Place | None = None) -> None:
        self.reason, self.because, self.optional = reason, because, False

    @property
    def is_open(self) -> bool:
        return self.reason is None or self.optional


def advise(
    target: str, plan: Plan, settings: Settings, stop: Callable[[], bool], announce: Announce | None = None
) -> Advice:
    """Return the advice for the import of one target, which must be one that succeeds.

    Where `stop` says so after a whole round, it is the advice that the rounds so far give, with a note.

    Raises:
        AdviceStopped: `stop` said so before that.
    """
    trials = Trials(target, plan, settings, stop, announce)
    version = tuple(int(part) for part in plan.python.split(".")[:2])
    return _Advising(trials, scope_of(plan, target), version).run()


class _Advising:
    def __init__(self, trials: Trials, scope: Scope, version: tuple[int, ...]) -> None:
        self.trials, self.scope, self.version = trials, scope, version
        self.cost: dict[str, float] = {}
        self.names_all: set[str] = set()
        self.subclasses = False
        self.rounds, self.noise = 0, 0.0
        self.note: str | None = None

    def run(self) -> Advice:
        target = self.trials.target
        self.trials.begin("what it imports")
        look = self.trials.run(())
        if look.error is not None:
            return Advice(target, look.seconds, note=f"it fails: {look.error}")
        candidates = self._candidates(look)
        if self.note is not None:
            return Advice(target, look.seconds, note=self.note)
        together = self._droppable(self._without_registrations([each for each in candidates if each.is_open]))
        together.sort(key=lambda each: -each.seconds)
        base, joint = self._rounds(together)
        joint = self._without_noise([each for each in together if each.is_open], base, joint)
        together = [each for each in together if each.is_open]
        saving = base - joint if together else None
        for each in together:
            each.defer = True
        self._forms(together)
        if not candidates and self.note is None:
            self.note = f"no import in the sources of {target} takes a millisecond; name what your program starts with"
        imports, ruff = self._deferrals(candidates, base), self._ruff(candidates)
        return Advice(target, base, saving, self.rounds, imports, ruff, self.note, self.noise)

    def _candidates(self, look: Trial) -> list[Candidate]:
        """Return the statements that lead to modules worth a line, with what their sources say of them."""
        for span in look.spans:
            self.cost[span.module] = max(self.cost.get(span.module, 0.0), span.seconds)
        own = {span.module: span for span in look.spans if span.file and self.scope.owns(span.file)}
        sources = [(name, str(span.file), str(span.file).endswith("__init__.py")) for name, span in own.items()]
        found = self.trials.survey([each for each in sources if each[1].endswith(".py")])
        if "problem" in found:
            self.note = f"the imports in its sources cannot be judged: the interpreter {found['problem']}"
        self.names_all, self.subclasses = set(found["exports"]), found["subclasses"]
        candidates: list[Candidate] = []
        for one in found["judged"]:
            statement = one["statement"]
            modules = self._modules(statement)
            seconds = sum(self.cost[name] for name in modules)
            if seconds < SHORTEST:
                continue
            reason = one["reason"]
            because = self._place(one["file"], one["line"]) if reason else None
            flags = one["optional"], one["exported"], reason == FOR_EFFECTS
            candidates.append(Candidate(statement, modules, seconds, reason, because, *flags))
        return candidates

    def _modules(self, statement: dict[str, Any]) -> tuple[str, ...]:
        """Return the modules that a statement asks for, as far as they were executed, without its own parents."""
        module = statement["module"]
        parts = module.split(".")
        names = [".".join(parts[: at + 1]) for at in range(len(parts))]
        if statement["kind"] == "from":
            names += [f"{module}.{name}" for name in statement["names"].values()]
        above = statement["importer"]
        return tuple(name for name in names if name in self.cost and not (above + ".").startswith(name + "."))

    def _place(self, file: str | None, line: int | None) -> Place | None:
        return None if file is None else self.scope.place(file, line)

    def _without_registrations(self, candidates: list[Candidate]) -> list[Candidate]:
        """Return those whose statements register nothing elsewhere."""
        if not candidates:
            return []
        self.trials.begin("what they register")
        mode = "watch-subclasses" if self.subclasses else "watch"
        seen = self.trials.run([each.unit for each in candidates], mode)
        for at, each in enumerate(candidates):
            grown = {name: count for name, count in seen.grown.get(at, {}).items() if self._counts(each, name)}
            if grown:
                found = sorted(_counted(count, name) for name, count in grown.items())
                more = f" and {len(found) - 3} more" if len(found) > 3 else ""
                each.keep("it registers " + ", ".join(found[:3]) + more)
                each.effects = True
        return [each for each in candidates if each.is_open]

    def _counts(self, each: Candidate, name: str) -> bool:
        """Return whether what grew is a registration: not what foreign modules keep among themselves."""
        if " in " not in name or name.startswith(("entries in sys.", "entries in copyreg")):
            return True
        where = name.partition(" in ")[2]
        tops = set(self.trials.plan.roots)
        return where.partition(".")[0] in tops or each.statement["module"].partition(".")[0] in tops

    def _note_uses(self, trial: Trial, candidates: Sequence[Candidate]) -> bool:
        """Note what one run without all of them shows to be needed; return whether there was any."""
        for at, (name, file, line) in trial.used.items():
            candidates[at].keep(f"{name} is used while {self.trials.target} is imported", self._place(file, line))
        return bool(trial.used)

    def _note_failure(self, each: Candidate, trial: Trial, when: str = "") -> None:
        """Note how the import fails without one of them."""
        assert trial.error is not None
        own = [(file, line) for file, line in trial.frames if self.scope.owns(file)] or list(trial.frames)
        place = self._place(*own[-1]) if own else None
        each.keep(f"without it{when} the import fails: {trial.error.brief}", place)

    def _droppable(self, candidates: list[Candidate]) -> list[Candidate]:
        """Return those that can be left out together and whose modules are not loaded all the same."""
        left = candidates
        while left:
            self.trials.begin(f"whether {_counted(len(left), 'imports')} can wait")
            trial = self.trials.run([each.unit for each in left])
            if not self._note_uses(trial, left):
                if trial.error is None:
                    return self._without_needless(left, trial)
                self._find_culprit(left, trial)
            left = [each for each in left if each.is_open]
        return []

    def _find_culprit(self, candidates: list[Candidate], together: Trial) -> None:
        """Find one without which the import fails."""
        half = candidates
        while len(half) > 1:
            parts = [half[: len(half) // 2], half[len(half) // 2 :]]
            failing = next((part for part in parts if self.trials.run([one.unit for one in part]).error), None)
            if failing is None:
                break  # only several together make it fail: any of them will do
            half = failing
        alone = self.trials.run([half[-1].unit])
        failed, when = (together, " and others") if alone.error is None else (alone, "")
        self._note_failure(half[-1], failed, when)

    def _without_needless(self, candidates: list[Candidate], trial: Trial) -> list[Candidate]:
        by = {span.module: span for span in reversed(trial.spans)}
        for at, each in enumerate(candidates):
            if at not in trial.applied:
                each.keep(f"{each.statement['importer']} is not imported any more once the others are deferred")
            elif all(name in trial.loaded for name in each.modules):
                span: Span | None = by.get(each.modules[-1])
                place = None if span is None else self._place(span.by_file, span.by_line)
                each.keep(f"{each.modules[-1]} {NEEDLESS}", place)
        return [each for each in candidates if each.is_open]

    def _rounds(self, together: list[Candidate]) -> tuple[float, float]:
        """Measure in turns; return the least time as it is, and what it would be without all."""
        every = [each.unit for each in together]
        sets: list[list[Unit]] = [[], every, *([unit] for unit in every[:MOST])] if every else [[]]
        rounds: list[list[Trial]] = []
        began = time.monotonic()
        while len(rounds) < ROUNDS and (not rounds or time.monotonic() - began < LIMIT):
            name = f"round {len(rounds) + 1} of {ROUNDS}"
            self.trials.begin(f"{name}, {len(every)} to defer", (ROUNDS - len(rounds)) * len(sets))
            try:
                rounds.append([self.trials.run(units) for units in sets])
            except AdviceStopped:
                if not rounds:
                    raise
                self.note = f"interrupted in {name}: the figures are of those before"
                break
        bases, *rest = ([one[at] for one in rounds] for at in range(len(sets)))
        joints, alone = (rest[0], rest[1:]) if rest else (bases, [])
        base = least(bases)
        self.rounds, self.noise = len(bases), sorted(each.seconds for each in bases)[len(bases) // 2] - base
        for each, runs in zip(together, alone, strict=False):
            failed = next((run for run in runs if run.error is not None), None)
            if failed is not None:
                self._note_failure(each, failed)
            else:
                each.saving = saved(bases, runs)
        if any(not each.is_open for each in together):
            return self._rounds([each for each in together if each.is_open])
        return base, base - saved(bases, joints)

    def _without_noise(self, together: list[Candidate], base: float, joint: float) -> float:
        """Keep what saves nothing measurable, alone or with the others; return the time without the rest.

        Where it does save something with the others, it loads what they load too, and the note says so.
        """
        small = [each for each in together if each.saving is not None and is_noise(each.saving, base, self.noise)]
        if not small:
            return joint
        every, rest = [each.unit for each in together], [each.unit for each in together if each not in small]
        self.trials.begin("what saves nothing alone", 2 * self.rounds)
        try:  # in turns, or what the machine does meanwhile would be in the difference
            runs = [[self.trials.run(units) for units in (every, rest)] for _ in range(self.rounds)]
        except AdviceStopped:
            return joint
        all_, without = zip(*runs, strict=True)
        more = saved(without, all_)
        if any(run.error is not None for run in without) or not is_noise(more, base, self.noise):
            self.note = self.note or "what saves nothing alone loads what others load too: together they save it"
            return joint
        for each in small:
            each.keep("what it saves is less than the time of an import varies")
        return joint + max(0.0, more)

    def _forms(self, together: list[Candidate]) -> None:
        packages: dict[str, list[Candidate]] = {}
        for each in together:
            one = each.statement
            each.replacement = replacement(one, self.version, optional=each.optional)
            if self.version < NATIVE and one["package"] and each.exported and one["kind"] == "from":
                packages.setdefault(one["importer"], []).append(each)
        for package, members in packages.items():
            text = attached([each.statement for each in members], package, has_all=package in self.names_all)
            for each in members:
                each.replacement = text

    def _deferrals(self, candidates: list[Candidate], base: float) -> tuple[Deferral, ...]:
        ordered = sorted(candidates, key=lambda each: (not each.defer, -(each.saving or 0.0), -each.seconds))
        found: list[Deferral] = []
        for each in ordered:
            one, saving = each.statement, each.saving
            share = saving / base if saving is not None and base > 0 else None
            stated = self.scope.name(one["file"]), one["line"], one["importer"], one["module"], one["text"]
            found.append(Deferral(*stated, each.defer, saving, share, each.reason, each.because, each.replacement))
        return tuple(found)

    def _ruff(self, candidates: list[Candidate]) -> str:
        native = self.version >= NATIVE

        def named(each: Candidate) -> list[str]:
            one = each.statement
            below = [f"{one['module']}.{name}" for name in one["names"].values()]
            found = [name for name in below if one["kind"] == "from" and name in self.cost]
            return found or [one["module"]]

        deferred = [
            each
            for each in candidates
            if each.defer and (native or each.statement["kind"] == "import" or not each.exported)
        ]
        return ruff_settings(
            [name for each in deferred for name in named(each)],
            [name for each in candidates if not each.defer for name in named(each)],
            [name for each in candidates if each.effects for name in named(each)],
            native=native,
        )
