"""What the sources say about import statements: which may be deferred, and why the others must stay."""

from __future__ import annotations

import ast
import textwrap

import pytest

from lazyguard.audit.target.statements import Source, statements
from lazyguard.audit.target.survey import Judged, judge, uses

OLD, NEW = (3, 12), (3, 14)


def source(text: str, module: str = "core.tasks", *, package: bool = False) -> Source:
    text = textwrap.dedent(text)
    return Source(module, f"{module}.py", package, text, ast.parse(text))


def judged(text: str, version: tuple[int, ...] = OLD, *, package: bool = False) -> list[Judged]:
    return judge([source(text, package=package)], version)


@pytest.mark.parametrize(
    ("text", "kind", "line"),
    [
        ("import x\nclass A(x.B): pass", "as a base class", 2),
        ("import x\nclass A(metaclass=x.M): pass", "as a keyword of a class", 2),
        ("import x\n@x.d\ndef f(): pass", "as a decorator", 2),
        ("import x\n@x.d()\nclass A: pass", "as a decorator", 2),
        ("import x\nclass A:\n    @x.d\n    def f(self): pass", "as a decorator", 3),
        ("import x\ndef f(a=x.y): pass", "as a default argument", 2),
        ("import x\ndef f(*, a=x.y): pass", "as a default argument", 2),
        ("import x\ng = lambda a=x: a", "as a default argument", 2),
        ("import x\ndef f(a: x.T): pass", "in an annotation", 2),
        ("import x\ndef f() -> x.T: pass", "in an annotation", 2),
        ("import x\na: x.T = 1", "in an annotation", 2),
        ("import x\nclass A:\n    a: x.T", "in an annotation", 3),
        ("import x\nclass A:\n    a = x.y", "in the body of a class", 3),
        ("import x\nx.run()", "in a call at module level", 2),
        ("import x\na = b(x)", "in a call at module level", 2),
        ("import x\nA = x.B", "in an expression at module level", 2),
        ("import x\nA = [x.y for _ in z]", "in an expression at module level", 2),
        ("import x\ntry:\n    y()\nexcept x.E:\n    pass", "in an except at module level", 4),
        ("import x\nif x.y:\n    pass", "in an expression at module level", 2),
        ("import x\nwith x:\n    pass", "in an expression at module level", 2),
        ("import x.y as z\nz.a", "in an expression at module level", 2),
    ],
)
def test_what_is_used_at_import_stays(text: str, kind: str, line: int) -> None:
    """A name that is used while its module is imported is not deferred, and the line of that use is named."""
    (one,) = judged(text)
    assert one.reason is not None
    assert one.reason.endswith(f"is used {kind}")
    assert one.line == line


@pytest.mark.parametrize(
    "text",
    [
        "import x\ndef f(): return x.y",
        "import x\nasync def f(): return x.y",
        "import x\nclass A:\n    def f(self): return x.y",
        "import x\ng = lambda: x.y",
        "import x\ndef f():\n    class A(x.B): pass",
        "import x\ndef f():\n    def g(a=x.y): pass",
        "import x\ndef f():\n    try: pass\n    except x.E: pass",
        "import x\na = [x for x in y]\ndef f(): return x",
        "from __future__ import annotations\nimport x\ndef f(a: x.T) -> x.T: pass",
        "if a:\n    import x\ndef f(): return x",
        "from x import y as z\ndef f(): return z",
    ],
)
def test_what_functions_alone_use_may_be_deferred(text: str) -> None:
    """A name that only bodies of functions use may be deferred."""
    assert [one.reason for one in judged(text)] == [None]


def test_annotations_are_not_evaluated_from_3_14_on() -> None:
    """An annotation keeps an import where the interpreter evaluates it at import, and not where it does not."""
    text = "import x\ndef f(a: x.T) -> x.T: pass"
    assert judged(text, OLD)[0].reason == "x is used in an annotation"
    assert judged(text, NEW)[0].reason is None


@pytest.mark.parametrize(
    ("text", "reason", "line"),
    [
        ("from x import *", "star", 1),
        ("import x\nx = 1", "bound again", 2),
        ("import x.a\nimport x.b\ndef f(): return x", "bound again", 2),
        ("import x\ndef f():\n    global x\n    x = 1", "bound again", 3),
        ("import x\ndef x(): pass", "bound again", 2),
        ("import x", "imported for its side effects", 1),
        ("try:\n    import x\nfinally:\n    pass\ndef f(): x", "stands in a try", 2),
        ("try:\n    from x import y\nexcept ImportError:\n    raise\ndef f(): y", "stands in a try", 2),
        ("try:\n    pass\nexcept E:\n    import x\ndef f(): x", "stands in an except", 4),
    ],
)
def test_statements_that_must_stay_as_they_are(text: str, reason: str, line: int) -> None:
    """A statement that something waits for, or that is there for its effect, stays."""
    one = judged(text)[0]
    assert one.reason is not None
    assert reason in one.reason
    assert one.line == line


