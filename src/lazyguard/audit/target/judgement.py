"""Which statements may be deferred by what their sources say, and the reason and its line for those that may not.

Invariants: nothing is run. What only a run shows (a function that is called at import, a registration) is not judged
here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lazyguard.audit.target.statements import Source, Statement, statements
from lazyguard.audit.target.uses import AGAIN, EXPORT, Use, uses

if TYPE_CHECKING:
    from collections.abc import Sequence


FOR_EFFECTS = "nothing uses its name: it is imported for its side effects"
"""The reason of a statement whose name is never used."""


@dataclass(frozen=True)
class Judged:
    """A statement with the reason why it must stay as it is (None: it may be deferred), and the place of that.

    Attributes:
        optional: whether its module may be missing, so that `lazyguard.optional_import` replaces it.
        exported: whether it is a re-export of a package, and nothing in the module uses it.
    """

    statement: Statement
    reason: str | None = None
    file: str = ""
    line: int | None = None
    optional: bool = False
    exported: bool = False


def judge(sources: Sequence[Source], version: tuple[int, ...]) -> list[Judged]:
    """Return all import statements of the sources, judged; `version` is that of the interpreter."""
    known = [(source, statements(source)) for source in sources]
    stars: dict[str, Statement] = {}
    asked: set[tuple[str, str]] = set()
    for _, found in known:
        for each in found:
            if each.kind == "star":
                stars.setdefault(each.module, each)
            asked.update((each.module, name) for name in each.names.values())
    return [
        _judge(each, found, uses_, stars.get(source.module), asked)
        for source, found in known
        for uses_ in [uses(source, version)]
        for each in found
    ]


def _judge(
    one: Statement,
    beside: Sequence[Statement],
    found: Sequence[Use],
    star: Statement | None,
    asked: set[tuple[str, str]],
) -> Judged:
    def stays(reason: str, line: int | None, file: str = one.file) -> Judged:
        return Judged(one, reason, file, line)

    mine = [use for use in found if use.name in one.names]
    early = next((use for use in mine if use.at_import and use.kind != AGAIN), None)
    again = next((use.line for use in mine if use.kind == AGAIN), None)
    twice = next((each.line for each in beside if each is not one and one.names.keys() & each.names.keys()), None)
    exported = any(use.kind == EXPORT for use in mine)
    wanted = exported or any((one.importer, name) in asked for name in one.names)
    if one.kind == "star":
        return stays("a star import must know the names at once", one.line)
    if early is not None:
        return stays(f"{early.name} is used {early.kind}", early.line)
    if one.within == "try" and one.guard is not None and one.kind == "import":
        reason = f"its except in line {one.guard} needs to see whether it is missing"
        return Judged(one, reason, one.file, one.guard, True)
    if one.within in ("try", "handler"):
        block = "an except" if one.within == "handler" else "a try"
        return stays(f"it stands in {block}, which waits for it", one.line)
    if again is not None or twice is not None:
        return stays("its name is bound again", twice if again is None else again)
    if star is not None and any(exported or not name.startswith("_") for name in one.names):
        return stays(f"`from {one.importer} import *` takes it at once", star.line, star.file)
    if not mine and not one.package and not wanted:
        return stays(FOR_EFFECTS, one.line)
    return Judged(one, exported=all(use.kind == EXPORT for use in mine))
