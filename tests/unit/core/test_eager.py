"""LAZYGUARD_EAGER: what modules of the named packages declare is there when their import has ended."""

from __future__ import annotations

import importlib
import importlib.util
import sys

import pytest

import lazyguard
from lazyguard import is_resolved

TASKS = """
import lazyguard

@lazyguard.lazy
def first(): return Made("first")

@lazyguard.lazy(record=("task",))
def app(): return Made("app")

@app.task
def job(): ...

@lazyguard.lazy_attribute
def attribute(): return Made("attribute")

@lazyguard.service(recovery=None)
def get_service(): return Made("service")

@lazyguard.service(recovery=None)
async def get_async(): raise AssertionError("nothing can await it here")

live = get_service()
loaded = lazyguard.load("core.loaded")
optional = lazyguard.optional_import("core.optional")
missing = lazyguard.optional_import("no_such_module")
with lazyguard.lazy_imports():
    from core.named import Name

def later():
    return lazyguard.lazy(lambda: Made("later"))

local = later()

class Made:
    def __init__(self, name): made.append(name)
    def task(self, function): return function

made = []
"""
FILES = {
    "core/__init__.py": "",
    "core/tasks.py": TASKS,
    "core/loaded.py": "",
    "core/optional.py": "",
    "core/named.py": "class Name: ...",
}


@pytest.fixture
def eager(program, monkeypatch):
    """Return a function that writes a program and imports one of its modules, with LAZYGUARD_EAGER set."""

    def start(files: dict[str, str], name: str, variable: str = "core"):
        monkeypatch.setenv("LAZYGUARD_EAGER", variable)
        program(files)
        return importlib.import_module(name)

    return start


@pytest.mark.parametrize("variable", ["core", "other, core", "core.tasks", "*", "1"])
def test_everything_that_a_module_declares(eager, variable):
    """Lazy objects, attributes, services and imports, in order; not what a function declares or what is async."""
    tasks = eager(FILES, "core.tasks", variable)
    assert tasks.made == ["first", "app", "attribute", "service"]
    assert all(is_resolved(each) for each in (tasks.first, tasks.app, "core.tasks:attribute", tasks.get_service))
    assert is_resolved(tasks.loaded)
    assert is_resolved(tasks.Name)
    assert {"core.loaded", "core.optional", "core.named"} <= set(sys.modules)
    assert not is_resolved(tasks.local)
    assert not is_resolved(tasks.get_async)


@pytest.mark.parametrize("variable", ["", "cor", "core.tasks.sub,other", "no_such_module"])
def test_what_is_not_named_is_lazy(eager, variable):
    """A package of another name, or below, changes nothing."""
    tasks = eager(FILES, "core.tasks", variable)
    assert tasks.made == []
    assert not {"core.loaded", "core.optional", "core.named"} & set(sys.modules)


def test_modules_that_import_each_other(eager):
    """Nothing is built before the outermost of them is complete: laziness may be what holds a circle together."""
    part = """
        import lazyguard
        {first}
        @lazyguard.lazy
        def thing():
            import core
            return [core.a.base, core.b.base, core.last]
        import core.b
        base = "{name}"
        """
    core = eager(
        {
            "core/__init__.py": "from core import a\nlast = 1",
            "core/a.py": part.format(first="import core.b", name="a"),
            "core/b.py": part.format(first="import core.a", name="b"),
        },
        "core",
    )
    assert is_resolved(core.a.thing)
    assert is_resolved(core.b.thing)
    assert core.b.thing == ["a", "b", 1]


def test_what_a_factory_imports_is_built_after_it(eager):
    """An object of a module that a factory imports may need what that factory makes."""
    core = eager(
        {
            "core/__init__.py": """
                import lazyguard
                @lazyguard.lazy
                def app():
                    import core.jobs
                    return ["app"]
                """,
            "core/jobs.py": """
                import lazyguard, core
                @lazyguard.lazy
                def job(): return [*core.app, "job"]
                """,
        },
        "core",
    )
    assert is_resolved(core.jobs.job)
    assert core.jobs.job == ["app", "job"]


def test_a_failure_is_the_imports(eager):
    """The import raises what the first use would have raised, and leaves no module, as with any that fails."""
    files = {
        "core/__init__.py": "import lazyguard\n@lazyguard.lazy\ndef app(): return 1 / 0\nother = lazyguard.lazy(list)"
    }
    with pytest.raises(lazyguard.ResolutionError, match="core:app, declared at .*ZeroDivisionError") as caught:
        eager(files, "core")
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    assert "core" not in sys.modules
    with pytest.raises(lazyguard.ResolutionError, match="core:app"):
        importlib.import_module("core")


def test_a_missing_import(eager):
    """It is an ImportError of the module that declares it."""
    with pytest.raises(lazyguard.errors.MissingModuleError, match="no_such_module, declared at .*core"):
        eager({"core/__init__.py": "import lazyguard\nx = lazyguard.load('no_such_module')"}, "core")


def test_a_module_that_fails_builds_nothing(eager):
    """What is raised while the module is executed comes out as it is; a part that was let go of is left alone."""
    part = "import lazyguard\n@lazyguard.lazy\ndef x(): raise AssertionError\nraise KeyError"
    with pytest.raises(KeyError):
        eager({"core/__init__.py": part}, "core")
    (lambda files: eager(files, "core.b"))(
        {
            "core/__init__.py": "",
            "core/a.py": part,
            "core/b.py": "import lazyguard\ny = lazyguard.lazy(list)\ntry:\n    import core.a\nexcept KeyError: pass",
        }
    )
    assert is_resolved(sys.modules["core.b"].y)


def test_a_service_that_is_away(eager, monkeypatch):
    """It is what a first use would find: its fallback, and an error where none may be served."""
    text = """
        import lazyguard
        @lazyguard.service(recovery=None)
        def get_list() -> list: raise OSError
        @get_list.fallback
        def _() -> list: return []
        """
    core = eager({"core/__init__.py": text}, "core")
    assert lazyguard.is_fallback(core.get_list())
    monkeypatch.setenv("LAZYGUARD_FALLBACK", "deny")
    del sys.modules["core"]
    with pytest.raises(lazyguard.ServiceUnavailable):
        importlib.import_module("core")


def test_the_spec_is_as_before(eager):
    """When the import has ended nothing of ours is left in the module's spec."""
    core = eager({"core/__init__.py": "import lazyguard\nx = lazyguard.lazy(list)"}, "core")
    assert type(core.__spec__) is importlib.machinery.ModuleSpec
    assert vars(core.__spec__).keys() == vars(importlib.util.find_spec("json")).keys()


def test_a_module_that_nobody_imports(eager, program):
    """One that is executed by hand, as a script is, stays lazy."""
    core = eager({"core/__init__.py": "import lazyguard\nx = lazyguard.lazy(list)"}, "core")
    spec = importlib.util.spec_from_file_location("core.by_hand", core.__file__)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert not is_resolved(module.x)


def test_attach(eager):
    """attach and attach_stub import at once, and what those modules declare is built at the end."""
    core = eager(
        {
            "core/__init__.py": """
                import lazyguard
                __getattr__, __dir__, __all__ = lazyguard.attach(__name__, ["tasks"], {"named": ["Name as N"]})
                assert "N" in globals()
                """,
            "core/tasks.py": "import lazyguard\nx = lazyguard.lazy(list)",
            "core/named.py": "class Name: ...",
        },
        "core",
    )
    assert is_resolved(vars(core)["tasks"].x)
