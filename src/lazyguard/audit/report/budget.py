"""Budgets: what the import of a module may take, how many modules it may execute, and which not at all.

Invariants: a time is over its limit only beyond both allowances, the absolute and the relative one. Counts and
forbidden names have none, for they do not vary. Of several patterns that fit a module each limit comes from the most
exact one (the name itself, else the longest pattern) that sets it; what is forbidden adds up.
"""

from __future__ import annotations

import difflib
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from lazyguard._base import final, validation
from lazyguard._base.places import is_module_name, shown
from lazyguard.audit.report.model import Spending
from lazyguard.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from lazyguard.audit.report.modules import Imported, ModuleReport

# A time over its limit and below this many times it may come from other load on the machine.
NEAR = 2.0
CONTRIBUTORS = 3


@final
class Allowance(validation.Options):
    """How far a measured time may go beyond its limit before it counts.

    Args:
        seconds: What any time may be over, absolutely.
        relative: What it may be over as a part of the limit: 0.1 is a tenth.

    Raises:
        ConfigurationError: A value is below zero, or no number.

    Both must be exceeded: `limit + max(seconds, relative * limit)` is still within. So what takes 2 ms where 1 ms is
    the limit is no failure, and neither are 110.0 ms where 109.2 ms are.
    """

    __slots__ = ("relative", "seconds")
    relative: float
    seconds: float

    def __init__(self, *, seconds: float = 0.005, relative: float = 0.1) -> None:
        validation.seconds("seconds", seconds, zero=True)
        part: Any = relative
        right = isinstance(part, int | float) and not isinstance(part, bool) and 0 <= part < float("inf")
        validation.require(right, "relative", relative, "a part such as 0.1, or 0", fault="out of range")
        self._set(seconds=seconds, relative=relative)

    def most(self, limit: float) -> float:
        """Return the seconds up to which a time is within the limit."""
        return limit + max(self.seconds, self.relative * limit)


@final
class Budget(validation.Options):
    """What importing a module may take.

    Args:
        seconds: The time of the whole import, parents and all below included; None: no limit.
        modules: How many modules it may execute, itself and the standard library's among them; None: no limit.
        forbid: Modules that may not be executed on the way, with all below them: `("pandas",)`.
        allowance: How far the time may be over before it counts.

    Raises:
        ConfigurationError: A value cannot be right.

    Example:
        >>> from lazyguard.audit import Allowance, Budget
        >>> budget = Budget(seconds=0.1, allowance=Allowance(seconds=0.005, relative=0.1))
        >>> budget.exceeded(0.1092), budget.exceeded(0.1101)
        (False, True)
    """

    __slots__ = ("allowance", "forbid", "modules", "seconds")
    allowance: Allowance
    forbid: tuple[str, ...]
    modules: int | None
    seconds: float | None

    def __init__(
        self,
        *,
        seconds: float | None = None,
        modules: int | None = None,
        forbid: Iterable[str] = (),
        allowance: Allowance | None = None,
    ) -> None:
        validation.seconds("seconds", seconds, optional=True)
        validation.whole("modules", modules, optional=True)
        names = validation.names("forbid", forbid, 'names of modules, ("pandas",)')
        validation.require(all(map(is_module_name, names)), "forbid", forbid, 'names of modules, ("pandas",)')
        given: object = allowance
        validation.require(isinstance(given, Allowance), "allowance", given, "an Allowance", optional=True)
        self._set(
            seconds=seconds, modules=modules, forbid=names, allowance=Allowance() if allowance is None else allowance
        )

    def exceeded(self, seconds: float) -> bool:
        """Return whether a time is over the limit, beyond its allowance."""
        return self.seconds is not None and seconds > self.allowance.most(self.seconds)

    def forbidden(self, module: str) -> str | None:
        """Return the name in `forbid` that a module is, or lies below."""
        return next((name for name in self.forbid if module == name or module.startswith(name + ".")), None)


def near(budget: Budget, seconds: float) -> bool:
    """Return whether a time is so little over its limit that it is measured again."""
    return budget.exceeded(seconds) and seconds < NEAR * budget.allowance.most(budget.seconds or 0.0)


