"""`track_imports`: how long each import of the running program takes, and which line asked for it; and its report.

Invariants: the methods that execute a module are wrapped, never `__import__`, so an import of a loaded module costs
nothing more. An import is reported on its own thread after it has ended, and its outcome is not changed (unless the
host turns the warning of a budget into an error). There is no lock: each thread has a stack of its own. A report has
the form of an audit's.
"""

from __future__ import annotations

import _thread
import os
import platform
import sys

from lazyguard import events
from lazyguard._base import final, places, validation
from lazyguard._base.interpreter import perf_counter
from lazyguard.errors import ImportBudgetWarning

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from types import FrameType
    from typing import Any

    from lazyguard._base.places import Place


_IMPORT_SYSTEM = ("<frozen importlib", "<frozen zipimport")


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
class TrackedImport:
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

    __slots__ = ("by", "failed", "file", "inner", "module", "parent", "seconds", "start")

    def __init__(
        self, module: str, file: str | None, by: Place | None, parent: TrackedImport | None, start: float
    ) -> None:
        self.module = module
        self.file = file
        self.by = by
        self.parent = parent
        self.start = start
        self.seconds: float | None = None
        self.inner = 0.0
        self.failed = False

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

    __slots__ = ("_budget", "_budgets", "_stacks", "_start", "modules")

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
        return report(self.modules, self.budget_of)

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

    def _begin(self, module: str, file: str | None, by: Place | None) -> None:
        stack = self._stacks.setdefault(_thread.get_ident(), [])
        one = TrackedImport(module, file, by, stack[-1] if stack else None, perf_counter() - self._start)
        self.modules.append(one)
        stack.append(one)

    def _end(self, module: str, failed: bool) -> TrackedImport | None:
        thread = _thread.get_ident()
        stack = self._stacks.get(thread)
        if not stack or stack[-1].module != module:
            return None  # it began before the tracker did
        one = stack.pop()
        if not stack:
            self._stacks.pop(thread, None)
        one.seconds = perf_counter() - self._start - one.start
        one.failed = failed
        if one.parent is not None:
            one.parent.inner += one.seconds
        return one

    def _is_over(self, one: TrackedImport) -> bool:
        limit = self.budget_of(one.module)
        return limit is not None and (one.seconds or 0.0) > limit

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
        by = _importing_line(sys._getframe(1))
        for tracker in trackers:
            tracker._begin(name, getattr(spec, "origin", None), by)
        failed = True
        try:
            result = original(loader, subject)
            failed = False
        finally:
            done = [(tracker, tracker._end(name, failed)) for tracker in trackers]
        for tracker, one in done:
            if one is not None:
                _emit(tracker, one, first=tracker is trackers[0])
        return result

    # Warnings and tracebacks skip frames of the import system: let ours count as one of them.
    run.__code__ = run.__code__.replace(co_filename=f"{_IMPORT_SYSTEM[0]}._bootstrap_external>")
    return run


def _importing_line(frame: FrameType | None) -> Place | None:
    """Return the importing line: that of the nearest frame outside the import system."""
    while frame is not None:
        file = frame.f_code.co_filename
        if not file.startswith(_IMPORT_SYSTEM) and not file.endswith("importlib/__init__.py"):
            return places.of_frame(frame)
        frame = frame.f_back
    return None


def _emit(tracker: ImportTracker, one: TrackedImport, *, first: bool) -> None:
    seconds, over = one.seconds or 0.0, tracker._is_over(one)
    if first or over:
        kind = "over-budget" if over else "imported"
        place = one.by or ""
        events.emit(
            events.Event(
                kind, name=one.module, place=place, before="pending", after="ready", generation=0, seconds=seconds
            )
        )
    if over:
        import warnings

        limit = tracker.budget_of(one.module)
        text = f"the import of {one.module} took {seconds:.3f} s, and its budget is {limit:g} s"
        place = one.by or places.Place(str(one.file), 1)
        warnings.warn_explicit(text, ImportBudgetWarning, place.file, place.line)


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
    importer: TrackedImport | None = one
    while importer is not None:
        chain.insert(0, importer.module)
        importer = importer.parent
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
                "file": None if one.file is None else _relative(one.file),
                "by": _place(one.by),
                "failed": one.failed,
            }
        )
    return found


def _is_own(file: str | None) -> bool:
    """Return whether a file belongs to the program, not to an installed package or the standard library."""
    if file is None or any(part in file.split(os.sep) for part in _INSTALLED):
        return False
    return not file.startswith((os.path.dirname(os.__file__) + os.sep, "<"))


def _place(by: Place | None) -> dict[str, Any] | None:
    if by is None:
        return None
    return {"file": _relative(by.file), "line": by.line}


def _relative(file: str) -> str:
    """Return a file's path as an audit shows it: below the longest entry of sys.path."""
    bases = {os.path.join(os.path.abspath(base), "") for base in (*sys.path, os.getcwd())}
    return file[max((len(base) for base in bases if file.startswith(base)), default=0) :]
