"""How a ratio is measured: the same statement on the thing itself and through each peer, in turns, the best of many.

Invariant: all that is compared runs in the same process (or, for imports, in fresh processes that take turns), so that
a busy machine slows everybody down alike.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from timeit import Timer
from typing import Any

ROUNDS = 15
# Byte-code is written, as it is wherever a program is installed: without it every import costs four times as much.
_QUIETLY: dict[str, Any] = {
    "env": {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"},
    "capture_output": True,
    "text": True,
    "check": True,
}


def statements(statement: str, subjects: dict[str, Any], number: int = 100_000) -> dict[str, float]:
    """Return the best time of one `statement` on `v`, in seconds, for each subject; they take turns."""
    timers = {name: Timer(statement, globals={"v": subject}) for name, subject in subjects.items()}
    best = dict.fromkeys(timers, float("inf"))
    for _ in range(ROUNDS):
        for name, timer in timers.items():
            best[name] = min(best[name], timer.timeit(number) / number)
    return best


def imports(statements: dict[str, str]) -> dict[str, float]:
    """Return the best time of each import statement in a fresh interpreter, in seconds; they take turns."""
    best = dict.fromkeys(statements, float("inf"))
    with tempfile.TemporaryDirectory() as directory:
        Path(directory, "empty_package").mkdir()
        Path(directory, "empty_package", "__init__.py").touch()
        for _ in range(ROUNDS):
            for name, statement in statements.items():
                program = (
                    f"import sys; sys.path.insert(0, {directory!r})\n"
                    "from time import perf_counter; start = perf_counter()\n"
                    f"{statement}\nprint(perf_counter() - start)"
                )
                ran = subprocess.run([sys.executable, "-c", program], **_QUIETLY)
                best[name] = min(best[name], float(ran.stdout))
    return best


def table(title: str, rows: dict[str, float], base: str) -> list[dict[str, Any]]:
    """Print the times and their ratios to `base`; return them for the report."""
    print(f"\n{title}")
    found = [
        {"what": title, "name": name, "seconds": seconds, "ratio": seconds / rows[base]}
        for name, seconds in rows.items()
    ]
    for row in found:
        print(f"  {row['name']:<44} {row['seconds'] * 1e6:>12.3f} us  {row['ratio']:>8.2f}x")
    return found


def versions(*distributions: str) -> dict[str, str]:
    """Return the installed versions of the peers."""
    return {name: version(name) for name in distributions}


def write(path: Path, report: dict[str, Any]) -> None:
    """Write the report as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(report, indent=1))
    print(f"\n{path}")
