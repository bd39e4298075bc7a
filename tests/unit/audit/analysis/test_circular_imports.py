"""Circular imports, from what a child reported and from the sources: which lines are circles, and which are none."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from lazyguard.audit.analysis.import_order import circular_findings
from lazyguard.audit.report.modules import Failure, Place

if TYPE_CHECKING:
    from lazyguard.audit.report.modules import Finding


def found(reported, error: Failure | None = None) -> list[Finding]:
    return list(circular_findings(reported.tree(), reported.scope, error))


def two(reported, statement: str | bytes, *unbound: str, line: int = 1) -> None:
    """core.a asks for core.b in its third line, and core.b for core.a by a statement."""
    reported.write("core/a.py", "\n\nimport core.b\n")
    reported.write("core/b.py", statement)
    reported.begin("core.a", "core/a.py")
    reported.begin("core.b", "core/b.py", "core/a.py", 3)
    reported.unfinished("core.a", "core/b.py", line, *unbound)


def test_a_circle_is_reported_whole(reported) -> None:
    """Every member with the line by which it goes on, the name that is not there, and where the circle begins."""
    two(reported, "from core.a import VALUE\n", "VALUE")
    (one,) = found(reported)
    assert one.kind == "circular-import"
    assert (one.file, one.line, one.also) == ("core/b.py", 1, Place("core/a.py", 3))
    assert one.detail == "core.a (core/a.py:3) > core.b (core/b.py:1) > core.a, whose VALUE is not yet bound"
    assert one.chain == ("core", "core.a", "core.b")


@pytest.mark.parametrize(
    ("statement", "unbound", "state"),
    [
        ("from core.a import VALUE", ("VALUE",), ", whose VALUE is not yet bound"),
        ("from core.a import VALUE", (), ", which is not done"),
        ("from core.a import VALUE", ("OTHER",), ", which is not done"),
        ("from core.a import ONE, TWO, THREE", ("ONE", "THREE"), ", whose ONE, THREE is not yet bound"),
        ("from core.a import VALUE as v", ("VALUE", "v"), ", whose VALUE is not yet bound"),
        ("from core.a import *", ("VALUE",), ", which is not done"),
        ("from .a import VALUE", ("VALUE",), ", whose VALUE is not yet bound"),
        ("from . import a", (), ", which is not done"),
        ("from core import a", (), ", which is not done"),
        ("import core.a", (), ", which is not done"),
        ("import os, core.a as a", (), ", which is not done"),
        ("__import__('core.a')", (), ", which is not done"),
        ("import os; from core.a import VALUE", ("VALUE",), ", whose VALUE is not yet bound"),
        ("import core.a; from core.a import VALUE", ("VALUE",), ", whose VALUE is not yet bound"),
    ],
)
def test_the_names_are_those_of_the_statement(reported, statement: str, unbound: tuple[str, ...], state: str) -> None:
    """What the line takes and the module lacks is named; a name that it binds later, and no line takes here, is not."""
    two(reported, statement + "\n", *unbound)
    assert [one.detail.rpartition("> core.a")[2] for one in found(reported)] == [state]


def test_a_statement_over_several_lines_is_one(reported) -> None:
    """Whichever of its lines the interpreter names."""
    two(reported, "from core.a import (\n    ONE,\n    TWO,\n)\n", "TWO", line=3)
    assert [one.detail.endswith("whose TWO is not yet bound") for one in found(reported)] == [True]


def test_an_error_has_the_name_that_no_statement_has(reported) -> None:
    """`import core.a` takes no name; an attribute that failed is in the error, if it is of the same module."""
    two(reported, "import core.a\ncore.a.VALUE\n")
    text = "partially initialized module '{}' from 'a.py' has no attribute 'VALUE' (most likely due to a circle)"
    (one,) = found(reported, Failure("AttributeError", text.format("core.a")))
    assert one.detail.endswith("> core.a, whose VALUE is not yet bound")
    (other,) = found(reported, Failure("AttributeError", text.format("core.c")))
    assert other.detail.endswith("> core.a, which is not done")


def test_circles_that_share_a_module_are_distinguished(reported) -> None:
    """A finding for each line that was given the unfinished module, with its own way there; none twice."""
    reported.write("core/a.py", "import core.b\nimport core.c\n")
    for name in ("b", "c"):
        reported.write(f"core/{name}.py", "from core.a import VALUE\n")
    reported.begin("core.a", "core/a.py")
    reported.begin("core.b", "core/b.py", "core/a.py", 1)
    reported.unfinished("core.a", "core/b.py", 1, "VALUE")
    reported.end("core.b")
    reported.begin("core.c", "core/c.py", "core/a.py", 2)
    reported.unfinished("core.a", "core/c.py", 1, "VALUE")
    reported.unfinished("core.a", "core/c.py", 1, "VALUE")
    assert [(one.file, one.also, one.chain) for one in found(reported)] == [
        ("core/b.py", Place("core/a.py", 1), ("core", "core.a", "core.b")),
        ("core/c.py", Place("core/a.py", 2), ("core", "core.a", "core.c")),
    ]


def test_a_circle_within_a_circle_has_its_own_members(reported) -> None:
    """The last of three asks for the first and for the second: the shorter circle has no first member."""
    reported.write("core/a.py", "import core.b\n")
    reported.write("core/b.py", "import core.c\n")
    reported.write("core/c.py", "import core.a\nimport core.b\n")
    reported.begin("core.a", "core/a.py")
    reported.begin("core.b", "core/b.py", "core/a.py", 1)
    reported.begin("core.c", "core/c.py", "core/b.py", 1)
    reported.unfinished("core.a", "core/c.py", 1)
    reported.unfinished("core.b", "core/c.py", 2)
    assert [one.detail for one in found(reported)] == [
        "core.a (core/a.py:1) > core.b (core/b.py:1) > core.c (core/c.py:1) > core.a, which is not done",
        "core.b (core/b.py:1) > core.c (core/c.py:2) > core.b, which is not done",
    ]


@pytest.mark.parametrize(
    ("statement", "count"),
    [("import core.a", 0), ("from core import a", 0), ("from . import a", 0), ("from core.a import VALUE", 1)],
)
def test_a_module_that_imports_itself_is_a_circle_where_it_takes_a_name(reported, statement: str, count: int) -> None:
    """The module alone it gets, and that does no harm; a name it would have to have bound."""
    reported.write("core/a.py", statement + "\n")
    reported.begin("core.a", "core/a.py")
    reported.unfinished("core.a", "core/a.py", 1, "VALUE")
    details = ["core.a (core/a.py:1) > core.a, whose VALUE is not yet bound"]
    assert [one.detail for one in found(reported)] == details * count
    assert [one.also for one in found(reported)] == [None] * count


@pytest.mark.parametrize("below", ["core/sub.py", "core/sub/__init__.py", "core/sub/data.txt"])
def test_a_package_that_is_asked_for_what_is_below_it_is_no_circle(reported, below: str) -> None:
    """A submodule that is a file, a package or a directory; a name beside it is one all the same."""
    reported.write(below)
    reported.write("core/__init__.py", "import core.views\n")
    reported.write(
        "core/views.py", "from core import sub\nfrom . import sub\nfrom core import sub, VALUE\nimport core.sub\n"
    )
    reported.begin("core", "core/__init__.py")
    reported.begin("core.views", "core/views.py", "core/__init__.py", 1)
    for line in (1, 2, 4):
        reported.unfinished("core", "core/views.py", line)
    assert found(reported) == []
    reported.unfinished("core", "core/views.py", 3, "VALUE", "sub")
    assert [one.detail.rpartition("> ")[2] for one in found(reported)] == ["core, whose VALUE is not yet bound"]


def test_a_submodule_without_a_file_is_known_by_its_execution(reported) -> None:
    """What a loader of the program's own has made is below the package, too."""
    reported.write("core/__init__.py", "import core.views\n")
    reported.write("core/views.py", "from core import made\n")
    reported.begin("core", "core/__init__.py")
    reported.begin("core.made", None, "core/__init__.py", 1)
    reported.end("core.made")
    reported.begin("core.views", "core/views.py", "core/__init__.py", 1)
    reported.unfinished("core", "core/views.py", 1, "made")
    assert found(reported) == []


