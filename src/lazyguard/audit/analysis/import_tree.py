"""The tree of module executions that a child streamed, and which of its files and frames are first-party.

Invariants: first-party is what lies below the audited paths, and the audited packages, nothing that is installed below
them. A first-party file is named relative to the audited path that it lies below. Any other one is named relative to
the longest entry of the target's sys.path that it lies below. Spans are in pre-order; a span that never ended was
running when the child ended. A module may have several (its creation and its execution for an extension, a second
execution, a failed one). Own time of a span is its own less that of the spans within it.
"""

from __future__ import annotations

import os
import re
import sys
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from lazyguard.audit.report.modules import Finding, Imported, Place
from lazyguard.audit.target.recorder import is_first_party, is_machinery

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from lazyguard.audit.processes.plan import Plan

_THREAD = re.compile(r"^(?:Thread|Current thread) 0x([0-9a-f]{1,16})\b")
_FRAME = re.compile(r'^  File "(.*)", line ([0-9]{1,9}|\?\?\?) in (.*)$')
_ESCAPE = re.compile(r"\\(?:x([0-9a-f]{2})|u([0-9a-f]{4})|U([0-9a-f]{8}))")


# The function of a frame in the body of a module.
BODY = "<module>"


@dataclass(frozen=True)
class Frame:
    """One frame of a stack, its file as the interpreter names it."""

    file: str
    line: int | None
    function: str


@dataclass(frozen=True)
class Dump:
    """One dump of faulthandler: what it was written for, and the stack of the importing thread, innermost first."""

    reason: str
    frames: tuple[Frame, ...]


@dataclass(frozen=True)
class Scope:
    """The audited paths (parted by colons), the roots of what is first-party, and the target's sys.path."""

    path: str
    roots: tuple[str, ...]
    sys_path: tuple[str, ...] = ()
    _names: dict[str, str] = field(default_factory=dict[str, str], compare=False)

    def owns(self, file: str | None) -> bool:
        """Return whether a file is first-party."""
        return file is not None and _owns(file, self.roots)

    def name(self, file: str) -> str:
        """Return what the file is called in a report."""
        name = self._names.get(file)
        if name is None:
            paths = [real for path in self.path.split(os.pathsep) for real in (path, os.path.realpath(path))]
            lengths = [len(base) for base in _ending(paths) if file.startswith(base)]
            if not (lengths and self.owns(file)):
                lengths += [len(base) for base in _ending(self.sys_path) if file.startswith(base)]
            longest = max(lengths, default=0)
            name = self._names[file] = file[longest:]
        return name

    def place(self, file: str, line: int | None) -> Place:
        """Return a line as a report names it."""
        return Place(self.name(file), line)

    def at(self, frame: Frame | None) -> Place | None:
        """Return the line of a frame as a report names it, where there is one."""
        return None if frame is None else self.place(frame.file, frame.line)

    def finding(self, kind: str, at: Frame, detail: str, chain: tuple[str, ...], also: Frame | None = None) -> Finding:
        """Return a finding at the line of a frame."""
        return Finding(kind, self.name(at.file), at.line, detail, chain, self.at(also))

    def innermost(self, frames: Sequence[Frame]) -> Frame | None:
        """Return the innermost first-party frame of a stack that has its innermost frame first."""
        return next((frame for frame in frames if self.owns(frame.file)), None)

    def body(self, frames: Sequence[Frame]) -> Frame | None:
        """Return the innermost frame of a stack that is in the body of a first-party module."""
        return next((frame for frame in frames if frame.function == BODY and self.owns(frame.file)), None)


def scope_of(plan: Plan, module: str) -> Scope:
    """Return the scope of one module of a plan."""
    return _scope(plan.path, plan.first_party(module), plan.sys_path)


def _ending(paths: Iterable[str]) -> list[str]:
    return [path.rstrip(os.sep) + os.sep for path in paths]


_owns = lru_cache(maxsize=1 << 16)(is_first_party)
# The same scope for the same roots: it keeps the names that it has found.
_scope = lru_cache(maxsize=64)(Scope)


