"""The tree of module executions that a child streamed: who imported what, for how long, in which order.

Invariants: spans are in pre-order; a span that never ended was running when the child ended. A module may have
several (its creation and its execution for an extension, a second execution, a failed one). Own time of a span is its
own less that of the spans within it.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from lazyguard.audit.analysis.scope import BODY, Frame, Scope
from lazyguard.audit.report.modules import Imported

if TYPE_CHECKING:
    from collections.abc import Iterable


SHORTEST = 0.001
"""Seconds below which the execution of a foreign module is not worth a line in a report."""
PART = 0.01
"""The part of the whole import below which it is not."""


@dataclass(eq=False)
class Span:
    """One execution of a module's body."""

    name: str
    file: str | None
    importer: Frame | None
    site: Frame | None
    """The nearest first-party frame that asked for it."""
    body: Frame | None
    """Where that is in a function, the line of a first-party module's body that led to it."""
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
    unbound: tuple[str, ...]
    """Names in the asking code that the module did not have."""
    span: Span | None
    """What was running in the asking thread."""


@dataclass
class ImportTree:
    """The spans and effects of one child."""

    target: str
    main: int
    now: float
    """The child's clock at its end."""
    spans: list[Span] = field(default_factory=list[Span])
    effects: list[Effect] = field(default_factory=list[Effect])
    unfinished: list[Unfinished] = field(default_factory=list[Unfinished])
    changes: list[tuple[str, tuple[str, int | None], str, Span | None]] = field(default_factory=list[Any])
    """What first-party modules changed of the process: the thing, file and line, names, and the body that ran."""
    open: Span | None = None
    """The innermost span of the importing thread that did not end."""
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
            by = span.site or span.importer
            kept[span] = len(found)
            found.append(
                Imported(
                    span.name,
                    parent,
                    round(max(0.0, span.began - began), 6),
                    round(span.seconds(self.now), 6),
                    round(span.own_seconds(self.now), 6),
                    span.first_party,
                    None if span.file is None else scope.name(span.file),
                    None if by is None else scope.place(by.file, by.line),
                    span.failed,
                )
            )
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
