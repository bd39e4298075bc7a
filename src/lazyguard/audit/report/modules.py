"""What an audit found of one module, and the verdicts that are not ok, grouped by what causes them.

Invariants: times are float seconds. Files are relative to the audited path where they lie below it, otherwise to the
entry of the target's sys.path that they lie below. A line is None where it is unknown. A cause has one verdict, and one
error where it fails. Its modules share the line of a module that set it off, or the line in a function that it was met
in: two that share neither are two causes.
"""

from __future__ import annotations

import re
import tempfile
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

# What is said of a module, or of several, by the verdict.
VERBS = {
    "hangs": ("hangs", "hang"),
    "crashes": ("crashes", "crash"),
    "exits": ("exits", "exit"),
    "fails": ("fails", "fail"),
    "cannot-exit": ("cannot exit", "cannot exit"),
    "leaves-children": ("leaves children behind", "leave children behind"),
    "slow": ("is slow", "are slow"),
    "not-installed": ("needs what is not installed", "need what is not installed"),
    "other-platform": ("is for another platform", "are for another platform"),
}
# In the order of their precedence: a module has the first that applies.
VERDICTS = (*VERBS, "ok")
# Verdicts that make no audit fail, unless it is strict.
PARDONED = ("not-installed", "other-platform", "ok")


@dataclass(frozen=True)
class Place:
    """A line of a file; the line is None where only the file is known."""

    file: str
    line: int | None

    def __str__(self) -> str:
        return self.file if self.line is None else f"{self.file}:{self.line}"


class Placed:
    """What is at a line of a file."""

    file: str
    line: int | None

    @property
    def place(self) -> Place:
        """File and line."""
        return Place(self.file, self.line)


@dataclass(frozen=True)
class Blame(Placed):
    """The line of a first-party module that set it off, what ran below it, and the imports that led to its module.

    Attributes:
        leaf: the innermost line, where that is not first-party.
        inner: the innermost first-party line, where that is another one: in a function that was called.
    """

    file: str
    line: int | None
    leaf: Place | None
    chain: tuple[str, ...]
    inner: Place | None = field(default=None, metadata={"left_out": True})

    def __str__(self) -> str:
        return " -> ".join(str(each) for each in (self.place, self.inner, self.leaf) if each is not None)


@dataclass(frozen=True)
class Failure:
    """What ended the import: the type of the exception and its message.

    Attributes:
        hint: how to mend it, where that is known: the command that installs a missing module, or the file that lacks a
            name, with similar names.
    """

    type: str
    message: str
    hint: str | None = None

    def __str__(self) -> str:
        message = self.message.strip()
        return f"{self.type}: {message}" if message else self.type

    @property
    def brief(self) -> str:
        """The type and the first line of the message."""
        return (str(self).splitlines() or [""])[0]


@dataclass(frozen=True)
class Finding(Placed):
    """Something seen on the way, whatever the verdict.

    Attributes:
        kind: one of `connect dns subprocess thread sleep file-write process-state double-import circular-import
            order-dependent forbidden`.
        also: the second place, where there is one: of a double import the first, of a circular import its beginning,
            of an import that depends on the order the line that made it pass.
    """

    kind: str
    file: str
    line: int | None
    detail: str
    chain: tuple[str, ...]
    also: Place | None = field(default=None, metadata={"left_out": True})


@dataclass(frozen=True)
class Imported:
    """One module that was executed on the way, in the order in which execution began.

    Attributes:
        parent: the place, in the same list, of the module that was being executed when this one began; None: none was.
        start: seconds since the import of the audited module began.
        seconds: with all that was executed below it.
        by: the line that asked for it; the nearest first-party one where that is known.
    """

    module: str
    parent: int | None
    start: float
    seconds: float
    own_seconds: float
    first_party: bool
    file: str | None = None
    by: Place | None = None
    failed: bool = False


@dataclass(frozen=True)
class ModuleReport:
    """One module, imported alone in a fresh interpreter.

    Attributes:
        seconds: the import as a whole, parents and everything below included, the interpreter's start not.
        own_seconds: the module's own body alone, what it imports not included; 0.0 where its body was not reached.
        third_party_seconds: everything executed that does not belong to the audited packages, the standard library
            included. The rest of `seconds` went into other modules of the audited packages and into finding files.
        detail: a sentence beside the verdict: which thread, which processes, which signal.
        output: the end of what the module wrote to stderr, where the verdict is not ok.
        imports: what was executed on the way; of foreign modules only those that took a millisecond and
            a hundredth of the whole, or more.
        executed: how many modules were executed on the way, itself and all foreign ones included.
        tier: where verdict and times come from: "fresh" (a fresh interpreter), "repeated" (the fastest of several), or
            "forked": a fork decided it. Its times then are what it took there, and what its dependencies took when they
            were loaded once.
        repeats: how many imports in fresh interpreters there were, of which the fastest counts; 0 for a forked one.
        memory: bytes that its import took at its peak, beyond the bare interpreter; None where that is unknown.
        queued_seconds: the part of `seconds` in which it waited for a processor; 0.0 where that is unknown.
    """

    module: str
    verdict: str = field(metadata={"one_of": VERDICTS})
    seconds: float
    own_seconds: float
    third_party_seconds: float = 0.0
    blame: Blame | None = None
    error: Failure | None = None
    findings: tuple[Finding, ...] = ()
    detail: str | None = None
    output: str | None = None
    imports: tuple[Imported, ...] = ()
    executed: int = 0
    tier: str = "fresh"
    repeats: int = 1
    queued_seconds: float = 0.0
    memory: int | None = None

    @property
    def net_seconds(self) -> float:
        """The seconds without the wait for a processor, by which it is judged: load is no cost of an import."""
        return self.seconds - self.queued_seconds


