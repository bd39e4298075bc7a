"""What `attach` hands out on Python 3.15: native lazy imports, with our errors."""

from __future__ import annotations

import importlib
import sys

import pytest

import lazyguard
from lazyguard._lazy_imports import package

pytestmark = pytest.mark.skipif(not package.NATIVE, reason="native lazy imports (PEP 810) begin with Python 3.15")

DECLARATION = """
import lazyguard

__getattr__, __dir__, __all__ = lazyguard.attach(
    __name__, ["tasks"], {"queue": ["Queue", "Queue as Q"], "bad": ["x"], "lacking": ["z"], "circular": ["c"]}
)


def use(name):
    return eval(name)
"""


def kind(module, name):
    """Return the class of an object in the namespace, without resolving it."""
    return type(vars(module)[name]).__name__


@pytest.fixture
def core(program):
    """A package that attaches, and has a function that uses its names as globals."""
    program(
        {
            "core/__init__.py": DECLARATION,
            "core/queue.py": "class Queue: pass",
            "core/tasks.py": "",
            "core/bad.py": "raise AttributeError('secret')",
            "core/lacking.py": "",
            "core/circular.py": "import core\ncore.use('c')\nc = 1",
        }
    )
    return importlib.import_module("core")


def test_the_names_are_native(core):
    """Each declared name is a lazy import of the interpreter's, and nothing is imported."""
    assert {kind(core, name) for name in core.__all__} == {"lazy_import"}
    assert repr(vars(core)["Q"]) == "<lazy_import 'core.queue.Queue'>"
    assert not {"core.queue", "core.tasks"} & set(sys.modules)


def test_the_package_uses_them_as_globals(core):
    """A function of the package itself can use a name for the first time, as PEP 562 cannot."""
    queue = core.use("Queue")
    assert queue is sys.modules["core.queue"].Queue
    assert (kind(core, "Queue"), kind(core, "Q")) == ("type", "lazy_import")
    assert core.Q is queue
    assert core.use("tasks") is sys.modules["core.tasks"]


def test_is_resolved_reset_override(core):
    """Introspection sees a native lazy import as pending, and leaves it pending."""
    assert not lazyguard.is_resolved("core:Queue")
    with lazyguard.override("core:Queue", "fake"):
        assert core.use("Queue") == core.Queue == "fake"
    assert kind(core, "Queue") == "lazy_import"
    assert "core.queue" not in sys.modules
    core.use("Queue")
    assert lazyguard.is_resolved("core:Queue")
    sys.modules["core.queue"].Queue = "another"
    lazyguard.reset("core:Queue")
    assert not lazyguard.is_resolved("core:Queue")
    assert core.Queue == "another"


@pytest.mark.parametrize("use", [getattr, lambda core, name: core.use(name)], ids=["attribute", "global"])
def test_errors_are_ours(core, use):
    """A native lazy import that fails says what failed, where it was declared and the remedy, and has its cause."""
    place = f"{core.__file__}:4"
    for name, error, cause, text in (
        ("x", lazyguard.ResolutionError, AttributeError, "importing core.bad raised AttributeError"),
        ("z", lazyguard.errors.ResolutionImportError, AttributeError, "module core.lacking has no attribute 'z'"),
        (
            "c",
            lazyguard.errors.ResolutionImportError,
            (ImportError, AttributeError),
            "circular import: core.circular is not finished",
        ),
    ):
        with pytest.raises(error, match=text) as caught:
            use(core, name)
        whole = caught.value
        while isinstance(whole.__cause__, lazyguard.ResolutionError):
            whole = whole.__cause__
        assert isinstance(whole.__cause__, cause)  # the interpreter sees the cycle itself, unless ours is asked first
        assert f"core.{name} (declared at {place})" in str(whole)
        assert kind(core, name) == "lazy_import"


def test_the_traceback_has_the_line_of_the_declaration(core):
    """The interpreter adds the file and the line of `attach` to an error at the use of a global."""
    with pytest.raises(lazyguard.ResolutionError) as caught:
        core.use("x")
    assert any(f"{core.__file__}:4" in note for note in caught.value.__notes__)