def test_a_package_takes_relative_names_from_itself(reported) -> None:
    """`from . import` and `from .. import` count from the package in its `__init__`, from the parent in a module."""
    reported.write("core/__init__.py", "import core.sub\n")
    reported.write("core/sub/__init__.py", "from .. import VALUE\nfrom . import OWN\nfrom .other import X\n")
    reported.begin("core", "core/__init__.py")
    reported.begin("core.sub", "core/sub/__init__.py", "core/__init__.py", 1)
    reported.unfinished("core", "core/sub/__init__.py", 1, "VALUE")
    reported.unfinished("core.sub", "core/sub/__init__.py", 2, "OWN")
    reported.unfinished("core.sub", "core/sub/__init__.py", 3)
    assert [one.detail.rpartition("> ")[2] for one in found(reported)] == [
        "core, whose VALUE is not yet bound",
        "core.sub, whose OWN is not yet bound",
    ]


def test_a_function_of_another_module_asks_from_where_it_stands(reported) -> None:
    """A relative import in a function counts from the module of the function, not of its caller."""
    reported.write("core/late.py", "def f():\n    from .a import VALUE\n")
    reported.write("core/a.py", "import core.late\ncore.late.f()\n")
    reported.begin("core.a", "core/a.py")
    reported.begin("core.late", "core/late.py", "core/a.py", 1)
    reported.end("core.late")
    reported.unfinished("core.a", "core/late.py", 2, "VALUE")
    (one,) = found(reported)
    assert one.detail == "core.a (core/late.py:2) > core.a, whose VALUE is not yet bound"


