"""`track_imports`: how long each import of the running program takes, and which line asked for it; and its report.

Invariants: the methods that execute a module are wrapped, never `__import__`, so an import of a loaded module costs
nothing more. An import is reported on its own thread after it has ended, and its outcome is not changed (unless the
host turns the warning of a budget into an error). There is no lock: each thread has a stack of its own. A report has
the form of an audit's.
"""

from __future__ import annotations

import _thread
import os
import sys

from lazyguard import events
from lazyguard._base import TYPE_CHECKING, Any, Callable, Mapping, Record, final, places, validation
from lazyguard._base.interpreter import perf_counter
from lazyguard._core import loaded
from lazyguard._guards import frames
from lazyguard.errors import ImportBudgetWarning

if TYPE_CHECKING:
    from lazyguard._base.places import Place


# What makes a report of the record; it belongs to the audit, and is loaded for that alone.
_REPORT = "audit.analysis.tracked"


def track_imports(*, budget: float | None = None, budgets: Mapping[str, float] | None = None) -> ImportTracker:
    """Record the time and the importing line of every module that is imported from now on.

    Args:
        budget: Seconds that one import may take, with all that it imports; None: no limit.
        budgets: The same for single modules, by their absolute names; they take precedence over `budget`.

    Returns:
        An `ImportTracker`, which records until its `stop`; it is also a context manager.

    Raises:
        ConfigurationError: A budget is not a number of seconds above zero.

    If an import takes longer than its budget, an ImportBudgetWarning at the importing line follows its end. Each import
    also emits an event "imported" or "over-budget", with the module as its `name`, the importing line as its `place`,
    and its `seconds`. It is cheap enough to leave on: some microseconds for a module that is executed, nothing for one
    that is loaded already. Imports of all threads are recorded; a forked child goes on with a copy. Built-in modules
    are not recorded, nor those of custom loaders.

    Example:
        >>> import sys, lazyguard
        >>> _ = sys.modules.pop("colorsys", None)
        >>> with lazyguard.track_imports(budget=60.0) as imports:
        ...     import colorsys
        >>> imports.modules[0].module, imports.modules[0].failed
        ('colorsys', False)
    """
    limits = validation.mapping("budgets", budgets)
    validation.seconds("budget", budget, optional=True)
    for name, value in limits.items():
        validation.text("the name of a module in budgets", name)
        validation.seconds(f"budgets[{name!r}]", value, optional=True)
    tracker = ImportTracker(budget, limits)
    _install()
    _trackers[tracker] = None
    return tracker


@final
class TrackedImport(Record):
    """One execution of a module's body.

    Attributes:
        module: Its absolute name.
        file: The file of the module; None if its loader gives none.
        by: The importing line, `file:line`; None if only the import system is on the stack.
        parent: The execution that imported it, on the same thread.
        start: Seconds since tracking began.
        seconds: How long it took, with all that it imported; None while it is under way.
        inner: Seconds of what it imported.
        failed: Whether it raised.
    """

    module: str
    file: str | None
    by: Place | None
    parent: TrackedImport | None
    start: float
    seconds: float | None = None
    inner: float = 0.0
    failed: bool = False

    @property
    def own_seconds(self) -> float:
        """Seconds of its own body, without what it imported."""
        return max(0.0, (self.seconds or 0.0) - self.inner)

    def __repr__(self) -> str:
        took = "under way" if self.seconds is None else f"{self.seconds:.4f} s"
        return f"<TrackedImport {self.module} {took}>"


