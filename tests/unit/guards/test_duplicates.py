"""`prevent_duplicate_imports` keeps a file from being executed under a second name."""

from __future__ import annotations

import builtins
import importlib
import os
import pickle
import subprocess
import sys
import threading
import time
import warnings

import pytest

from lazyguard import errors
from lazyguard._guards import hooks
from lazyguard._guards.duplicates import prevent_duplicate_imports

COUNT = "import builtins\nbuiltins.executed.append(__name__)\n"


@pytest.fixture
def core(program, monkeypatch):
    """A package `core` whose own directory is on `sys.path`; `builtins.executed` lists what ran."""
    monkeypatch.setattr(builtins, "executed", [], raising=False)
    monkeypatch.setattr(hooks, "GUARDS", {})
    root = program(
        {
            "core/__init__.py": "",
            "core/models.py": COUNT + "class Meeting: pass\n",
            "core/cycle.py": COUNT + "early = 1\nimport cycle\nagain = cycle.early\nsame = cycle\n",
            "core/broken.py": COUNT + "raise ValueError\n",
            "core/monitoring/__init__.py": COUNT,
            "core/monitoring/board.py": COUNT + "import models\n",
            "core/scripts/tool.py": COUNT,
            "lib/models_user.py": "import models\n",
        }
    )
    monkeypatch.syspath_prepend(str(root / "core"))
    return root


@pytest.mark.parametrize("first", ["models", "core.models"])
def test_alias_is_the_very_same_module(core, first):
    """Whichever name comes first, the file is executed once, under its canonical name."""
    prevent_duplicate_imports("core", action="alias")
    importlib.import_module(first)
    models, canonical = importlib.import_module("models"), importlib.import_module("core.models")
    assert models is canonical is sys.modules["models"]
    assert builtins.executed == ["core.models"]
    assert (models.__name__, models.__package__, models.__spec__.name) == (
        "core.models",
        "core",
        "core.models",
    )
    assert type(models.__spec__.loader).__name__ == "SourceFileLoader"
    assert not models.__spec__._initializing
    assert sys.modules["core"].models is models


def test_alias_below_a_sub_directory(core, monkeypatch):
    """A script in core/monitoring can import its neighbour, a module or a package, by its bare name."""
    monkeypatch.syspath_prepend(str(core / "core/monitoring"))
    prevent_duplicate_imports("core")
    board = importlib.import_module("board")
    assert board.__name__ == "core.monitoring.board"
    assert importlib.import_module("monitoring") is sys.modules["core.monitoring"]
    assert importlib.import_module("monitoring.board") is board
    assert builtins.executed == ["core.monitoring", "core.monitoring.board", "core.models"]


def test_alias_of_a_module_that_is_still_running(core):
    """A circular import by the second name gets the partial module, as by the first."""
    prevent_duplicate_imports("core")
    cycle = importlib.import_module("core.cycle")
    assert cycle.same is cycle
    assert cycle.again == 1
    assert cycle.__spec__.name == "core.cycle"
    assert builtins.executed == ["core.cycle"]


def test_alias_entered_by_the_second_name(core):
    """The same cycle, entered from its other end, works too."""
    prevent_duplicate_imports("core")
    cycle = importlib.import_module("cycle")
    assert cycle.same is cycle is sys.modules["core.cycle"]
    assert builtins.executed == ["core.cycle"]


def test_a_package_above_makes_second_names_too(program, monkeypatch):
    """`src.core` and `core`, with both directories on the path, are one."""
    monkeypatch.setattr(builtins, "executed", [], raising=False)
    monkeypatch.setattr(hooks, "GUARDS", {})
    root = program({"src/__init__.py": "", "src/core/__init__.py": COUNT, "src/core/models.py": COUNT})
    monkeypatch.syspath_prepend(str(root / "src"))
    prevent_duplicate_imports("core")
    assert importlib.import_module("src.core.models") is importlib.import_module("core.models")
    assert sys.modules["src.core"] is sys.modules["core"]
    assert builtins.executed == ["core", "core.models"]


def test_a_link_to_the_package(core, monkeypatch):
    """Files are compared by their real paths."""
    (core / "linked").mkdir()
    (core / "linked/alias").symlink_to(core / "core/monitoring")
    monkeypatch.syspath_prepend(str(core / "linked/alias"))
    prevent_duplicate_imports("core")
    assert importlib.import_module("board").__name__ == "core.monitoring.board"


