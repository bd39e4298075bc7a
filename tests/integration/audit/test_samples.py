"""Samples of the stack may hurt the child that they are taken of; no verdict may be owed to them."""

from __future__ import annotations

import os
import signal

import pytest

from lazyguard.audit import AuditInterrupted, audit

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


def test_an_audit_that_is_interrupted_tells_no_crash_that_samples_may_have_caused(tmp_path, environment):
    """What crashed once is not audited yet."""
    (tmp_path / "once.py").write_text(ONCE)
    (tmp_path / "quick.py").write_text("")
    with pytest.raises(AuditInterrupted) as caught:
        audit(
            ["once", "quick"],
            path=tmp_path,
            env=environment,
            jobs=1,
            progress=lambda done, total, module: os.kill(os.getpid(), signal.SIGINT),
        )
    assert [module.module for module in caught.value.report.modules] == ["quick"]
    assert caught.value.report.pending == ("once",)


SETUP = """
import os, time
time.sleep(0.5)
links = ("/proc/self/fd/" + number for number in os.listdir("/proc/self/fd"))
dumps = [link for link in links if os.path.exists(link) and os.path.realpath(link).endswith("/dump")]
assert [os.path.getsize(dump) for dump in dumps] == [0], "it was sampled"
"""


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="the setup finds the file of samples in /proc")
def test_the_setup_is_not_sampled(tmp_path, environment):
    """The setup is never called slow. So no sample is taken that might crash it, and with it the whole audit."""
    (tmp_path / "quick.py").write_text("")
    report = audit(["quick"], path=tmp_path, env=environment, setup=SETUP)
    assert [(module.module, module.verdict, module.error) for module in report.modules] == [
        ("(setup)", "ok", None),
        ("quick", "ok", None),
    ]
