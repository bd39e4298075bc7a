"""The import statements that sources are searched for."""

from __future__ import annotations

import json
from pathlib import Path

from lazyguard.audit.target import survey


def test_a_source_that_is_not_there_has_no_file() -> None:
    """A module without a source (an extension, a zip file) is passed over."""
    assert survey.source_of("core.part", ["/nowhere/core/"]) is None
    assert survey.source_of("single", ["/nowhere/single.py"]) == "/nowhere/single.py"


def test_a_source_that_cannot_be_read_hides_no_other(tmp_path: Path) -> None:
    """Broken, not in UTF-8, or nested deeper than the parser goes, which it tells by a MemoryError: passed over."""
    sources = {
        "broken": b"import a\n(",
        "latin": b"import b\nx = '\xe4'\n",
        "deep": b"import c\nx = " + b"-" * 7000 + b"1\n",
    }
    for name, text in {**sources, "fine": b"import d\n"}.items():
        (tmp_path / f"{name}.py").write_bytes(text)
    given, out = tmp_path / "in", tmp_path / "out"
    given.write_text("".join(f"{name}\t{tmp_path / name}.py\n" for name in (*sources, "away", "fine")))
    survey.main(["foreign", str(out), str(given)])
    assert json.loads(out.read_text())["statements"] == ["d"]
    rows = [[name, str(tmp_path / f"{name}.py"), "0"] for name in (*sources, "away", "fine")]
    assert [each.module for each in survey.read(rows)] == ["fine"]
