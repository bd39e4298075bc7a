"""`attach` and `attach_stub` make a package's names lazy."""

from __future__ import annotations

import importlib
import os
import shutil
import subprocess
import sys
import threading
import zipfile
from pathlib import Path
from types import ModuleType

import pytest

from lazyguard import errors
from lazyguard._lazy_imports import REGISTRY, access
from lazyguard._lazy_imports.attach import attach, attach_stub

ATTACH = "from lazyguard._lazy_imports.attach import attach, attach_stub\n"


def package(declaration: str, **modules: str) -> dict[str, str]:
    """Return the files of a package `core` whose `__init__` attaches."""
    files = {f"core/{name.replace('__', '/')}.py": text for name, text in modules.items()}
    return {"core/__init__.py": f"{ATTACH}__getattr__, __dir__, __all__ = {declaration}\n", **files}


def test_declaring_imports_nothing(program):
    """A name is imported at its first use, and by `from core import name` too."""
    program(package("attach(__name__, ['tasks'], {'queue': ['Queue']})", queue="class Queue: pass", tasks=""))
    core = importlib.import_module("core")
    assert "core.queue" not in sys.modules
    assert "core.tasks" not in sys.modules
    from core import Queue, tasks

    assert Queue is sys.modules["core.queue"].Queue
    assert tasks is sys.modules["core.tasks"]
    assert core.__all__ == ["Queue", "tasks"]


def test_values_become_ordinary_globals(program):
    """A resolved name is in the package's dict, and our `__getattr__` is removed with the last name."""
    program(package("attach(__name__, ['tasks'], {'queue': ['Queue']})", queue="class Queue: pass", tasks=""))
    core = importlib.import_module("core")
    core.Queue
    assert "Queue" in vars(core)
    assert "__getattr__" in vars(core)
    core.tasks
    assert "__getattr__" not in vars(core)
    with pytest.raises(AttributeError, match="module 'core' has no attribute 'other'"):
        core.other


class Contended(list):
    """Names not yet settled, of which a finaliser takes `Queue` as soon as its thread has read it."""

    def __getitem__(self, index):
        found = super().__getitem__(index)
        if found == "Queue":
            super().remove(found)
        return found


def test_a_finaliser_that_settles_amid_another_settling(program):
    """A name that a finaliser took out of the list is no error, and no other name is taken in its place."""
    program(
        package(
            "attach(__name__, ['tasks', 'views'], {'queue': ['Queue']})", queue="class Queue: pass", tasks="", views=""
        )
    )
    core = importlib.import_module("core")
    attributes = vars(core)[REGISTRY]["Queue"]
    attributes.unsettled = Contended(["views", "Queue"])
    core.Queue
    assert attributes.unsettled == ["views"]
    assert core.views is sys.modules["core.views"]
    attributes.unsettled = Contended(["Queue"])
    attributes.settle()
    assert attributes.unsettled == []


def test_a_thread_that_resets_amid_anothers_settling(program, limited):
    """A name is found also between the check that all are resolved and the removal of `__getattr__`."""
    program(package("attach(__name__, None, {'queue': ['Queue']})", queue="class Queue: pass"))
    core = importlib.import_module("core")
    core.Queue
    attributes = vars(core)[REGISTRY]["Queue"]
    resets = threading.Thread(target=attributes.reset, args=("Queue",), daemon=True)

    looks: list[int] = []

    class Looked(list):
        def __len__(self):
            looks.append(super().__len__())
            if looks == [0, 0]:  # what is left to settle, and whether anything is
                resets.start()
                resets.join(0.2)  # not by then: it has to wait until this has ended
            return looks[-1]

    core.__getattr__ = attributes.resolver
    attributes.unsettled = Looked()
    attributes.settle()
    resets.join(30)
    assert core.Queue is sys.modules["core.queue"].Queue


def test_a_reset_keeps_what_finds_the_name(program, monkeypatch):
    """A finaliser that settles amid a reset, and sees the old value, leaves the name usable."""
    program(package("attach(__name__, None, {'queue': ['Queue']})", queue="class Queue: pass"))
    core = importlib.import_module("core")
    core.Queue
    attributes = vars(core)[REGISTRY]["Queue"]

    class Settling(dict):
        def pop(self, *args):
            attributes.settle()
            return super().pop(*args)

    attributes.written = Settling(attributes.written)
    attributes.failures = Settling(attributes.failures)
    attributes.reset("Queue")
    assert core.Queue is sys.modules["core.queue"].Queue


