"""An environment for each public program below build/field: what is installed there, and two copies of its package.

Nothing of theirs leaves that directory. A copy shares its files with the installation, until one is edited.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as Tree
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).parents[2]
HOME = ROOT / "build" / "field"
STATES = ("before", "after")
PIP = ("-m", "pip", "-qq", "--disable-pip-version-check")


def installed(home: Path, requirements: Iterable[str]) -> Path:
    """Return the interpreter of an environment that has the requirements, and lazyguard as it is now."""
    home.mkdir(parents=True, exist_ok=True)
    python = home / "venv" / "bin" / "python"
    done = home / "installed"
    wanted = "\n".join(requirements)
    if not done.exists() or done.read_text() != wanted:
        subprocess.run([sys.executable, "-m", "venv", str(home / "venv")], check=True)
        subprocess.run([str(python), *PIP, "install", str(ROOT), *wanted.split("\n")], check=True)
        done.write_text(wanted)
    subprocess.run([str(python), *PIP, "install", "--no-deps", "--force-reinstall", str(ROOT)], check=True)
    return python


def copied(home: Path, python: Path, packages: Iterable[str], edits: Iterable[tuple[str, str, str]]) -> None:
    """Lay the packages once as they are and once edited: a file, a regular expression, what takes its place."""
    for state in STATES:
        shutil.rmtree(home / state, ignore_errors=True)
    for package in packages:
        find = f"import importlib.util as u; print(u.find_spec('{package}').submodule_search_locations[0])"
        found = Path(subprocess.check_output([str(python), "-c", find], text=True, cwd=home).strip())
        # What compiled modules load lies beside the package.
        for place in (found, *found.parent.glob(f"*{package}*.libs")):
            for state in STATES:
                shutil.copytree(place, home / state / place.name, copy_function=os.link)
    for name, pattern, text in edits:
        file = home / "after" / name
        was = file.read_text() if file.exists() else ""
        edited, count = re.subn(pattern, text, was, count=1, flags=re.MULTILINE | re.DOTALL)
        assert count == 1, f"{name} has no {pattern}"
        file.unlink(missing_ok=True)
        file.write_text(edited)


def sources(home: Path, python: Path, requirement: str, constraint: str = "") -> Path:
    """Return the directory of the source distribution; the constraint is for what builds it."""
    place = home / "sdist"
    if not list(place.glob("*/")):
        (home / "constraint").write_text(constraint + "\n")
        name = re.split(r"[=\[]", requirement)[0]
        fetch = ["download", "--no-deps", "--no-binary", name, "--dest", str(place), requirement.split("[")[0]]
        if "[" in requirement:
            fetch[-1] = name + requirement.partition("]")[2]
        env = {**os.environ, "PIP_CONSTRAINT": str(home / "constraint")}
        subprocess.run([str(python), *PIP, *fetch], env=env, check=True)
        shutil.unpack_archive(next(place.glob("*.tar.gz")), place)
    return next(each for each in place.iterdir() if each.is_dir())


def their_tests(python: str, place: Path, given: Iterable[str], env: dict[str, str]) -> dict[str, str]:
    """Run pytest there, with what it is given, and return what became of each test."""
    report = place / "report.xml"
    command = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={report}", *given]
    with (place / "tests.log").open("w") as log:
        subprocess.run(command, env=env, cwd=place, stdout=log, stderr=log, check=False)
    found = {}
    for case in Tree.parse(report).iter("testcase"):
        kinds = {child.tag for child in case} & {"failure", "error", "skipped"}
        found[f"{case.get('classname')}::{case.get('name')}"] = min(kinds, default="passed")
    return found


def differing(before: dict[str, str], after: dict[str, str]) -> list[str]:
    """Say of which tests something else became."""
    names = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
    return [f"{name}: {before.get(name)} before, {after.get(name)} after" for name in names]
