"""Verdicts from what a child reported."""

from __future__ import annotations

import pytest

from lazyguard.audit.analysis.import_tree import Scope
from lazyguard.audit.analysis.verdict import judge
from lazyguard.audit.processes.child_process import Trace


@pytest.mark.parametrize(
    ("computed", "said"),
    [(0.4, None), (4.2, "it computed for 4.2 s: with a longer time limit it may be slow only")],
)
def test_an_import_that_computed_is_distinguished_from_one_that_waited(computed: float, said: str | None) -> None:
    """Both hang, since neither was done in time; of the one that was busy it is said that it may be slow only."""
    trace = Trace("core", started=0.0, waited_seconds=5.0, cpu_seconds=computed)
    report = judge(trace, Scope("/app", ("/app/core/",)), timeout=5.0, slow=0.5)
    assert (report.verdict, report.detail) == ("hangs", said)


@pytest.mark.parametrize(
    ("seconds", "queued", "verdict"),
    [(0.9, 0.5, "ok"), (0.9, 0.1, "slow"), (6.0, 5.9, "ok"), (6.0, 0.5, "hangs"), (6.0, 4.0, "slow")],
)
def test_what_an_import_waited_for_a_processor_is_no_cost_of_it(
    reported, seconds: float, queued: float, verdict: str
) -> None:
    """Not of slow ones, nor of those that came back after the time limit."""
    trace = Trace("core", started=0.0, thread=1, left=True, result=["result", seconds, None, queued])
    seen = judge(trace, reported.scope, timeout=5.0, slow=0.5)
    assert seen.verdict == verdict
    assert seen.net_seconds == pytest.approx(seconds - queued)


FUNCTION = """Timeout (0:00:01)!
Thread 0x0000000000000001 (most recent call first):
  File "{0}/site/wait.py", line 2 in wait
  File "{0}/core/manager.py", line {1} in part
  File "{0}/core/manager.py", line 30 in __init__
  File "{0}/core/constants.py", line 3 in <module>
"""


@pytest.mark.parametrize("result", [["result", 0.9, None, 0.0], None])
def test_the_line_of_a_module_that_set_it_off_is_to_blame(reported, result) -> None:
    """However many functions the time goes into, it is one cause; the inner line and the leaf stand beside it."""
    reported.begin("core.constants", "core/constants.py")
    dump = "".join(FUNCTION.format(reported.path, line) for line in (12, 14, 12))
    left = result is not None
    trace = Trace("core.constants", reported.events, result, 1, started=0.0, left=left, dump=dump, waited_seconds=5.0)
    blame = judge(trace, reported.scope, timeout=5.0, slow=0.5).blame
    assert blame is not None
    assert str(blame) == "core/constants.py:3 -> core/manager.py:12 -> wait.py:2"
    assert blame.chain == ("core.constants",)


def test_a_function_that_imports_has_the_line_of_a_module_that_called_it(reported) -> None:
    """What several functions of a call import is one cause."""
    reported.begin("core", "core/__init__.py")
    reported.begin("heavy", "site/heavy.py", "core/plugins.py", 7)
    reported.events[-1][-2:] = [reported.file("core/__init__.py"), 4]
    reported.end("heavy")
    trace = Trace("core", reported.events, ["result", 0.9, None, 0.0], 1, started=0.0, left=True)
    blame = judge(trace, reported.scope, timeout=5.0, slow=0.5).blame
    assert str(blame) == "core/__init__.py:4 -> core/plugins.py:7 -> heavy.py"


def test_a_process_that_was_replaced_unseen_exits() -> None:
    """What replaced it is not known where its events are lost."""
    seen = judge(Trace("core", started=0.0, replaced=True), Scope("/app", ("/app/core/",)), timeout=5.0, slow=0.5)
    assert (seen.verdict, seen.error and seen.error.message) == (
        "exits",
        "the process was replaced by another program",
    )
