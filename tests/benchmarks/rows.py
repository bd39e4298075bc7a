"""One measurement: what, of whom, how much, in which unit; the form that all suites give and the report reads.

Invariant: nothing is written here but what a suite measured in this run; a peer that is not installed has no row.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

US = "us"


@dataclass(frozen=True)
class Row:
    """`value` in `unit` for `name`; `base` names the row of the same table that ratios are to."""

    table: str
    name: str
    value: float
    unit: str
    base: str = ""


def installed(module: str) -> bool:
    """Return whether a peer is there; some have no wheel for the newest Python."""
    return importlib.util.find_spec(module) is not None


def versions(distributions: list[str]) -> dict[str, str]:
    """Return the versions of the peers that are installed."""
    found: dict[str, str] = {}
    for name in distributions:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def write(rows: list[Row], file: str) -> None:
    """Write rows as JSON."""
    Path(file).write_text(json.dumps([asdict(row) for row in rows], indent=1))


def statements(module: str, arguments: list[str]) -> list[Row]:
    """Run a suite that is a program of pyperf's, and return the least time of each of its benchmarks.

    A benchmark's name is "table | name | base". The least of all values of all processes counts, since whatever else a
    machine does can only add.
    """
    import pyperf

    with tempfile.TemporaryDirectory() as directory:
        out = os.path.join(directory, "out.json")
        command = [sys.executable, "-m", module, *arguments, "--inherit-environ", "PYTHONPATH", "--quiet", "-o", out]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        found: list[Row] = []
        for one in pyperf.BenchmarkSuite.load(out):
            table, name, base = one.get_name().split(" | ")
            found.append(Row(table, name, min(one.get_values()) * 1e6, US, base))
    return found


def fresh(program: str, *arguments: str) -> Any:
    """Run a program in a fresh interpreter and return what it printed, as JSON."""
    # Byte-code is written, as it is wherever a program is installed: without it every import costs four times as much.
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    command = [sys.executable, "-c", program, *arguments]
    ran = subprocess.run(command, env=env, capture_output=True, text=True, check=True, timeout=300)
    return json.loads(ran.stdout.splitlines()[-1])


def least(times: int, programs: dict[str, Callable[[], float]]) -> dict[str, float]:
    """Return the least that each gave; they take turns, so that a busy machine slows all alike."""
    best = dict.fromkeys(programs, float("inf"))
    for _ in range(times):
        for name, run in programs.items():
            best[name] = min(best[name], run())
    return best