def test_a_getattr_of_the_hosts_own_is_left_alone(program):
    """Only our own `__getattr__` is removed: a wrapper that the package wrote stays."""
    program(
        {
            "core/__init__.py": ATTACH + "inner, __dir__, __all__ = attach(__name__, ['a'])\n"
            "def __getattr__(name):\n    return 42 if name == 'answer' else inner(name)\n",
            "core/a.py": "",
        }
    )
    core = importlib.import_module("core")
    core.a
    assert core.answer == 42


@pytest.mark.parametrize("source", ["queue", "other"], ids=["own module", "other module"])
@pytest.mark.parametrize("first", ["attribute", "submodule"])
def test_a_declared_name_wins_over_a_submodule(program, source, first):
    """`queue` stays the declared function although there is a submodule `queue`, whichever is used first."""
    text = "def queue(): pass"
    program(package(f"attach(__name__, None, {{'{source}': ['queue']}})", queue=text, other=text))
    core = importlib.import_module("core")
    if first == "attribute":
        core.queue
    importlib.import_module("core.queue")
    assert core.queue is sys.modules[f"core.{source}"].queue
    assert type(core) is ModuleType
    assert "__getattr__" not in vars(core)


def test_a_class_put_over_ours(program):
    """A class that other code gave the module meanwhile stays; once it is gone, ours goes too."""
    program(package("attach(__name__, ['a'], {'queue': ['queue']})", queue="def queue(): pass", a=""))
    core = importlib.import_module("core")
    ours = type(core)
    core.__class__ = theirs = type("theirs", (ours,), {})
    importlib.import_module("core.queue")
    assert callable(core.queue)
    assert type(core) is theirs
    core.__class__ = ours
    core.a
    assert type(core) is ModuleType


def test_a_declared_name_wins_while_its_module_is_still_running(program):
    """A name that its own module's body has resolved is not overwritten when the import ends."""
    program(
        package(
            "attach(__name__, None, {'queue': ['queue']})",
            queue="def queue(): pass\nimport core.other\n",
            other="from core import queue\n",
        )
    )
    core = importlib.import_module("core")
    importlib.import_module("core.queue")
    assert core.queue is sys.modules["core.queue"].queue
    assert sys.modules["core.other"].queue is core.queue


def test_a_submodule_imported_before_attach_does_not_win(program):
    """A package can import the submodule of a name before it declares that name."""
    program(
        {
            "core/__init__.py": f"import core.queue\n{ATTACH}"
            "__getattr__, __dir__, __all__ = attach(__name__, None, {'queue': ['queue']})\n",
            "core/queue.py": "def queue(): pass",
        }
    )
    core = importlib.import_module("core")
    assert callable(core.queue)


def test_a_declared_name_wins_over_a_submodule_that_declares(program):
    """A name that is declared while its submodule is being imported stays what was declared."""
    program(
        {
            "core/__init__.py": "",
            "core/queue.py": "def queue(): pass\nimport core.declare\n",
            "core/declare.py": ATTACH + "import core\n"
            "core.__getattr__, _, _ = attach('core', None, {'queue': ['queue']})\n",
        }
    )
    importlib.import_module("core.queue")
    assert callable(sys.modules["core"].queue)


def test_a_declared_name_wins_in_an_archive(program, tmp_path, monkeypatch):
    """Where directories cannot be listed, the value still wins over the submodule that its import has bound."""
    root = program(
        package("attach(__name__, None, {'other': ['queue']})", other="import core.queue\nqueue = 1", queue="")
    )
    shutil.make_archive(str(tmp_path / "archive"), "zip", root)
    monkeypatch.syspath_prepend(str(tmp_path / "archive.zip"))
    core = importlib.import_module("core")
    assert "archive.zip" in core.__file__
    assert core.queue == 1
    assert core.queue == 1


def test_an_assignment_is_never_held_back(program):
    """The host, or a mock, can set the name to anything, another module too."""
    program(package("attach(__name__, None, {'queue': ['queue']})", queue="def queue(): pass"))
    core = importlib.import_module("core")
    core.queue = sys
    assert core.queue is sys


def test_renames_and_absolute_modules(program):
    """`app as celery_app` gives a name of the package's own; other modules are named absolutely."""
    program(
        package(
            "attach(__name__, None, {'sub.tasks': ['app as celery_app']}, "
            "absolute_attrs={'json': ['dumps', 'tool as t']})",
            sub__tasks="app = object()",
            sub____init__="",
        )
    )
    core = importlib.import_module("core")
    assert core.celery_app is importlib.import_module("core.sub.tasks").app
    assert core.dumps([]) == "[]"
    assert core.t is importlib.import_module("json.tool")
    assert core.__all__ == ["celery_app", "dumps", "t"]
    assert not hasattr(core, "app")