def read_dumps(text: str, thread: int) -> list[Dump]:
    """Return the dumps in a file that faulthandler wrote, each with the stack of the given thread.

    Where no thread has its number (the target may have been a forked copy), the last stack counts, which is that of the
    main thread.
    """
    dumps: list[Dump] = []
    reason = ""
    whole: dict[int, list[Frame]] = {}
    frames: list[Frame] | None = None
    for line in [*text.splitlines(), "Timeout ("]:
        header = _THREAD.match(line)
        found = _FRAME.match(line)
        if line.startswith(("Timeout (", "Fatal Python error:")):
            if whole:
                chosen = whole.get(thread) or list(whole.values())[-1]
                dumps.append(Dump(reason, tuple(frame for frame in chosen if not is_machinery(frame.file))))
            reason, whole, frames = line, {}, None
        elif header is not None:
            frames = whole.setdefault(int(header[1], 16), [])
        elif found is not None and frames is not None:
            number = None if found[2] == "???" else int(found[2])
            frames.append(Frame(_ESCAPE.sub(_unescape, found[1]), number, found[3]))
        elif line.startswith("Current thread's C stack"):
            frames = None
    return dumps


def _unescape(match: re.Match[str]) -> str:
    """Return a character that faulthandler has escaped; a dump is written without the GIL, and a name can be torn."""
    number = int(match[1] or match[2] or match[3], 16)
    return chr(number) if number <= sys.maxunicode else "\ufffd"


# Seconds below which the execution of a foreign module is not worth a line in a report.
SHORTEST = 0.001
# The part of the whole import below which it is not.
PART = 0.01


@dataclass(eq=False)
class Span:
    """One execution of a module's body."""

    name: str
    file: str | None
    importer: Frame | None
    # The nearest first-party frame that asked for it.
    site: Frame | None
    # Where that is in a function, the line of a first-party module's body that led to it.
    body: Frame | None
    parent: Span | None
    thread: int
    began: float
    first_party: bool
    ended: float | None = None
    failed: bool = False
    inner: float = 0.0

    def seconds(self, now: float) -> float:
        """Return how long it took; 0 where it began after the import had ended, in an exit function."""
        return max(0.0, (now if self.ended is None else self.ended) - self.began)

    def own_seconds(self, now: float) -> float:
        """Return how long its body alone took."""
        return max(0.0, self.seconds(now) - self.inner)

    def lineage(self) -> list[Span]:
        """Return the spans from the outermost to this one."""
        spans: list[Span] = []
        span: Span | None = self
        while span is not None:
            spans.append(span)
            span = span.parent
        return spans[::-1]


@dataclass
class Effect:
    """Something the module did while it was imported, with the span that was running in its thread."""

    kind: str
    detail: str
    leaf: Frame | None
    site: Frame | None
    body: Frame | None
    span: Span | None
    thread: int = 0

    @property
    def stack(self) -> list[Frame]:
        """What is known of the stack, innermost first."""
        return stack(self.leaf, self.site, self.body)


@dataclass
class Unfinished:
    """A module that was asked for while it was being executed."""

    asked: str
    near: Frame
    # Names in the asking code that the module did not have.
    unbound: tuple[str, ...]
    # What was running in the asking thread.
    span: Span | None