def budget_of(module: str, budgets: Mapping[str, Budget]) -> Budget:
    """Return what holds for a module; `budgets` are by name or pattern (`core.*`, `*`)."""
    fitting = _fitting(module, budgets)
    timed = next((each for each in fitting if each.seconds is not None), Budget())
    counted = next((each.modules for each in fitting if each.modules is not None), None)
    forbidden = dict.fromkeys(name for each in fitting for name in each.forbid)
    return Budget(seconds=timed.seconds, modules=counted, forbid=forbidden, allowance=timed.allowance)


def unused(names: Iterable[str], modules: Sequence[str]) -> list[str]:
    """Return a sentence for each name or pattern that stands for none of the modules: its budget guards nothing."""
    found: list[str] = []
    for name in names:
        if not any(_fitting(module, {name: Budget()}) for module in modules):
            close = difflib.get_close_matches(name.removesuffix(".*"), modules, 1)
            hint = f"; did you mean {close[0]}?" if close else ""
            found.append(f"the budget {name} is for no module that was audited{hint}")
    return found


def allowance_of(module: str, budgets: Mapping[str, Budget]) -> Allowance:
    """Return the allowance of a module whose budget need not limit its seconds: the most exact that is given."""
    usual = Allowance()
    return next((each.allowance for each in _fitting(module, budgets) if each.allowance != usual), usual)


def _fitting(module: str, budgets: Mapping[str, Budget]) -> Sequence[Budget]:
    """Return the budgets that fit a module, the most exact one first."""
    fitting = (pattern for pattern in budgets if pattern == module or fnmatchcase(module, pattern))
    return [budgets[each] for each in sorted(fitting, key=lambda pattern: (pattern != module, -len(pattern)))]


def spent(seen: ModuleReport, budget: Budget) -> tuple[Spending, ...]:
    """Return what a module used of each limit of its budget.

    A time counts where the import was completed (ok, slow), a count and a forbidden name in any case.
    """
    slowest = sorted(seen.imports, key=lambda one: one.own_seconds, reverse=True)[:CONTRIBUTORS]
    place, chain = (slowest[0].by, chain_to(seen, slowest[0])) if slowest else (None, ())
    largest = tuple(one.module for one in slowest)
    found: list[Spending] = []

    def spend(kind: str, limit: float, measured: float, allowance: float, over: bool) -> None:
        found.append(Spending(seen.module, kind, limit, measured, allowance, over, place, chain, largest))

    if budget.seconds is not None and seen.verdict in ("ok", "slow"):
        allowance = budget.allowance.most(budget.seconds) - budget.seconds
        spend("seconds", budget.seconds, seen.net_seconds, allowance, budget.exceeded(seen.net_seconds))
    if budget.modules is not None:
        spend("modules", budget.modules, seen.executed, 0.0, seen.executed > budget.modules)
    for each in seen.findings:
        if each.kind == "forbidden":
            place, chain, largest = each.place, each.chain, each.chain[-1:]
            spend("forbid", 0.0, 1.0, 0.0, True)
    return tuple(found)


def chain_to(seen: ModuleReport, one: Imported) -> tuple[str, ...]:
    """Return the names from the audited module to one of what it executed, none twice in a row."""
    names: list[str] = []
    at: Imported | None = one
    while at is not None:
        names.append(at.module)
        at = None if at.parent is None else seen.imports[at.parent]
    names.append(seen.module)
    return tuple(name for place, name in enumerate(reversed(names)) if place == 0 or name != names[-place])


def checked(budgets: Mapping[str, Budget] | None) -> Sequence[tuple[str, Budget]]:
    """Return budgets as they can be kept, each pattern checked."""
    found = validation.mapping("budgets", budgets)
    for pattern, budget in found.items():
        if not isinstance(pattern, str) or not is_pattern(pattern):
            raise ConfigurationError(
                f"budgets: {shown(pattern)} names no module; give core.tasks, or a pattern: core.*"
            )
        if not isinstance(budget, Budget):
            raise ConfigurationError(
                f"budgets[{pattern!r}] is {shown(budget)}; give a Budget, such as Budget(seconds=0.1)"
            )
    return tuple(found.items())


def is_pattern(text: str) -> bool:
    """Return whether a text is a name of a module, or one with `*`, `?` and `[...]` in it."""
    plain = text.translate({ord(each): "x" for each in "*?[]!-"})
    return bool(text) and is_module_name(plain)
