"""Small programs on disk, imported into the test's process and forgotten after the test."""

from __future__ import annotations

import importlib
import sys
from textwrap import dedent
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def program(tmp_path, monkeypatch):
    """Write files (name -> text) below a directory on `sys.path`; what was imported is gone afterwards."""
    root = tmp_path / "program"

    def write(files: dict[str, str]) -> Path:
        for name, text in files.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(dedent(text))
        importlib.invalidate_caches()
        return root

    root.mkdir()
    before = dict(sys.modules)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    monkeypatch.syspath_prepend(str(root))
    yield write
    # Libraries that came in stay: some cannot be imported twice.
    for name in [name for name in set(sys.modules) - set(before) if _lies_in(tmp_path, sys.modules[name])]:
        del sys.modules[name]
    importlib.invalidate_caches()


def _lies_in(directory: Path, module: object) -> bool:
    places = [getattr(module, "__file__", None), *getattr(module, "__path__", [])]
    return any(str(place).startswith(str(directory)) for place in places)
