"""The findings beside a verdict: connections, look-ups of names, sleeps, files written, processes, threads, and so on.

Invariants: a finding has a first-party line; without one it is none. The same one is reported once. A look-up of an
address that is a number, or of localhost, asks no server and is no finding.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

from lazyguard.audit.report.modules import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lazyguard.audit.analysis.import_tree import Effect, ImportTree, Span
    from lazyguard.audit.analysis.scope import Scope
    from lazyguard.audit.report.budget import Budget

KINDS = ("connect", "dns", "subprocess", "thread", "sleep", "file-write")
ONE_A_LINE = ("subprocess", "sleep", "file-write")


def findings(tree: ImportTree, scope: Scope) -> tuple[Finding, ...]:
    """Return what was seen, in the order in which it happened, double imports last."""
    found: dict[tuple[str, str, int | None, str], Finding] = {}
    for effect in tree.effects:
        if effect.site is None or effect.kind not in KINDS or _is_local_look_up(effect) or _is_no_sleep(effect, tree):
            continue
        place = scope.place(effect.site.file, effect.site.line)
        # One program raises several events, and the first has its name. Loops over files, or of waits, do so, too.
        key = (effect.kind, place.file, place.line, "" if effect.kind in ONE_A_LINE else effect.detail)
        module = tree.module_of(effect.site.file)
        chain = tree.chain(_first_party(effect.span), *([module] if module else []))
        detail = f"sleeps {_slept(effect):g} s" if effect.kind == "sleep" else effect.detail
        found.setdefault(key, Finding(effect.kind, place.file, place.line, detail, chain))
    return (*found.values(), *_double_imports(tree, scope))


def forbidden(tree: ImportTree, scope: Scope, budget: Budget | None) -> Iterator[Finding]:
    """Yield a finding for each name that a budget forbids, with the line that asked for it first."""
    reported: set[str] = set()
    for span in tree.importing() if budget is not None else ():
        name = budget.forbidden(span.name) if budget is not None else None
        asked = span.site or span.importer
        if name is None or name in reported or asked is None:
            continue
        reported.add(name)
        place = scope.place(asked.file, asked.line)
        yield Finding("forbidden", place.file, place.line, f"{span.name} is executed", tree.chain(span))


def _first_party(span: Span | None) -> Span | None:
    while span is not None and not span.first_party:
        span = span.parent
    return span


def _is_no_sleep(effect: Effect, tree: ImportTree) -> bool:
    """Return whether it is a sleep of no time, or of a thread that the import does not wait for."""
    return effect.kind == "sleep" and (effect.thread != tree.main or not _slept(effect) > 0)


def _slept(effect: Effect) -> float:
    try:
        return float(effect.detail)
    except ValueError:
        return 0.0


def _is_local_look_up(effect: Effect) -> bool:
    if effect.kind != "dns":
        return False
    name = effect.detail.removeprefix("the name of ")
    host = name.partition("%")[0]
    if host in ("", "None", "localhost"):
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return name == effect.detail or address.is_loopback


def _double_imports(tree: ImportTree, scope: Scope) -> Iterator[Finding]:
    """Yield the files that were executed again, under another name or because the first execution failed."""
    first: dict[str, Span] = {}
    for span in tree.spans:
        if not span.first_party or span.file is None or not span.file.endswith((".py", ".pyc")):
            continue
        before = first.setdefault(span.file, span)
        if before is span or span.site is None:
            continue
        if before.name != span.name:
            detail = f"{scope.name(span.file)} is executed as {before.name} and as {span.name}"
        else:
            reason = "its first execution failed" if before.failed else "it was taken out of sys.modules or reloaded"
            detail = f"{span.name} is executed twice: {reason}"
        place = scope.place(span.site.file, span.site.line)
        also = scope.place(before.site.file, before.site.line) if before.site else None
        yield Finding("double-import", place.file, place.line, detail, tree.chain(span), also)
