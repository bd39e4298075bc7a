"""Whether times of two states of a program can be compared while the machine is busy: by turns, and by a reference.

    python -m tests.benchmarks.audit_turns against [RUNS [KIND ...]]
    python -m tests.benchmarks.audit_turns reference [RUNS [KIND ...]]

Both count false alarms over unchanged states, and slowdowns by 30 % of a module of 0.3 s that were found. The module
computes, imports many small modules, or waits; other processes compute meanwhile, another number of them each time.
`against` is `lazyguard audit --against`. `reference` is what a file of earlier times would need: module and a fixed
import by turns, the least time of each, and the quotient of the two kept for a later moment.
"""

from __future__ import annotations

import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.benchmarks.audit_packages import busy

from lazyguard.audit import audit
from lazyguard.audit.against import measured

KINDS = ("computes", "imports", "waits")
SECONDS, SLOWER, RUNS, ROUNDS = 0.3, 1.3, 20, 7
ALLOWED = (1.1, 1.2, 1.25)
REFERENCE = "asyncio, email.message, http.client, xml.dom.minidom, decimal, unittest, sqlite3, logging.config"
TIMED = "from time import {clock} as c; b = c(); import {what}; print(c() - b)"
BURNER = """
import random, time
while True:
    until = time.perf_counter() + random.random()
    while time.perf_counter() < until:
        pass
    time.sleep(random.random())
"""


def written(home: Path, kind: str, amount: float) -> str:
    """Write a module of a kind that takes so many seconds on this machine while it is quiet; return its directory."""
    directory = home / f"{kind}-{amount:.3f}"
    directory.mkdir(parents=True)
    if kind == "waits":
        (directory / "shop.py").write_text(f"import time\ntime.sleep({amount})\n")
    elif kind == "computes":
        (directory / "shop.py").write_text(f"for at in range({int(amount * COUNT['loop'])}):\n    at * at\n")
    else:
        names = [f"part{at:04}" for at in range(int(amount * COUNT["modules"]))]
        for name in names:
            body = "".join(f"class C{at}:\n    def f(self, a=1): return a\n" for at in range(20))
            (directory / f"{name}.py").write_text(body)
        (directory / "shop.py").write_text("".join(f"import {name}\n" for name in names))
    subprocess.run([sys.executable, "-m", "compileall", "-q", str(directory)], check=True)
    return str(directory)


COUNT = {"loop": 20_000_000.0, "modules": 2000.0}
"""Steps a second: set by `calibrated`."""


def calibrated(home: Path) -> None:
    """Set COUNT to what this machine does in a second of processor time, so that load makes no module shorter."""
    for key, kind in (("loop", "computes"), ("modules", "imports")):
        directory = written(home / "first", kind, SECONDS)
        COUNT[key] *= SECONDS / min(taken(directory, clock="process_time") for _ in range(5))


def taken(directory: str, what: str = "shop", clock: str = "perf_counter") -> float:
    """Return the seconds of an import in a fresh interpreter, by a clock of `time`."""
    done = subprocess.run(
        [sys.executable, "-c", TIMED.format(what=what, clock=clock)],
        cwd=directory,
        capture_output=True,
        text=True,
        check=True,
    )
    return float(done.stdout)


def quotient(directory: str) -> float:
    """Return the least time of the module as a multiple of that of the reference, taken by turns."""
    pairs = [(taken(directory), taken(directory, REFERENCE)) for _ in range(ROUNDS)]
    return min(module for module, _ in pairs) / min(fixed for _, fixed in pairs)


def by_reference(home: Path, runs: int, kinds: list[str]) -> None:
    """Keep a quotient of one moment and compare those of others with it."""
    for kind in kinds:
        here, slower = written(home, kind, SECONDS), written(home, kind, SECONDS * SLOWER)
        ratios: dict[str, list[float]] = {here: [], slower: []}
        for _ in range(runs):
            with busy(random.randrange(4), BURNER):
                known = quotient(here)
            with busy(random.randrange(4), BURNER):
                for directory, found in ratios.items():
                    found.append(quotient(directory) / known)
        for allowed in ALLOWED:
            alarms, found = (sum(each > allowed for each in ratios[state]) for state in (here, slower))
            print(f"{kind:9} beyond {allowed:.2f}: {alarms} false alarms, {found} found, of {runs}", flush=True)
        print(kind, *(f"{min(each):.2f} to {max(each):.2f}" for each in ratios.values()), flush=True)


def by_turns(home: Path, runs: int, kinds: list[str]) -> None:
    """Compare unchanged and slower states with `--against`."""
    for kind in kinds:
        before, same = written(home, kind, SECONDS), written(home / "same", kind, SECONDS)
        slower = written(home, kind, SECONDS * SLOWER)
        counts, began = {same: 0, slower: 0}, time.perf_counter()
        for _ in range(runs):
            for path in counts:
                with busy(random.randrange(4), BURNER):
                    options = {"path": path, "slow": 5.0, "timeout": 30.0}
                    report = audit(["shop"], path=path, slow=5.0, timeout=30.0)
                    counts[path] += measured(report, ["shop"], before, options).found
        each = (time.perf_counter() - began) / (2 * runs)
        print(f"{kind:9} {counts[same]} false alarms, {counts[slower]} found, of {runs}; {each:.1f} s each", flush=True)


if __name__ == "__main__":
    how = {"reference": by_reference, "against": by_turns}[sys.argv[1]]
    with tempfile.TemporaryDirectory() as directory:
        calibrated(Path(directory))
        how(Path(directory), int((sys.argv[2:] or [str(RUNS)])[0]), sys.argv[3:] or list(KINDS))