@dataclass
class ImportTree:
    """The spans and effects of one child."""

    target: str
    main: int
    # The child's clock at its end.
    now: float
    spans: list[Span] = field(default_factory=list[Span])
    effects: list[Effect] = field(default_factory=list[Effect])
    unfinished: list[Unfinished] = field(default_factory=list[Unfinished])
    # What first-party modules changed of the process: the thing, file and line, names, and the body that ran.
    changes: list[tuple[str, tuple[str, int | None], str, Span | None]] = field(default_factory=list[Any])
    # The innermost span of the importing thread that did not end.
    open: Span | None = None
    threads: dict[int, Span | None] = field(default_factory=dict[int, "Span | None"])

    def chain(self, span: Span | None, *last: str) -> tuple[str, ...]:
        """Return the names from the target to a span, and then `last`, none twice in a row."""
        names = [self.target, *([each.name for each in span.lineage()] if span else []), *last]
        return tuple(name for at, name in enumerate(names) if at == 0 or name != names[at - 1])

    def module_of(self, file: str) -> str | None:
        """Return the name of the module that was executed from a file."""
        return next((span.name for span in self.spans if span.file == file), None)

    def importing(self) -> list[Span]:
        """Return the spans of the importing thread: what other threads import meanwhile is no cost of the import."""
        return [span for span in self.spans if span.thread == self.main]

    def executed(self, scope: Scope, began: float) -> tuple[Imported, ...]:
        """Return the tree as a report has it; `began` is when the import did, by the child's clock."""
        kept: dict[Span, int] = {}
        found: list[Imported] = []
        least = max(SHORTEST, (self.now - began) * PART)
        for span in self.importing():
            if not span.first_party and span.seconds(self.now) < least and span.name != self.target:
                continue  # and so is all below it, unless that is first-party: then its nearest ancestor is its parent
            parent = next((kept[each] for each in reversed(span.lineage()[:-1]) if each in kept), None)
            kept[span] = len(found)
            times = (max(0.0, span.began - began), span.seconds(self.now), span.own_seconds(self.now))
            start, whole, own = (round(each, 6) for each in times)
            file, by = span.file and scope.name(span.file), scope.at(span.site or span.importer)
            found.append(Imported(span.name, parent, start, whole, own, span.first_party, file, by, span.failed))
        return tuple(found)

    def own_seconds(self, name: str) -> float:
        """Return the time in the body of a module alone."""
        return sum(span.own_seconds(self.now) for span in self.importing() if span.name == name)

    def third_party_seconds(self) -> float:
        """Return the time in the bodies of modules that are not first-party."""
        return sum(span.own_seconds(self.now) for span in self.importing() if not span.first_party)


def stack(leaf: Frame | None, site: Frame | None, body: Frame | None) -> list[Frame]:
    """Return what is known of a stack, innermost first; the last is in the body of a module."""
    known = dict.fromkeys(each for each in (leaf, site) if each is not None)
    return [*known, *([replace(body, function=BODY)] if body is not None else [])]


def _frame(file: str | None, line: int | None) -> Frame | None:
    return None if file is None else Frame(file, line, "")


def build(target: str, events: Iterable[list[Any]], scope: Scope, *, main: int, now: float) -> ImportTree:
    """Return the tree that a child's events describe; `now` is the child's clock at its end."""
    tree = ImportTree(target, main, now)
    for event in events:
        if event[0] == "begin":
            _, at, thread, name, file, *places = event
            importer, wanted, body = map(_frame, places[::2], places[1::2])
            parent = tree.threads.get(thread)
            span = Span(name, file, importer, wanted, body, parent, thread, at, scope.owns(file))
            tree.spans.append(span)
            tree.threads[thread] = span
        elif event[0] == "end":
            _, at, thread, name, failed = event
            done = tree.threads.get(thread)
            if done is not None and done.name == name:
                done.ended, done.failed = at, failed
                tree.threads[thread] = done.parent
                if done.parent is not None:
                    done.parent.inner += done.seconds(now)
        elif event[0] == "effect":
            _, _, thread, kind, detail, *places = event
            leaf, wanted, body = map(_frame, places[::2], places[1::2])
            tree.effects.append(Effect(kind, detail, leaf, wanted, body, tree.threads.get(thread), thread))
        elif event[0] == "circular":
            _, _, thread, name, near, near_line, unbound = event
            asking = Frame(near, near_line, "")
            tree.unfinished.append(Unfinished(name, asking, tuple(unbound), tree.threads.get(thread)))
        elif event[0] == "state":
            _, _, thing, file, line, names = event
            tree.changes.append((thing, (file or "", line), names, tree.threads.get(main)))
    tree.open = tree.threads.get(main)
    running = tree.open
    while running is not None and running.parent is not None:
        running.parent.inner += running.seconds(now)
        running = running.parent
    return tree