@pytest.mark.parametrize(
    "source",
    [
        None,
        "from core.a import (\n",
        b"from core.a import VALUE\nx = '\xe4'\n",
        b"from core.a import VALUE\n\0\n",
        f"from core.a import VALUE\nx = {'-' * 7000}1\n",
    ],
    ids=["unreadable", "broken", "not in UTF-8", "with a null byte", "too deep"],
)
def test_a_source_that_cannot_be_read_costs_the_names(reported, source: str | bytes | None) -> None:
    """The circle was seen and is reported; what its line takes is not known."""
    two(reported, source or "", "VALUE")
    if source is None:
        (reported.path / "core" / "b.py").unlink()
    assert [one.detail.rpartition("> core.a")[2] for one in found(reported)] == [", which is not done"]


def test_a_source_in_another_encoding_is_read_in_it(reported) -> None:
    """As PEP 263 has it."""
    two(reported, b"# coding: latin-1\nfrom core.a import VALUE  # \xe4\n", "VALUE", line=2)
    assert [one.detail.endswith("whose VALUE is not yet bound") for one in found(reported)] == [True]


def test_what_is_no_statement_below_the_module_is_no_circle(reported) -> None:
    """`import_module` of a sibling in a submodule asks for the package above it first, which is being executed."""
    reported.write("core/__init__.py", "import core.views\n")
    reported.write("core/views.py", "__import__('core.sub')\n")
    reported.begin("core", "core/__init__.py")
    reported.begin("core.views", "core/views.py", "core/__init__.py", 1)
    reported.unfinished("core", "core/views.py", 1)
    assert found(reported) == []


def test_circles_of_others_are_not_reported(reported) -> None:
    """Neither one between foreign modules, nor one that a foreign line closes, nor what another thread executes."""
    reported.write("site/lib.py", "import site_b\n")
    reported.write("core/a.py", "import lib\nfrom lib import VALUE\nfrom core.z import VALUE\n")
    reported.begin("lib", "site/lib.py")
    reported.unfinished("lib", "site/lib.py", 1)
    reported.begin("core.a", "core/a.py", "site/lib.py", 1)
    reported.unfinished("lib", "core/a.py", 2, "VALUE")
    reported.unfinished("core.a", "site/lib.py", 1)
    reported.unfinished("core.z", "core/a.py", 3, "VALUE")
    assert found(reported) == []


def test_a_line_that_is_not_known_is_said_to_be(reported) -> None:
    """A member that no line of a source asked for, such as one that a loader executed, has an unknown line."""
    reported.write("core/b.py", "import core.a\n")
    reported.begin("core.a", "core/a.py")
    reported.begin("core.b", "core/b.py")
    reported.unfinished("core.a", "core/b.py", 1)
    (one,) = found(reported)
    assert one.detail == "core.a (an unknown line) > core.b (core/b.py:1) > core.a, which is not done"
    assert one.also is None