@pytest.mark.parametrize("declare", ["attach", "attach_stub"])
def test_what_a_package_imports_from_itself_is_its_submodule(program, declare):
    """A package that names itself in place of a dot has its submodule; a renamed name may be any of its own names."""
    declared = "attach(__name__, absolute_attrs={'core': ['tasks', 'EAGER as late', 'views as pages']})"
    if declare == "attach_stub":
        declared = "attach_stub(__name__, __file__)"
    files = package(declared, tasks="", views="")
    files["core/__init__.py"] = f"EAGER = 1\n{files['core/__init__.py']}"
    names = "tasks as tasks, EAGER as late, views as pages\n__all__ = ['late', 'pages', 'tasks']\n"
    program({**files, "core/__init__.pyi": f"from core import {names}"})
    core = importlib.import_module("core")
    assert "core.tasks" not in sys.modules
    found = {name: getattr(core, name) for name in core.__all__}
    assert sys.modules["core.tasks"] is core.tasks
    assert sys.modules["core.views"] is core.pages
    assert core.late == 1
    assert list(found) == ["late", "pages", "tasks"]


def test_dir_keeps_what_the_module_has(program):
    """`dir(core)` lists dunders, own globals and declared names, and resolves nothing."""
    files = package("attach(__name__, ['a'], {'b': ['c']})", a="", b="c = 1")
    files["core/__init__.py"] += "own = 1\n"
    program(files)
    core = importlib.import_module("core")
    assert {"__name__", "__path__", "own", "a", "c"} <= set(dir(core))
    assert not any(name.startswith("__lazy") for name in dir(core))
    assert not {"core.a", "core.b"} & set(sys.modules)


def test_a_missing_third_party_module(program):
    """The ImportError has the command, the declaring line and the cause; `hasattr` does not hide it."""
    root = program(package("attach(__name__, None, {'a': ['x']})", a="import no_such_lib.sub"))
    core = importlib.import_module("core")
    with pytest.raises(errors.MissingModuleError) as caught:
        hasattr(core, "x")
    assert f"core.x (declared at {root}/core/__init__.py:2)" in str(caught.value)
    assert "pip install" not in str(caught.value)
    assert caught.value.name == "no_such_lib"
    assert type(caught.value.__cause__) is ModuleNotFoundError
    with pytest.raises(ModuleNotFoundError):
        from core import x  # noqa: F401


def test_a_submodule_that_does_not_exist(program):
    """The error for a wrong declaration says so, and has no install command."""
    program(package("attach(__name__, ['nowhere'], {'a': ['x']})", a="import core.gone"))
    core = importlib.import_module("core")
    with pytest.raises(ModuleNotFoundError, match=r"there is no module core\.nowhere: correct the declaration"):
        core.nowhere
    with pytest.raises(ModuleNotFoundError, match=r"core\.a imports core\.gone, which does not exist"):
        core.x


def test_a_declared_name_that_the_module_lacks(program):
    """A missing attribute raises an ImportError with the declaration, which `hasattr` does not swallow."""
    root = program(package("attach(__name__, None, {'a': ['x']})", a=""))
    core = importlib.import_module("core")
    with pytest.raises(errors.ResolutionImportError, match=f"{root}/core/__init__.py:2.*core.a has no attribute 'x'"):
        hasattr(core, "x")


@pytest.mark.parametrize("error", ["AttributeError", "ValueError", "StopIteration", "ImportError"])
def test_what_an_import_raises_is_told_as_ours(program, error):
    """An error of the module's body is the cause of a ResolutionError; only an ImportError stays one."""
    program(package("attach(__name__, None, {'a': ['x']})", a=f"raise {error}('secret')"))
    core = importlib.import_module("core")
    with pytest.raises(errors.ResolutionError) as caught:
        hasattr(core, "x")
    assert type(caught.value.__cause__).__name__ == error
    assert isinstance(caught.value, ImportError) == (error == "ImportError")
    assert "secret" not in str(caught.value)


def test_an_exit_passes_untouched(program):
    """A BaseException passes untouched."""
    program(package("attach(__name__, None, {'a': ['x']})", a="raise SystemExit(3)"))
    with pytest.raises(SystemExit):
        importlib.import_module("core").x


