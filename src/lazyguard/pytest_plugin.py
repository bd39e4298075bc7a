"""The pytest plugin: an import that hangs ends the collection of its module and is named; import budgets fail tests.

Invariants: nothing is set up without an option of the ini file, a marker or a fixture, and what is set up for a phase
is removed after it. The plugin imports nothing of the host, and the heavier parts of lazyguard only when they are
needed.
"""

from __future__ import annotations

import faulthandler
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from lazyguard import events
from lazyguard._base import places, validation
from lazyguard._core import declaration, loaded, mode
from lazyguard._guards import frames
from lazyguard._guards.alarm import Alarm
from lazyguard.errors import ConfigurationError, LazyguardError, ResolutionError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence
    from types import FrameType

    from lazyguard._core.cell import Cell
    from lazyguard.audit import Budget

    ImportBudget = Callable[..., None]

TIMEOUT, SERVICES = "lazyguard_collect_timeout", "lazyguard_collect_services"
MARKER = 'import_budget(seconds, *, forbid=()): a test\'s own imports take no longer, and include no module of "forbid"'
# Where no signal gets through: seconds beyond the limit until the run ends with the stacks of all threads.
_GRACE = 5.0
_STDERR = pytest.StashKey[int]()


class CollectionTimeout(BaseException):
    """The import of a test module took too long; no Exception, so that `except Exception` does not swallow it."""


