"""A report as JUnit XML, one test case a module: what Jenkins, GitLab and most other servers show.

Invariants: the XML is well formed whatever a module wrote; what XML 1.0 cannot hold is written as its escape. What ends
an import is an error. What an import takes or leaves behind is a failure. What was not reached is skipped.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape, quoteattr

from lazyguard.audit.report.sentences import by, excesses, verdict

if TYPE_CHECKING:
    from lazyguard.audit.report.model import Report
    from lazyguard.audit.report.modules import ModuleReport
    from lazyguard.audit.report.sentences import Excess

ERRORS = ("hangs", "crashes", "exits", "fails")
_UNFIT = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def page(report: Report, _before: Report | None = None) -> str:
    """Return the whole file."""
    cases: list[str] = []
    errors = failures = 0
    exceeded: dict[str, list[Excess]] = {}
    for one in excesses(report):
        exceeded.setdefault(one.module, []).append(one)
    for module in report.modules:
        problem = _problem(module) if report.is_fault(module) else ""
        costs = "".join(map(_excess, exceeded.get(module.module, ())))
        errors += module.verdict in ERRORS
        failures += module.verdict not in ERRORS and bool(problem or costs)
        findings = [", ".join([f"{each.kind} {each.place} {each.detail}", *by(each.chain)]) for each in module.findings]
        out, err = _text("\n".join(findings)), _text(module.output or "")
        out = f"<system-out>{out}</system-out>" if out else ""
        err = f"<system-err>{err}</system-err>" if err else ""
        cases.append(_case(module.module, module.seconds, problem + costs + out + err))
    cases += [_case(name, 0.0, '<skipped message="the audit was interrupted"/>') for name in report.pending]
    counts = f'tests="{len(cases)}" failures="{failures}" errors="{errors}"'
    time = f'time="{sum(module.seconds for module in report.modules):.6f}"'
    suite = f'name="lazyguard audit" {counts} skipped="{len(report.pending)}" {time}'
    body = "\n".join(cases)
    return (
        f'<?xml version="1.0" encoding="utf-8"?>\n<testsuites name="lazyguard" {counts} {time}>\n'
        f"<testsuite {suite}>\n{body}\n</testsuite>\n</testsuites>\n"
    )


def _excess(one: Excess) -> str:
    kind = one.kind if one.kind == "slower" else "budget"
    return _element("failure", one.sentence, kind, "\n".join(one.lines))


def _problem(module: ModuleReport) -> str:
    lines = [verdict(module)]
    if module.error is not None:
        lines += filter(None, [str(module.error), module.error.hint])
    if module.blame is not None:
        lines += by(module.blame.chain)
    tag = "error" if module.verdict in ERRORS else "failure"
    return _element(tag, lines[0], module.verdict, "\n".join(lines))


def _element(tag: str, message: str, kind: str, body: str) -> str:
    return f"<{tag} message={_quoted(message)} type={_quoted(kind)}>{_text(body)}</{tag}>"


def _case(name: str, seconds: float, inner: str) -> str:
    package = name.rpartition(".")[0] or name
    return f'<testcase classname={_quoted(package)} name={_quoted(name)} time="{seconds:.6f}">{inner}</testcase>'


def _fit(value: str) -> str:
    return _UNFIT.sub(lambda unfit: unfit[0].encode("unicode_escape").decode("ascii"), value)


def _text(value: str) -> str:
    return escape(_fit(value))


def _quoted(value: str) -> str:
    return quoteattr(_fit(value))
