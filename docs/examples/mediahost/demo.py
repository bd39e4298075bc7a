"""The example before and after, side by side: what `make demo` runs.

Starts a Redis that accepts connections and never answers, imports the nine modules of either side against it, each in
a process of its own, and prints what was measured beside the goals. The two audits go to build/demo/before.json and
build/demo/after.json, and as one page for a browser to build/demo/report.html. Ends by itself, and leaves no process
and no file in the temporary directory behind, also when it is interrupted.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import checks
from silent_redis import silent_redis

from lazyguard.audit import Report, audit, compare
from lazyguard.audit.output.html import page
from lazyguard.audit.output.progress import shown

HERE = Path(__file__).resolve().parent
BUILD = HERE.parents[2] / "build" / "demo"
# What hangs is reached after two seconds of other waiting; a busy machine needs time to get there.
TIMEOUT = 8.0

# Seconds above the interpreter's own start; core.models is measured against SQLAlchemy's own import.
GOALS = dict.fromkeys(checks.TARGETS, 0.010) | {"core": 0.005, "core.models": None}
# What a module cannot do without, imported alone beside it.
SQLALCHEMY, DATACLASSES = "sqlalchemy.orm", "dataclasses"


def main() -> int:
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    began = time.monotonic()
    BUILD.mkdir(parents=True, exist_ok=True)
    with silent_redis() as url, tempfile.TemporaryDirectory(prefix="mediahost-") as data:
        env = {**os.environ, "MEDIAHOST_REDIS_URL": url, "MEDIAHOST_DATA_DIR": data}
        env["MEDIAHOST_DATABASE_URL"] = f"sqlite:///{data}/mediahost.db"
        env.pop("PYTHONDONTWRITEBYTECODE", None)  # what is compiled anew at each start measures the compiler
        say("before: nine modules against a Redis that accepts connections and never answers")
        # Children that hang need no processor: more of them at a time.
        before = measure("before", checks.TARGETS, env, jobs=4)
        say("after: the same, with lazyguard; the fastest of twelve imports, one at a time")
        after = measure("after", [*checks.TARGETS, SQLALCHEMY, DATACLASSES], env, jobs=1, repeat=12)
        say("the 23 import checks on both")
        passed = [count(checks.run(side, jobs=jobs)) for side, jobs in (("before", 8), ("after", 2))]
    print_table(before, after)
    for side, figures in zip(("before", "after"), passed, strict=True):
        print(f"import checks {side}: {figures}")
    (BUILD / "report.html").write_text(page(after, before), encoding="utf-8")
    print(f"\n{BUILD}/before.json, after.json and, for a browser, report.html; {time.monotonic() - began:.0f} s in all")
    return 0


def measure(side: str, targets: Sequence[str], env: dict[str, str], jobs: int | None = None, repeat: int = 1) -> Report:
    """Audit one side, and write down what was seen."""
    with shown(plain=False) as progress:
        report = audit(
            targets,
            path=HERE / side,
            timeout=TIMEOUT,
            jobs=jobs,
            repeat=repeat,
            walk=False,
            env=env,
            progress=progress.module,
        )
    (BUILD / f"{side}.json").write_text(json.dumps(report.to_dict(), indent=2) + "\n", encoding="utf-8")
    return report


def count(results: Sequence[checks.Result]) -> str:
    found = {outcome: sum(each.outcome == outcome for each in results) for outcome in ("passes", "fails", "hangs")}
    return f"{found['passes']} of {len(results)} pass, {found['fails']} fail, {found['hangs']} hang"


def print_table(before: Report, after: Report) -> None:
    """The headline: verdict, total and own seconds of each module on either side, and the goal."""
    widths = [max(map(len, checks.TARGETS)), 7, 8, 8, 7, 8, 8, 8, 3]
    print()
    print_row(["module", "before", "total s", "own s", "after", "total s", "own s", "goal s", "met"], widths)
    print_row(["-" * width for width in widths], widths)
    rows = {row.module: row for row in compare(before, after).rows}
    reference = rows[SQLALCHEMY].after
    for target in checks.TARGETS:
        cells = [target]
        for module in (rows[target].before, rows[target].after):
            cells += [module.verdict, f"{module.seconds:.3f}", f"{module.own_seconds:.3f}"] if module else ["-"] * 3
        goal = GOALS[target] or (reference.seconds if reference else 0.0)
        found = rows[target].after
        met = found is not None and found.verdict == "ok" and found.seconds <= goal
        print_row([*cells, f"{goal:.3f}", "yes" if met else "no"], widths)
    print("\nSeconds above the interpreter's own start, parents' time included in the total. The goal for core.models")
    print(f"is the import of {SQLALCHEMY} alone, measured beside it. core.config stays a frozen dataclass: the")
    standard = rows[DATACLASSES].after
    print(
        f"import of {DATACLASSES} alone, measured beside it, takes {standard.seconds if standard else 0.0:.3f} s here."
    )
    for side, report in (("before", before), ("after", after)):
        for cause in report.causes:
            print(f"{side}: {cause.text}")
        if not report.causes:
            print(f"{side}: nothing hangs, fails or is slow")


def print_row(cells: Sequence[str], widths: Sequence[int]) -> None:
    numbers = (2, 3, 5, 6, 7)
    padded = [
        cell.rjust(width) if at in numbers else cell.ljust(width)
        for at, (cell, width) in enumerate(zip(cells, widths, strict=True))
    ]
    print("  ".join(padded).rstrip())


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    try:
        raise SystemExit(main())
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        raise SystemExit(130) from None
