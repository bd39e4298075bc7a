"""What the tests with real child processes share."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lazyguard.audit.processes import MARKER

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

ROOT = Path(__file__).parents[3]
ZOO = ROOT / "tests" / "audit_zoo"


@pytest.fixture(scope="session")
def zoo() -> Path:
    """The directory of the zoo."""
    return ZOO


@pytest.fixture
def environment() -> Mapping[str, str]:
    """An environment in which a command of this interpreter finds this lazyguard."""
    return {**os.environ, "PYTHONPATH": str(ROOT / "src"), "PYTHONUNBUFFERED": "1"}


@pytest.fixture
def app(tmp_path: Path) -> Callable[..., Path]:
    """Writes a package `core` from keyword arguments (module=text) and returns the directory it is in."""

    def write(**modules: str) -> Path:
        (tmp_path / "core").mkdir(exist_ok=True)
        for name, text in {"__init__": "", **modules}.items():
            (tmp_path / "core" / f"{name}.py").write_text(text)
        return tmp_path

    return write


def audited_processes() -> set[int]:
    """Returns the processes on this machine that carry the audit's marker in their environment."""
    found: set[int] = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                marked = f"{MARKER}=".encode() in (entry / "environ").read_bytes()
            except OSError:
                continue
            if marked:
                found.add(int(entry.name))
    return found


def until(condition: Callable[[], object], *, limit: float = 20.0) -> None:
    """Waits for what no event tells: the state of other processes."""
    deadline = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < deadline, "it did not come about in time"
        time.sleep(0.01)


@pytest.fixture
def leaves_nothing() -> object:
    """Fails the test that leaves an audited process behind; the processes of other runs do not count."""
    if sys.platform != "linux":
        pytest.skip("processes are told by /proc")
    before = audited_processes()
    yield
    left = audited_processes() - before
    assert not left, f"left behind: {left}"
