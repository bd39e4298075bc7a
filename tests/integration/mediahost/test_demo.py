"""The demo and the checks, interrupted: they end at once and leave neither a process nor a directory behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

linux = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="looks for processes in /proc")


def processes_with(text: str) -> list[int]:
    """The processes in whose environment the text stands."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                environment = (entry / "environ").read_bytes()
            except OSError:
                continue
            if text.encode() in environment:
                found.append(int(entry.name))
    return found


@linux
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
@pytest.mark.parametrize("command", [("demo.py",), ("checks.py", "before")], ids=["demo", "checks"])
def test_interrupted_it_leaves_nothing(command, number, example, child_environment, tmp_path, eventually):
    """Interrupted while children hang, it ends with status 130, and every child and its data have gone."""
    program = subprocess.Popen(
        [sys.executable, str(example / command[0]), *command[1:]],
        env=child_environment(TMPDIR=str(tmp_path)),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        eventually(lambda: len(processes_with(str(tmp_path))) > 1, 30.0)
        program.send_signal(number)
        _, errors = program.communicate(timeout=20.0)
        assert program.returncode == 130, errors.decode()
        assert b"Traceback" not in errors
        assert processes_with(str(tmp_path)) == []
        assert list(tmp_path.iterdir()) == []
    finally:
        for pid in processes_with(str(tmp_path)):
            os.kill(pid, signal.SIGKILL)
        program.wait()


def test_bad_arguments_are_told(example, child_environment):
    """What the checks cannot use is an error with the usage, and no traceback."""
    done = subprocess.run(
        [sys.executable, str(example / "checks.py"), "nowhere"],
        env=child_environment(),
        capture_output=True,
        text=True,
        timeout=30.0,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("usage:")


def test_one_side_is_measured_and_written_down(example, child_environment, tmp_path):
    """What `make demo` does for each side, here for one module: told on the way, returned, and kept as JSON."""
    lines = """
import json, os, pathlib, sys
import demo
demo.BUILD = pathlib.Path(sys.argv[1])
report = demo.measure("after", ["core.config"], dict(os.environ), jobs=1)
kept = json.loads((demo.BUILD / "after.json").read_text())
print([(each.module, each.verdict) for each in report.modules], [each["module"] for each in kept["modules"]])
"""
    done = subprocess.run(
        [sys.executable, "-c", lines, str(tmp_path)],
        env=child_environment(PYTHONPATH=os.pathsep.join([str(example), child_environment()["PYTHONPATH"]])),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60.0,
    )
    assert done.stdout == "[('core.config', 'ok')] ['core.config']\n", done.stderr
    assert "[1/1] core.config ok" in done.stderr
