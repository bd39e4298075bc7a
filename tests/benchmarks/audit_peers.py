"""The audit beside other tools that look at imports, as run on the zoo of faults.

    python -m tests.benchmarks.audit_peers

Writes its section of docs/benchmarks.md. The tools are installed into build/bench/peers; each sees one module of the
zoo at a time under a hard limit, with a time limit of its own where it takes one. Their output is read generously: a
word for the fault counts as the verdict, file and line in any form as the line.
"""

from __future__ import annotations

import ctypes
import json
import os
import platform
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests.benchmarks.audit_packages import put
from tests.integration.audit.test_zoo import EXPECTED, INNER

ROOT = Path(__file__).parents[2]
ZOO = ROOT / "tests" / "audit_zoo"
HOME = ROOT / "build" / "bench" / "peers"
HARD, LARGEST = 3.0, 1 << 24
TOOLS: dict[str, tuple[str, list[str]]] = {
    "-X importtime": ("", ["{python}", "-X", "importtime", "-c", "import {module}"]),
    "importcost": ("importcost", ["{bin}/importcost", "profile", "-n", "1", "import {module}"]),
    "slowimports": ("slowimports", ["{bin}/slowimports", "--timeout", "1", "--all", "-c", "import {module}"]),
    "importguardpy": ("importguardpy", ["{bin}/importguard", "check", "{module}"]),
    "importtime-check": (
        "importtime-check",
        "{bin}/importtime-check measure --module {module} --warmups 0 --samples 1 --timeout-seconds 1".split(),
    ),
    "lazysafe": ("lazysafe", ["{bin}/lazysafe", "probe", "--timeout", "1", "--python", "{python}", "{module}"]),
    "pyinstrument": ("pyinstrument", ["{bin}/pyinstrument", "-c", "import {module}"]),
}
WORDS = {
    "hangs": r"\bhang|timed?[ -]?out|time limit",
    "crashes": r"crash|signal|segmentation|aborted|SIG[A-Z]{3}|-(11|6|9)\b",
    "exits": r"SystemExit|\bexit(s|ed)? (while|during)|\"exits\"|EOFError|exit (code|status) [1-9]",
    "fails": r"ModuleNotFoundError|RuntimeError|\"fails\"",
    "cannot-exit": r"cannot.exit|non-daemon",
    "leaves-children": r"leaves.children|outliv|left.?over",
    "slow": r"\bslow\b(?!_)|exceed",
}


def descendants() -> list[int]:
    """Return what has become our child: with the subreaper's help also what was orphaned below us."""
    found: list[int] = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                stat = Path(f"/proc/{entry}/stat").read_text(errors="replace")
            except OSError:
                continue
            if int(stat.rpartition(")")[2].split()[1]) == os.getpid():
                found.append(int(entry))
    return found


def end_all() -> None:
    """End everything below us, and what that leaves behind."""
    until = time.monotonic() + 5
    while (left := descendants()) and time.monotonic() < until:
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, os.WNOHANG)
            except OSError:
                continue
        time.sleep(0.01)


def run(command: list[str], env: dict[str, str], limit: float) -> tuple[bool, str, float]:
    """Return whether a command ended by itself, what it said, and its seconds."""
    with tempfile.NamedTemporaryFile() as file:
        out = os.open(file.name, os.O_WRONLY | os.O_APPEND)
        began = time.monotonic()
        process = subprocess.Popen(
            command, cwd=ZOO, env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True
        )
        while process.poll() is None and time.monotonic() - began < limit:
            if os.fstat(out).st_size > LARGEST:
                os.truncate(out, 0)
            time.sleep(0.01)
        ended, taken = process.poll() is not None, time.monotonic() - began
        os.close(out)
        end_all()
        text = Path(file.name).read_bytes()[-LARGEST:].decode(errors="replace")
    return ended, text, taken


def versions(names: list[str]) -> tuple[str, dict[str, str]]:
    """Return the interpreter of an environment with the tools, and the versions of those that can be had."""
    python = HOME / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(HOME)], check=True)
    found: dict[str, str] = {}
    for name in names:
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", name]
        if subprocess.run(pip, capture_output=True, check=False).returncode == 0:
            ask = [str(python), "-c", f"import importlib.metadata as m; print(m.version({name!r}))"]
            found[name] = subprocess.run(ask, capture_output=True, text=True, check=True).stdout.strip()
    return str(python), found


