"""The tiers of an audit: children that are forked with their dependencies loaded, fresh ones, and repeated fresh ones.

Invariant: a fork accuses nobody of what no fresh interpreter has seen. A module that is ok in it, quick and without a
finding is done with. Of those that fail in it with one error on one line, a fresh interpreter imports the first; if
that says the same, the others are done with as well. Everything else is imported again in a fresh interpreter, and
that one decides. Where no zygote can be had, all children are fresh, and the report says why.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from lazyguard.audit.processes.families import run_quietly
from lazyguard.audit.target import SCAN

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from lazyguard.audit.processes.plan import Plan, Settings

FEWEST = 12
"""Modules below which a zygote does not pay for itself."""
WORTH = 0.004
"""Seconds above which a package is imported once for all modules below it."""
SURE = 0.8
"""The part of `slow` below which a time put together from a fork is certain enough."""

SEEN_IN_FORKS = ("circular-import", "order-dependent")
"""About the program's own modules alone, which a fork executes like any interpreter: it may decide with them."""


def scanned(plan: Plan, settings: Settings, stop: Callable[[], bool]) -> tuple[list[str], int]:
    """Returns the import statements of foreign modules in the sources, and how many sources have no byte code."""
    with tempfile.TemporaryDirectory(prefix="lazyguard-audit-") as directory:
        given, out = Path(directory) / "in", Path(directory) / "out"
        rows = ("\t".join((each, *plan.roots.get(each.partition(".")[0], ()))) + "\n" for each in plan.modules)
        given.write_text("".join(rows), encoding="utf-8")
        command = [settings.python, SCAN, str(out), str(given)]
        run_quietly(command, limit=60.0, env=settings.environment, stop=stop)
        try:
            *lines, last = out.read_text(encoding="utf-8").splitlines()
        except (OSError, ValueError):
            return [], 0
    return lines, int(last)


def why_fresh(count: int, settings: Settings, fork: bool | None) -> str | None:
    """Returns why all children are to be fresh; None when forks may be used."""
    if fork is False:
        return "asked for"
    if settings.repeat > 1:
        return "times are repeated"
    if not os.path.isfile(f"/proc/self/task/{os.getpid()}/children"):
        return "forks are used on Linux only"
    if fork is None and count < FEWEST:
        return f"fewer than {FEWEST} modules"
    return None


def below(modules: Sequence[str]) -> Mapping[str, int]:
    """Returns how many of the modules lie below each package."""
    found: dict[str, int] = {}
    for module in modules:
        above = module.rpartition(".")[0]
        while above:
            found[above] = found.get(above, 0) + 1
            above = above.rpartition(".")[0]
    return found