def test_no_failure_is_kept(program):
    """After a failure the next use tries again."""
    program(package("attach(__name__, None, {'a': ['x']})", a="raise ValueError"))
    core = importlib.import_module("core")
    with pytest.raises(errors.ResolutionError):
        core.x
    program({"core/a.py": "x = 'now it is there'"})
    assert core.x == "now it is there"


def test_a_circular_import_is_named(program):
    """The error for a name whose module is still being executed says so."""
    program(package("attach(__name__, None, {'a': ['x']})", a="from core import x"))
    with pytest.raises(errors.ResolutionImportError, match=r"circular import: core\.a is not finished"):
        importlib.import_module("core").x


def test_an_unknown_name_is_pythons_own_error(program):
    """The AttributeError has the name and the object, so that Python can suggest a name."""
    program(package("attach(__name__, ['tasks'])", tasks=""))
    core = importlib.import_module("core")
    assert not hasattr(core, "task")
    with pytest.raises(AttributeError, match=r"^module 'core' has no attribute 'task'") as caught:
        core.task
    assert caught.value.name == "task"
    assert caught.value.obj is core


@pytest.mark.parametrize(
    ("variable", "value", "eager"),
    [
        ("EAGER_IMPORT", "1", True),
        ("EAGER_IMPORT", "0", False),
        ("LAZYGUARD_EAGER", "other, core", True),
        ("LAZYGUARD_EAGER", "core.sub,cor", False),
    ],
)
def test_eager(program, monkeypatch, variable, value, eager):
    """Both environment variables import all names at once, circular imports included."""
    monkeypatch.delenv("EAGER_IMPORT", raising=False)
    monkeypatch.setenv(variable, value)
    program(package("attach(__name__, None, {'a': ['x'], 'b': ['y']})", a="from core import y\nx = 1", b="y = 2"))
    core = importlib.import_module("core")
    assert all(access.AttachedAttribute(core, name).is_resolved() == eager for name in ("x", "y"))
    assert core.x + core.y == 3


@pytest.mark.parametrize(
    ("submodules", "attributes", "what"),
    [
        ("tasks", None, "is one string"),
        (["a-b"], None, "is no name"),
        (None, {"a": "Queue"}, "is one string"),
        (None, {"a": [3]}, "3 is no name"),
        (None, {"a": ["x as"]}, "is no name"),
        (None, {"a": ["x as y z"]}, "is no name"),
    ],
)
def test_declarations_that_cannot_be_right(submodules, attributes, what):
    """Bad arguments are refused where they are written."""
    with pytest.raises(errors.ConfigurationError, match=f"{__file__}.*{what}"):
        attach("core", submodules, attributes)


def test_without_a_package(monkeypatch):
    """The functions work for a package that is not in `sys.modules`, as lazy_loader's do."""
    resolve, listing, names = attach("json_", ["x"], absolute_attrs={"json": ["dumps"]})
    assert names == ["dumps", "x"]
    assert set(names) <= set(listing())
    assert resolve("dumps") is importlib.import_module("json").dumps


def test_a_reload_looks_names_up_anew(program):
    """`importlib.reload(core)` drops all former values."""
    program(package("attach(__name__, None, {'a': ['x']})", a="x = 1"))
    core = importlib.import_module("core")
    assert core.x == 1
    sys.modules["core.a"].x = 2
    importlib.reload(core)
    assert core.x == 2


def test_declared_again_from_elsewhere(program):
    """A second `attach` removes nothing from a resolved package."""
    program(package("attach(__name__, None, {'a': ['x']})", a="x = 1"))
    core = importlib.import_module("core")
    assert core.x == 1
    lookup, _, _ = attach("core", None, {"a": ["x"]})
    assert core.x == 1
    assert lookup("x") == 1