def test_a_stub_names_its_own_line(program):
    """With a stub the error has the stub's line."""
    root = program(
        {
            "core/__init__.py": "import lazyguard\n__getattr__, *_ = lazyguard.attach_stub(__name__, __file__)\n"
            "def use(): return x\n",
            "core/__init__.pyi": "\n\nfrom .missing import x\n",
        }
    )
    core = importlib.import_module("core")
    with pytest.raises(ModuleNotFoundError, match=r"core/__init__\.pyi:3") as caught:
        core.use()
    assert any(f"{root}/core/__init__.pyi:3" in note for note in caught.value.__notes__)


def test_health_counts_them(core):
    """`health` tells how many are resolved, and resolves none."""

    def counts():
        return next(check.counts for check in lazyguard.health().checks if check.name == "core")

    assert counts() == (0, 6)
    core.use("Queue")
    assert counts() == (1, 6)


def test_a_filter_makes_them_eager(program):
    """What the program's filter refuses is imported with the package, circular imports included."""
    program(
        {
            "core/__init__.py": "import lazyguard\n"
            "__getattr__, *_ = lazyguard.attach(__name__, None, {'queue': ['Queue'], 'tasks': ['app', 'app as a']})\n",
            "core/queue.py": "class Queue: pass",
            "core/tasks.py": "from core import Queue\napp = Queue()",
        }
    )
    asked = []

    def lazily(importer, imported, names):
        asked.append((importer, imported, names))
        return imported != "core.tasks"

    sys.set_lazy_imports_filter(lazily)
    try:
        core = importlib.import_module("core")
    finally:
        sys.set_lazy_imports_filter(None)
    assert ("core", "core.tasks", ("app",)) in asked
    assert ("core", "core.queue", ("Queue",)) in asked
    assert lazyguard.is_resolved("core:app")
    assert core.a is core.app is sys.modules["core.tasks"].app


def test_a_star_import(program):
    """`from core import *` gives the objects themselves, never a native lazy import."""
    program(
        {
            "core/__init__.py": "import lazyguard\n"
            "__getattr__, __dir__, __all__ = lazyguard.attach(__name__, ['tasks'], {'queue': ['Queue']})\n",
            "core/queue.py": "class Queue: pass",
            "core/tasks.py": "",
        }
    )
    found: dict[str, object] = {}
    exec("from core import *", found)
    assert found["Queue"] is sys.modules["core.queue"].Queue
    assert found["tasks"] is sys.modules["core.tasks"]


def test_what_is_imported_already_is_there_at_once(program):
    """As with a lazy import statement, the interpreter removes the name when its module is imported."""
    program(
        {
            "core/__init__.py": "import lazyguard, core.queue\n"
            "__getattr__, *_ = lazyguard.attach(__name__, None, {'queue': ['Queue']})\n",
            "core/queue.py": "class Queue: pass",
        }
    )
    core = importlib.import_module("core")
    assert lazyguard.is_resolved("core:Queue")
    assert core.Queue is sys.modules["core.queue"].Queue


def test_a_submodule_under_another_name(program):
    """A renamed submodule and a function of the submodule's name are each what was declared."""
    program(
        {
            "core/__init__.py": "import lazyguard\n__getattr__, *_ = lazyguard.attach("
            "__name__, ['queue as module'], {'queue': ['queue']})\n",
            "core/queue.py": "def queue(): pass",
        }
    )
    core = importlib.import_module("core")
    assert callable(core.queue)
    assert core.module is sys.modules["core.queue"]


def test_only_the_package_itself_gets_them(core):
    """A declaration from another module leaves the package's namespace alone."""
    lookup, _, _ = lazyguard.attach("core", None, {"queue": ["other"]})
    assert "other" not in vars(core)
    with pytest.raises(lazyguard.errors.ResolutionImportError):
        lookup("other")


def test_threads_racing_for_a_global(core, race):
    """All threads get the same value."""
    found = race(*[lambda: core.use("Queue")] * 8, *[lambda: core.Queue] * 8)
    assert set(found) == {core.Queue}
