"""Other interpreters: nothing of lazyguard is installed there."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
from typing import TYPE_CHECKING

import pytest

from lazyguard.audit import audit

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

VERSIONS = ("3.10", "3.11", "3.12", "3.13", "3.14", "3.15")


def interpreter(version: str) -> str | None:
    """Return a Python of that version which starts: from LAZYGUARD_PYTHONS (paths, as in PATH) or from PATH."""
    named = os.environ.get("LAZYGUARD_PYTHONS", "").split(os.pathsep)
    found = [path for path in named if path] + [path for path in [shutil.which(f"python{version}")] if path]
    code = "import sys; print('%d.%d' % sys.version_info[:2])"
    for path in found:
        try:
            ran = subprocess.run([path, "-c", code], capture_output=True, text=True, timeout=30, check=False)
        except OSError:
            continue
        if ran.stdout.strip() == version:
            return path
    return None


@pytest.mark.parametrize("version", VERSIONS)
def test_every_supported_version_can_be_audited(zoo: Path, version: str) -> None:
    """The child and the probe run alone on each version, and say the same of each fault."""
    python = sys.executable if version == f"{sys.version_info[0]}.{sys.version_info[1]}" else interpreter(version)
    if python is None:
        pytest.skip(f"there is no Python {version} here; LAZYGUARD_PYTHONS can name one")
    expected = {
        "zoo.hangs_recv": ("hangs", 7),
        "zoo.hangs_gil": ("hangs", 5),
        "zoo.chain.root": ("hangs", 5),
        "zoo.fails_raising": ("fails", 15),
        "zoo.crashes_segv": ("crashes", 5),
        "zoo.exits_os": ("exits", 5),
        "zoo.cannot_exit_thread": ("cannot-exit", 5),
        "zoo.leaves_stranger": ("leaves-children", 5),
        "zoo.ok_pool": ("ok", None),
        "zoo.ok_blind": ("ok", None),
        "zoo.ok_forking": ("ok", None),
    }
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    report = audit(list(expected), path=zoo, python=python, timeout=1.0, jobs=4, walk=False, env=environment)
    seen = {each.module: (each.verdict, each.blame.line if each.blame else None) for each in report.modules}
    assert seen == expected
    assert report.python.startswith(version)


def test_a_virtual_environment_is_used_as_it_was_named(app: Callable[..., Path], tmp_path: Path) -> None:
    """The link is not resolved: what is installed in the environment is there, lazyguard is not."""
    home = tmp_path / "environment"
    venv.create(home, with_pip=False, symlinks=True)
    text = "import sys\nassert sys.prefix != sys.base_prefix\nraise RuntimeError(sys.prefix)\n"
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    python = str(home / "bin" / "python")
    report = audit(["core.where"], path=app(where=text), python=python, walk=False, env=environment)
    error = report.modules[0].error
    assert error is not None
    assert error.message == str(home)
