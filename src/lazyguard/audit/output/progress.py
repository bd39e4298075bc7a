"""Progress while an audit runs: a bar through rich on a terminal, plain lines elsewhere, both on stderr.

Invariant: rich is imported only for the bar, and nothing is missing without it.
"""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from lazyguard.audit.report.sentences import note, seconds

if TYPE_CHECKING:
    from collections.abc import Generator

    from rich.progress import Progress

    from lazyguard.audit.report.modules import ModuleReport


@contextmanager
def shown(*, plain: bool) -> Generator[_Lines | _Bar]:
    """Yield what has what `audit` takes as `progress` and `advising`. `plain` asks for lines in any case."""
    terminal = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
    if terminal and not plain:
        try:
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
        except ImportError:
            yield _Lines()
            return
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
            yield _Bar(bars)
        return
    yield _Lines()


class _Lines:
    """A line for each module, and for each step of the advice."""

    def __init__(self) -> None:
        self._last = ""

    def module(self, done: int, total: int, module: ModuleReport) -> None:
        name, rest = f"{module.module} {module.verdict}", note(module)
        self._print(f"[{done}/{total}] {name} {seconds(module.seconds)} s  {rest}".rstrip())

    def advice(self, done: int, total: int | None, what: str) -> None:
        if what != self._last:
            self._print(what)

    def _print(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)
        self._last = text


class _Bar:
    """One bar at a time: that of the audit, then one for the advice on each target."""

    def __init__(self, bars: Progress) -> None:
        self._bars = bars
        self._task = bars.add_task("auditing", total=None)
        self._total: int | None = None

    def module(self, done: int, total: int, module: ModuleReport) -> None:
        self._show(done, total, f"{module.module} {module.verdict}")

    def advice(self, done: int, total: int | None, what: str) -> None:
        self._show(done, total, what)

    def _show(self, done: int, total: int | None, text: str) -> None:
        if total is None and self._total is not None:  # a bar keeps the total that it has once got
            self._bars.remove_task(self._task)
            self._task = self._bars.add_task(text, total=None)
        self._total = total
        self._bars.update(self._task, completed=done, total=total, description=text)