def said(text: str, name: str, line: int | None) -> bool:
    """Return whether a text names a line of a module of the zoo."""
    return bool(line) and re.search(rf"{name}\.py\W{{1,4}}(line )?{line}\b", text) is not None


def judged(texts: dict[str, tuple[bool, str]], seconds: float, version: str, tool: str) -> str:
    """Return a row of the table."""
    hanging = {name: line for name, (verdict, line) in EXPECTED.items() if verdict == "hangs" and line}
    ended = sum(done for done, _ in texts.values())
    lines = sum(
        any(said(texts[name][1], name, each) for each in (line, INNER.get(name))) for name, line in hanging.items()
    )
    right = sum(
        done and re.search(WORDS[EXPECTED[name][0]], text) is not None
        for name, (done, text) in texts.items()
        if name in EXPECTED
    )
    double = re.search(r"double|twice|executed as", texts["ok_doubled"][1].replace("ok_doubled", "")) is not None
    connect = re.search(r"connect\b.*127\.0\.0\.1|127\.0\.0\.1.*connect", texts["hangs_recv"][1], re.DOTALL) is not None
    left = said(texts["leaves_child"][1], "leaves_child", EXPECTED["leaves_child"][1])
    cells = [f"{tool} {version}".strip(), f"{ended} of {len(texts)}", f"{lines} of {len(hanging)}"]
    cells += [f"{right} of {len(EXPECTED)}", *("yes" if each else "no" for each in (double, connect, left))]
    return "| " + " | ".join([*cells, f"{seconds:.0f}"]) + " |"


def ours(env: dict[str, str], modules: list[str]) -> tuple[dict[str, tuple[bool, str]], float]:
    """Return what one audit of all of them says of each."""
    command = [sys.executable, "-m", "lazyguard", "audit", *(f"zoo.{name}" for name in modules)]
    command += ["--no-walk", "--timeout", "1", "--json", "-", "--quiet"]
    ended, text, seconds = run(command, env, 120.0)
    reported: dict[str, tuple[bool, str]] = {}
    for module in json.loads(text)["modules"]:
        blame = module["blame"] or {"file": "", "line": ""}
        line = f"{blame['file']}:{blame['line']} {json.dumps(module['verdict'])} {json.dumps(module['findings'])}"
        reported[module["module"].removeprefix("zoo.")] = (ended, line)
    return reported, seconds


def theirs(
    command: list[str], env: dict[str, str], modules: list[str], python: str
) -> Iterator[tuple[str, bool, str, float]]:
    """Yield what a tool says of one module after the other."""
    for name in modules:
        words = {"python": python, "bin": str(Path(python).parent), "module": f"zoo.{name}"}
        yield (name, *run([each.format(**words) for each in command], env, HARD))


def main() -> None:
    """Run all of them and write."""
    ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER: what they leave behind is ours to end
    python, found = versions([package for package, _ in TOOLS.values() if package])
    modules = [*EXPECTED, "ok_doubled", "plain"]
    env = {**os.environ, "PYTHONPATH": f"{ZOO}{os.pathsep}{ROOT / 'src'}"}
    rows: list[str] = []
    reported, seconds = ours(env, modules)
    rows.append(judged(reported, seconds, "", "lazyguard audit"))
    print(rows[-1], flush=True)
    for tool, (package, command) in TOOLS.items():
        if package and package not in found:
            rows.append(f"| {tool} | cannot be had | | | | | | |")
            continue
        texts: dict[str, tuple[bool, str]] = {}
        seconds = 0.0
        for name, ended, text, taken in theirs(command, env, modules, python):
            texts[name] = ended, text
            seconds += taken
        rows.append(judged(texts, seconds, found.get(package, platform.python_version()), tool))
        print(rows[-1], flush=True)
    lines = [
        "## The audit beside other tools",
        "",
        f"On `tests/audit_zoo`, {len(modules)} modules, CPython {platform.python_version()}; each tool has {HARD:g} s "
        "a module, and a time limit of 1 s of its own where it takes one. Output is read generously: a word for the "
        "fault counts as the verdict, file and line in any form as the line. lazyguard audits all in one run.",
        "",
        "| tool | ends by itself | names the hanging line | right verdicts | double import | connection "
        "| left-over process, its line | seconds |",
        "|---|---|---|---|---|---|---|---|",
        *rows,
    ]
    put("audit beside others", lines)


if __name__ == "__main__":
    main()
