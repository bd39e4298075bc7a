"""A report as JUnit XML, one test case a module: what Jenkins, GitLab and most other servers show.

Invariants: the XML is well formed whatever a module wrote; what XML 1.0 cannot hold is written as its escape. What ends
an import is an error. What an import takes or leaves behind is a failure. What was not reached is skipped.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from lazyguard.audit.report.sentences import by, excesses, verdict

if TYPE_CHECKING:
    from lazyguard.audit.report.model import Report
    from lazyguard.audit.report.modules import ModuleReport

ERRORS = ("hangs", "crashes", "exits", "fails")
_UNFIT = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def page(report: Report, _before: Report | None = None) -> str:
    """Return the whole file."""
    suite = Element("testsuite", name="lazyguard audit", skipped=str(len(report.pending)))
    cases = {module.module: _case(suite, module.module, module.seconds) for module in report.modules}
    for module in filter(report.is_fault, report.modules):
        _problem(cases[module.module], module)
    for one in excesses(report):
        if one.module in cases:
            kind = one.kind if one.kind == "slower" else "budget"
            _add(cases[one.module], "failure", "\n".join(one.lines), message=one.sentence, type=kind)
    for module in report.modules:
        findings = [", ".join([f"{each.kind} {each.place} {each.detail}", *by(each.chain)]) for each in module.findings]
        for tag, text in (("system-out", "\n".join(findings)), ("system-err", module.output or "")):
            if text:
                _add(cases[module.module], tag, text)
    for name in report.pending:
        _add(_case(suite, name, 0.0), "skipped", message="the audit was interrupted")
    errors, failures = (sum(case.find(tag) is not None for case in suite) for tag in ("error", "failure"))
    both = sum(case.find("error") is not None and case.find("failure") is not None for case in suite)
    counts = {"tests": str(len(suite)), "failures": str(failures - both), "errors": str(errors)}
    counts["time"] = f"{sum(module.seconds for module in report.modules):.6f}"
    suite.attrib |= counts
    suites = Element("testsuites", {"name": "lazyguard", **counts})
    suites.append(suite)
    indent(suites)
    return f'<?xml version="1.0" encoding="utf-8"?>\n{tostring(suites, encoding="unicode")}\n'


def _problem(case: Element, module: ModuleReport) -> None:
    lines = [verdict(module)]
    if module.error is not None:
        lines += filter(None, [str(module.error), module.error.hint])
    if module.blame is not None:
        lines += by(module.blame.chain)
    tag = "error" if module.verdict in ERRORS else "failure"
    _add(case, tag, "\n".join(lines), message=lines[0], type=module.verdict)


def _case(suite: Element, name: str, seconds: float) -> Element:
    return _add(suite, "testcase", classname=name.rpartition(".")[0] or name, name=name, time=f"{seconds:.6f}")


def _add(above: Element, tag: str, text: str = "", **attributes: str) -> Element:
    made = SubElement(above, tag, {name: _fit(value) for name, value in attributes.items()})
    made.text = _fit(text)
    return made


def _fit(value: str) -> str:
    return _UNFIT.sub(lambda unfit: unfit[0].encode("unicode_escape").decode("ascii"), value)
