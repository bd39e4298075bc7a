"""What the documentation shows is true: every block of every page, and every example of every docstring, is run.

Each in a process of its own, in an empty directory, warnings being errors: no page can spoil the next.
"""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PLAY = Path(__file__).with_name("play.py")
_spec = importlib.util.spec_from_file_location("play", PLAY)
assert _spec is not None
assert _spec.loader is not None
play = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(play)

_found = importlib.util.find_spec("lazyguard")
assert _found is not None
PACKAGE = Path(_found.submodule_search_locations[0])
PAGES = [ROOT / "README.md", *sorted(page for page in (ROOT / "docs").rglob("*.md") if "examples" not in page.parts)]
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]
# Libraries of the groups `integration` and `migration`: where one is missing, what is shown with it is not run.
LIBRARIES = (
    "prometheus_client",
    "opentelemetry",
    "redis",
    "celery",
    "lazy_loader",
    "lazy_object_proxy",
    "sqlalchemy",
    "flask",
    "django",
    "fastapi",
    "httpx",
    "gunicorn",
)
REASONS = 10  # more blocks than so many that are shown and not run, in all pages, are too many


def check(done: subprocess.CompletedProcess[str]) -> None:
    """Fail with what was said, unless that is that a library of the integrations is missing."""
    missing = re.search(r"No module named '(\w+)", done.stdout + done.stderr)
    if done.returncode and missing and missing[1] in LIBRARIES and os.environ.get("LAZYGUARD_REQUIRE_SERVERS") != "1":
        pytest.skip(f"{missing[1]} is not installed")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def run(tmp_path):
    """Run play.py in an empty directory, with `python` and `lazyguard` those under test."""
    commands, here = tmp_path / "bin", tmp_path / "here"
    commands.mkdir()
    here.mkdir()
    for name, arguments in (("python", ""), ("lazyguard", "-m lazyguard")):
        (commands / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {arguments} "$@"\n')
        (commands / name).chmod(0o755)
    # NO_COLOR and COLUMNS: as on a page
    env = os.environ | {"NO_COLOR": "1", "COLUMNS": "120", "PYTHONWARNINGS": "error"}
    env["PATH"] = f"{commands}{os.pathsep}{env['PATH']}"
    env["PYTHONPATH"] = str(PACKAGE.parent)
    for name in ("LAZYGUARD_FALLBACK", "PYTEST_ADDOPTS"):
        env.pop(name, None)
    env.pop("PYTHONDONTWRITEBYTECODE", None)  # the audit tells of it

    def start(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(PLAY), *arguments]
        return subprocess.run(command, cwd=here, env=env, capture_output=True, text=True, timeout=100)

    return start


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_block_of_a_page_does_what_the_page_says(page, run):
    """The blocks of a page run in order, and print what is shown below them."""
    check(run("page", str(page)))


@pytest.mark.parametrize("place", play.docstrings(PACKAGE))
def test_every_example_of_a_docstring_is_true(place, run):
    """The examples of a docstring run in a fresh process."""
    check(run("docstring", place))


@pytest.mark.parametrize(
    "text",
    [
        "```python\nassert 1 == 2\n```\n",
        "```python\n>>> 1 + 1\n3\n```\n",
        "```python\nimport warnings\nwarnings.warn('old', DeprecationWarning)\n```\n",
        "```console\n$ echo one\ntwo\n```\n",
        "```console\n$ python -c 'raise SystemExit(3)'\n```\n",
        "<!-- file: a.py -->\n```python\n1 / 0\n```\n\n```console\n$ python a.py\n```\n",
        "```ruby\nputs 1\n```\n",
    ],
    ids=["assertion", "doctest", "warning", "output", "status", "file", "language"],
)
def test_a_page_that_is_wrong_is_found_out(text, run, tmp_path):
    """A block that fails, warns, prints something else, or is in no known language fails the page."""
    page = tmp_path / "wrong.md"
    page.write_text(text)
    assert run("page", str(page)).returncode != 0


def test_blocks_that_are_not_run_are_few_and_say_why():
    """A page shows a block that is not run for a reason only, and there are few of them."""
    shown = [block for page in PAGES for block in play.blocks(page.read_text()) if block.marker == "not run"]
    assert all(len(block.value) > 10 for block in shown)
    assert len(shown) <= REASONS


def test_no_example_is_skipped():
    """What a docstring shows is run: none has the option that says otherwise."""
    assert not [str(file) for file in PACKAGE.rglob("*.py") if "doctest: +SKIP" in file.read_text(encoding="utf-8")]