def test_pickle_and_reload(core):
    """A class of an aliased module is found by its canonical name; `reload` runs the module again."""
    prevent_duplicate_imports("core")
    models = importlib.import_module("models")
    assert type(pickle.loads(pickle.dumps(models.Meeting()))) is models.Meeting
    assert importlib.reload(models) is models
    assert builtins.executed == ["core.models", "core.models"]
    assert sys.modules["models"] is sys.modules["core.models"] is models


def test_a_module_that_fails(core):
    """A module that fails raises the same exception each time, and leaves neither name behind."""
    prevent_duplicate_imports("core")
    raised = set()
    for name in ("broken", "core.broken", "broken"):
        with pytest.raises(ValueError) as caught:
            importlib.import_module(name)
        raised.add(caught.value)
    assert len(raised) == 1
    assert builtins.executed == ["core.broken"]
    assert not {"broken", "core.broken"} & set(sys.modules)


def test_a_module_that_fails_after_a_circle(core):
    """What a failure left under the second name is not taken for the module at the next try."""
    (core / "core/broken.py").write_text("import broken\nraise ValueError\n")
    prevent_duplicate_imports("core")
    with pytest.raises(ValueError):
        importlib.import_module("core.broken")
    (core / "core/broken.py").write_text("import broken\nfine = broken\n")
    importlib.invalidate_caches()
    broken = importlib.import_module("core.broken")
    assert broken.fine is broken is importlib.import_module("broken")


def test_names_that_mean_something_else(core, monkeypatch):
    """A built-in module, or a file earlier on the path, takes precedence as in Python."""
    prevent_duplicate_imports("core")
    builtin = next(name for name in sys.builtin_module_names if name not in sys.modules)
    (core / f"core/{builtin}.py").write_text(COUNT)
    assert importlib.import_module(builtin).__spec__.origin == "built-in"
    other = core / "other"
    other.mkdir()
    (other / "models.py").write_text(COUNT)
    monkeypatch.syspath_prepend(str(other))
    assert importlib.import_module("models").__name__ == "models"
    assert importlib.import_module("core.models") is not sys.modules["models"]


def test_a_directory_that_is_no_package(core, monkeypatch):
    """A script in a directory without `__init__.py` has no canonical name."""
    monkeypatch.syspath_prepend(str(core / "core/scripts"))
    prevent_duplicate_imports("core", action="error")
    assert importlib.import_module("tool").__name__ == "tool"


def test_warn_goes_on(core):
    """The warning names both, points at the importing line and shows by default; then the file is executed again."""
    prevent_duplicate_imports("core", action="warn")
    importlib.import_module("core.models")
    with pytest.warns(errors.DuplicateImportWarning, match=r"write `import core\.models` in place") as caught:
        importlib.import_module("lib.models_user")
    assert (caught[0].filename, caught[0].lineno) == (str(core / "lib/models_user.py"), 1)
    assert builtins.executed == ["core.models", "models"]
    assert not issubclass(errors.DuplicateImportWarning, ImportWarning)


def test_raise_tells_all(core):
    """The error is an ImportError with both names, the file, the importing line and the remedy."""
    prevent_duplicate_imports("core", action="error")
    with pytest.raises(errors.DuplicateImportError) as caught:
        importlib.import_module("lib.models_user")
    text = str(caught.value)
    assert text.startswith(f"{core}/lib/models_user.py:1: {core}/core/models.py is module core.models; ")
    assert text.endswith("write `import core.models` in place of `import models`")
    assert (caught.value.name, caught.value.path) == ("models", str(core / "core/models.py"))
    assert isinstance(caught.value, ImportError)
    assert builtins.executed == []


@pytest.mark.parametrize("action", ["alias", "warn", "error"])
def test_what_ran_before_the_guard(core, action):
    """If another name was imported before the guard, the canonical name is the second one."""
    models = importlib.import_module("models")
    prevent_duplicate_imports("core", action=action)
    if action == "alias":
        assert importlib.import_module("core.models") is models
        assert sys.modules["core"].models is models
        assert models.__spec__.name == "models"
        return
    kind = errors.DuplicateImportError if action == "error" else errors.DuplicateImportWarning
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(kind, match=r"is module models; .* `import core\.models` in place of `import models`"):
            importlib.import_module("core.models")


def test_installing_again(core):
    """The same action changes nothing, another replaces it; undo can be called twice."""
    prevent_duplicate_imports("core", action="error")
    before = list(sys.meta_path)
    installed = hooks.GUARDS["core"]
    undo = prevent_duplicate_imports("core", action="error")
    assert hooks.GUARDS["core"] is installed
    assert sys.meta_path == before
    with pytest.raises(errors.DuplicateImportError):
        importlib.import_module("models")
    replaced = prevent_duplicate_imports("core", action="alias")
    assert sys.meta_path == before
    undo()
    assert importlib.import_module("models").__name__ == "core.models"
    replaced()
    replaced()
    assert not hooks.GUARDS
    sys.modules.pop("models")
    assert importlib.import_module("models").__name__ == "models"


