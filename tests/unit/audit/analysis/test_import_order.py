"""Imports that depend on what was imported before: between the reports of a run, and within one tree of imports."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from lazyguard.audit.analysis import import_order
from lazyguard.audit.report.modules import Blame, Failure, Imported, ModuleReport, Place

if TYPE_CHECKING:
    from lazyguard.audit.report.modules import Finding

BLAME = Blame("core/late.py", 4, None, ("core.late",))
FAILS = ModuleReport("core.late", "fails", 0.1, 0.1, blame=BLAME, error=Failure("ImportError", "no VALUE"))


def importing(name: str, verdict: str = "ok", by: Place | None = None, **changes: Any) -> ModuleReport:
    """A module on whose way core.late is executed."""
    row = Imported("core.late", 0, 0.0, 0.1, 0.1, True, "core/late.py", by, **changes)
    return ModuleReport(name, verdict, 0.1, 0.1, imports=(row,))


def test_what_fails_first_and_passes_in_another_is_reported() -> None:
    """At the line that failed, beside the line that asked for it where it passed; of several the first one."""
    by = Place("core/views.py", 3)
    reports = [FAILS, importing("core.views", by=by), importing("core.other", by=Place("core/other.py", 1))]
    (late, *others) = import_order.with_order_findings(reports)
    (one,) = late.findings
    assert (one.kind, one.file, one.line, one.also, one.chain) == (
        "order-dependent",
        "core/late.py",
        4,
        by,
        ("core.late",),
    )
    assert one.detail == "core.late fails when it is imported first, and passes when core.views is"
    assert others == reports[1:]


@pytest.mark.parametrize("verdict", import_order.PASSES)
def test_it_passed_wherever_the_import_came_to_its_end(verdict: str) -> None:
    """What its importer left behind afterwards takes nothing from that."""
    assert len(import_order.with_order_findings([FAILS, importing("core.views", verdict)])[0].findings) == 1


@pytest.mark.parametrize("verdict", ["hangs", "crashes", "exits", "fails"])
def test_an_import_that_did_not_end_shows_nothing(verdict: str) -> None:
    """Nor one in which the module failed and that was caught."""
    assert import_order.with_order_findings([FAILS, importing("core.views", verdict)])[0].findings == ()
    assert import_order.with_order_findings([FAILS, importing("core.views", failed=True)])[0].findings == ()


def test_a_failure_without_a_line_is_left_alone() -> None:
    """There is no place to tell it at."""
    unblamed = ModuleReport("core.late", "fails", 0.1, 0.1)
    assert import_order.with_order_findings([unblamed, importing("core.views")])[0].findings == ()
    assert import_order.with_order_findings([]) == ()


def borrowed(reported) -> list[Finding]:
    return list(import_order.submodule_findings(reported.tree("core.app"), reported.scope))


def lent(reported, text: str | bytes, package: str = "") -> None:
    """core.app is executed from a text; xml.dom was imported for core.other, not by its package."""
    reported.write("site/xml/__init__.py", package)
    reported.write("site/xml/dom.py")
    reported.write("core/other.py", "\nimport xml.dom\n")
    reported.write("core/app.py", text)
    reported.begin("core.app", "core/app.py")
    reported.begin("core.other", "core/other.py", "core/app.py", 1)
    reported.begin("xml", "site/xml/__init__.py", "core/other.py", 2)
    reported.end("xml")
    reported.begin("xml.dom", "site/xml/dom.py", "core/other.py", 2)
    reported.end("xml.dom")
    reported.end("core.other")


def test_a_submodule_that_others_imported_is_reported(reported) -> None:
    """At the first line that uses it, beside the line that imported it."""
    lent(reported, "import core.other\nimport xml\n\ndef f():\n    return xml.dom.X, xml.dom.Y\n")
    (one,) = borrowed(reported)
    assert (one.kind, one.file, one.line, one.also) == ("order-dependent", "core/app.py", 5, Place("core/other.py", 2))
    assert one.detail == "core.app uses xml.dom, which neither it nor xml imports: others did"
    assert one.chain == ("core.app",)


@pytest.mark.parametrize(
    "text",
    [
        "import xml, xml.dom\nxml.dom.X",
        "import xml\nfrom xml import dom\nxml.dom.X",
        "import xml\nfrom xml.dom import X\nxml.dom.X",
        "import xml.dom.minidom\nxml.dom.X",
        "def f():\n    import xml.dom\nimport xml\nxml.dom.X",
        "xml = object()\nxml.dom.X",
        "import xml\nxml.other.dom",
        "import xml\nf().xml.dom",
        "from lib import xml\nxml.dom.X",
        "import lib as xml\nxml.dom.X",
        "import xml\n'xml.dom'",
    ],
)
def test_what_is_imported_here_or_is_another_thing_is_not(reported, text: str) -> None:
    """A statement anywhere in the module that asks for it; a name that is not the package's; a mere text."""
    lent(reported, f"import core.other\n{text}\n")
    assert borrowed(reported) == []


