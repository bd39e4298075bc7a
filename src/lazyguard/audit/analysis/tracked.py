"""The imports that `track_imports` has recorded in a running program, in the form of an audit's report.

Invariant: what has not ended is left out. First-party is what is not installed: there are no audited paths.
"""

from __future__ import annotations

import os
import platform
import sys
from typing import TYPE_CHECKING, Any

from lazyguard._guards.frames import is_installed
from lazyguard.audit.analysis.import_tree import Frame, ImportTree, Scope, Span
from lazyguard.audit.report.model import Report
from lazyguard.audit.report.modules import Blame, ModuleReport
from lazyguard.audit.report.schema import plain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from lazyguard._monitoring.track_imports import TrackedImport


def report(modules: Iterable[TrackedImport], budget_of: Callable[[str], float | None]) -> dict[str, Any]:
    """Return the report: each outermost import is a module of it, with all that it imported."""
    scope = Scope(os.getcwd(), (), tuple(sys.path))
    spans: dict[TrackedImport, Span] = {}
    trees: dict[Span, ImportTree] = {}
    for one in modules:
        if one.seconds is None:
            continue
        own = one.file is not None and not is_installed(one.file)
        by = None if one.by is None else Frame(one.by.file, one.by.line, "")
        ended = one.start + one.seconds
        parent = None if one.parent is None else spans.get(one.parent)
        spans[one] = span = Span(
            one.module, one.file, by, None, None, parent, 0, one.start, own, ended, one.failed, one.inner
        )
        root = span.lineage()[0]
        trees.setdefault(root, ImportTree(root.name, 0, ended)).spans.append(span)
    found = tuple(_module(root, tree, scope, budget_of) for root, tree in trees.items())
    return dict(plain(Report(platform.python_version(), 0.0, 1, found, path=os.getcwd())))


def _module(root: Span, tree: ImportTree, scope: Scope, budget_of: Callable[[str], float | None]) -> ModuleReport:
    limits = [(span, budget_of(span.name)) for span in tree.spans]
    over = [span for span, limit in limits if limit is not None and span.seconds(tree.now) > limit]
    costliest = max(over, key=lambda span: span.own_seconds(tree.now), default=root)
    verdict = "fails" if root.failed else "slow" if over else "ok"
    place = scope.at(costliest.importer)
    blame = None if place is None else Blame(place.file, place.line, None, tree.chain(costliest))
    return ModuleReport(
        module=root.name,
        verdict=verdict,
        seconds=root.seconds(tree.now),
        own_seconds=root.own_seconds(tree.now),
        third_party_seconds=tree.third_party_seconds(),
        blame=None if verdict == "ok" else blame,
        imports=tree.executed(scope, root.began),
        executed=len({span.name for span in tree.spans}),
    )
