"""What an audit of large packages costs: forks and fresh children beside one bare interpreter a module.

    python -m tests.benchmarks.audit_packages [PACKAGE ...]

Writes its section of docs/benchmarks.md. The packages are installed into build/bench/audit. Bare interpreters, and our
own fresh children, run for every so many modules only; what they took is scaled to all.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from lazyguard.audit import Report, audit

ROOT = Path(__file__).parents[2]
HOME = ROOT / "build" / "bench" / "audit"
PAGE = ROOT / "docs" / "benchmarks.md"
PACKAGES = {"celery": "celery", "sqlalchemy": "sqlalchemy", "sphinx": "sphinx", "django": "django"}
SAMPLE, PAIRS, LIMIT = 12, 9, 20.0
VERSIONS = "import importlib.metadata as m, sys; print(*(f'{n} {m.version(n)}' for n in sys.argv[1:]), sep='|')"
TIMED = "import time; b=time.perf_counter(); import {}; print(time.perf_counter()-b)"


def installed(packages: list[str]) -> str:
    """Return the interpreter of an environment that has the packages and nothing of ours."""
    python = HOME / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(HOME)], check=True)
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, *packages], check=True)
    return str(python)


def bare(python: str, modules: list[str], env: dict[str, str]) -> float:
    """Return the seconds that an interpreter a module takes, one after the other."""
    began = time.perf_counter()
    for module in modules:
        try:
            command = [python, "-c", f"import {module}"]
            subprocess.run(command, env=env, capture_output=True, stdin=subprocess.DEVNULL, timeout=LIMIT, check=False)
        except subprocess.TimeoutExpired:
            continue
    return time.perf_counter() - began


def audited(python: str, targets: list[str], env: dict[str, str], *, fork: bool, walk: bool) -> tuple[float, Report]:
    """Return the seconds of an audit by two workers, and its report."""
    began = time.perf_counter()
    report = audit(targets, path=HOME, python=python, env=env, jobs=2, slow=2.0, timeout=LIMIT, fork=fork, walk=walk)
    return time.perf_counter() - began, report


def measured(package: str, python: str) -> dict[str, Any]:
    """Return the figures of one package."""
    env = {name: value for name, value in os.environ.items() if name not in ("PYTHONDONTWRITEBYTECODE", "PYTHONPATH")}
    forked, report = audited(python, [package], env, fork=True, walk=True)
    # A name such as 0001_initial is found by walking, and can be neither a target nor in an import statement.
    names = [module.module for module in report.modules]
    sample = [name for name in names if all(part.isidentifier() for part in name.split("."))][::SAMPLE]
    count = len(report.modules)
    alone = bare(python, sample[::2], env)
    fresh, found = audited(python, sample, env, fork=False, walk=False)
    alone += bare(python, sample[1::2], env)
    none, _ = audited(python, sample[:1], env, fork=False, walk=False)
    checked = found.modules
    # What an audit takes before its first child is not to be scaled.
    none -= found.modules[0].seconds + found.interpreter_seconds
    known = {module.module: module for module in report.modules}
    ratios = [known[each.module].seconds / each.seconds for each in checked if known[each.module].tier == "forked"]
    scale = count / len(sample)
    pairs: list[float] = []
    for _ in range(PAIRS):
        plain = subprocess.run(
            [python, "-c", TIMED.format(package)], env=env, capture_output=True, text=True, check=True
        )
        _, ours = audited(python, [package], env, fork=False, walk=False)
        pairs.append(ours.modules[0].seconds / float(plain.stdout))
    return {
        "package": package,
        "modules": count,
        "bare": alone * scale,
        "fresh": none + (fresh - none) * scale,
        "forked": forked,
        "acquitted": sum(module.tier == "forked" for module in report.modules),
        "verdicts": {str(c.text) + (f": {c.error.type}" if c.error else ""): len(c.modules) for c in report.causes},
        "findings": sorted({f"{f.kind} {f.file}:{f.line} {f.detail}" for m in report.modules for f in m.findings}),
        "left_out": list(report.left_out),
        "differ": [each.module for each in checked if known[each.module].verdict != each.verdict],
        "estimate": statistics.median(ratios) if ratios else None,
        "child": statistics.median(pairs),
    }


def section(results: list[dict[str, Any]], versions: str) -> list[str]:
    """Return the section of the page."""
    lines = [
        "## The audit of large packages",
        "",
        f"CPython {platform.python_version()}, {os.cpu_count()} processors, two workers, {versions}. "
        f"*Bare* is `python -c 'import x'` for one module after the other, *fresh* our own fresh children, both for "
        f"every {SAMPLE}th module and scaled. *Put together* is the median of a forked module's seconds over those "
        f"of a fresh one; *child* the median of {PAIRS} pairs, our child's seconds over a bare import of the package.",
        "",
        "| package | modules | by forks | bare s | audit s | audit / bare | audit / fresh | put together | child |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for each in results:
        estimate = "-" if each["estimate"] is None else f"{each['estimate']:.2f}x"
        lines.append(
            f"| {each['package']} | {each['modules']} | {each['acquitted']} | {each['bare']:.1f} | "
            f"{each['forked']:.1f} | {each['forked'] / each['bare']:.2f} | "
            f"{each['forked'] / each['fresh']:.2f} | {estimate} | {each['child']:.2f}x |"
        )
    lines += ["", "What isolation found:", ""]
    for each in results:
        reported = [f"{text} ({count})" for text, count in each["verdicts"].items()]
        reported += each["findings"][:12]
        lines.append(f"- {each['package']}: {'; '.join(reported) or 'nothing'}")
        if each["left_out"]:
            lines.append(f"  Not loaded before forking: {'; '.join(each['left_out'])}.")
        if each["differ"]:
            lines.append(f"  A fresh interpreter says otherwise of {', '.join(each['differ'])}.")
    return lines


def put(name: str, lines: list[str]) -> None:
    """Write a section of the page, between its marks."""
    begin, end = f"<!-- {name} -->\n", f"<!-- /{name} -->\n"
    head, _, rest = PAGE.read_text(encoding="utf-8").partition(begin)
    tail = rest.partition(end)[2] if rest else ""
    text = "\n".join(lines)
    PAGE.write_text(f"{head.rstrip()}\n\n{begin}{text}\n{end}{tail}", encoding="utf-8")


def main(wanted: list[str]) -> None:
    """Measure the packages and write."""
    packages = wanted or list(PACKAGES)
    HOME.parent.mkdir(parents=True, exist_ok=True)
    python = installed([PACKAGES[each] for each in packages])
    ran = subprocess.run([python, "-c", VERSIONS, *packages], capture_output=True, text=True, check=True)
    results: list[dict[str, Any]] = []
    for package in packages:
        file = HOME.parent / f"audit-{package}.json"
        file.write_text(json.dumps(measured(package, python), indent=1))
        results.append(json.loads(file.read_text()))
        print(json.dumps(results[-1]), flush=True)
    put("audit of packages", section(results, ran.stdout.strip().replace("|", ", ")))


if __name__ == "__main__":
    main(sys.argv[1:])