@final
class ImportTracker:
    """The record that `track_imports` returns.

    Attributes:
        modules: Every execution so far, in the order in which they began.
    """

    def __init__(self, budget: float | None, budgets: dict[str, float]) -> None:
        self._budget = budget
        self._budgets = budgets
        self._stacks: dict[int, list[TrackedImport]] = {}
        self._start = perf_counter()
        self.modules: list[TrackedImport] = []

    def stop(self) -> None:
        """Record no further imports; those so far stay."""
        _trackers.pop(self, None)

    def slowest(self, count: int = 10) -> list[TrackedImport]:
        """Return the imports whose own bodies took longest, the longest first."""
        validation.whole("count", count)
        return sorted(self.modules, key=lambda one: one.own_seconds, reverse=True)[:count]

    def to_dict(self) -> dict[str, Any]:
        """Return the record in the form of an audit's report, for `--compare` and the HTML report.

        Each outermost import is a module of the report, with all that it imported.
        """
        modules = self.modules.copy()  # without those of the audit, which are imported for this
        found: dict[str, Any] = loaded(_REPORT).report(modules, self.budget_of)
        return found

    def write(self, file: str | os.PathLike[str]) -> None:
        """Write the result of `to_dict` to a file, as JSON."""
        if not isinstance(file, str | os.PathLike):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise places.misused(f"write() takes the path of a file, not one of type {type(file).__name__}.")
        import json

        with open(file, "w", encoding="utf-8") as stream:
            json.dump(self.to_dict(), stream, indent=2)
            stream.write("\n")

    def budget_of(self, module: str) -> float | None:
        """Return the seconds that the import of a module may take; None for no limit."""
        return self._budgets.get(module, self._budget)

    def _begin(self, module: str, file: str | None, by: Place | None) -> TrackedImport:
        stack = self._stacks.setdefault(_thread.get_ident(), [])
        parent, start = (stack[-1] if stack else None), perf_counter() - self._start
        one = TrackedImport(module=module, file=file, by=by, parent=parent, start=start)
        self.modules.append(one)
        stack.append(one)
        return one

    def _end(self, one: TrackedImport, failed: bool) -> None:
        stack = self._stacks.get(_thread.get_ident(), [])
        if one in stack:
            stack.remove(one)  # the last one, unless greenlets take turns
        if not stack:
            self._stacks.pop(_thread.get_ident(), None)
        one.seconds = perf_counter() - self._start - one.start
        one.failed = failed
        if one.parent is not None:
            one.parent.inner += one.seconds

    def __enter__(self) -> ImportTracker:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def __repr__(self) -> str:
        return f"<ImportTracker {len(self.modules)} imports>"


# A dict, in order: threads add and remove without a lock, and lose none.
_trackers: dict[ImportTracker, None] = {}
_installed = False


def _install() -> None:
    """Wrap the methods that execute modules; once and for good, since another wrapper may later wrap ours."""
    global _installed
    if _installed:
        return
    _installed = True
    external: Any = sys.modules["_frozen_importlib_external"]
    for loader, method in (
        (external._LoaderBasics, "exec_module"),
        (external.ExtensionFileLoader, "create_module"),
        (external.ExtensionFileLoader, "exec_module"),
    ):
        setattr(loader, method, _tracked(getattr(loader, method)))


def _tracked(original: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    def run(loader: Any, subject: Any, /) -> Any:
        trackers = list(_trackers)
        if not trackers:
            return original(loader, subject)
        spec = getattr(subject, "__spec__", None) or subject
        name = getattr(spec, "name", None) or subject.__name__
        by, file = frames.importing(), getattr(spec, "origin", None)
        begun = [(tracker, tracker._begin(name, file, by)) for tracker in trackers]
        failed = True
        try:
            result = original(loader, subject)
            failed = False
        finally:
            for tracker, one in begun:
                tracker._end(one, failed)
        for tracker, one in begun:
            _emit(tracker, one, first=tracker is trackers[0])
        return result

    # Warnings and tracebacks skip frames of the import system: let ours count as one of them.
    run.__code__ = run.__code__.replace(co_filename="<frozen importlib._bootstrap_external>")
    return run


def _emit(tracker: ImportTracker, one: TrackedImport, *, first: bool) -> None:
    seconds, limit = one.seconds or 0.0, tracker.budget_of(one.module)
    over = limit is not None and seconds > limit
    if first or over:
        kind = "over-budget" if over else "imported"
        name, place = one.module, one.by or ""
        event = events.Event(kind=kind, name=name, place=place, before="pending", after="ready", seconds=seconds)
        events.emit(event)
    if over:
        text = f"the import of {one.module} took {seconds:.3f} s, and its budget is {limit:g} s"
        frames.warn(text, ImportBudgetWarning, one.by or places.Place(str(one.file), 1))
