"""What the tests with real child processes share."""

from __future__ import annotations

import os
import secrets
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

ROOT = Path(__file__).parents[3]
ZOO = ROOT / "tests" / "audit_zoo"


@pytest.fixture(scope="session")
def zoo() -> Path:
    """The directory of the zoo."""
    return ZOO


@pytest.fixture
def environment(request: pytest.FixtureRequest) -> Mapping[str, str]:
    """An environment in which a command of this interpreter finds this lazyguard."""
    if "leaves_nothing" in request.fixturenames:
        request.getfixturevalue("leaves_nothing")
    return {**os.environ, "PYTHONPATH": str(ROOT / "src"), "PYTHONUNBUFFERED": "1"}


@pytest.fixture
def app(tmp_path: Path) -> Callable[..., Path]:
    """Writes a package `core` from keyword arguments (module=text) and returns its directory, with site-packages."""

    def write(**modules: str) -> Path:
        (tmp_path / "core").mkdir(exist_ok=True)
        (tmp_path / "site-packages").mkdir(exist_ok=True)
        for name, text in {"__init__": "", **modules}.items():
            (tmp_path / "core" / f"{name}.py").write_text(text)
        return tmp_path

    return write


def processes_with(entry: str) -> set[int]:
    """Return the living processes on this machine that were started with an entry of the environment."""
    found: set[int] = set()
    for process in Path("/proc").iterdir():
        if process.name.isdigit() and int(process.name) != os.getpid():
            try:
                if entry.encode() in (process / "environ").read_bytes().split(b"\0"):
                    found.add(int(process.name))
            except OSError:
                continue
    return found


@pytest.fixture
def leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Fails the test that leaves a process behind which it, or a child of it, has started."""
    if sys.platform != "linux":
        pytest.skip("processes are known by /proc")
    name, token = "LAZYGUARD_TEST", secrets.token_hex(8)
    monkeypatch.setenv(name, token)
    yield
    left = processes_with(f"{name}={token}")
    assert not left, f"left behind: {left}"
