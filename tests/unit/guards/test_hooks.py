"""`when_imported` runs a hook once after the import of a module."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import threading

import pytest

from lazyguard import errors
from lazyguard._guards import hooks
from lazyguard._guards.hooks import when_imported


@pytest.fixture(autouse=True)
def waiting(monkeypatch):
    """Leave no pending hooks to the next test."""
    monkeypatch.setattr(hooks, "_PENDING", {})
    return hooks._PENDING


def test_hooks_run_after_the_import_and_once(program):
    """Hooks run in order, with the executed module, before the importer goes on."""
    program({"lib/__init__.py": "", "lib/sub.py": "x = 1"})
    seen: list[object] = []
    first = when_imported("lib.sub")(lambda module: seen.append((1, module.x)))
    when_imported("lib.sub")(lambda module: seen.append((2, module)))
    importlib.import_module("lib")
    assert not seen
    sub = importlib.import_module("lib.sub")
    assert seen == [(1, 1), (2, sub)]
    assert callable(first)
    importlib.reload(sub)
    importlib.import_module("lib.sub")
    assert len(seen) == 2


def test_the_decorated_function_is_unchanged():
    """The decorator returns the function itself."""

    def hook(module: object) -> None: ...

    assert when_imported("no_such_lib")(hook) is hook


def test_a_module_that_is_there_already():
    """For an imported module the hook runs at its declaration, and its exception is raised there."""
    seen: list[object] = []
    when_imported("sys")(seen.append)
    assert seen == [sys]
    with pytest.raises(ZeroDivisionError):
        when_imported("sys")(lambda module: 1 / 0)


def test_the_module_keeps_its_own_loader(program):
    """The executed module shows nothing of the hook: its spec, loader and resources are the import system's."""
    program({"lib.py": "own = __spec__.loader is __loader__ and type(__loader__).__name__"})
    when_imported("lib")(lambda module: None)
    lib = importlib.import_module("lib")
    assert lib.own == "SourceFileLoader"
    assert lib.__loader__ is lib.__spec__.loader
    assert type(lib.__loader__).__name__ == "SourceFileLoader"


def test_looking_for_a_module_runs_nothing(program, waiting):
    """`find_spec` alone leaves the hook waiting, and its spec works as any other."""
    program({"lib.py": "x = 1"})
    seen: list[object] = []
    when_imported("lib")(seen.append)
    spec = importlib.util.find_spec("lib")
    assert spec is not None
    assert spec.loader.get_source("lib") == "x = 1"  # type: ignore[union-attr]
    assert not seen
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)  # type: ignore[union-attr]
    assert seen == [module]
    assert not waiting


def test_a_missing_module_keeps_waiting(program):
    """A failed import consumes no hook."""
    program({})
    seen: list[object] = []
    when_imported("lib")(seen.append)
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("lib")
    program({"lib.py": "raise ValueError"})
    with pytest.raises(ValueError):
        importlib.import_module("lib")
    program({"lib.py": "x = 'it works now'"})
    assert not seen
    lib = importlib.import_module("lib")
    assert seen == [lib]


def test_what_a_hook_raises_fails_the_import(program):
    """The exception passes untouched; the next try runs all hooks again, on the new module."""
    program({"lib.py": ""})
    seen: list[object] = []
    when_imported("lib")(seen.append)

    @when_imported("lib")
    def fail_once(module: object) -> None:
        if len(seen) == 1:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        importlib.import_module("lib")
    assert "lib" not in sys.modules
    lib = importlib.import_module("lib")
    assert len(seen) == 2
    assert seen[1] is lib


def test_a_module_that_replaces_itself(program):
    """The hook gets the same object as importers do."""
    program({"lib.py": "import sys, types\nsys.modules[__name__] = types.SimpleNamespace(real=True)"})
    seen: list[object] = []
    when_imported("lib")(seen.append)
    lib = importlib.import_module("lib")
    assert seen == [lib]
    del sys.modules["lib"]


def test_extension_and_builtin_modules():
    """Hooks work with any kind of loader."""
    for name in ("_bisect", "_heapq", "_curses", "_lsprof", "atexit"):
        if name not in sys.modules and importlib.util.find_spec(name):
            seen: list[object] = []
            when_imported(name)(seen.append)
            assert [importlib.import_module(name)] == seen
            break
    else:
        pytest.skip("all of them are loaded")


@pytest.mark.parametrize("name", ["", ".lib", 3])
def test_names_that_cannot_be_right(name):
    """Such names are refused at the declaration."""
    with pytest.raises(errors.ConfigurationError, match="not a module name"):
        when_imported(name)


def wrapts(name: str):
    """The same promise, by wrapt."""
    wrapt = pytest.importorskip("wrapt")
    return wrapt.when_imported(name)


@pytest.fixture(params=[when_imported, wrapts])
def hook_on(request, monkeypatch):
    """lazyguard's function, and wrapt's, for what both promise."""
    if request.param is wrapts:
        pytest.importorskip("wrapt")
        from wrapt import importer

        monkeypatch.setattr(importer, "_post_import_hooks", {})
        monkeypatch.setattr(importer, "_post_import_hooks_init", False)
        monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    return request.param


