"""All suites on the interpreter that runs this: `python -m tests.benchmarks.suite FILE [--quick]` writes one JSON."""

from __future__ import annotations

import json
import os
import platform
import sys
from dataclasses import asdict
from pathlib import Path

from tests.benchmarks import doorstep, imports, memory, racing, scale, trouble
from tests.benchmarks.rows import Row, statements, versions

import lazyguard

PEERS = [
    "lazy-object-proxy", "wrapt", "werkzeug", "django", "celery", "lazy-loader", "ducktools-lazyimporter", "tenacity",
    "stamina", "pybreaker", "circuitbreaker", "pyresilience", "nopanic", "func-timeout",
]  # fmt: skip


def main(file: str, *, quick: bool) -> None:
    """Measure everything and write it."""
    whole = ["--processes", "4", "--values", "3", "--warmups", "1", "--min-time", "0.05"]
    pace = ["--debug-single-value"] if quick else whole
    rows: list[Row] = []
    for module in ("proxies", "modules", "guarding"):
        print(f"  {module}", flush=True)
        rows += statements(f"tests.benchmarks.{module}", pace)
    for suite in (imports, doorstep, memory, racing, scale, trouble):
        print(f"  {suite.__name__.rpartition('.')[2]}", flush=True)
        rows += suite.rows(quick)
    report = {
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} processors",
        "lazyguard": lazyguard.__version__,
        "quick": quick,
        "peers": versions(PEERS),
        "rows": [asdict(row) for row in rows],
    }
    Path(file).write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main(sys.argv[1], quick="--quick" in sys.argv)