@pytest.mark.parametrize(
    "text",
    [
        "import lib, xml",
        "import lib, \\\n    xml",
        "import lib; import xml",
        "if True:\n    import xml",
        "import xml as xml",
        "import xml.sax",
        "try: import xml\nfinally: pass",
        "import lib  # and\nimport\txml",
    ],
)
def test_however_the_package_is_imported(reported, text: str) -> None:
    """The name is the package's where any statement binds it as a whole."""
    lent(reported, f"import core.other\n{text}\nxml.dom.X\n")
    assert [one.line for one in borrowed(reported)] == [3 + text.count("\n")]


def test_a_package_that_loads_it_when_asked_lends_nothing(reported) -> None:
    """Its `__getattr__` would have imported it."""
    lent(reported, "import core.other\nimport xml\nxml.dom.X\n", "def __getattr__(name): ...\n")
    assert borrowed(reported) == []


def test_a_package_that_imports_it_lends_nothing(reported) -> None:
    """In its own body, or in that of a module below it."""
    reported.write("site/xml/__init__.py", "import xml.sax\n")
    reported.write("core/app.py", "import xml\nxml.dom.X, xml.sax.Y\n")
    reported.begin("core.app", "core/app.py")
    reported.begin("xml", "site/xml/__init__.py", "core/app.py", 1)
    reported.begin("xml.sax", "site/xml/sax.py", "core/app.py", 1)
    reported.begin("xml.dom", "site/xml/dom.py", "core/app.py", 1)
    assert borrowed(reported) == []


def test_foreign_modules_may_do_as_they_like(reported) -> None:
    """Only the program's own modules are reported."""
    lent(reported, "import core.other\nimport lib\n")
    reported.write("site/lib.py", "import xml\nxml.dom.X\n")
    reported.begin("lib", "site/lib.py", "core/app.py", 2)
    assert borrowed(reported) == []


@pytest.mark.parametrize(
    "source",
    [
        None,
        "import xml\nxml.dom.X\n(",
        b"import xml\nxml.dom.X\nx = '\xe4'\n",
        f"import xml\nxml.dom.X\n{'-' * 7000}1\n",
    ],
    ids=["unreadable", "broken", "not in UTF-8", "too deep"],
)
def test_a_source_that_cannot_be_read_is_passed_over(reported, source: str | bytes | None) -> None:
    """It is no error, and hides nothing that another module does."""
    lent(reported, source or "")
    if source is None:
        (reported.path / "core" / "app.py").unlink()
    reported.write("core/last.py", "import xml\nxml.dom.X\n")
    reported.begin("core.last", "core/last.py", "core/app.py", 1)
    assert [one.file for one in borrowed(reported)] == ["core/last.py"]


def test_a_source_in_another_encoding_is_read_in_it(reported) -> None:
    """Names and lines are what they are for the interpreter."""
    lent(reported, b"# coding: latin-1\nimport xml\nna\xefve = xml.dom.X\n")
    assert [(one.file, one.line) for one in borrowed(reported)] == [("core/app.py", 3)]
