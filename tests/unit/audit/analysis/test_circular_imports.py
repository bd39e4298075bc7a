"""Circular imports, from what a child told and from the sources: which lines are rings, and which are none."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from lazyguard.audit.analysis.circular_imports import circular
from lazyguard.audit.report.model import Failure, Place

if TYPE_CHECKING:
    from lazyguard.audit.report.model import Finding


def found(told, error: Failure | None = None) -> list[Finding]:
    return list(circular(told.tree(), told.scope, error))


def two(told, statement: str | bytes, *unbound: str, line: int = 1) -> None:
    """core.a asks for core.b in its third line, and core.b for core.a by a statement."""
    told.write("core/a.py", "\n\nimport core.b\n")
    told.write("core/b.py", statement)
    told.begin("core.a", "core/a.py")
    told.begin("core.b", "core/b.py", "core/a.py", 3)
    told.ring("core.a", "core/b.py", line, *unbound)


def test_a_ring_is_told_whole(told) -> None:
    """Every member with the line by which it goes on, the name that is not there, and where the ring begins."""
    two(told, "from core.a import VALUE\n", "VALUE")
    (one,) = found(told)
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
def test_the_names_are_those_of_the_statement(told, statement: str, unbound: tuple[str, ...], state: str) -> None:
    """What the line takes and the module lacks is named; a name that it binds later, and nobody takes here, is not."""
    two(told, statement + "\n", *unbound)
    assert [one.detail.rpartition("> core.a")[2] for one in found(told)] == [state]


def test_a_statement_over_several_lines_is_one(told) -> None:
    """Whichever of its lines the interpreter names."""
    two(told, "from core.a import (\n    ONE,\n    TWO,\n)\n", "TWO", line=3)
    assert [one.detail.endswith("whose TWO is not yet bound") for one in found(told)] == [True]


def test_an_error_has_the_name_that_no_statement_has(told) -> None:
    """`import core.a` takes no name; an attribute that failed is in the error, if it is of the same module."""
    two(told, "import core.a\ncore.a.VALUE\n")
    text = "partially initialized module '{}' from 'a.py' has no attribute 'VALUE' (most likely due to a ring)"
    (one,) = found(told, Failure("AttributeError", text.format("core.a")))
    assert one.detail.endswith("> core.a, whose VALUE is not yet bound")
    (other,) = found(told, Failure("AttributeError", text.format("core.c")))
    assert other.detail.endswith("> core.a, which is not done")


def test_rings_that_share_a_module_are_told_apart(told) -> None:
    """A finding for each line that was given the unfinished module, with its own way there; none twice."""
    told.write("core/a.py", "import core.b\nimport core.c\n")
    for name in ("b", "c"):
        told.write(f"core/{name}.py", "from core.a import VALUE\n")
    told.begin("core.a", "core/a.py")
    told.begin("core.b", "core/b.py", "core/a.py", 1)
    told.ring("core.a", "core/b.py", 1, "VALUE")
    told.end("core.b")
    told.begin("core.c", "core/c.py", "core/a.py", 2)
    told.ring("core.a", "core/c.py", 1, "VALUE")
    told.ring("core.a", "core/c.py", 1, "VALUE")
    assert [(one.file, one.also, one.chain) for one in found(told)] == [
        ("core/b.py", Place("core/a.py", 1), ("core", "core.a", "core.b")),
        ("core/c.py", Place("core/a.py", 2), ("core", "core.a", "core.c")),
    ]


def test_a_ring_within_a_ring_has_its_own_members(told) -> None:
    """The last of three asks for the first and for the second: the shorter ring has no first member."""
    told.write("core/a.py", "import core.b\n")
    told.write("core/b.py", "import core.c\n")
    told.write("core/c.py", "import core.a\nimport core.b\n")
    told.begin("core.a", "core/a.py")
    told.begin("core.b", "core/b.py", "core/a.py", 1)
    told.begin("core.c", "core/c.py", "core/b.py", 1)
    told.ring("core.a", "core/c.py", 1)
    told.ring("core.b", "core/c.py", 2)
    assert [one.detail for one in found(told)] == [
        "core.a (core/a.py:1) > core.b (core/b.py:1) > core.c (core/c.py:1) > core.a, which is not done",
        "core.b (core/b.py:1) > core.c (core/c.py:2) > core.b, which is not done",
    ]


@pytest.mark.parametrize(
    ("statement", "count"),
    [("import core.a", 0), ("from core import a", 0), ("from . import a", 0), ("from core.a import VALUE", 1)],
)
def test_a_module_that_imports_itself_is_a_ring_where_it_takes_a_name(told, statement: str, count: int) -> None:
    """The module alone it gets, and that harms nobody; a name it would have to have bound."""
    told.write("core/a.py", statement + "\n")
    told.begin("core.a", "core/a.py")
    told.ring("core.a", "core/a.py", 1, "VALUE")
    details = ["core.a (core/a.py:1) > core.a, whose VALUE is not yet bound"]
    assert [one.detail for one in found(told)] == details * count
    assert [one.also for one in found(told)] == [None] * count


@pytest.mark.parametrize("below", ["core/sub.py", "core/sub/__init__.py", "core/sub/data.txt"])
def test_a_package_that_is_asked_for_what_is_below_it_is_no_ring(told, below: str) -> None:
    """A submodule that is a file, a package or a directory; a name beside it is one all the same."""
    told.write(below)
    told.write("core/__init__.py", "import core.views\n")
    told.write(
        "core/views.py", "from core import sub\nfrom . import sub\nfrom core import sub, VALUE\nimport core.sub\n"
    )
    told.begin("core", "core/__init__.py")
    told.begin("core.views", "core/views.py", "core/__init__.py", 1)
    for line in (1, 2, 4):
        told.ring("core", "core/views.py", line)
    assert found(told) == []
    told.ring("core", "core/views.py", 3, "VALUE", "sub")
    assert [one.detail.rpartition("> ")[2] for one in found(told)] == ["core, whose VALUE is not yet bound"]


def test_a_submodule_without_a_file_is_known_by_its_execution(told) -> None:
    """What a loader of the program's own has made is below the package, too."""
    told.write("core/__init__.py", "import core.views\n")
    told.write("core/views.py", "from core import made\n")
    told.begin("core", "core/__init__.py")
    told.begin("core.made", None, "core/__init__.py", 1)
    told.end("core.made")
    told.begin("core.views", "core/views.py", "core/__init__.py", 1)
    told.ring("core", "core/views.py", 1, "made")
    assert found(told) == []


