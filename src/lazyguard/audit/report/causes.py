"""The verdicts that are not ok, grouped by what causes them.

Invariants: a cause has one verdict, and one error where it fails. Its modules share the line of a module that set it
off, or the line in a function that it was met in: two that share neither are two causes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lazyguard.audit.report.modules import PARDONED, VERDICTS, Failure, ModuleReport, Place
from lazyguard.audit.report.steady import steady

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


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