class ResolvedInCollection(ResolutionError):
    """A service was used while tests were collected, and the ini file forbids it."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of the ini file."""
    parser.addini(TIMEOUT, "seconds that the import of one test module or conftest may take (default: no limit)")
    parser.addini(SERVICES, '"forbid": services may not be built while tests are collected (default: allow)')


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marker, and check the options before anything is collected."""
    config.addinivalue_line("markers", MARKER)
    _timeout(config)
    if config.getini(SERVICES) not in ("", "allow", "forbid"):
        raise pytest.UsageError(f'{SERVICES} = {config.getini(SERVICES)} is invalid: give "allow" or "forbid"')


def pytest_unconfigure(config: pytest.Config) -> None:
    """Close the copy of stderr."""
    if _STDERR in config.stash:
        os.close(config.stash[_STDERR])
        del config.stash[_STDERR]


def _timeout(config: pytest.Config) -> float | None:
    value = config.getini(TIMEOUT)
    if not value:
        return None
    try:
        seconds = float(value)
        validation.seconds(TIMEOUT, seconds)
    except ValueError:
        raise pytest.UsageError(f"{TIMEOUT} = {value} is invalid: give seconds above zero, such as 10") from None
    return seconds


@pytest.hookimpl(hookwrapper=True, tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> Generator[None, Any, None]:
    """Apply the time limit to the first conftest files."""
    limit = _timeout(early_config)
    if limit is not None:
        early_config.stash[_STDERR] = os.dup(2)  # before pytest captures it
    with _limited(early_config, "the conftest files"):
        outcome = yield
        if isinstance(outcome.excinfo and outcome.excinfo[1], CollectionTimeout):
            outcome.force_exception(pytest.UsageError(str(outcome.excinfo[1])))


@pytest.hookimpl(hookwrapper=True, tryfirst=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Generator[None, Any, None]:
    """Apply the limits to the import of each test module, package and conftest file."""
    # a session collects other collectors, and a class imports nothing
    if isinstance(collector, (pytest.Session, pytest.Class)):
        yield
        return
    config = collector.config
    forbidden = config.getini(SERVICES) == "forbid"
    before = mode.forbid
    if forbidden:
        mode.forbid = _refuse_service
    try:
        with _limited(config, collector.nodeid):
            outcome = yield
        report: pytest.CollectReport = outcome.get_result()
        raised = getattr(getattr(report, "call", None), "excinfo", None)
        if raised is not None and isinstance(raised.value, CollectionTimeout):
            report.longrepr = str(raised.value)  # a traceback would only add where the signal came
    finally:
        mode.forbid = before


@contextmanager
def _limited(config: pytest.Config, what: str) -> Generator[None]:
    """Limit the time of one import: a signal interrupts it; where none gets through, the whole run ends."""
    seconds = _timeout(config)
    if seconds is None:
        yield
        return

    def rang(frame: FrameType | None) -> None:
        called: list[FrameType] = []  # from the hook that pytest has called to the innermost
        for each in places.outwards(frame):
            if each.f_globals.get("__name__", "").startswith("pluggy"):
                break
            called.insert(0, each)
        if not any(each.f_code.co_name == "<module>" and frames.is_own(each, "") for each in called):
            return  # the import has ended, and pytest must not be interrupted
        summary = frames.StackSummary(called, "")
        where = f"{summary}{summary.chained}".replace(os.getcwd() + os.sep, "")
        raise CollectionTimeout(
            f"{what}: its import did not end within {seconds:g} s: it hangs at {where}\n"
            f"Defer what waits there, or raise {TIMEOUT}."
        )

    with Alarm(seconds, rang):
        # for code that keeps the GIL, and where there is no timer signal
        faulthandler.dump_traceback_later(seconds + _GRACE, exit=True, file=config.stash.get(_STDERR, 2))
        try:
            yield
        finally:
            faulthandler.cancel_dump_traceback_later()


def _refuse_service(cell: Cell) -> None:
    if cell not in _services():
        return
    raise ResolvedInCollection(
        f"{cell.name}, declared at {cell.place}, is used at {places.of_user(places.caller())} while tests are "
        f"collected, and {SERVICES} = forbid: use it in a test or a fixture."
    )


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, None]:
    """Fail a test whose own imports exceed its `import_budget` marker."""
    marker = item.get_closest_marker("import_budget")
    if marker is None:
        yield
        return
    try:
        budget = _budget(*marker.args, **marker.kwargs)
    except (ConfigurationError, TypeError):
        raise pytest.UsageError(f"a marker is invalid: write @pytest.mark.{MARKER.partition(':')[0]}") from None
    from lazyguard._monitoring.track_imports import track_imports

    with track_imports() as tracker:
        outcome = yield
    if outcome.excinfo is not None:
        return
    try:
        for one in tracker.modules:
            if budget.forbidden(one.module):
                pytest.fail(f"it imports {one.module}, which its import_budget forbids, at {one.by}", pytrace=False)
        taken = sum(one.seconds or 0.0 for one in tracker.modules if one.parent is None)
        if budget.exceeded(taken):
            slowest = "\n".join(f"  {one.own_seconds:.3f} s  {one.module}, by {one.by}" for one in tracker.slowest(5))
            pytest.fail(
                f"its imports took {taken:.3f} s, and its import_budget is {budget.seconds:g} s. The slowest modules:\n"
                f"{slowest}",
                pytrace=False,
            )
    except BaseException as failed:
        outcome.force_exception(failed)


def _budget(seconds: float, *, forbid: Sequence[str] = (), **modules: int | None) -> Budget:
    """Return a budget without an allowance."""
    from lazyguard.audit import Allowance, Budget

    return Budget(seconds=seconds, forbid=forbid, allowance=Allowance(seconds=0, relative=0), **modules)


@pytest.fixture
def reset_services() -> Generator[None]:
    """Reset every service after the test, so that the next test builds its own.

    What they hold is closed: of an async service on its event loop, or on a new one where that has ended.
    """
    yield
    for pending in [each for cell in _services() for each in cell.begin_anew()]:
        loaded("_core.task_closing").carry_out_anywhere(pending)
    events.deliver()


@pytest.fixture
def no_degraded_services() -> Generator[None]:
    """Fail a test that leaves a service degraded or failed which was not before."""
    before = _degraded_or_failed()
    yield
    left = {cell: state for cell, state in _degraded_or_failed().items() if cell not in before}
    if left:
        names = "; ".join(f"{cell.name}, declared at {cell.place}, is {state}" for cell, state in left.items())
        pytest.fail(f"the test leaves a service without its target: {names}. Override it, or reset it.", pytrace=False)


def _degraded_or_failed() -> dict[Cell, str]:
    return {cell: cell.now.state for cell in _services() if cell.now.state in ("degraded", "failed")}


def _services() -> list[Cell]:
    return [cell for cell, kind in declaration.cells() if "service" in kind]


@pytest.fixture
def import_budget(request: pytest.FixtureRequest) -> ImportBudget:
    """Return a function that imports a module in a fresh interpreter, and fails the test if that exceeds a budget.

    `import_budget("core.tasks", seconds=0.05, path="src")` takes the fastest of three runs, without the interpreter's
    own start. `modules=` limits how many modules are executed, `forbid=` names those that must not be. The failure has
    the line that hangs, fails or is too slow.
    """

    def check(
        module: str,
        *,
        seconds: float,
        modules: int | None = None,
        forbid: Sequence[str] = (),
        path: str | None = None,
        repeat: int = 3,
        timeout: float = 30.0,
    ) -> None:
        from lazyguard.audit import audit, table

        try:
            budget = _budget(seconds, modules=modules, forbid=forbid)
            report = audit(
                [module],
                path=request.config.rootpath / (path or ""),
                slow=seconds,
                timeout=max(timeout, seconds),
                repeat=repeat,
                walk=False,
                budgets={module: budget},
            )
        except LazyguardError as error:
            raise pytest.fail.Exception(f"import_budget: {error}", pytrace=False) from None
        if report.found:
            pytest.fail(f"{module} does not keep its import_budget of {seconds:g} s\n{table(report)}", pytrace=False)

    return check
