"""Law 19: an import that a fork cuts short is waited for, and then done anew in the child, or refused with a word."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import threading
import time
import types

import pytest

from lazyguard import _core
from lazyguard._core import unfinished_imports

pytestmark = [
    pytest.mark.usefixtures("limited"),
    pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform has no fork"),
]
GATE = "gate_of_unfinished_imports"


class Gate(types.ModuleType):
    """A module that the modules of a test import to be held up in the middle, in the test's own process."""

    def __init__(self) -> None:
        super().__init__(GATE)
        self.parent = os.getpid()
        self.reached, self.opened = threading.Event(), threading.Event()

    def stop(self) -> None:
        self.reached.set()
        assert os.getpid() != self.parent or self.opened.wait(30)


@pytest.fixture
def gate(monkeypatch):
    made = Gate()
    monkeypatch.setitem(sys.modules, GATE, made)
    monkeypatch.setattr(unfinished_imports, "LOOKS", 0)
    monkeypatch.setattr(unfinished_imports, "_given_up", set())
    yield made
    made.opened.set()


@pytest.fixture
def begin(gate):
    """Return a function that imports a module on a thread and returns when that is held up; ended after the test."""
    threads: list[threading.Thread] = []

    def importing(name: str) -> threading.Thread:
        gate.reached.clear()
        thread = threading.Thread(target=importlib.import_module, args=(name,), daemon=True)
        threads.append(thread)
        thread.start()
        assert gate.reached.wait(30)
        return thread

    yield importing
    gate.opened.set()
    for thread in threads:
        thread.join(30)


STOP = f"from {GATE} import stop\n"


def test_a_module_begins_anew(program, begin, in_child):
    """The child executes it from its first line, in the same object: who has that finds it whole, unimported too."""
    program({"half.py": f"made = []\nearly = 1\n{STOP}stop()\nearly = 2\nlate = made\n"})
    begin("half")
    held = sys.modules["half"]
    seen = held.made

    def used() -> None:
        assert held.early == 2
        assert sys.modules["half"] is held
        assert type(held) is types.ModuleType
        assert held.late is held.made is not seen

    def imported() -> None:
        import half

        assert half is held
        assert vars(half)["late"] is half.made
        assert half.__spec__._initializing is False
        assert importlib.util.find_spec("half") is half.__spec__

    assert in_child(used) == 0
    assert in_child(imported) == 0


def test_a_package_keeps_what_is_whole(program, begin, in_child):
    """Submodules that are whole are not executed again, and are bound in the package that is."""
    program(
        {
            "pack/__init__.py": f"from . import whole\n{STOP}stop()\nfrom . import after\n",
            "pack/whole.py": "token = object()\n",
            "pack/after.py": "from . import whole\ntoken = whole.token\n",
        }
    )
    begin("pack")
    token = sys.modules["pack.whole"].token

    def work() -> None:
        import pack

        assert pack.whole.token is pack.after.token is token

    assert in_child(work) == 0


def test_a_submodule_of_which_its_package_does_not_know_yet(program, begin, gate, in_child, monkeypatch):
    """Cut after the last line of a submodule, before it is bound in its package: it is bound in the child."""
    program({"pack/__init__.py": "", "pack/whole.py": f"{STOP}import sys\nstop()\n"})
    begin("pack.whole")
    module = sys.modules["pack.whole"]
    monkeypatch.setattr(module.__spec__, "_initializing", False)

    def work() -> None:
        import pack.whole

        assert pack.whole is module

    assert in_child(work) == 0
    assert not hasattr(sys.modules["pack"], "whole")


@pytest.mark.parametrize("first", ["first", "second", "third"])
def test_a_ring_begins_anew_as_one(program, begin, in_child, first):
    """What was executed together with half a module is executed again with it: what they share is shared."""
    program(
        {
            "first.py": f"routes = []\nclass Kind: pass\nimport second\n{STOP}stop()\nlate = 1\n",
            "second.py": "from first import Kind, routes\nroutes.append('second')\nimport third\n",
            "third.py": "import first, second\nclass More(second.Kind): pass\nfirst.routes.append('third')\n",
            "apart.py": "runs = []\n",
        }
    )
    __import__("apart").runs.append(1)
    begin("first")

    def work() -> None:
        __import__(first)
        import apart
        import first as one
        import second
        import third

        assert one.late == 1
        assert one.routes == ["second", "third"]
        assert second.routes is one.routes
        assert third.More.__base__ is second.Kind is one.Kind
        assert apart.runs == [1]

    assert in_child(work) == 0


def test_what_it_had_made_is_not_finalised(program, begin, in_child, tmp_path):
    """It may be a connection that the parent goes on with."""
    log = tmp_path / "finalised"
    made = f"class Made:\n    def __del__(self): open({str(log)!r}, 'a').close()\nmade = Made()\n"
    program({"half.py": f"{made}{STOP}stop()\n"})
    begin("half")

    def work() -> None:
        import half

        half.made = None
        assert log.exists()  # its own
        log.unlink()

    assert in_child(work) == 0
    assert not log.exists()


def test_who_waits_for_a_lock_of_the_forking_thread_is_forgotten(program, gate, in_child):
    """Another thread waits for the module that the forking thread is importing: the child goes on with it alone."""
    program({"mine.py": f"{STOP}stop()\nlate = 1\n"})
    statuses: list[int] = []
    other = threading.Thread(target=importlib.import_module, args=("mine",), daemon=True)
    blocking = unfinished_imports._machinery("_blocking_on")

    def stop() -> None:
        other.start()
        while other.ident not in getattr(blocking, "data", blocking):
            time.sleep(0.001)
        statuses.append(in_child(lambda: None))

    gate.stop = stop
    import mine

    other.join(30)
    assert (mine.late, statuses) == (1, [0])


