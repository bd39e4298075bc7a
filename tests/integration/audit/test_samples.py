"""Samples of the stack may hurt the child that they are taken of; no verdict may be owed to them."""

from __future__ import annotations

from lazyguard.audit import audit

ONCE = """
import os, signal
marker = os.path.join(os.path.dirname(__file__), "marker")
if not os.path.exists(marker):
    open(marker, "w").close()
    os.kill(os.getpid(), signal.SIGSEGV)
"""


def test_a_crash_is_believed_the_second_time(tmp_path, environment):
    """What crashes while it is sampled is run again without samples, and reported once, by the verdict of that run."""
    (tmp_path / "once.py").write_text(ONCE)
    (tmp_path / "always.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)\n")
    reported: list[tuple[str, str]] = []
    report = audit(
        ["once", "always"],
        path=tmp_path,
        env=environment,
        progress=lambda done, total, module: reported.append((module.module, module.verdict)),
    )
    assert [module.verdict for module in report.modules] == ["ok", "crashes"]
    assert sorted(reported) == [("always", "crashes"), ("once", "ok")]