def test_threads_racing_for_a_name(program):
    """All threads get the same value, and no error while `__getattr__` is being removed."""
    program(package("attach(__name__, None, {'a': ['x']})", a="import time\ntime.sleep(0.01)\nx = object()"))
    core = importlib.import_module("core")
    start = threading.Barrier(16)
    found: list[object] = []

    def use() -> None:
        start.wait()
        found.append(core.x)

    threads = [threading.Thread(target=use) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert found == [core.x] * 16


def test_addresses(program):
    """`is_resolved`, `reset` and `override` take module and name of a lazy attribute, and refuse other names."""
    program(package("attach(__name__, ['a'], {'a': ['x']})", a="x = 1"))
    core = importlib.import_module("core")
    x = access.AttachedAttribute(core, "x")
    assert not x.is_resolved()
    restores = []
    x.override("fake", restores.append)
    assert core.x == "fake"
    assert "core.a" not in sys.modules
    restores.pop()()
    assert not x.is_resolved()
    core.x, core.a
    assert x.is_resolved()
    assert "__getattr__" not in vars(core)
    x.override("fake", restores.append)
    restores.pop()()
    assert core.x == 1
    sys.modules["core.a"].x = 2
    x.reset()
    assert not x.is_resolved()
    assert core.x == 2
    with pytest.raises(errors.UsageError, match="core:nothing is no lazy attribute; those of core: a, x"):
        access.AttachedAttribute(core, "nothing")
    with pytest.raises(errors.UsageError, match="those of sys: none"):
        access.AttachedAttribute(sys, "path")


def test_a_stub_declares(program):
    """The stub's imports from the package are attached; other imports only where it re-exports them."""
    program(
        {
            **package("attach_stub(__name__, __file__)", queue="class Queue: pass", tasks="app = 1", models=""),
            "core/__init__.pyi": """
                from typing import Any
                from json import dumps as dumps, loads
                from json import JSONDecoder
                from . import models
                from .queue import Queue
                from .tasks import app as celery_app
                __all__ = ["models", "Queue", "celery_app", "loads"]
                """,
        }
    )
    core = importlib.import_module("core")
    with pytest.raises(AttributeError, match=r"__init__\.pyi:4\) imports it without a re-export; add it to the stub's"):
        _ = core.JSONDecoder
    assert core.__all__ == ["Queue", "celery_app", "dumps", "loads", "models"]
    assert core.Queue is importlib.import_module("core.queue").Queue
    assert core.celery_app == 1
    assert core.loads("1") == 1
    assert core.models is sys.modules["core.models"]


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("from .a import *", r"__init__\.pyi:1: a star import"),
        ("from import", "cannot be read"),
        (None, "no stub"),
    ],
)
def test_stubs_that_cannot_be_used(tmp_path, text, what):
    """A bad stub raises a ConfigurationError, which is a ValueError as lazy_loader raises."""
    if text is not None:
        (tmp_path / "__init__.pyi").write_text(text)
    with pytest.raises(errors.ConfigurationError, match=what):
        attach_stub("core", str(tmp_path / "__init__.py"))


@pytest.mark.parametrize("mark", ["\ufeff", "# coding: latin-1\n"])
def test_a_stub_is_read_as_python_reads_a_source(tmp_path, mark):
    """With the mark that editors on Windows write, and with a declared encoding."""
    encoding = "latin-1" if "coding" in mark else "utf-8"
    (tmp_path / "__init__.pyi").write_bytes(f"{mark}from .inner import värde\r\n".encode(encoding))
    assert attach_stub("core", str(tmp_path / "__init__.py"))[2] == ["värde"]


@pytest.mark.parametrize("stub", ["\ufefffrom .inner import värde, value\r\n", None])
def test_a_stub_in_an_archive(tmp_path, monkeypatch, stub):
    """A zipapp's, a PEX's or another archive's stub is read by the loader of its package."""
    with zipfile.ZipFile(tmp_path / "app.zip", "w") as archive:
        archive.writestr(
            "stubbed/__init__.py",
            "from lazyguard import attach_stub\n__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)\n",
        )
        archive.writestr("stubbed/inner.py", "value = 3\nvärde = 4\n")
        if stub is not None:
            archive.writestr("stubbed/__init__.pyi", stub)
    monkeypatch.syspath_prepend(str(tmp_path / "app.zip"))
    try:
        if stub is None:
            with pytest.raises(errors.ConfigurationError, match=r"there is no stub .*app\.zip.stubbed.__init__\.pyi"):
                importlib.import_module("stubbed")
            return
        stubbed = importlib.import_module("stubbed")
        assert (stubbed.value, getattr(stubbed, "värde"), stubbed.__all__) == (3, 4, ["value", "värde"])  # noqa: B009
    finally:
        for name in [name for name in sys.modules if name.partition(".")[0] == "stubbed"]:
            del sys.modules[name]


def test_what_declaring_loads():
    """In a fresh process neither importing nor declaring loads anything dear."""
    dear = "wrapt tenacity asyncio typing inspect dataclasses logging re threading importlib.metadata ast"
    code = (
        "import sys; before = set(sys.modules)\n"
        "from lazyguard._lazy_imports.attach import attach\n"
        "attach('lazyguard', ['cli'], {'errors': ['UsageError as E']})\n"
        f"print(*(set({dear.split()!r}) & (set(sys.modules) - before)))"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(errors.__file__).parents[1])}
    result = subprocess.run(
        [sys.executable, "-S", "-c", code],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert result.stdout.strip() == ""
