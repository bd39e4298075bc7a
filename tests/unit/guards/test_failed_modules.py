"""`prevent_duplicate_imports` executes no failed module again, and knows the file that runs as `__main__`."""

from __future__ import annotations

import builtins
import importlib
import importlib.util
import os
import subprocess
import sys
import traceback

import pytest

import lazyguard
from lazyguard import prevent_duplicate_imports
from lazyguard._guards import hooks
from lazyguard.errors import DuplicateImportWarning

COUNT = "import builtins\nbuiltins.executed.append(__name__)\n"


@pytest.fixture
def core(program, monkeypatch):
    """A package `core` with a module that fails; `builtins.executed` lists what ran."""
    monkeypatch.setattr(builtins, "executed", [], raising=False)
    monkeypatch.setattr(hooks, "GUARDS", {})
    return program(
        {
            "core/__init__.py": "",
            "core/fine.py": COUNT,
            "core/broken.py": COUNT + "raise ValueError('what it said')\n",
            "core/user.py": COUNT + "\nimport core.broken\n",
        }
    )


def failure(name: str) -> BaseException:
    with pytest.raises(ValueError, match="what it said") as caught:
        importlib.import_module(name)
    return caught.value


def test_the_first_failure_again(core):
    """The next import raises the same exception and traceback, and a note has the first line and the remedy."""
    prevent_duplicate_imports("core")
    first = failure("core.user")
    lines = traceback.format_exception(first)
    for _ in range(3):
        assert failure("core.broken") is first
    assert builtins.executed == ["core.user", "core.broken"]
    assert not {"core.user", "core.broken"} & set(sys.modules)
    again = traceback.format_exception(first)
    assert [line for line in again if "broken.py" in line] == [line for line in lines if "broken.py" in line]
    if sys.version_info >= (3, 11):
        (note,) = first.__notes__
        assert note.startswith(f"core.broken failed with this when it was first imported (at {core}/core/user.py:4)")
        assert "importlib.invalidate_caches()" in note


def test_what_lets_it_be_tried_again(core):
    """A changed file, invalidated caches or a reload of another module lets it be executed again."""
    prevent_duplicate_imports("core")
    fine = importlib.import_module("core.fine")
    first = failure("core.broken")
    importlib.invalidate_caches()
    second = failure("core.broken")
    assert second is not first
    importlib.reload(fine)
    third = failure("core.broken")
    assert third is not second
    (core / "core/broken.py").write_text(COUNT + "ok = 'another length of the text, at another time'\n")
    assert importlib.import_module("core.broken").ok
    assert builtins.executed.count("core.broken") == 4


def test_warn_executes_it_and_says_so(core):
    """The warning points at the importing line, and names the line that imported first."""
    prevent_duplicate_imports("core", action="warn")
    failure("core.user")
    with pytest.warns(
        DuplicateImportWarning, match=r"broken\.py failed when it was imported at .*user\.py:4"
    ) as caught:
        failure("core.broken")
    assert caught[0].filename == __file__
    assert builtins.executed == ["core.user", "core.broken", "core.broken"]


def test_the_attempts_of_a_service_try_again(core, monkeypatch):
    """An import in a factory may come to work: an attempt does not get an earlier attempt's failure."""
    monkeypatch.setattr(builtins, "away", True, raising=False)
    (core / "core/needy.py").write_text(COUNT + "if builtins.away:\n    raise ConnectionError\n")
    prevent_duplicate_imports("core")

    def make() -> object:
        return importlib.import_module("core.needy")

    cell = lazyguard.lazy(make)
    for _ in range(2):
        with pytest.raises(lazyguard.ResolutionError):
            lazyguard.resolve(cell)
    with pytest.raises(ConnectionError):
        importlib.import_module("core.needy")
    assert len(builtins.executed) == 2
    monkeypatch.setattr(builtins, "away", False)
    assert lazyguard.resolve(cell) is sys.modules["core.needy"]


