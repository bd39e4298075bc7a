"""The parts of one audit that several machines made, put together to the report of one.

Invariants: the parts are those of one division, each there once, and made alike; else it is an error that says which is
not. What one run would have said of the whole (imports that depend on the order) is found anew.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import chain, zip_longest
from typing import TYPE_CHECKING

from lazyguard.audit.analysis.import_order import with_order_findings
from lazyguard.audit.report.modules import steady
from lazyguard.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lazyguard.audit.report.model import Report

ALIKE = ("python", "timeout", "slow", "repeats")


def combined(parts: Mapping[str, Report]) -> Report:
    """Return the report of the whole; `parts` are the reports by the names of their files.

    Raises:
        ConfigurationError: they are not the parts of one audit.
    """
    known: dict[str, Report] = {}
    first = next(iter(parts.values()))
    count = (first.shard or "").partition("/")[2]
    for file, part in parts.items():
        if part.shard is None or part.shard.partition("/")[2] != count:
            raise ConfigurationError(f"{file} is {part.shard or 'no part of an audit'}; each is to be from --shard I/N")
        for name in ALIKE:
            if getattr(part, name) != getattr(first, name):
                raise ConfigurationError(
                    f"{file} has {name} {getattr(part, name)}, and others {getattr(first, name)}: audit them alike"
                )
        if known.setdefault(part.shard, part) is not part:
            raise ConfigurationError(f"{file} is {part.shard}, as another one is; give each part once")
    numbers = [f"{number}/{count}" for number in range(1, int(count) + 1)]
    missing = [number for number in numbers if number not in known]
    if missing:
        raise ConfigurationError(f"{', '.join(missing)} is not there; give all {count} parts")
    return _together([known[number] for number in numbers])


def _together(parts: list[Report]) -> Report:
    first = parts[0]
    # The setup stands first in each part: its reports come first here, and one of them is enough.
    rounds = chain.from_iterable(zip_longest(*(part.modules for part in parts)))
    modules = {each.module: each for each in reversed([each for each in rounds if each is not None])}
    ordered = with_order_findings(list(modules.values())[::-1])
    at = {each.module: place for place, each in enumerate(ordered)}
    fresh = next((part.fresh_because for part in parts if part.fresh_because), None)
    against = [part.against for part in parts if part.against is not None]
    return replace(
        first,
        shard=None,
        modules=ordered,
        interpreter_seconds=min(part.interpreter_seconds for part in parts),
        pending=tuple(name for part in parts for name in part.pending),
        budgets=tuple(sorted((one for part in parts for one in part.budgets), key=lambda one: at.get(one.target, 0))),
        fresh_because=fresh,
        left_out=tuple(sorted({reason for part in parts for reason in part.left_out})),
        uncompiled=sum(part.uncompiled for part in parts),
        advice=tuple(one for part in parts for one in part.advice),
        against=replace(
            against[0],
            modules=sum(each.modules for each in against),
            slower=tuple(one for each in against for one in each.slower),
            left=tuple(one for each in against for one in each.left),
        )
        if against
        else None,
        strict=any(part.strict for part in parts),
        notes=tuple({steady("", note): note for part in parts for note in part.notes}.values()),
    )
