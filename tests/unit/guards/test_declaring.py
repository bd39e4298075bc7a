"""Declaring with a guard costs the host nothing dear."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from lazyguard import errors

CODE = """
import sys
before = set(sys.modules)
from lazyguard._guards.duplicates import prevent_duplicate_imports
from lazyguard._guards.hooks import when_imported
from lazyguard._guards.once import once
from lazyguard._guards.optional import optional_import, require

@once
def first(): ...

@once(key="second")
def second(): ...

@when_imported("no_such_module")
def hook(module): ...

lib = optional_import("no_such_module", extra="x", package="y", why="z")
repr(lib), dir(lib)
for mode in ("alias", "warn", "error"):
    prevent_duplicate_imports("lazyguard", action=mode)
first()
require("sys")
print(*sorted(set(sys.modules) - before))
"""


def test_what_declaring_loads():
    """In a fresh process importing and declaring load nothing dear, and no other package."""
    environment = {**os.environ, "PYTHONPATH": str(Path(errors.__file__).parents[1])}
    result = subprocess.run(
        [sys.executable, "-S", "-c", CODE], env=environment, capture_output=True, text=True, timeout=60
    )
    assert result.returncode == 0, result.stderr
    dear = "wrapt tenacity asyncio typing inspect dataclasses logging re threading importlib.metadata"
    assert not set(dear.split()) & set(result.stdout.split())
