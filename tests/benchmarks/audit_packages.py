"""What an audit of large packages costs, and whether it is right: beside bare interpreters, as many at a time.

    python -m tests.benchmarks.audit_packages [--loaded] [PACKAGE ...]

Writes its section of docs/benchmarks.md. The packages are installed into build/bench/audit. Bare interpreters, and our
own fresh children, run for every so many modules only; what they took is scaled to all. Of a small package it is more
of them, so that its light modules do not stand for the others. With `--loaded`, eight busy loops run beside it all, and
the section is another.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from lazyguard.audit import Report, audit

ROOT = Path(__file__).parents[2]
HOME = ROOT / "build" / "bench" / "audit"
PAGE = ROOT / "docs" / "benchmarks.md"
PACKAGES = {
    "celery": "celery",
    "sqlalchemy": "sqlalchemy",
    "sphinx": "sphinx",
    "django": "django",
    "boto3": "boto3",
    "scrapy": "scrapy",
    "matplotlib": "matplotlib",
    "textual": "textual",
    "nltk": "nltk",
    "ansible": "ansible-core",
    "langchain_core": "langchain-core",
    "jupyter_server": "jupyter_server",
    "zope.component": "zope.component",
    "sentry_sdk": "sentry-sdk",
    "azure.cli.core": "azure-cli-core",
    "twisted": "twisted",
}
SAMPLE, FEWEST, JOBS, LIMIT, LOOPS = 12, 40, 2, 20.0, 8
VERSIONS = "import importlib.metadata as m, sys; print(*(f'{n} {m.version(n)}' for n in sys.argv[1:]), sep='|')"
# A module that fails or leaves in its own way is one all the same.
BARE = "import {}"


def installed(packages: list[str]) -> str:
    """Return the interpreter of an environment that has the packages and nothing of ours."""
    python = HOME / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(HOME)], check=True)
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, *packages], check=True)
    return str(python)


def environment() -> dict[str, str]:
    """Return our environment without what keeps byte code from being written, or has other modules found."""
    return {name: value for name, value in os.environ.items() if name not in ("PYTHONDONTWRITEBYTECODE", "PYTHONPATH")}


def bare(python: str, modules: list[str], env: dict[str, str]) -> float:
    """Return the seconds that an interpreter a module takes, as many at a time as the audit has."""

    def alone(module: str) -> None:
        command = [python, "-c", BARE.format(module)]
        with contextlib.suppress(subprocess.TimeoutExpired):
            subprocess.run(command, env=env, capture_output=True, stdin=subprocess.DEVNULL, timeout=LIMIT, check=False)

    began = time.perf_counter()
    with ThreadPoolExecutor(JOBS) as pool:
        list(pool.map(alone, modules))
    return time.perf_counter() - began


def audited(python: str, targets: list[str], env: dict[str, str], *, fork: bool, walk: bool) -> tuple[float, Report]:
    """Return the seconds of an audit, and its report."""
    began = time.perf_counter()
    report = audit(targets, path=HOME, python=python, env=env, jobs=JOBS, slow=2.0, timeout=LIMIT, fork=fork, walk=walk)
    return time.perf_counter() - began, report


@contextlib.contextmanager
def busy(processes: int, program: str = "while True: pass") -> Generator[None]:
    """Have other processes run a program meanwhile: a busy loop."""
    running = [subprocess.Popen([sys.executable, "-c", program]) for _ in range(processes)]
    try:
        yield
    finally:
        for each in running:
            each.kill()
            each.wait()


def measured(package: str, python: str) -> dict[str, Any]:
    """Return the figures of one package."""
    env = environment()
    audited(python, [package], env, fork=True, walk=True)  # byte code is written, files are in the cache
    forked, report = audited(python, [package], env, fork=True, walk=True)
    # A name such as 0001_initial is found by walking, and can be neither a target nor in an import statement.
    names = [module.module for module in report.modules]
    asked = [name for name in names if all(part.isidentifier() for part in name.split("."))]
    sample = asked[:: max(1, min(SAMPLE, len(asked) // FEWEST))]
    alone = bare(python, sample, env)
    _, again = audited(python, [package], env, fork=True, walk=True)
    _, fresh = audited(python, sample, env, fork=False, walk=False)
    known = {module.module: module for module in report.modules}
    return {
        "package": package,
        "modules": len(names),
        "bare": alone * len(names) / len(sample),
        "forked": forked,
        "by_forks": sum(module.tier == "forked" for module in report.modules),
        "memory": max(module.memory or 0 for module in report.modules),
        "verdicts": dict(Counter(module.verdict for module in report.modules)),
        "findings": dict(Counter(finding.kind for module in report.modules for finding in module.findings)),
        "checked": len(sample),
        "differ": [
            f"{each.module}: {known[each.module].verdict}, alone {each.verdict}"
            for each in fresh.modules
            if known[each.module].verdict != each.verdict
        ],
        "changed": sorted(lines(report) ^ lines(again)),
    }


def lines(report: Report) -> set[str]:
    """Return what a comparison of two reports goes by: verdicts, and findings by kind and line."""
    found = {f"{module.module} {module.verdict}" for module in report.modules}
    return found | {f"{one.kind} {one.file}:{one.line}" for module in report.modules for one in module.findings}


def section(results: list[dict[str, Any]], versions: str, *, loaded: bool) -> list[str]:
    """Return the section of the page."""
    beside = f", while {LOOPS} busy loops ran" if loaded else ""
    text = [
        f"## The audit of large packages{', loaded' if loaded else ''}",
        "",
        f"CPython {platform.python_version()}, {os.cpu_count()} processors, {JOBS} jobs{beside}; {versions}. "
        f"*Bare* is `python -c 'import x'`, as many at a time, for every {SAMPLE}th module (of a small package for "
        f"{FEWEST} and more), and scaled. *Mismatches* "
        "are verdicts that an interpreter of its own does not confirm, of the modules that were asked one by one. "
        "*Changed* counts verdicts and findings that a second audit of the same files had more, or less. *MB* is the "
        "most memory that the import of one module took.",
        "",
        "| package | modules | by forks | bare s | audit s | audit / bare | mismatches | changed | MB | verdicts |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for each in results:
        verdicts = ", ".join(f"{count} {verdict}" for verdict, count in each["verdicts"].items())
        text.append(
            f"| {each['package']} | {each['modules']} | {each['by_forks']} | {each['bare']:.1f} | "
            f"{each['forked']:.1f} | {each['forked'] / each['bare']:.2f} | {len(each['differ'])} of "
            f"{each['checked']} | {len(each['changed'])} | {each['memory'] / 2**20:.0f} | {verdicts} |"
        )
    noted = [f"- {each['package']}: {'; '.join((*each['differ'], *each['changed']))}." for each in results]
    noted = [line for line in noted if not line.endswith(": .")]
    return [*text, *(["", "Mismatches and changes:", "", *noted] if noted else [])]


def put(name: str, lines: list[str]) -> None:
    """Write a section of the page, between its marks."""
    begin, end = f"<!-- {name} -->\n", f"<!-- /{name} -->\n"
    head, _, rest = PAGE.read_text(encoding="utf-8").partition(begin)
    tail = rest.partition(end)[2] if rest else ""
    text = "\n".join(lines)
    PAGE.write_text(f"{head.rstrip()}\n\n{begin}{text}\n{end}{tail}", encoding="utf-8")


def main(wanted: list[str]) -> None:
    """Measure the packages and write."""
    loaded = "--loaded" in wanted
    packages = [name for name in wanted if name in PACKAGES] or list(PACKAGES)
    HOME.parent.mkdir(parents=True, exist_ok=True)
    python = installed([PACKAGES[each] for each in packages])
    names = [PACKAGES[each] for each in packages]
    ran = subprocess.run([python, "-c", VERSIONS, *names], capture_output=True, text=True, check=True)
    results: list[dict[str, Any]] = []
    with busy(LOOPS if loaded else 0):
        for package in packages:
            results.append(measured(package, python))
            print(json.dumps(results[-1]), flush=True)
    text = section(results, ran.stdout.strip().replace("|", ", "), loaded=loaded)
    put("audit of packages, loaded" if loaded else "audit of packages", text)


if __name__ == "__main__":
    main(sys.argv[1:])
