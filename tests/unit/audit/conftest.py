"""A program on disk and what a child would have reported of its import, so that what reads both needs no child."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lazyguard.audit.analysis.import_tree import ImportTree, Scope, build


class Reported:
    """Sources below `core` are first-party. Each event comes a second after the one before."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.scope = Scope(str(path), (f"{path / 'core'}/",), (str(path / "site"),))
        self.events: list[list[Any]] = []

    def file(self, name: str) -> str:
        return str(self.path / name)

    def write(self, name: str, text: str | bytes = "") -> str:
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return str(path)

    def begin(self, module: str, name: str | None, by: str | None = None, line: int | None = None) -> None:
        """A module's body begins; `by` is the first-party file that asked for it."""
        near = None if by is None else self.file(by)
        file = None if name is None else self.file(name)
        self.events.append(["begin", float(len(self.events)), 1, module, file, near, line, near, line, None, None])

    def end(self, module: str, *, failed: bool = False) -> None:
        self.events.append(["end", float(len(self.events)), 1, module, failed])

    def unfinished(self, asked: str, name: str, line: int, *unbound: str) -> None:
        """A line asks for a module that is being executed; `unbound` are the names in its code that are not there."""
        self.events.append(["circular", float(len(self.events)), 1, asked, self.file(name), line, list(unbound)])

    def tree(self, target: str = "core") -> ImportTree:
        return build(target, self.events, self.scope, main=1, now=float(len(self.events)))


@pytest.fixture
def reported(tmp_path: Path) -> Reported:
    """What a child reported of a program in a directory of the test's own."""
    return Reported(tmp_path)
