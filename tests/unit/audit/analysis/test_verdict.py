"""Verdicts from what a child reported."""

from __future__ import annotations

import pytest

from lazyguard.audit.analysis.scope import Scope
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
