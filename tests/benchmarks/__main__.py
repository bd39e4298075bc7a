"""`make bench`: all suites on each Python that is named, peers installed beside us, into docs/benchmarks.md.

    python -m tests.benchmarks [--quick] [--report] [PYTHON ...]

Each Python gets an environment of its own below build/bench; without any, this one is measured. A peer that cannot be
installed on one of them has no figure there. `--quick` only shows that all suites run, and leaves the page alone.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
BUILD = ROOT / "build" / "bench"


def environment(python: str) -> Path:
    """Return the interpreter of an environment of this Python that has lazyguard and the peers."""
    version = subprocess.run(
        [python, "-c", "import platform; print(platform.python_version())"], capture_output=True, text=True, check=True
    ).stdout.strip()
    home = BUILD / version
    inside = home / "bin" / "python"
    if not inside.exists():
        subprocess.run([python, "-m", "venv", str(home)], check=True)
    pip = [str(inside), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "--editable", str(ROOT)], check=True)
    import tomllib  # the interpreter of make bench is 3.11 or newer; those that are measured need not be

    groups = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["dependency-groups"]
    for peer in groups["bench"]:
        if subprocess.run([*pip, peer], capture_output=True, check=False).returncode:
            print(f"  {peer} cannot be installed on {version}", flush=True)
    return inside


def main(arguments: list[str]) -> None:
    """Measure and write."""
    quick, only_report = "--quick" in arguments, "--report" in arguments
    pythons = [each for each in arguments if not each.startswith("--")] or [sys.executable]
    BUILD.mkdir(parents=True, exist_ok=True)
    files: list[Path] = []
    for python in pythons:
        inside = environment(python)
        file = BUILD / f"{inside.parents[1].name}.json"
        files.append(file)
        if not only_report:
            print(f"Python {inside.parents[1].name}", flush=True)
            command = [str(inside), "-m", "tests.benchmarks.suite", str(file), *(["--quick"] if quick else [])]
            subprocess.run(command, cwd=ROOT, check=True)
    if not quick:
        from tests.benchmarks import report

        report.write(files)
        print(report.PAGE)


if __name__ == "__main__":
    main(sys.argv[1:])
