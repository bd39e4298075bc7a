"""What a zygote is to load."""

from __future__ import annotations

from pathlib import Path

from lazyguard.audit.processes.plan import Settings, plan
from lazyguard.audit.processes.zygote_process import scan


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
    lines, uncompiled = scan(plan(["core"], settings), settings, lambda: False)
    assert lines == ["json", "xml.dom", "os\tpath\tsep", "math", "zlib"]
    assert uncompiled == 1  # of a source that is broken there can be no byte code
