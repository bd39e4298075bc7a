"""Whether the audit's advice holds: what it promises, and what is saved where it is followed, in turns.

    python -m tests.benchmarks.audit_promises [--loaded]

Each program is copied, every statement that is advised is replaced by the text that is given for it, and both copies
are imported by fresh interpreters, 25 times each. Beside `make bench-audit`, whose packages have to be installed. With
`--loaded`, eight busy loops run beside it all. Writes its section of docs/benchmarks.md.
"""

from __future__ import annotations

import ast
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from textwrap import indent
from typing import TYPE_CHECKING

from tests.benchmarks.audit_packages import HOME, LOOPS, ROOT, busy, environment, put
from tests.benchmarks.django_start import plain

from lazyguard.audit import audit

if TYPE_CHECKING:
    from lazyguard.audit.report.model import Advice

TURNS = 25
DJANGO = "import django; django.setup()"
# Where lazyguard and what it needs are found, behind all else: both have loaded it, as a program that uses it has.
OURS = (str(ROOT / "src"), *(each for each in sys.path if each.endswith("site-packages")))
TIMED = """
import sys, time
sys.path[:0] = [{path!r}]
sys.path += {ours!r}
{setup}
import lazyguard
with lazyguard.lazy_imports(): import colorsys

def now():  # without what was waited for a processor
    with open("/proc/self/schedstat") as file:
        return time.perf_counter() - int(file.read().split()[1]) / 1e9

began = now()
import {target}
print(now() - began)
"""


def followed(advice: Advice, home: Path) -> None:
    """Write what is advised in place of the statements, in the sources below a directory."""
    files: dict[str, list[tuple[int, str]]] = {}
    for each in advice.imports:
        if each.defer and each.line is not None and each.replacement is not None:
            files.setdefault(each.file, []).append((each.line, each.replacement))
    for file, changes in files.items():
        source = (home / file).read_text(encoding="utf-8")
        lines = source.splitlines()
        tree = ast.parse(source)
        found = {node.lineno: node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)}
        for line, text in sorted(changes, reverse=True):
            node = found[line]
            assert node.end_lineno is not None
            lines[line - 1 : node.end_lineno] = indent(text, " " * node.col_offset).splitlines()
        first = [node for node in tree.body if isinstance(node, ast.ImportFrom) and node.module == "__future__"]
        docs = ast.get_docstring(tree) is not None
        at = max([node.end_lineno or 0 for node in [*first, *tree.body[:docs]]], default=0)
        lines.insert(at, "import lazyguard")
        (home / file).write_text("\n".join(lines) + "\n", encoding="utf-8")


def seconds(python: str, path: Path, target: str, setup: str, env: dict[str, str]) -> float:
    """Return the seconds of one import in a fresh interpreter."""
    code = TIMED.format(path=str(path), ours=list(OURS), setup=setup, target=target)
    ran = subprocess.run([python, "-c", code], env=env, capture_output=True, text=True, check=True)
    return float(ran.stdout.splitlines()[-1])


def measured(target: str, home: Path, python: str, setup: str = "") -> str:
    """Return the row of one program, whose sources are in `before`."""
    before, after = home / "before", home / "after"
    env = environment()
    options = {"path": before, "python": python, "env": env, "walk": False, "slow": 5.0, "timeout": 30.0}
    (advice,) = audit([target], setup=setup, advice=True, **options).advice  # type: ignore[arg-type]
    shutil.copytree(before, after)
    followed(advice, after)
    for path in (before, after):
        seconds(python, path, target, setup, env)  # byte code is written, files are in the cache
    times: dict[Path, list[float]] = {before: [], after: []}
    for _ in range(TURNS):
        for path, took in times.items():
            took.append(seconds(python, path, target, setup, env))
    saved = statistics.median(old - new for old, new in zip(times[before], times[after], strict=True))
    promised = advice.saving or 0.0
    off = abs(promised - saved) / saved if saved > 0 else float("inf")
    return (
        f"| {target} | {sum(each.defer for each in advice.imports)} | {1000 * min(times[before]):.0f} | "
        f"{1000 * promised:.0f} | {1000 * saved:.0f} | {100 * off:.0f} % |"
    )


def programs(home: Path) -> list[tuple[str, Path, str, str]]:
    """Write the programs; return of each its target, its place, its interpreter and its setup."""
    python = str(HOME / "bin" / "python")
    (site,) = HOME.glob("lib/python*/site-packages")
    found: list[tuple[str, Path, str, str]] = []
    for target in ("boto3.session", "ansible.cli.adhoc"):
        top = target.partition(".")[0]
        shutil.copytree(site / top, home / top / "before" / top, ignore=shutil.ignore_patterns("__pycache__"))
        found.append((target, home / top, python, ""))
    (home / "django").mkdir()
    shop = plain(home / "django" / "before") / "shop" / "supplier.py"
    # As it is written where nobody thinks of start-up: imported above, used in the function.
    shop.write_text(
        shop.read_text()
        .replace("\nclient = httpx", "\ndef client():\n    return httpx")
        .replace("client.get", "client().get")
    )
    found.append(("shop.urls", home / "django", sys.executable, DJANGO))
    return found


def main(arguments: list[str]) -> None:
    """Measure and write."""
    loaded = "--loaded" in arguments
    os.environ.update(
        DJANGO_SETTINGS_MODULE="settings", PORT="1", CACHE="redis://127.0.0.1:1", SUPPLIER="http://127.0.0.1:1"
    )
    with tempfile.TemporaryDirectory(prefix="promises-") as directory, busy(LOOPS if loaded else 0):
        rows = [measured(target, home, python, setup) for target, home, python, setup in programs(Path(directory))]
    lines = [
        f"## What the advice promises, and what it saves{', loaded' if loaded else ''}",
        "",
        f"CPython {platform.python_version()}, {os.cpu_count()} processors"
        f"{f', while {LOOPS} busy loops ran' if loaded else ''}. Each program was copied, and every statement that is "
        "advised was replaced by the text that the audit gives for it. Fresh interpreters imported both by turns, "
        f"{TURNS} times. Milliseconds; *saved* is the median of the turns. Both have loaded "
        "lazyguard before.",
        "",
        "| program | statements | import | promised | saved | off by |",
        "|---|---|---|---|---|---|",
        *rows,
    ]
    put("promises, loaded" if loaded else "promises", lines)
    print("\n".join(lines))


if __name__ == "__main__":
    main(sys.argv[1:])
