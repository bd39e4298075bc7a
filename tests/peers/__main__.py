"""Run the peers' own tests with lazyguard in their place, and judge what fails: `python -m tests.peers [NAME ...]`.

Everything is below build/peers: the source distributions and an environment, which are kept, and copies of the tests,
which are not. What was interrupted leaves no half of anything. The judgements are in `judged.py`, what is made of them
in docs/explanation/peers.md.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import textwrap
import zlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.peers.judged import JUDGED, KINDS, Judgement
from tests.peers.table import PEERS, Peer

ROOT = Path(__file__).parents[2]
HOME = ROOT / "build" / "peers"
ADAPTERS = Path(__file__).with_name("adapters")
VERSION = sys.version.split()[0]
LIMIT = 600.0  # seconds for one command; the longest take half a minute
# as pytest writes them: the file, the class if there is one, the function, the parameters
Outcomes = dict[str, tuple[str, str]]


def run(
    command: list[str], *, good: tuple[int, ...] = (0,), cwd: Path = ROOT, env: dict[str, str] | None = None
) -> None:
    """Run a command and wait; however the wait ends, all that the command started has ended then.

    Raises:
        SystemExit: Its status is none of the good ones; with what it printed last.
    """
    with subprocess.Popen(
        command, cwd=cwd, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    ) as process:
        try:
            said = process.communicate(timeout=LIMIT)[0]
        finally:
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
    if process.returncode not in good:
        raise SystemExit(f"{' '.join(command)}: status {process.returncode}\n{said[-3000:]}")


def pip(python: Path | str, *arguments: str) -> None:
    """Run pip, with its own settings."""
    run([str(python), "-m", "pip", "--quiet", "--disable-pip-version-check", *arguments])


def filled(directory: Path, fill: Callable[[Path], None]) -> Path:
    """Return a directory, filled at its first need, all of it or nothing."""
    if not directory.exists():
        part = directory.with_name(f"{directory.name}.part")
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        try:
            fill(part)
            part.rename(directory)
        finally:
            shutil.rmtree(part, ignore_errors=True)
    return directory


def source_of(peer: Peer) -> Path:
    """Return the peer's source distribution, unpacked."""
    name = peer.requirement.partition("=")[0]

    def fill(directory: Path) -> None:
        pip(sys.executable, "download", "--no-deps", "--no-binary", name, "--dest", str(directory), peer.requirement)
        for archive in directory.iterdir():
            shutil.unpack_archive(archive, directory)
            archive.unlink()

    return next(filled(HOME / "sources" / peer.requirement, fill).iterdir())


def environment() -> Path:
    """Return the interpreter of an environment with lazyguard as it is here, all peers, and what their tests need."""
    needed = sorted({each for peer in PEERS.values() for each in (peer.requirement, *peer.needed)})

    def fill(directory: Path) -> None:
        run([sys.executable, "-m", "venv", str(directory)])
        pip(directory / "bin" / "python", "install", "--editable", str(ROOT), "pytest", *needed)

    # one for each Python and each set of releases
    mark = f"{zlib.crc32(' '.join(needed).encode()):x}"
    return filled(HOME / f"venv-{VERSION}-{mark}", fill) / "bin" / "python"


def tested(name: str, form: str, python: Path, home: Path) -> Outcomes:
    """Return what each test came to, with lazyguard standing in by one of its forms."""
    outcomes = home / "outcomes.json"
    (home / "pytest.ini").write_text("[pytest]\n")
    env = {
        **{name: value for name, value in os.environ.items() if name != "PYTEST_ADDOPTS"},
        "PYTHONPATH": os.pathsep.join((str(ADAPTERS), str(home / "tests"))),
        "LAZYGUARD_FORM": form,
        "LAZYGUARD_OUTCOMES": str(outcomes),
    }
    limits = "ignore::lazyguard.errors.ProxyLimitWarning"
    options = ["-q", "-p", "no:cacheprovider", "-p", "outcomes", "-p", f"as_{name}", "--runxfail", "-W", limits]
    options.append("--continue-on-collection-errors")
    options += [option for each in PEERS[name].apart.get(form, ()) for option in ("--deselect", each)]
    run([str(python), "-m", "pytest", *options, *PEERS[name].tests], good=(0, 1, 2), cwd=home, env=env)
    found: Outcomes = json.loads(outcomes.read_text())
    return found


