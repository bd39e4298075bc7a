"""`once` runs registration code once a process."""

from __future__ import annotations

import builtins
import importlib
import inspect
import os
import select
import sys
import threading

import pytest

from lazyguard import errors
from lazyguard._guards import once as module
from lazyguard._guards.once import once


@pytest.fixture(autouse=True)
def cells(monkeypatch):
    """Let each test begin with nothing run."""
    monkeypatch.setattr(module, "_CELLS", {})


def test_the_first_result_is_everybodys():
    """There is one run; arguments of later calls, and a result of None, change nothing."""
    runs: list[int] = []

    @once
    def register(number: int) -> None:
        runs.append(number)

    assert register(1) is None
    assert register(number=2) is None
    assert runs == [1]


@pytest.mark.parametrize("again", ["second name", "reload"])
def test_a_file_that_runs_again(program, monkeypatch, again):
    """A function at the same line of the same file runs once, under whatever module names."""
    monkeypatch.setattr(builtins, "runs", [], raising=False)
    root = program(
        {
            "core/__init__.py": "",
            "core/models.py": "from lazyguard._guards.once import once\n"
            "@once\ndef register():\n    runs.append(__name__)\n    return object()\nresult = register()\n",
        }
    )
    monkeypatch.syspath_prepend(str(root / "core"))
    first = importlib.import_module("core.models").result
    if again == "reload":
        second = importlib.reload(sys.modules["core.models"]).result
    else:
        second = importlib.import_module("models").result
    assert first is second
    assert builtins.runs == ["core.models"]


def test_a_key_is_what_counts():
    """Of two functions with one key one runs; without a key each runs."""
    runs: list[str] = []
    first = once(key="signals")(lambda: runs.append("first"))
    second = once(key="signals")(lambda: runs.append("second"))
    other = once(key="other")(lambda: runs.append("other"))
    first(), second(), other()
    assert runs == ["first", "other"]


def test_what_comes_from_no_file_is_its_own():
    """A function typed in twice at a prompt runs twice."""
    scope: dict[str, object] = {"once": once, "runs": []}
    for _ in range(2):
        exec("@once\ndef register(): runs.append(1)\nregister()", scope)
    assert scope["runs"] == [1, 1]


@pytest.mark.parametrize("error", [ValueError, AttributeError, StopIteration, SystemExit, KeyboardInterrupt])
def test_a_failure_passes_untouched_and_is_not_kept(error):
    """The caller gets the function's own exception; the next call runs it again."""
    raised = error("of its own")
    runs: list[int] = []

    @once
    def register() -> str:
        runs.append(1)
        if len(runs) == 1:
            raise raised
        return "done"

    with pytest.raises(error) as caught:
        register()
    assert caught.value is raised
    assert caught.value.__cause__ is None
    assert register() == register() == "done"
    assert len(runs) == 2


def test_racing_callers():
    """One thread runs the function; the others wait and get its result."""
    entered, leave = threading.Event(), threading.Event()
    found: list[object] = []
    runs: list[int] = []

    @once
    def register() -> object:
        runs.append(1)
        entered.set()
        assert leave.wait(30)
        return object()

    threads = [threading.Thread(target=lambda: found.append(register())) for _ in range(8)]
    for thread in threads:
        thread.start()
    assert entered.wait(30)
    assert not found
    leave.set()
    for thread in threads:
        thread.join(30)
    assert found == [register()] * 8
    assert runs == [1]


def test_a_waiter_runs_it_after_a_failure():
    """A caller that waited for a run that failed does not get that error: it runs the function itself."""
    entered, leave = threading.Event(), threading.Event()
    told: list[object] = []

    @once
    def register() -> str:
        if threading.current_thread() is not first:
            return "second"
        entered.set()
        assert leave.wait(30)
        raise ValueError

    def fail() -> None:
        try:
            register()
        except ValueError as error:
            told.append(error)

    first = threading.Thread(target=fail)
    first.start()
    assert entered.wait(30)
    second = threading.Thread(target=lambda: told.append(register()))
    second.start()
    leave.set()
    first.join(30)
    second.join(30)
    assert "second" in told
    assert [type(each) for each in told if each != "second"] == [ValueError]


