"""Progress while an audit runs: a bar through rich on a terminal, plain lines elsewhere, both on stderr.

Invariant: rich is imported only for the bar, and nothing is missing without it.
"""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from lazyguard.audit.output.text import note, seconds

if TYPE_CHECKING:
    from collections.abc import Generator

    from rich.progress import Progress

    from lazyguard.audit.report.model import ModuleReport


class Shown(Protocol):
    """Where an audit tells how far it is: what `audit` takes as `progress` and as `advising`."""

    def module(self, done: int, total: int, module: ModuleReport) -> None: ...

    def advice(self, done: int, total: int | None, what: str) -> None: ...


@contextmanager
def shown(*, plain: bool) -> Generator[Shown]:
    """Yields where to tell. `plain` asks for lines on a terminal too."""
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
    """A line a module, and a line where the advice turns to something else."""

    def __init__(self) -> None:
        self._said = ""

    def module(self, done: int, total: int, module: ModuleReport) -> None:
        text = f"[{done}/{total}] {module.module} {module.verdict} {seconds(module.seconds)} s  {note(module)}"
        self._say(text.rstrip())

    def advice(self, done: int, total: int | None, what: str) -> None:
        if what != self._said:
            self._say(what)

    def _say(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)
        self._said = text


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
        if total is None and self._total is not None:  # of a bar with a total it cannot be taken back
            self._bars.remove_task(self._task)
            self._task = self._bars.add_task(text, total=None)
        self._total = total
        self._bars.update(self._task, completed=done, total=total, description=text)