def test_as_with_wrapt_a_hook_that_hooks(hook_on, program):
    """A hook that another hook declares, on the same module or on one that it imports, runs too."""
    program({"outer_lib.py": "import inner_lib\n", "inner_lib.py": ""})
    seen: list[str] = []

    @hook_on("outer_lib")
    def first(module: object) -> None:
        seen.append("first")
        hook_on("outer_lib")(lambda module: seen.append("second"))

    @hook_on("inner_lib")
    def inner(module: object) -> None:
        seen.append("inner")
        hook_on("outer_lib")(lambda module: seen.append("while it runs"))

    importlib.import_module("outer_lib")
    assert seen == ["inner", "while it runs", "first", "second"]


def test_as_with_wrapt_a_hook_that_imports(hook_on, program):
    """A hook can import its own module, one below it, and others with hooks."""
    program({"pack/__init__.py": "", "pack/sub.py": ""})
    seen: list[str] = []

    @hook_on("pack")
    def on_package(module: object) -> None:
        importlib.import_module("pack.sub")
        seen.append("pack")

    hook_on("pack.sub")(lambda module: seen.append("sub"))
    importlib.import_module("pack.sub")
    assert seen == ["sub", "pack"]


def test_as_with_wrapt_threads_that_import_at_once(hook_on, program, race):
    """The hooks run once, and before any of the importers goes on."""
    program({"raced.py": ""})
    seen: list[object] = []
    hook_on("raced")(seen.append)

    def use() -> bool:
        module = importlib.import_module("raced")
        return seen == [module]

    assert race(*[use] * 8) == [True] * 8


def test_as_with_wrapt_what_patches(hook_on, program):
    """What a hook puts in the place of a function is what from-imports find."""
    program({"patched.py": "def answer(): return 1\n"})

    @hook_on("patched")
    def patch(module) -> None:
        module.answer = lambda: 42

    namespace: dict[str, object] = {}
    exec("from patched import answer\nfound = answer()", namespace)
    assert namespace["found"] == 42


def test_a_fork_keeps_what_waits(program, in_child):
    """A forked child runs the hooks that were pending in its parent."""
    program({"forked_lib.py": ""})
    seen: list[object] = []
    when_imported("forked_lib")(seen.append)

    def work() -> None:
        assert seen == [importlib.import_module("forked_lib")]

    assert in_child(work) == 0
    assert not seen


class Slow:
    """A finder that finds nothing, and blocks for one name as long as the test says."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.asked, self.go = threading.Event(), threading.Event()

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        if name == self.name:
            self.asked.set()
            assert self.go.wait(30)


def test_a_hook_that_comes_while_another_thread_looks_for_its_module(program, monkeypatch, limited):
    """If an import has passed the finder before the declaration, the hook still runs once."""
    program({"sought.py": ""})
    slow = Slow("sought")
    monkeypatch.setattr(sys, "meta_path", [hooks._FINDER, slow, *sys.meta_path])
    seen: list[object] = []
    importer = threading.Thread(target=importlib.import_module, args=("sought",), daemon=True)
    importer.start()
    assert slow.asked.wait(30)
    declarer = threading.Thread(target=lambda: when_imported("sought")(seen.append), daemon=True)
    declarer.start()
    while "sought" not in hooks._PENDING:
        pass
    slow.go.set()
    importer.join(30)
    declarer.join(30)
    assert seen == [sys.modules["sought"]]
    assert not hooks._PENDING


def test_a_hook_of_a_module_that_its_own_thread_looks_for(program, monkeypatch):
    """A hook that is declared during its own import does not wait for itself, and runs."""
    program({"sought.py": ""})
    seen: list[object] = []
    asked: list[str] = []

    class Declares:
        def find_spec(self, name: str, path: object = None, target: object = None) -> None:
            asked.append(name)
            if asked.count(name) == 1 and name == "sought":
                when_imported("sought")(seen.append)

    monkeypatch.setattr(sys, "meta_path", [Declares(), hooks._FINDER, *sys.meta_path])
    assert seen == [importlib.import_module("sought")]


@pytest.mark.parametrize("fails", [False, True])
def test_a_hook_that_comes_while_another_thread_executes_its_module(program, monkeypatch, limited, fails):
    """It waits for the end of that import: no hook sees half a module, and after a failure it stays pending."""
    running, go = threading.Event(), threading.Event()
    monkeypatch.setattr(sys, "meet", lambda: (running.set(), go.wait(30)), raising=False)
    end = "1 / 0" if fails else "whole = True"
    program({"half.py": f"import sys\nsys.meet()\n{end}\n"})

    def use() -> None:
        try:
            importlib.import_module("half")
        except ZeroDivisionError:
            pass

    importer = threading.Thread(target=use, daemon=True)
    importer.start()
    assert running.wait(30)
    seen: list[bool] = []
    declarer = threading.Thread(
        target=lambda: when_imported("half")(lambda module: seen.append(module.whole)), daemon=True
    )
    declarer.start()
    blocked = sys.modules["_frozen_importlib"]._blocking_on
    while declarer.is_alive() and not blocked.get(declarer.ident):
        pass
    assert not seen
    go.set()
    importer.join(30)
    declarer.join(30)
    assert seen == ([] if fails else [True])
    assert ("half" in hooks._PENDING) is fails


def test_a_hook_that_runs_later_is_refused():
    """Nothing would await an async hook, or consume a generator."""

    async def hook(module: object) -> None: ...

    with pytest.raises(errors.UsageError, match="plain function, not an async function"):
        when_imported("json")(hook)
