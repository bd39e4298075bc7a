"""`lazyguard audit --against`: two directories, real imports of very different lengths."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from lazyguard.cli import main

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_the_command_names_what_became_slower(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Status 1 with the new import that is to blame, in text and JSON, and not for what has stayed."""
    for state, body in (("main", "import time\ntime.sleep(0.05)\n"), ("branch", "import late\n")):
        (tmp_path / state / "shop").mkdir(parents=True)
        (tmp_path / state / "shop" / "__init__.py").touch()
        (tmp_path / state / "shop" / "views.py").write_text(body)
    (tmp_path / "branch" / "late.py").write_text("import time\ntime.sleep(1.0)\n")
    main_, branch = str(tmp_path / "main"), str(tmp_path / "branch")
    # A wide allowance: only what sleeps is beyond it, whatever else the machine does.
    (tmp_path / "main" / "pyproject.toml").write_text(ALLOWING)
    (tmp_path / "branch" / "pyproject.toml").write_text(ALLOWING)
    common = ["audit", "shop", "-q", "--timeout", "60", "--slow", "60", "--no-fork"]
    file = tmp_path / "audit.json"
    assert main([*common, "--path", branch, "--against", main_, "--json", str(file)]) == 1
    (line,) = (each for each in capsys.readouterr().out.splitlines() if each.startswith("shop.views takes"))
    assert f"s of {main_}; new: late at shop/views.py:1" in line
    (slower,) = json.loads(file.read_text())["against"]["slower"]
    assert slower["chain"] == ["shop.views", "late"]
    assert slower["after"] > 0.9 > slower["before"]


ALLOWING = '[tool.lazyguard.audit.budgets."*"]\nallowance = { seconds = 0.5, relative = 0.0 }\n'
