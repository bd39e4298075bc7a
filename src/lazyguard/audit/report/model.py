"""What an audit found: plain, frozen objects, and the JSON that they are kept in.

Invariants: times are float seconds. Files are relative to the audited path where they lie below it, otherwise to the
entry of the target's sys.path that they lie below. `from_dict(to_dict())` gives the same report. What is not a report
raises ConfigurationError with the place that is wrong. A line is None where it is unknown.
"""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from lazyguard.audit.report.modules import PARDONED, Cause, ModuleReport, Place, Placed, causes, chain_to
from lazyguard.audit.report.schema import expect, packed, plain, read, unpacked
from lazyguard.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator

SCHEMA = 1


@dataclass(frozen=True)
class Spending:
    """What a module used of one limit of its budget.

    Attributes:
        kind: "seconds", "modules" or "forbid".
        limit: seconds, or a number of modules; 0 for a forbidden one.
        measured: what it took, in the same unit.
        allowance: what it may be over the limit before it counts.
        place: the line that asked for the slowest body, or for the forbidden module.
        chain: the imports that led there.
        largest: the modules with the slowest bodies, the slowest first; or the forbidden module.
    """

    target: str
    kind: str
    limit: float
    measured: float
    allowance: float
    exceeded: bool
    place: Place | None = None
    chain: tuple[str, ...] = ()
    largest: tuple[str, ...] = ()


@dataclass(frozen=True)
class Deferral(Placed):
    """One import statement at module level, and what is advised for it.

    Attributes:
        module: the absolute name of what it imports.
        importer: the module that it stands in.
        defer: whether it is worth deferring, and can be.
        saving: seconds that the import of the target took less without this one statement; None: not measured.
        share: the same as a part of the whole import.
        reason: why it must stay, or is not worth it; for an optional import that is deferred, why it has its form.
        because: the line of that.
        replacement: the text to write in its place; for the re-exports of a package one text for all of them.
    """

    file: str
    line: int | None
    importer: str
    module: str
    statement: str
    defer: bool
    saving: float | None = None
    share: float | None = None
    reason: str | None = None
    because: Place | None = None
    replacement: str | None = None


@dataclass(frozen=True)
class Advice:
    """Which imports that one target leads to can be deferred, and what that saves, measured by running without them.

    Attributes:
        seconds: the import of the target as it is, the fastest of all rounds.
        saving: seconds that it took less without all that are advised, together; None: not measured.
        rounds: how many times each was run, in turns.
        imports: the statements, those to defer first, by what each saves alone.
        ruff: TOML for the rules of ruff that keep the advice.
        note: a sentence on the whole.
        noise: seconds by which the import as it is differed between rounds (median less least). A smaller saving is
            none.
    """

    target: str
    seconds: float
    saving: float | None = None
    rounds: int = 0
    imports: tuple[Deferral, ...] = ()
    ruff: str = ""
    note: str | None = None
    noise: float = 0.0


@dataclass(frozen=True)
class Slower:
    """A module that takes longer than in another state of the program, beyond its allowance.

    Attributes:
        before: seconds in the other state; like `after`, the fastest of imports that ran alone and in turns.
        new: the slowest modules that it did not import there, each with all below it; the slowest first.
        grown: the modules whose own bodies grew most, in time.
        place: the line that asked for the slowest new one, or the file of the body where that is slower.
        chain: the imports that led there.
    """

    module: str
    before: float
    after: float
    new: tuple[str, ...] = ()
    grown: tuple[str, ...] = ()
    place: Place | None = None
    chain: tuple[str, ...] = ()

    @property
    def factor(self) -> float:
        """How many times longer the import became."""
        return self.after / self.before if self.before > 0 else float("inf")


@dataclass(frozen=True)
class Against:
    """How long the imports take in comparison with another state of the program.

    Attributes:
        path: the directory of the other state.
        modules: how many modules both states import to the end.
        uncompiled: how many sources of the other state have no byte code.
        left: modules that looked slower, but are undecided: the machine was too busy for two measurements that agree,
            or slower ones had been found before.
    """

    path: str
    modules: int
    uncompiled: int = 0
    slower: tuple[Slower, ...] = ()
    left: tuple[str, ...] = ()