def test_a_package_takes_relative_names_from_itself(told) -> None:
    """`from . import` and `from .. import` count from the package in its `__init__`, from the parent in a module."""
    told.write("core/__init__.py", "import core.sub\n")
    told.write("core/sub/__init__.py", "from .. import VALUE\nfrom . import OWN\nfrom .other import X\n")
    told.begin("core", "core/__init__.py")
    told.begin("core.sub", "core/sub/__init__.py", "core/__init__.py", 1)
    told.ring("core", "core/sub/__init__.py", 1, "VALUE")
    told.ring("core.sub", "core/sub/__init__.py", 2, "OWN")
    told.ring("core.sub", "core/sub/__init__.py", 3)
    assert [one.detail.rpartition("> ")[2] for one in found(told)] == [
        "core, whose VALUE is not yet bound",
        "core.sub, whose OWN is not yet bound",
    ]


def test_a_function_of_another_module_asks_from_where_it_stands(told) -> None:
    """A relative import in a function counts from the module of the function, whoever calls it."""
    told.write("core/late.py", "def f():\n    from .a import VALUE\n")
    told.write("core/a.py", "import core.late\ncore.late.f()\n")
    told.begin("core.a", "core/a.py")
    told.begin("core.late", "core/late.py", "core/a.py", 1)
    told.end("core.late")
    told.ring("core.a", "core/late.py", 2, "VALUE")
    (one,) = found(told)
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
def test_a_source_that_cannot_be_read_costs_the_names(told, source: str | bytes | None) -> None:
    """The ring was seen and is told; what its line takes is not known."""
    two(told, source or "", "VALUE")
    if source is None:
        (told.path / "core" / "b.py").unlink()
    assert [one.detail.rpartition("> core.a")[2] for one in found(told)] == [", which is not done"]


def test_a_source_in_another_encoding_is_read_in_it(told) -> None:
    """As PEP 263 has it."""
    two(told, b"# coding: latin-1\nfrom core.a import VALUE  # \xe4\n", "VALUE", line=2)
    assert [one.detail.endswith("whose VALUE is not yet bound") for one in found(told)] == [True]


def test_what_is_no_statement_below_the_module_is_no_ring(told) -> None:
    """`import_module` of a sibling in a submodule asks for the package above it first, which is being executed."""
    told.write("core/__init__.py", "import core.views\n")
    told.write("core/views.py", "__import__('core.sub')\n")
    told.begin("core", "core/__init__.py")
    told.begin("core.views", "core/views.py", "core/__init__.py", 1)
    told.ring("core", "core/views.py", 1)
    assert found(told) == []


def test_rings_of_others_are_not_told(told) -> None:
    """Neither one between foreign modules, nor one that a foreign line closes, nor what another thread executes."""
    told.write("site/lib.py", "import site_b\n")
    told.write("core/a.py", "import lib\nfrom lib import VALUE\nfrom core.z import VALUE\n")
    told.begin("lib", "site/lib.py")
    told.ring("lib", "site/lib.py", 1)
    told.begin("core.a", "core/a.py", "site/lib.py", 1)
    told.ring("lib", "core/a.py", 2, "VALUE")
    told.ring("core.a", "site/lib.py", 1)
    told.ring("core.z", "core/a.py", 3, "VALUE")
    assert found(told) == []


def test_a_line_that_is_not_known_is_said_to_be(told) -> None:
    """A member that no line of a source asked for, such as one that a loader executed, has an unknown line."""
    told.write("core/b.py", "import core.a\n")
    told.begin("core.a", "core/a.py")
    told.begin("core.b", "core/b.py")
    told.ring("core.a", "core/b.py", 1)
    (one,) = found(told)
    assert one.detail == "core.a (an unknown line) > core.b (core/b.py:1) > core.a, which is not done"
    assert one.also is None
