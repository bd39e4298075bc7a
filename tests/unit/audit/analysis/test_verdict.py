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