@dataclass(frozen=True)
class Report:
    """One audit.

    Attributes:
        pending: the modules that were not reached when it was interrupted.
        fresh_because: why no child was forked; None where some were.
        left_out: the dependencies that forks did not find loaded, each with the reason.
        paths: further directories that files are relative to.
        notes: sentences on the whole, such as what could be given for a better audit.
        strict: whether what is not installed, or is for another platform, is a fault as well.
        shard: which part of the modules it is, "2/4"; None: all.
        passed_over: the modules that were found and left out: tests, `__main__`, and what was excluded.
        uncompiled: how many audited sources have no byte code, so that their times include the compiler's.
        advice: what can be deferred, one for each target; empty where that was not asked for.
        against: what became slower than in another state of the program, where that was asked for.
    """

    python: str
    timeout: float
    repeats: int
    modules: tuple[ModuleReport, ...]
    slow: float = 0.5
    path: str = "."
    interpreter_seconds: float = 0.0
    pending: tuple[str, ...] = ()
    schema: int = SCHEMA
    budgets: tuple[Spending, ...] = ()
    fresh_because: str | None = None
    left_out: tuple[str, ...] = ()
    uncompiled: int = 0
    advice: tuple[Advice, ...] = ()
    against: Against | None = None
    paths: tuple[str, ...] = ()
    passed_over: tuple[str, ...] = ()
    strict: bool = False
    notes: tuple[str, ...] = ()
    shard: str | None = None

    def on_disk(self, file: str) -> Iterator[tuple[str, str]]:
        """Yield where a file may lie: one of the audited directories, and the path of the file below it."""
        for path in (self.path, *self.paths) if self.path else ():
            root = os.path.realpath(path)
            try:
                full = os.path.realpath(os.path.join(root, file))
            except ValueError:  # no file can have this name
                return
            if full.startswith(root.rstrip(os.sep) + os.sep) and os.path.isfile(full):
                yield root, full

    @property
    def found(self) -> bool:
        """Whether any verdict is not ok, any budget is exceeded, or any module became slower."""
        return any(map(self.is_fault, self.modules)) or any(one.exceeded for one in self.budgets) or bool(self.slower)

    def is_fault(self, module: ModuleReport) -> bool:
        """Return whether the verdict of a module makes the audit fail."""
        return module.verdict != "ok" and (self.strict or module.verdict not in PARDONED)

    @property
    def slower(self) -> tuple[Slower, ...]:
        """What became slower than in the other state, where there is one."""
        return self.against.slower if self.against else ()

    @property
    def verdicts(self) -> str:
        """How many modules have which verdict, in words: "2 ok, 1 fails"."""
        counts = Counter(module.verdict for module in self.modules)
        return ", ".join(f"{count} {verdict}" for verdict, count in counts.items()) or "nothing audited"

    @property
    def causes(self) -> tuple[Cause, ...]:
        """The verdicts that are not ok, grouped by the line to blame, worst and most frequent first."""
        return causes(self.modules)

    def chain_to(self, cause: Cause) -> tuple[str, ...]:
        """Return the longest chain of imports that leads to a cause; empty where none is known."""
        return chain_to(self.modules, cause)

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON has it (see the documentation of the schema)."""
        found = plain(self)
        return {"schema": found.pop("schema"), **found, "causes": plain(self.causes)}

    def treeless(self) -> Report:
        """Return the report without its trees of imports, which are nearly all of it."""
        return replace(self, modules=tuple(replace(module, imports=()) for module in self.modules))

    def packed(self) -> dict[str, Any]:
        """Return the report as `--json` writes it, which `from_dict` reads as well."""
        return packed(self.treeless().to_dict(), self.modules)

    @classmethod
    def from_dict(cls, data: object) -> Report:
        """Return the report that `to_dict` or `--json` wrote.

        Raises:
            ConfigurationError: it is not one, or one of a later schema.
        """
        schema = expect(int, expect(dict, data, "the report").get("schema"), "the report.schema")
        if schema != SCHEMA:
            raise ConfigurationError(f"this report has schema {schema}; this lazyguard reads {SCHEMA}: audit again")
        return read(cls, unpacked(data))