_LINES = re.compile(r"(?<=:)\d+")
_OF_THE_RUN = re.compile(
    r"(?i)[0-9a-f]{8}(-?[0-9a-f]{4}){3}-?[0-9a-f]{12}|(?<=tmp)\w{8}"
    r"|(?<=[-_.])(\d+|(?=[a-z]*[0-9_]))[a-z0-9_]{8}(?![a-z0-9])|[0-9a-f]{12,}|\d*0x[0-9a-f]+|\d+([.]\d+)?(e[+-]?\d+)?"
)

# In directories for temporary files also what tempfile has made of letters alone.
_TEMPORARY = ("/tmp/", "/var/folders/", tempfile.gettempdir() + "/")
_LETTERS = re.compile(r"(?<=[-_.])[a-z]{8}(?![a-z0-9])")


def steady(kind: str, detail: str) -> str:
    """Return the detail of a finding without what depends on the run, such as process ids and temporary names.

    Where it is reported in two lines, those are not compared either, for they move. An endpoint is compared whole.
    """
    if kind in ("connect", "dns"):
        return detail
    found = _OF_THE_RUN.sub("*", _LINES.sub("", detail))
    return _LETTERS.sub("*", found) if any(each in detail for each in _TEMPORARY) else found


@dataclass(frozen=True)
class Cause:
    """One line that is to blame for the same verdict of several modules."""

    verdict: str
    place: Place | None
    modules: tuple[str, ...]
    error: Failure | None
    text: str


def lines_of(module: ModuleReport) -> tuple[tuple[object, ...], ...]:
    """Return by what a verdict belongs to a cause: its lines, each with the verdict and the error."""
    if module.verdict in PARDONED:
        return ((module.verdict,),)
    error = module.error if module.verdict == "fails" else None
    same = (module.verdict, error and (error.type, steady("", error.message), error.hint))
    blame = module.blame
    lines = [module.module] if blame is None else [each for each in (blame.place, blame.inner) if each is not None]
    return tuple((*same, line) for line in lines)


def causes(modules: Sequence[ModuleReport]) -> tuple[Cause, ...]:
    """Return the causes, worst and most frequent first."""
    groups: dict[tuple[object, ...], list[ModuleReport]] = {}
    for module in modules:
        if module.verdict == "ok":
            continue
        lines = lines_of(module)
        known = {id(groups[line]): groups[line] for line in lines if line in groups}
        merged = [each for group in known.values() for each in group] + [module]
        groups.update((line, merged) for each in merged for line in lines_of(each))
    found = [_cause(members, len(modules)) for members in {id(group): group for group in groups.values()}.values()]
    return tuple(sorted(found, key=lambda cause: (VERDICTS.index(cause.verdict), -len(cause.modules))))


def chain_to(modules: Iterable[ModuleReport], cause: Cause) -> tuple[str, ...]:
    """Return the longest chain of imports that leads to a cause; empty where none is known.

    Packages that Python executes only because a module of theirs is next are left out at the beginning: all their
    modules have them in common, and none of them asked.
    """
    chains = {_without_children(each.blame.chain) for each in modules if each.module in cause.modules and each.blame}
    return min(chains, key=lambda chain: (-len(chain), chain), default=())


def _without_children(chain: tuple[str, ...]) -> tuple[str, ...]:
    while len(chain) > 1 and chain[0].startswith(chain[1] + "."):
        chain = chain[1:]
    return chain


def _cause(members: Sequence[ModuleReport], count: int) -> Cause:
    first = members[0]
    names = tuple(each.module for each in members)
    text = f"{len(members)} of {count} {VERBS[first.verdict][len(members) > 1]}"
    if first.verdict in PARDONED:
        needs = sorted({str(each.detail).removeprefix("needs ") for each in members if each.detail})
        return Cause(first.verdict, None, names, None, text + (f": {', '.join(needs)}" if needs else ""))
    blame = first.blame
    place = blame.place if blame is not None else None
    if blame is not None and any(each.blame and each.blame.place != place for each in members):
        place = blame.inner or place
    return Cause(first.verdict, place, names, first.error, text + (f" in {place}" if place else ""))