def test_called_from_inside_itself():
    """A call from inside itself raises CircularResolutionError at once."""

    @once
    def register() -> object:
        return register()

    with pytest.raises(errors.CircularResolutionError, match="register"):
        register()


def test_two_threads_in_a_cycle():
    """Of two threads in a wait cycle at least one gets the error, and neither hangs."""
    both = threading.Barrier(2)
    told: list[BaseException] = []

    met = threading.local()

    def enter(number: int) -> str:
        if getattr(met, "inside", False):
            return "unreachable"
        met.inside = True
        both.wait(30)
        return (two, one)[number]()

    one = once(key="one")(lambda: enter(0))
    two = once(key="two")(lambda: enter(1))

    def run(function: object) -> None:
        try:
            function()  # type: ignore[operator]
        except errors.CircularResolutionError as error:
            told.append(error)

    threads = [threading.Thread(target=run, args=(function,), daemon=True) for function in (one, two)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()
    assert told


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_fork_during_a_run_elsewhere():
    """A forked child does not wait for a thread of its parent: it runs the function itself."""
    entered, leave = threading.Event(), threading.Event()
    parent = os.getpid()

    @once
    def register() -> int:
        if os.getpid() == parent:
            entered.set()
            assert leave.wait(30)
        return os.getpid()

    thread = threading.Thread(target=register)
    thread.start()
    assert entered.wait(30)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, str(register()).encode())
        os._exit(0)
    try:
        ready, _, _ = select.select([reading], [], [], 30)
        assert ready, "the child hangs"
        assert int(os.read(reading, 100)) == child
    finally:
        leave.set()
        thread.join(30)
        os.kill(child, 9)
        os.waitpid(child, 0)
        os.close(reading)
        os.close(writing)
    assert register() == parent


def test_it_looks_like_the_function():
    """The wrapper has the function's name, docstring, attributes and signature."""

    def register(number: int, *, name: str = "x") -> str:
        """Register."""
        return name

    register.mark = 1  # type: ignore[attr-defined]
    guarded = once(register)
    assert (guarded.__name__, guarded.__qualname__) == (register.__name__, register.__qualname__)
    assert (guarded.__doc__, guarded.__module__) == ("Register.", __name__)
    assert inspect.signature(guarded) == inspect.signature(register)
    assert guarded.__annotations__ == register.__annotations__
    assert inspect.unwrap(guarded) is register
    assert guarded.mark == 1  # type: ignore[attr-defined]


async def _coroutine() -> None: ...


def _generator():
    yield 1


@pytest.mark.parametrize(
    ("function", "what"),
    [
        (_coroutine, "is an async function"),
        (_generator, "is a generator"),
        (len, "is not a Python function"),
        (classmethod(lambda cls: 1), "is not a Python function"),
        (3, "is not a Python function"),
    ],
)
def test_what_cannot_be_run_once(function, what):
    """What cannot run once is refused at the declaration."""
    with pytest.raises(errors.ConfigurationError, match=what):
        once(function)


@pytest.mark.parametrize("key", [None, "", 3])
def test_bad_keys(key):
    """A key must be a string; `once()` without a key and a function is refused."""
    with pytest.raises(errors.ConfigurationError, match="give a string"):
        once(key=key)


def test_interrupted_before_it_runs(monkeypatch):
    """A signal before a run has begun leaves nothing that a later caller would wait for."""
    guarded = once(lambda: "done")

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(module.threads, "run_attempt", interrupted)
        with pytest.raises(KeyboardInterrupt):
            guarded()
    assert guarded() == "done"
