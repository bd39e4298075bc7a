"""What declaring costs in instructions, as callgrind counts them: repeatable, whatever else the machine is doing.

`python -m tests.benchmarks.doorstep` prints the table for this interpreter. Importing lazy_loader and calling its
`attach` is 1. Each program is a module that is imported once before, so that its byte code and ours are there.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.benchmarks.rows import Row, installed

TITLE = "declaring, in instructions"
UNIT = "instructions"
BASE = "lazy_loader.attach"
_ATTACH = (
    "__getattr__, __dir__, __all__ = {}.attach(__name__, submodules=['a', 'b'], submod_attrs={{'c': ['d', 'e']}})\n"
)
_LAZY = "@lazyguard.lazy\ndef thing() -> list:\n    return [1]\n"
_GUARDED = (
    "@lazyguard.guarded(timeout=1.0, retry=lazyguard.Retry(attempts=3), breaker=lazyguard.Breaker())\n"
    "def call() -> list:\n    return [1]\n"
)
_SERVICE = "@lazyguard.service({})\ndef get_thing() -> list:\n    return [1]\nthing = get_thing()\n"
_FALLBACK = "@get_thing.fallback\ndef _offline() -> list:\n    return []\n"
_OURS = "import lazyguard\n"
PROGRAMS = {
    BASE: "import lazy_loader\n" + _ATTACH.format("lazy_loader"),
    "attach": _OURS + _ATTACH.format("lazyguard"),
    "lazy": _OURS + _LAZY,
    "guarded": _OURS + _GUARDED,
    "service": _OURS + _SERVICE.format(""),
    "service with a fallback": _OURS + _SERVICE.format("") + _FALLBACK,
    "all four in one module": _OURS + _ATTACH.format("lazyguard") + _LAZY + _GUARDED + _SERVICE.format(""),
    "lazy, and its first use": _OURS + _LAZY + "len(thing)\n",
    "service, and its first use": _OURS + _SERVICE.format("") + "len(thing)\n",
    "service(timeout=1.0), and its first use": _OURS + _SERVICE.format("timeout=1.0") + "len(thing)\n",
}


def count(program: str) -> int:
    """Return the instructions that a fresh interpreter takes to import a module with this text, and to end."""
    with tempfile.TemporaryDirectory() as directory:
        Path(directory, "declares.py").write_text(program)
        start = Path(directory, "start.py")
        start.write_text("import declares\n")
        env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        env |= {"PYTHONPATH": os.pathsep.join([directory, *filter(None, sys.path)]), "PYTHONHASHSEED": "0"}
        command = [sys.executable, str(start)]
        subprocess.run(command, env=env, check=True)
        valgrind = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={os.devnull}"]
        ran = subprocess.run([*valgrind, *command], env=env, capture_output=True, text=True, check=True)
    counted = re.search(r"Collected : (\d+)", ran.stderr)
    assert counted is not None, ran.stderr
    return int(counted[1])


def rows(quick: bool) -> list[Row]:
    """Return what each way of declaring takes above a bare interpreter; nothing without valgrind or lazy_loader."""
    if shutil.which("valgrind") is None or not installed("lazy_loader"):
        return []
    bare = count("")
    programs = dict(list(PROGRAMS.items())[:2]) if quick else PROGRAMS
    return [Row(TITLE, name, count(text) - bare, UNIT, BASE) for name, text in programs.items()]


if __name__ == "__main__":
    found = rows(quick=False)
    for row in found:
        print(f"{row.name:42} {row.value / 1e6:7.2f} million {row.value / found[0].value:6.2f}")
