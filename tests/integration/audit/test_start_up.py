"""What the interpreter runs before any program: bounded by the time limit, named, and told with what it costs."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from typing import TYPE_CHECKING

import pytest
from tests.integration.audit.test_interpreters import VERSIONS, interpreter

from lazyguard.audit import audit
from lazyguard.audit.processes import plan
from lazyguard.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PLAIN = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}


class Start:
    """An interpreter of its own, and the directory in which it looks for what to run at its start."""

    def __init__(self, home: Path) -> None:
        venv.create(home, with_pip=False, symlinks=True)
        self.python = str(home / "bin" / "python")
        (self.site,) = (home / "lib").glob("python3*/site-packages")

    def write(self, name: str, text: str) -> str:
        (self.site / name).write_text(text)
        return str(self.site / name)


@pytest.fixture
def start(tmp_path: Path) -> Start:
    return Start(tmp_path / "environment")


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "START_UP_GRACE", 1.0)


@pytest.mark.parametrize("name", ["agent.pth", "sitecustomize.py"])
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("import time; time.sleep(1000)\n", "is not done after"),
        ("import os; os._exit(3)\n", "status 3"),
        ("import sys; sys.exit(3)\n", "status 3"),
    ],
)
def test_a_start_that_does_not_end_well_is_named(
    app: Callable[..., Path], start: Start, name: str, text: str, said: str
) -> None:
    """The limit bounds it; the file is in the message."""
    file = start.write(name, text)
    with pytest.raises(ConfigurationError, match=f"{name}.*{said}") as caught:
        audit(["core"], path=app(), python=start.python, timeout=0.5, env=PLAIN)
    assert file in str(caught.value)


def test_what_a_start_costs_is_reported_with_its_file(app: Callable[..., Path], start: Start) -> None:
    """By the file that took it; what costs little is not named, and no verdict changes."""
    first = start.write("agent.pth", "import time; time.sleep(0.2)\n")
    second = start.write("sitecustomize.py", "import time\ntime.sleep(0.1)\n")
    start.write("cheap.pth", "import sys; sys.cheap = True\n")
    report = audit(["core"], path=app(), python=start.python, env=PLAIN)
    assert [each.verdict for each in report.modules] == ["ok"]
    assert [file in note for file, note in zip((first, second), report.notes, strict=True)] == [True, True]


@pytest.mark.parametrize("version", [each for each in VERSIONS if each != f"3.{sys.version_info[1]}"])
def test_the_start_is_that_of_each_version(tmp_path: Path, version: str) -> None:
    """What it loads and what it puts on the path is what it is without the audit."""
    python = interpreter(version)
    if python is None:
        pytest.skip(f"there is no Python {version} here; LAZYGUARD_PYTHONS can name one")
    home = tmp_path / "environment"
    subprocess.run([python, "-m", "venv", "--without-pip", str(home)], check=True)
    (site,) = (home / "lib").glob("python3*/site-packages")
    (tmp_path / "more").mkdir()
    (tmp_path / "agent.py").write_text("import time\n\n\ndef main():\n    time.sleep(0.2)\n")
    (site / "a.pth").write_text(f"{tmp_path}\nimport sys; sys.path.append({str(tmp_path / 'more')!r})\n")
    started = "agent.start" if version >= "3.15" else "agent.pth"
    (site / started).write_text("agent:main\n" if started == "agent.start" else "import agent; agent.main()\n")
    (tmp_path / "top.py").touch()
    made = plan.plan(["top"], plan.Settings(path=tmp_path, python=str(home / "bin/python"), env=PLAIN))
    code = "import sys, os; print('\\n'.join(map(os.path.abspath, sys.path[1:])))"
    plain = subprocess.run([home / "bin/python", "-c", code], env=PLAIN, capture_output=True, text=True, check=True)
    assert list(made.sys_path[1:]) == plain.stdout.split()
    assert [file for file, _ in made.start_up] == [str(site / started)]
