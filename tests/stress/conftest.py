"""For the stress tests: modules on disk, and programs in a process of their own that says where it stands if it hangs.

Invariant: no process outlives its test; what a test needs and is not installed is a skip with its reason, and a failure
where LAZYGUARD_REQUIRE_SERVERS=1 says that all there is to test with is here.
"""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
import sys
from textwrap import dedent

import pytest

from lazyguard._core import wait_cycles

# Seconds: the child writes its stacks, then the parent kills it and all that it started.
DUMP_AFTER, KILL_AFTER = 40, 50


@pytest.fixture
def modules(tmp_path, monkeypatch, eventually):
    """Return a function that writes modules by name and source, forgotten after the test."""
    names: list[str] = []
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # a source may be written twice in one second

    def write(**sources: str) -> None:
        for name, source in sources.items():
            (tmp_path / f"{name}.py").write_text(dedent(source))
            names.append(name)
        importlib.invalidate_caches()

    yield write
    eventually(lambda: not wait_cycles.running)  # attempts on threads of their own, of which nobody waits any more
    for name in names:
        sys.modules.pop(name, None)


@pytest.fixture(autouse=True)
def lighter(request, monkeypatch):
    """Repeat less often what is repeated a thousand times, where `--light` asks for it."""
    if request.config.getoption("--light"):
        monkeypatch.setattr(request.module, "TIMES", 250, raising=False)


@pytest.fixture
def restless():
    """Let threads take turns as often as the interpreter can, rather than each 5 ms."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.fixture
def process(tmp_path):
    """Return a function that runs a program in a process of its own, under a limit, and returns how it went.

    A program that is silent on stderr and ends with status 0 is what tests ask for; `check=False` lets them look.
    """

    def run(source: str, *arguments: str, check: bool = True, **environment: str) -> subprocess.CompletedProcess[str]:
        script = tmp_path / "program.py"
        script.write_text(
            f"import faulthandler; faulthandler.dump_traceback_later({DUMP_AFTER}, exit=True)\n{dedent(source)}"
        )
        return execute([sys.executable, str(script), *arguments], tmp_path, check=check, **environment)

    return run


def execute(command: list[str], directory, *, check: bool, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command in a session of its own; kill the whole of it when its time is over."""
    path = os.pathsep.join([str(directory), *sys.path])
    started = subprocess.Popen(
        command,
        cwd=directory,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1", **environment},
    )
    try:
        out, err = started.communicate(timeout=KILL_AFTER)
    finally:
        try:
            os.killpg(started.pid, signal.SIGKILL)  # what it started and left behind, too
        except ProcessLookupError:
            pass
        started.wait()
    if check:
        assert (started.returncode, err) == (0, ""), f"status {started.returncode}\n{out}\n{err}"
    return subprocess.CompletedProcess(command, started.returncode, out, err)


@pytest.fixture
def need():
    """Return a function that imports what a test needs, or skips with the reason."""

    def load(name: str):
        return pytest.importorskip(name, reason=f"{name} is not installed")

    return load


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Let a skip be a failure where LAZYGUARD_REQUIRE_SERVERS=1 says that all there is to test with is here."""
    report = yield
    missing = report.skipped and "is not installed" in str(report.longrepr)
    if missing and os.environ.get("LAZYGUARD_REQUIRE_SERVERS") == "1":
        report.outcome = "failed"
        report.longrepr = f"skipped, which LAZYGUARD_REQUIRE_SERVERS=1 forbids: {report.longrepr[-1]}"
    return report