def test_an_optional_import_is_distinguished() -> None:
    """An import that may be missing is to be an `optional_import`, and its `except` is the reason."""
    (one,) = judged("try:\n    import x\nexcept (ImportError, OSError):\n    x = None\ndef f(): return x")
    assert one.optional
    assert one.line == 3


def test_what_never_runs_or_is_lazy_already_is_left_out() -> None:
    """No statement is reported under TYPE_CHECKING, of __future__, in a function, or in a lazy block."""
    text = """
    from __future__ import annotations
    import typing, typing as t
    import lazyguard
    if typing.TYPE_CHECKING:
        import a
    elif b:
        import c
    if not TYPE_CHECKING:
        import d
    else:
        import e
    def f():
        import g
    with lazyguard.lazy_imports():
        import h
    """
    assert [each.module for each in statements(source(text))] == ["typing", "typing", "lazyguard", "c", "d"]


def test_each_module_of_an_import_is_a_statement_of_its_own() -> None:
    """`import a, b.c as d` is two statements; `from a import b, c` is one."""
    found = statements(source("import a, b.c as d\nfrom a import b, c as e"))
    assert [(each.text, each.names) for each in found] == [
        ("import a", {"a": ""}),
        ("import b.c as d", {"d": ""}),
        ("from a import b, c as e", {"b": "b", "e": "c"}),
    ]


@pytest.mark.parametrize(
    ("text", "package", "module"),
    [
        ("from . import a", False, "core"),
        ("from .a import b", False, "core.a"),
        ("from . import a", True, "core.tasks"),
        ("from ..x import b", True, "core.x"),
    ],
)
def test_relative_imports_are_named_absolutely(text: str, package: bool, module: str) -> None:
    """The module of a relative import has its absolute name, from a package and from a module."""
    assert statements(source(text, package=package))[0].module == module


def test_blocks_are_walked() -> None:
    """Imports in conditions, loops, blocks and cases of a module are found, with the block that they stand in."""
    text = """
    if a:
        import b
    with c:
        import d
    for e in f:
        import g
    match h:
        case 1:
            import i
    """
    assert [(each.module, each.within) for each in statements(source(text))] == [
        ("b", "if"),
        ("d", "with"),
        ("g", "block"),
        ("i", "block"),
    ]


def test_re_exports_of_a_package_may_be_deferred() -> None:
    """An import that is not used is a re-export in a package; one that the package uses as well is distinguished."""
    found = judged("from .a import b\nfrom .c import d\n__all__ = ['b', 'd']\ndef f(): return d", package=True)
    assert [(one.reason, one.exported) for one in found] == [(None, True), (None, False)]


def test_what_another_module_takes_is_not_there_for_its_effect() -> None:
    """A name that is unused where it is imported, and taken from there by another module, may be deferred."""
    first = source("from heavy import thing", "core.first")
    found = judge([first, source("from core.first import thing\ndef f(): thing", "core.second")], OLD)
    assert [one.reason for one in found] == [None, None]


def test_a_star_import_elsewhere_takes_what_is_public() -> None:
    """What `from module import *` takes elsewhere must be there, and the line of that statement is named."""
    first = source("import heavy\ndef f(): heavy", "core.first")
    found = judge([first, source("\nfrom core.first import *", "core.second")], OLD)
    assert found[0].reason == "`from core.first import *` takes it at once"
    assert (found[0].file, found[0].line) == ("core.second.py", 2)


@pytest.mark.parametrize(
    "body",
    [
        "super(heavy, self).go()",
        "issubclass(heavy, object)",
        "Base.register(heavy)",
        "try: 1\n    except heavy: 2",
        "try: 1\n    except (ValueError, heavy): 2",
        "match x:\n        case heavy(): 2",
    ],
)
def test_a_class_that_no_proxy_can_be(body: str) -> None:
    """What a function needs as a real class is not advised to be a proxy; a lazy import of 3.15 is real there."""
    of = source(f"from other import heavy\ndef f(self, x):\n    {body}")
    assert judge([of], OLD)[0].reason == "heavy is used where Python takes a real class alone"
    assert judge([of], (3, 15))[0].reason is None
    fine = source("from other import heavy\ndef f(self, x): return isinstance(x, heavy), issubclass(x, heavy), heavy()")
    assert judge([fine], OLD)[0].reason is None


def test_uses_say_in_which_part_of_the_module_they_stand() -> None:
    """Each use has its line and its kind, also those of `__all__`."""
    found = uses(source("__all__ = ['x']\n__all__ += [y]\ndef f(): return z"), OLD)
    assert [(use.name, use.line, use.kind) for use in found] == [
        ("x", 1, "in __all__"),
        ("y", 2, "in an expression at module level"),
        ("f", 3, "bound again"),
        ("z", 3, "in a function"),
    ]
