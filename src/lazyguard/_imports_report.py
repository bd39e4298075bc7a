"""What `track_imports` has kept, in the form of an audit's report (schema 1), so that the same tools read both.

Invariants: plain data; an outermost import is a module of the report, and all that it imported is its tree. Of foreign
modules only those that took a millisecond or more are told.
"""

from __future__ import annotations

import os
import platform
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from lazyguard._imports import TrackedImport

_SHORTEST = 0.001
_INSTALLED = ("site-packages", "dist-packages")


def report(modules: Iterable[TrackedImport], budget_of: Callable[[str], float | None]) -> dict[str, Any]:
    """Return the report of the imports that have ended."""
    ended = [one for one in modules if one.seconds is not None]
    trees: dict[TrackedImport, list[TrackedImport]] = {}
    for one in ended:
        trees.setdefault(_outermost(one), []).append(one)
    return {
        "schema": 1,
        "python": platform.python_version(),
        "timeout": 0.0,
        "repeats": 1,
        "path": os.getcwd(),
        "modules": [_module(tree, budget_of) for tree in trees.values()],
    }


def _outermost(one: TrackedImport) -> TrackedImport:
    while one.parent is not None:
        one = one.parent
    return one


def _module(tree: list[TrackedImport], budget_of: Callable[[str], float | None]) -> dict[str, Any]:
    root = tree[0]
    over = [one for one in tree if (limit := budget_of(one.module)) is not None and (one.seconds or 0.0) > limit]
    verdict = "fails" if root.failed else "slow" if over else "ok"
    costliest = max(over, key=lambda one: one.own_seconds, default=root)
    return {
        "module": root.module,
        "verdict": verdict,
        "seconds": root.seconds,
        "own_seconds": root.own_seconds,
        "third_party_seconds": sum(one.own_seconds for one in tree if not _is_own(one.file)),
        "blame": None if verdict == "ok" else _blame(costliest),
        "error": None,
        "findings": [],
        "imports": _imports(tree, root),
    }


def _blame(one: TrackedImport) -> dict[str, Any] | None:
    place = _place(one.by)
    if place is None:
        return None
    chain: list[str] = []
    above: TrackedImport | None = one
    while above is not None:
        chain.insert(0, above.module)
        above = above.parent
    return {**place, "leaf": None, "chain": chain}


def _imports(tree: list[TrackedImport], root: TrackedImport) -> list[dict[str, Any]]:
    kept: dict[TrackedImport, int] = {}
    found: list[dict[str, Any]] = []
    for one in tree:
        own = _is_own(one.file)
        if not own and (one.seconds or 0.0) < _SHORTEST and one is not root:
            continue
        parent = one.parent
        while parent is not None and parent not in kept:
            parent = parent.parent
        kept[one] = len(found)
        found.append(
            {
                "module": one.module,
                "parent": None if parent is None else kept[parent],
                "start": one.start - root.start,
                "seconds": one.seconds,
                "own_seconds": one.own_seconds,
                "first_party": own,
                "file": None if one.file is None else _name(one.file),
                "by": _place(one.by),
                "failed": one.failed,
            }
        )
    return found


def _is_own(file: str | None) -> bool:
    """Return whether a file belongs to the program: neither installed nor of the standard library."""
    if file is None or any(part in file.split(os.sep) for part in _INSTALLED):
        return False
    return not file.startswith((os.path.dirname(os.__file__) + os.sep, "<"))


def _place(by: str | None) -> dict[str, Any] | None:
    if by is None:
        return None
    file, _, line = by.rpartition(":")
    return {"file": _name(file), "line": int(line)}


def _name(file: str) -> str:
    """Return what an audit calls a file: its path below the longest entry of sys.path."""
    bases = {os.path.join(os.path.abspath(base), "") for base in (*sys.path, os.getcwd())}
    return file[max((len(base) for base in bases if file.startswith(base)), default=0) :]
