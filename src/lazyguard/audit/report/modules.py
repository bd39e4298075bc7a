"""What an audit found of one module: plain, frozen objects.

Invariants: times are float seconds. Files are relative to the audited path where they lie below it, otherwise to the
entry of the target's sys.path that they lie below. A line is None where it is unknown.
"""

from __future__ import annotations

from dataclasses import dataclass, field

VERDICTS = (
    "hangs",
    "crashes",
    "exits",
    "fails",
    "cannot-exit",
    "leaves-children",
    "slow",
    "not-installed",
    "other-platform",
    "ok",
)
"""In the order of their precedence: a module has the first that applies."""
PARDONED = ("not-installed", "other-platform", "ok")
"""Verdicts that make no audit fail, unless it is strict."""


@dataclass(frozen=True)
class Place:
    """A line of a file; the line is None where only the file is known."""

    file: str
    line: int | None

    def __str__(self) -> str:
        return self.file if self.line is None else f"{self.file}:{self.line}"


@dataclass(frozen=True)
class Blame:
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

    @property
    def place(self) -> Place:
        """File and line."""
        return Place(self.file, self.line)

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
class Finding:
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

    @property
    def place(self) -> Place:
        return Place(self.file, self.line)


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
