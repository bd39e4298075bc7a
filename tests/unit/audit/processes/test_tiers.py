"""Which children are forked, and what a zygote is to load."""

from __future__ import annotations

from pathlib import Path

import pytest

from lazyguard.audit.processes import tiers
from lazyguard.audit.processes.plan import Settings, plan


@pytest.mark.parametrize(
    ("count", "repeat", "fork", "said"),
    [(3, 1, None, "fewer than"), (50, 2, None, "repeated"), (50, 2, True, "repeated"), (50, 1, False, "asked for")],
)
def test_when_no_fork_is_used(count: int, repeat: int, fork: bool | None, said: str) -> None:
    """Few modules, repeated times and --no-fork: all children are fresh, for a reason that is told."""
    found = tiers.why_fresh(count, Settings(repeat=repeat), fork)
    assert found is not None
    assert said in found


def test_only_imports_that_are_reached_for_certain_are_loaded(tmp_path: Path) -> None:
    """Those of the body and of try and with blocks; none under a condition, in a handler, in a function, of its own."""
    (tmp_path / "core").mkdir()
    text = """
from __future__ import annotations
import json, xml.dom
from . import part
import core.part
from os import path, sep
from math import *
try:
    import zlib
except ImportError:
    import bz2
if True:
    import lzma
def use():
    import csv
"""
    (tmp_path / "core" / "__init__.py").write_text(text)
    (tmp_path / "core" / "part.py").write_text("import (\n")
    settings = Settings(path=str(tmp_path))
    lines, uncompiled = tiers.scanned(plan(["core"], settings), settings, lambda: False)
    assert lines == ["json", "xml.dom", "os\tpath\tsep", "math", "zlib"]
    assert uncompiled == 1  # of a source that is broken there can be no byte code


def test_modules_below_packages_are_counted() -> None:
    """A package that is imported for one module alone needs no process of its own."""
    assert tiers.below(["a", "a.b", "a.b.c", "a.d", "e"]) == {"a": 3, "a.b": 1}