def test_a_thread_with_the_number_of_one_that_is_gone(program, begin, in_child):
    """Numbers of threads are used again: the child's thread does not take another one's half module for its own."""
    program({"half.py": f"{STOP}stop()\nlate = 1\n"})
    begin("half")
    seen: list[int] = []

    def work() -> None:
        users = [threading.Thread(target=lambda: seen.append(importlib.import_module("half").late)) for _ in range(8)]
        for user in users:
            user.start()
        for user in users:
            user.join(20)
        assert seen == [1] * 8

    assert in_child(work) == 0


def test_a_second_fork_before_the_import(program, begin, in_child):
    """What is set aside in the child is set aside in its own child."""
    program({"half.py": f"{STOP}stop()\nlate = 1\n"})
    begin("half")
    assert in_child(lambda: os._exit(in_child(lambda: importlib.import_module("half").late))) == 0


def test_an_error_is_that_of_the_module(program, begin, gate, in_child):
    """A module that cannot be executed anew raises what it raises, and the next import tries again."""
    program({"half.py": f"{STOP}import os\nstop()\nif os.getpid() != {os.getpid()}: raise OSError('twice')\n"})
    begin("half")

    def work() -> None:
        for _ in range(2):
            with pytest.raises(OSError, match="twice"):
                importlib.import_module("half")

    assert in_child(work) == 0


def test_an_extension_module_is_refused(program, begin, in_child, monkeypatch):
    """It cannot be executed anew; the error says what it is and what to do."""
    program({"half.py": f"{STOP}stop()\n"})
    begin("half")
    files = sys.modules["_frozen_importlib_external"]
    monkeypatch.setattr(sys.modules["half"].__spec__, "loader", files.ExtensionFileLoader("half", "half.so"))

    def work() -> None:
        with pytest.raises(ImportError, match="forked while another thread was importing it") as caught:
            importlib.import_module("half")
        assert caught.value.name == "half"

    assert in_child(work) == 0


def test_where_the_locks_are_not_as_we_know_them(program, begin, in_child, monkeypatch):
    """No half module is handed out: its use is an ImportError that says so; what this thread imports stays."""
    program({"half.py": f"early = 1\n{STOP}stop()\n"})
    begin("half")
    monkeypatch.setattr(unfinished_imports, "_FIELDS", ("owner", "of another Python"))
    unfinished_imports.wait()

    def work() -> None:
        import half

        assert half.__name__ == "half"
        with pytest.raises(ImportError, match="Import it before the fork"):
            half.early
        with pytest.raises(ImportError, match="Import it before the fork"):
            from half import early as early

    monkeypatch.setattr(sys.modules[__name__].__spec__, "_initializing", True, raising=False)  # as if this thread did
    assert in_child(work) == 0
    assert sys.modules[__name__].Gate is Gate


def test_greenlets_go_on_in_the_child(program, begin, in_child, monkeypatch):
    """Where threads are greenlets, those that import are in the child too: nothing is taken from them."""
    program({"half.py": f"{STOP}stop()\n"})
    begin("half")
    held = sys.modules["half"]
    ident = lambda of=threading.get_ident: of()  # noqa: E731  (as gevent's, it is not of the module _thread)
    monkeypatch.setattr(unfinished_imports._thread, "get_ident", ident)

    def work() -> None:
        assert sys.modules["half"] is held
        assert type(held) is types.ModuleType

    assert in_child(work) == 0


def test_a_fork_waits_for_the_imports_of_others(program, begin, gate, monkeypatch):
    """It goes on as soon as they have ended; not for what its own thread imports, nor for others begun meanwhile."""
    program({"half.py": f"{STOP}stop()\nlate = 1\n"})
    slept: list[float] = []
    thread = begin("half")

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        gate.opened.set()
        thread.join(20)

    monkeypatch.setattr(unfinished_imports, "LOOKS", 10)
    monkeypatch.setattr(unfinished_imports.time, "sleep", sleep)
    _core._before_fork()
    assert slept == [0.001]
    assert sys.modules["half"].late == 1


def test_a_fork_waits_in_vain_once(program, begin, monkeypatch):
    """A thread whose import goes on for ever holds up the first fork, within bounds, and no other."""
    program({"half.py": f"{STOP}stop()\n"})
    begin("half")
    slept: list[float] = []
    monkeypatch.setattr(unfinished_imports.time, "sleep", slept.append)
    monkeypatch.setattr(unfinished_imports, "LOOKS", 7)
    unfinished_imports.wait()
    assert len(slept) == 7
    unfinished_imports.wait()
    assert len(slept) == 7


PACKAGE = """
import lazyguard
__getattr__, __dir__, __all__ = lazyguard.attach(__name__, submod_attrs={"half": ["value"]})
"""
FORKING = """
import os, sys, threading, types
sys.modules["told"] = told = types.SimpleNamespace(parent=os.getpid(), begun=threading.Event(), never=threading.Event())
import attached
from lazyguard._core import unfinished_imports
unfinished_imports.LOOKS = 10
threading.Thread(target=lambda: attached.value, daemon=True).start()
assert told.begun.wait(30)
pid = os.fork()
if not pid:
    os._exit(0 if attached.value == 1 else 3)
os._exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""


def test_a_package_that_attaches_and_declares_nothing(program):
    """The import of an attribute is ours, whatever else of ours is loaded."""
    half = "import os, told\ntold.begun.set()\nif os.getpid() == told.parent:\n    told.never.wait()\nvalue = 1\n"
    directory = program({"attached/__init__.py": PACKAGE, "attached/half.py": half})
    command = [sys.executable, "-W", "ignore", "-c", FORKING]
    assert subprocess.run(command, cwd=directory, timeout=50, env=os.environ).returncode == 0
