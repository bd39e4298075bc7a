"""How long the import of a target takes with and without some of its statements, in fresh interpreters.

Invariants: nothing runs beside a measurement. A run that does not end within the time limit, or has no result, has
failed. No process of a run is left.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

from lazyguard.audit.processes.programs import ask
from lazyguard.audit.report.modules import Failure
from lazyguard.audit.target import CHILD, SURVEYING, deferred

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from lazyguard.audit.processes.plan import Plan, Settings

Unit = deferred.Unit


# Called before each run: how many are done, how many there will be (None: not known yet), what for.
Announce = Callable[[int, "int | None", str], object]


class AdviceStopped(Exception):
    """The audit was interrupted."""


@dataclass(frozen=True)
class Span:
    """One module that was executed in a run, and the line that asked for it."""

    module: str
    file: str | None
    began: float
    ended: float
    by_file: str | None
    by_line: int | None

    @property
    def seconds(self) -> float:
        return max(0.0, self.ended - self.began)


@dataclass(frozen=True)
class Trial:
    """One run without some statements, which are known by their places in the list that was given.

    Attributes:
        used: those whose names were used while the target was imported: the name, and the line.
        applied: those that were left out: their modules were executed by Python's own loader.
        grown: what grew elsewhere while a statement ran, where that was watched.
    """

    seconds: float
    error: Failure | None
    frames: tuple[tuple[str, int | None], ...]
    used: dict[int, tuple[str, str | None, int | None]]
    applied: frozenset[int]
    spans: tuple[Span, ...]
    grown: dict[int, dict[str, int]]
    loaded: frozenset[str]


@dataclass
class Trials:
    """Runs of one target."""

    target: str
    plan: Plan
    settings: Settings
    stop: Callable[[], bool]
    announce: Announce | None = None
    _purpose: str = ""
    _done: int = 0
    _expected: int | None = None

    def begin(self, purpose: str, runs: int | None = None) -> None:
        """Set what the next runs are for, and how many they are, where they are the last."""
        self._purpose = purpose
        self._expected = None if runs is None else self._done + runs

    def run(self, units: Sequence[Unit], mode: str = "run") -> Trial:
        """Import the target without the units; to watch registrations, with them."""
        rows: list[Iterable[object]] = [("root", root) for root in self.plan.first_party(self.target)]
        rows += [("unit", *unit) for unit in units]
        found, why = self._ask((CHILD, "deferred"), rows, self.plan.path, self.settings.setup, self.target, mode)
        if found is None:
            return Trial(0.0, Failure("no result", why), (), {}, frozenset(), (), {}, frozenset())
        error = found["error"]
        return Trial(
            found["seconds"],
            None if error is None else Failure(error[0], error[1]),
            () if error is None else tuple((file, line) for file, line, _ in error[3]),
            {at: (name, file, line) for at, name, file, line in reversed(found["used"])},
            frozenset(found["applied"]),
            tuple(Span(*span[:2], *span[3:]) for span in found["spans"]),
            dict(found["grown"]),
            frozenset(found["loaded"]),
        )

    def survey(self, modules: Iterable[tuple[str, str, bool]]) -> dict[str, Any]:
        """Return what the sources of modules (name, file, whether it is a package) say of their imports."""
        rows = [(name, file, "1" if package else "0") for name, file, package in modules]
        found, why = self._ask((*SURVEYING, "judged"), rows)
        return found or {"judged": [], "subclasses": False, "exports": [], "problem": why}

    def _ask(
        self, program: Sequence[str], rows: Iterable[Iterable[object]], *more: str
    ) -> tuple[dict[str, Any] | None, str]:
        if self.stop():
            raise AdviceStopped
        if self.announce is not None:
            self.announce(self._done, self._expected, f"advice for {self.target}: {self._purpose}")
        command, limit = (self.settings.python, *program), 2 * self.settings.timeout + 5.0
        found = ask(command, *more, rows=rows, limit=limit, env=self.settings.environment, stop=self.stop)
        if self.stop():
            raise AdviceStopped
        self._done += 1
        return found


def saved(runs: Sequence[Trial], less: Sequence[Trial]) -> float:
    """Return by how much one kind of runs was faster than the other, each with the one of its own round."""
    return median(one.seconds - other.seconds for one, other in zip(runs, less, strict=True))


def least(runs: Sequence[Trial]) -> float:
    """Return the least time of several runs."""
    return min(run.seconds for run in runs)