def test_what_a_guard_has_ended_is_no_failure(core, monkeypatch):
    """Neither a guard's time limit nor what it forbids counts as a failure of the module."""
    monkeypatch.setattr(builtins, "hang", True, raising=False)
    (core / "core/slow.py").write_text("import builtins, os, threading\nif builtins.hang: threading.Event().wait()\n")
    (core / "core/starts.py").write_text("import os\nos.system('true')\n")
    prevent_duplicate_imports("core")
    with pytest.raises(lazyguard.errors.ImportTimeout), lazyguard.import_guard(timeout=0.01):
        importlib.import_module("core.slow")
    monkeypatch.setattr(builtins, "hang", False)
    importlib.import_module("core.slow")
    with pytest.raises(lazyguard.errors.ImportSideEffectError), lazyguard.import_guard(subprocess="forbid"):
        importlib.import_module("core.starts")
    importlib.import_module("core.starts")


def test_a_cycle_is_explained(core):
    """The guarded package's circular imports are explained without an `import_guard`."""
    (core / "core/a.py").write_text("import core.b\nx = 1\n")
    (core / "core/b.py").write_text("from core.a import x\n")
    prevent_duplicate_imports("core")
    with pytest.raises(ImportError) as caught:
        importlib.import_module("core.a")
    assert f"core.a ({core}/core/a.py:1) imports core.b" in "".join(traceback.format_exception(caught.value))


def test_modules_keep_their_own_loaders(core):
    """A module shows nothing of the guard, and a spec that is only looked up works as ever."""
    prevent_duplicate_imports("core")
    spec = importlib.util.find_spec("core.fine")
    assert "executed" in spec.loader.get_source("core.fine")
    fine = importlib.import_module("core.fine")
    assert type(fine.__loader__).__name__ == type(fine.__spec__.loader).__name__ == "SourceFileLoader"


TASKS = """import core
import core.services
class Task: ...
ran = True
if __name__ == "__main__":
    import sys, pickle
    print(__name__, __package__, type(__spec__).__name__)
    print("same" if sys.modules["core.tasks"] is sys.modules["__main__"] else "another")
    print(type(pickle.loads(pickle.dumps(Task()))) is Task)
"""


@pytest.mark.parametrize("how", [["-m", "core.tasks"], ["core/tasks.py"]])
@pytest.mark.parametrize("action", ["alias", "warn", "error"])
def test_the_file_that_runs_as_main(program, how, action):
    """By `python -m core.tasks` and `python core/tasks.py` the file's own name is the second; both lines are named."""
    root = program(
        {
            "core/__init__.py": f"import lazyguard\nlazyguard.prevent_duplicate_imports('core', action={action!r})\n",
            "core/services.py": "\nimport core.tasks\n",
            "core/tasks.py": "print('executed')\n" + TASKS,
        }
    )
    path = os.pathsep.join([str(root), os.path.dirname(os.path.dirname(lazyguard.__file__))])
    done = subprocess.run(
        [sys.executable, "-W", "always::lazyguard.errors.DuplicateImportWarning", *how],
        env={**os.environ, "PYTHONPATH": path},
        cwd=root,
        capture_output=True,
        text=True,
        timeout=60,
    )
    told = (
        "core/tasks.py:3); imported as core.tasks it is executed a second time: move what others import into a module"
    )
    if action == "error":
        assert done.returncode == 1
        assert f"DuplicateImportError: {root}/core/services.py:2: {root}/core/tasks.py runs as __main__" in done.stderr
        assert told in done.stderr
        return
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    package, spec = ("core", "ModuleSpec") if how[0] == "-m" else ("None", "NoneType")
    assert lines[-3] == f"__main__ {package} {spec}"
    if action == "alias":
        assert lines.count("executed") == 1
        assert lines[-2:] == ["same", "True"]
        assert not done.stderr
    else:
        assert lines.count("executed") == 2
        assert "core/services.py:2: DuplicateImportWarning: " in done.stderr
        assert told in done.stderr
