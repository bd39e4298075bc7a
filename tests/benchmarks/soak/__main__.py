"""`python -m tests.benchmarks.soak`: run the examples side by side, tell how far they are, judge, write.

Exit status: 0 if all promises hold, 1 if one is broken, 2 for unusable arguments, 130 after Ctrl-C.

Invariant: no process is left, however it ends. An interruption comes to this process alone, which hands it on once.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

from tests.benchmarks.audit_packages import ROOT, put
from tests.benchmarks.soak.examples import KINDS
from tests.benchmarks.soak.page import plot, section
from tests.benchmarks.soak.promises import Judged

PATIENCE = 60.0  # for what ends


def arguments(given: list[str]) -> argparse.Namespace:
    """Return what was asked for."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.soak",
        description="Soak the examples: load while their servers fail at random. Exit status 1: a promise is broken.",
    )
    parser.add_argument("examples", nargs="*", help=f"which, of {', '.join(KINDS)}; all if left out, side by side")
    parser.add_argument("--minutes", type=float, default=20.0, help="how long their servers fail (20)")
    parser.add_argument("--seed", type=int, default=1, help="of the schedule (1); 0 draws one, and prints it")
    parser.add_argument("--harsh", action="store_true", help="shorter calms, and servers that reset and babble as well")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures and the broken promises there")
    parser.add_argument(
        "--keep", type=Path, metavar="DIR", help="keep there all that was seen, and draw the plots there"
    )
    parser.add_argument(
        "--write", action="store_true", help="write the section of docs/benchmarks.md, and docs/soak-*.svg"
    )
    parser.add_argument("--judge", type=Path, metavar="DIR", help="run nothing: judge, and write, what --keep has kept")
    asked = parser.parse_args(given)
    unknown = [name for name in asked.examples if name not in KINDS]
    if unknown:
        parser.error(f"there is no example {unknown[0]!r}; there are {', '.join(KINDS)}")
    if asked.minutes <= 0:
        parser.error("--minutes must be above 0")
    if asked.write and asked.examples:
        parser.error("--write writes about all examples: name none")
    asked.examples = list(dict.fromkeys(asked.examples)) or list(KINDS)
    asked.seed = asked.seed or random.randrange(1, 1_000_000)
    return asked


def tell(stream: Any) -> None:
    """Print how far a run is, for each of its lines."""
    for line in stream:
        told = json.loads(line)
        share = max(0.0, told["at"] / told["end"])
        far = f"{share:4.0%}  {told['at']:6.0f} of {told['end']:.0f} s"
        seen = f"{told['requests']:7,} requests  {told['slow']} slow  {told['memory'] / 1e6:.1f} MB"
        print(f"{told['example']:8} {far}  {seen}", flush=True)


def run(asked: argparse.Namespace, home: Path) -> list[dict[str, Any]]:
    """Run the examples, each by a process; return what was seen."""
    severity = "harsh" if asked.harsh else "usual"
    runs: dict[str, subprocess.Popen[str]] = {}
    tellers: list[threading.Thread] = []
    try:
        for name in asked.examples:
            command = [sys.executable, "-m", "tests.benchmarks.soak.seen", name, str(asked.minutes * 60)]
            runs[name] = subprocess.Popen(
                [*command, str(asked.seed), severity, str(home / f"{name}.json")],
                cwd=ROOT, stdout=subprocess.PIPE, text=True, start_new_session=True,
            )  # fmt: skip
            tellers.append(threading.Thread(target=tell, args=(runs[name].stdout,), daemon=True))
            tellers[-1].start()
        for name, process in runs.items():
            if process.wait() != 0:
                raise SystemExit(f"the run of {name} failed: its error is above")
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        end(runs)
    for teller in tellers:
        teller.join()
    return kept(asked, home)


def end(runs: dict[str, subprocess.Popen[str]]) -> None:
    """End what still runs: it stops its servers when it is interrupted; what does not is killed with its group."""
    for process in runs.values():
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
    for process in runs.values():
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def main(given: list[str]) -> int:
    """Run, judge, write; return the exit status."""
    asked = arguments(given)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    return write(asked, [Judged(seen) for seen in kept(asked, asked.judge)] if asked.judge else judged_now(asked))


def kept(asked: argparse.Namespace, home: Path) -> list[dict[str, Any]]:
    """Return what was seen, as the runs have written it."""
    return [json.loads((home / f"{name}.json").read_text(encoding="utf-8")) for name in asked.examples]


def judged_now(asked: argparse.Namespace) -> list[Judged]:
    """Run the examples, and judge."""
    with tempfile.TemporaryDirectory(prefix="soak-") as directory:
        home = asked.keep or Path(directory)
        home.mkdir(parents=True, exist_ok=True)
        print(f"{', '.join(asked.examples)}: {asked.minutes:g} minutes of failures by seed {asked.seed}", flush=True)
        return [Judged(seen) for seen in run(asked, home)]


def write(asked: argparse.Namespace, judged: list[Judged]) -> int:
    """Print and write the figures; return the exit status."""
    for one in judged:
        print(f"\n{one.name}: {'all promises hold' if not one.broken else f'{len(one.broken)} promises broken'}")
        for sentence in one.broken:
            print(f"  - {sentence}")
    print("\n" + "\n".join(section(judged)))
    if asked.json:
        of = {one.name: {"figures": one.figures, "broken": one.broken} for one in judged}
        told = {name: judged[0].run[name] for name in ("seconds", "seed", "harsh")}
        asked.json.write_text(json.dumps({**told, "examples": of}, indent=1), encoding="utf-8")
    for one in judged:
        if asked.keep:
            plot(one, asked.keep / f"soak-{one.name}.svg")
        if asked.write:
            plot(one, ROOT / "docs" / f"soak-{one.name}.svg")
    if asked.write:
        put("soak", section(judged))
    return 1 if any(one.broken for one in judged) else 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