@pytest.mark.parametrize(
    ("package", "action", "what"),
    [
        ("core", "nonsense", "give one of 'alias', 'warn', 'error'"),
        ("no_such_package", "alias", "'no_such_package' cannot be found"),
        ("no_such_package.sub", "alias", "cannot be found"),
        ("core.models", "alias", "is a module, not a package"),
        ("sys", "alias", "is a module, not a package"),
        ("", "alias", "cannot be found"),
    ],
)
def test_bad_input(core, package, action, what):
    """Bad input raises a ConfigurationError, and installs nothing."""
    before = list(sys.meta_path)
    with pytest.raises(errors.ConfigurationError, match=what):
        prevent_duplicate_imports(package, action=action)
    assert sys.meta_path == before


def test_threads_by_both_names(core):
    """Many threads import by many names, the file is executed once, and all get the same module."""
    (core / "core/slow.py").write_text(COUNT + "import time\ntime.sleep(0.02)\ndone = True\n")
    prevent_duplicate_imports("core")
    start = threading.Barrier(12)
    found: list[object] = []

    def use(name: str) -> None:
        start.wait()
        module = importlib.import_module(name)
        found.append((module, module.done))

    threads = [threading.Thread(target=use, args=(name,)) for name in ["slow", "core.slow"] * 6]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert found == [(sys.modules["core.slow"], True)] * 12
    assert builtins.executed == ["core.slow"]


def import_while_another_runs(first: str, second: str, monkeypatch) -> list[object]:
    """Import `second` while another thread runs `first`, whose body meets it by calling `builtins.meet`."""
    running, found = threading.Event(), []
    blocked = sys.modules["_frozen_importlib"]._blocking_on

    def meet() -> None:
        if running.is_set():
            return
        running.set()
        deadline = time.monotonic() + 30
        while not blocked.get(threads[1].ident) and time.monotonic() < deadline:
            time.sleep(0.001)

    def use(name: str) -> None:
        try:
            found.append(importlib.import_module(name))
        except Exception as error:
            found.append(error)

    monkeypatch.setattr(builtins, "meet", meet, raising=False)
    threads = [threading.Thread(target=use, args=(name,)) for name in (first, second)]
    threads[0].start()
    assert running.wait(30)
    threads[1].start()
    for thread in threads:
        thread.join(60)
    return found


def test_a_cycle_of_two_threads_by_two_names(core, monkeypatch):
    """A thread executes the file and imports its second name, for which another waits: both get the module."""
    (core / "core/ring.py").write_text("import builtins\nbuiltins.meet()\nimport ring\nsame = ring\n")
    prevent_duplicate_imports("core")
    found = import_while_another_runs("core.ring", "ring", monkeypatch)
    module = sys.modules["core.ring"]
    assert found == [module, module]
    assert module.same is module


def test_a_module_that_fails_while_another_thread_waits(core, monkeypatch):
    """A thread that waits by the second name gets the error, not half a module; the file is executed once."""
    (core / "core/broken.py").write_text(COUNT + "builtins.meet()\nraise ValueError\n")
    prevent_duplicate_imports("core")
    found = import_while_another_runs("core.broken", "broken", monkeypatch)
    assert [type(each) for each in found] == [ValueError, ValueError]
    assert builtins.executed == ["core.broken"]
    assert not {"broken", "core.broken"} & set(sys.modules)


def test_a_script_in_the_package(core):
    """`python core/script.py`, whose directory Python puts on the path, is covered."""
    guard = "from lazyguard._guards.duplicates import prevent_duplicate_imports\nprevent_duplicate_imports(__name__)\n"
    (core / "core/__init__.py").write_text(guard)
    (core / "core/models.py").write_text("import core.monitoring\nprint('executed', __name__)\n")
    (core / "core/monitoring/__init__.py").write_text("")
    script = core / "core/script.py"
    path = os.pathsep.join([str(core), os.path.dirname(os.path.dirname(errors.__file__))])
    for body in ("import core\nimport models\n", "import models\nimport core.models\n"):
        script.write_text(body + "import sys; assert sys.modules['core.models'] is sys.modules['models']\n")
        result = subprocess.run(
            [sys.executable, str(script)],
            env={**os.environ, "PYTHONPATH": path},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert result.returncode == 0, result.stderr
        assert result.stdout.count("executed") == 1
