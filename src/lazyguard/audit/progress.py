"""Progress while an audit runs: a bar through rich on a terminal, a line a module elsewhere, both on stderr.

Invariant: rich is imported only for the bar, and nothing is missing without it.
"""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from lazyguard.audit.render import note, seconds

if TYPE_CHECKING:
    from collections.abc import Generator

    from lazyguard.audit.report import ModuleReport
    from lazyguard.audit.run import Progress


@contextmanager
def shown(*, plain: bool) -> Generator[Progress]:
    """Yields what `audit` takes as `progress`. `plain` asks for lines on a terminal too."""
    terminal = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
    if terminal and not plain:
        try:
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
            from rich.progress import Progress as Bar
        except ImportError:
            yield _line
            return
        what = TextColumn("{task.description}")
        with Bar(
            what,
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=Console(stderr=True),
            transient=True,
        ) as bar:
            task = bar.add_task("auditing", total=None)

            def advance(done: int, total: int, module: ModuleReport) -> None:
                bar.update(task, completed=done, total=total, description=f"{module.module} {module.verdict}")

            yield advance
        return
    yield _line


def _line(done: int, total: int, module: ModuleReport) -> None:
    text = f"[{done}/{total}] {module.module} {module.verdict} {seconds(module.seconds)} s  {note(module)}"
    print(text.rstrip(), file=sys.stderr, flush=True)