def suite(name: str, python: Path) -> dict[str, Outcomes]:
    """Return what the tests of a peer came to, in each form."""
    peer = PEERS[name]
    source = source_of(peer)
    home = HOME / f"run-{os.getpid()}"
    try:
        for each in peer.copied:
            copy: Any = shutil.copytree if (source / each).is_dir() else shutil.copy
            (home / each).parent.mkdir(parents=True, exist_ok=True)
            copy(source / each, home / each)
        for file in home.rglob("*.py"):
            text = file.read_text()
            for pattern, replacement in peer.edits:
                text = re.sub(pattern, replacement, text, flags=re.MULTILINE)
            file.write_text(text)
        return {form: tested(name, form, python, home) for form in peer.forms}
    finally:
        shutil.rmtree(home, ignore_errors=True)


def names_of(test: str) -> set[str]:
    """Return by what a judgement may name a test: with and without parameters."""
    name = test.partition("::")[2]
    return {name, name.partition("[")[0]}


def judge(name: str, outcomes: dict[str, Outcomes]) -> dict[str, Any]:
    """Return what is to be told of a peer: what was run, passed and failed in each form, and all judgements."""
    judgements = JUDGED[name]
    forms: dict[str, Any] = {}
    borne_out: set[tuple[Judgement, str, str]] = set()
    for form, tests in outcomes.items():
        failed: Counter[str] = Counter(dict.fromkeys(KINDS, 0))
        unjudged = {}
        for test, (end, text) in tests.items():
            if end != "failed":
                continue
            of = [(each, called) for each in judgements for called in names_of(test) if each.is_about(called, form)]
            if not of:
                unjudged[test] = text
            for each, called in of[:1]:
                failed[each.kind] += 1
                borne_out.add((each, called, form))
        ends = Counter(end for end, _ in tests.values())
        counts = {"run": ends.total() - ends["skipped"], "passed": ends["passed"], "failed": dict(failed)}
        forms[form or "attach"] = {**counts, "unjudged": unjudged}
    return {
        "peer": PEERS[name].requirement,
        "forms": forms,
        "judged": [
            {"kind": each.kind, "why": each.why, "page": f"docs/{each.page}", "tests": list(each.tests)}
            for each in judgements
        ],
        # what was judged, was run, and did not fail
        "passes": sorted(
            {
                (test, form)
                for form, tests in outcomes.items()
                for each in judgements
                for test in set().union(*map(names_of, tests)) & {*each.tests}
                if each.is_about(test, form) and (each, test, form) not in borne_out
            }
        ),
    }


def shown(told: dict[str, Any]) -> None:
    """Print what is told of one peer."""
    for form, counts in told["forms"].items():
        failed = "".join(f"{number:8}" for number in counts["failed"].values())
        print(f"{told['peer']:28}{form:10}{counts['run']:6}{counts['passed']:8}{failed}{len(counts['unjudged']):10}")
    lines = [f"{each['kind']}: {each['why']} ({each['page']}): {', '.join(each['tests'])}" for each in told["judged"]]
    lines += [f"judged, but passes: {test} {form}" for test, form in told["passes"]]
    for form, counts in told["forms"].items():
        lines += [f"UNJUDGED {form} {test}: {text[:300]}" for test, text in counts["unjudged"].items()]
    for line in lines:
        print(textwrap.fill(line, 120, initial_indent="    ", subsequent_indent="        ", break_on_hyphens=False))
    sys.stdout.flush()


def main(arguments: list[str] | None = None) -> int:
    """Run what the command line names; return 1 where a failure is judged by none."""
    parser = argparse.ArgumentParser(prog="python -m tests.peers", description=str(__doc__).partition(":")[0] + ".")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which: {', '.join(PEERS)}; all, if left out")
    parser.add_argument("--json", action="store_true", help="print JSON in place of the table")
    given = parser.parse_args(arguments)
    unknown = [name for name in given.names if name not in PEERS]
    if unknown:
        parser.error(f"there is no peer {', '.join(unknown)}; there are {', '.join(PEERS)}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    told = []
    try:
        python = environment()
        if not given.json:
            heads = "".join(f"{head:>8}" for head in ("passed", *KINDS))
            print(f"{'Python ' + VERSION:28}{'form':10}{'run':>6}{heads}{'unjudged':>10}")
        for name in given.names or PEERS:
            told.append(judge(name, suite(name, python)))
            if not given.json:
                shown(told[-1])
    except KeyboardInterrupt:
        return 130
    if given.json:
        print(json.dumps({"python": VERSION, "peers": told}, indent=1))
    return int(any(counts["unjudged"] for each in told for counts in each["forms"].values()))


if __name__ == "__main__":
    sys.exit(main())
