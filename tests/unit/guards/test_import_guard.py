"""`import_guard` limits the time of a block, and watches its connections and processes."""

from __future__ import annotations

import asyncio
import builtins
import importlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import warnings

import pytest

import lazyguard
from lazyguard._guards import alarm, frames, import_guard
from lazyguard.errors import (
    ConfigurationError,
    ImportSideEffectError,
    ImportSideEffectWarning,
    ImportTimeout,
    UsageError,
)

pytestmark = pytest.mark.usefixtures("limited")

# What hangs has the time run out itself, so that the guard's end comes at that line however busy the machine is.
OVER = "builtins.advance(); signal.setitimer(signal.ITIMER_REAL, 0.01, 0.05)"
IMPORTS = "import builtins, signal, threading\n"
HANG = f"import builtins, signal, threading\nx = 1\n{OVER}; threading.Event().wait()\n"
CONNECT = """
import socket
def ping(port):
    with socket.socket() as client:
        client.connect(("127.0.0.1", port))
"""


@pytest.fixture(autouse=True)
def quiet():
    """Leave no timer, handler or watch to the next test."""
    before = signal.getsignal(signal.SIGALRM)
    yield
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
    assert signal.getsignal(signal.SIGALRM) == before
    assert not import_guard._watchers


@pytest.fixture(autouse=True)
def advancing(monkeypatch):
    """`builtins.advance` moves the alarm's clock forward by a hundred seconds."""
    ahead = [0.0]
    monkeypatch.setattr(alarm, "monotonic", lambda: time.monotonic() + ahead[0])
    monkeypatch.setattr(builtins, "advance", lambda: ahead.__setitem__(0, ahead[0] + 100.0), raising=False)


@pytest.fixture
def listener():
    """A listening socket, whose backlog shows whether there was a connection."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        yield server


def connect(port: int) -> None:
    with socket.socket() as client:  # not create_connection: that closes its socket after an OSError alone
        client.connect(("127.0.0.1", port))


def connected(server) -> bool:
    try:
        server.accept()[0].close()
    except BlockingIOError:
        return False
    return True


def line_of(text: str) -> int:
    with open(__file__) as source:
        return next(number for number, line in enumerate(source, 1) if line.strip().endswith(text))


# the time limit, in the main thread


def test_a_hanging_import_is_ended_and_named(program):
    """The error has the innermost line, the chain from the guard to it, and the remedy; no half module stays."""
    root = program({"app/__init__.py": "", "app/a.py": "import app.b\n", "app/b.py": HANG})
    with pytest.raises(ImportTimeout) as caught, lazyguard.import_guard(timeout=60):
        importlib.import_module("app.a")  # here it begins
    here = f"{__file__}:{line_of('# here it begins')}"
    assert caught.value.place == f"{root}/app/b.py:3"
    assert caught.value.chain == (here, f"{root}/app/a.py:1", f"{root}/app/b.py:3")
    text = str(caught.value)
    assert text.startswith("the import of app.a did not end within the 60 s of the import_guard at " + here[:-3])
    assert f"it hangs at {root}/app/b.py:3" in text
    assert f"reached by {here} > {root}/app/a.py:1 > {root}/app/b.py:3" in text
    assert not {"app.a", "app.b"} & set(sys.modules)
    (root / "app/b.py").write_text("fine = 1\n")
    importlib.invalidate_caches()
    with lazyguard.import_guard(timeout=60):
        assert importlib.import_module("app.a").app.b.fine  # no lock of the first try is left


def test_no_handler_of_libraries_swallows_the_end(program):
    """The interruption passes `except Exception`, `except OSError` and `except ImportError`."""
    for kind in ("Exception", "OSError", "TimeoutError", "ImportError"):
        name = f"swallows_{kind}".lower()
        program({f"{name}.py": f"{IMPORTS}try:\n    {OVER}; threading.Event().wait()\nexcept {kind}:\n    pass\n"})
        with pytest.raises(ImportTimeout, match=name), lazyguard.import_guard(timeout=60):
            importlib.import_module(name)


def test_what_swallows_all_is_told_on_all_the_same(program):
    """A bare `except` goes on, is interrupted again if it hangs again, and the guard raises at its end."""
    program({"bare.py": f"{IMPORTS}for _ in 1, 2:\n    try: {OVER}; threading.Event().wait()\n    except: pass\n"})
    with pytest.raises(ImportTimeout, match=r"bare\.py:3"), lazyguard.import_guard(timeout=60):
        importlib.import_module("bare")


def test_an_error_in_place_of_the_end(program):
    """If a library raises its own error instead, that is the cause of the ImportTimeout."""
    program(
        {
            "masks.py": f"{IMPORTS}try:\n    {OVER}; threading.Event().wait()\nexcept BaseException as e:\n"
            "    raise ValueError from e\n"
        }
    )
    with pytest.raises(ImportTimeout) as caught, lazyguard.import_guard(timeout=60):
        importlib.import_module("masks")
    assert isinstance(caught.value.__cause__, ValueError)


def test_a_spinning_import_is_ended(program):
    """A loop that never leaves the interpreter is interrupted."""
    program({"spins.py": f"{IMPORTS}{OVER}\nwhile True:\n    pass\n"})
    with pytest.raises(ImportTimeout, match=r"spins\.py:[234]"), lazyguard.import_guard(timeout=60):
        importlib.import_module("spins")


def test_waiting_for_the_import_of_another_thread(program, monkeypatch):
    """A wait for a module's lock is interrupted too, and the lock is free afterwards."""
    gate, running = threading.Event(), threading.Event()
    monkeypatch.setattr(threading, "lazyguard_test", (gate, running), raising=False)
    program({"held.py": "import threading\ng, r = threading.lazyguard_test\nr.set()\ng.wait()\nok = 1\n"})
    found = []
    other = threading.Thread(target=lambda: found.append(importlib.import_module("held")), daemon=True)
    other.start()
    assert running.wait(30)
    with pytest.raises(ImportTimeout, match=rf"hangs at {__file__}"), lazyguard.import_guard(timeout=0.01):
        importlib.import_module("held")
    gate.set()
    other.join(30)
    with lazyguard.import_guard(timeout=60):
        assert importlib.import_module("held") is found[0]


def test_nested_guards(program):
    """The outer limit ends both blocks; the inner limit ends its own alone, and the outer one goes on."""
    program({"hang1.py": HANG, "hang2.py": HANG})
    with pytest.raises(ImportTimeout, match=r"the 190 s"), lazyguard.import_guard(timeout=190):
        with pytest.raises(ImportTimeout, match=r"the 60 s"), lazyguard.import_guard(timeout=60):
            importlib.import_module("hang1")
        importlib.import_module("hang2")
    with pytest.raises(ImportTimeout, match=r"the 60 s") as caught, lazyguard.import_guard(timeout=60):
        with lazyguard.import_guard(timeout=600):
            importlib.import_module("hang1")
    assert not isinstance(caught.value.__cause__, ImportTimeout)


def test_a_hosts_timer_calls_the_host(program):
    """The host's handler runs in time, and can set its timer again; what is left of the timer is restored."""
    rang = threading.Event()

    def handler(*_: object) -> None:
        rang.set()
        signal.setitimer(signal.ITIMER_REAL, 500.0)

    before = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.01)
    try:
        with lazyguard.import_guard(timeout=60):
            assert rang.wait(30)
        assert 400.0 < signal.getitimer(signal.ITIMER_REAL)[0] <= 500.0
        assert signal.getsignal(signal.SIGALRM) is handler
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)


def test_a_watchdog_of_the_host_ends_the_process():
    """`signal.alarm` without a handler ends the process, inside a guard as outside."""
    code = (
        "import signal, threading, lazyguard\nsignal.setitimer(signal.ITIMER_REAL, 0.05)\n"
        "with lazyguard.import_guard(timeout=60):\n    threading.Event().wait(30)\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.path.dirname(os.path.dirname(lazyguard.__file__))}
    done = subprocess.run([sys.executable, "-c", code], env=environment, timeout=60, capture_output=True, check=False)
    assert done.returncode == -signal.SIGALRM, done.stderr


def test_an_interruption_is_not_the_guards(program):
    """KeyboardInterrupt and SystemExit pass untouched."""
    for kind in (KeyboardInterrupt, SystemExit):
        with pytest.raises(kind), lazyguard.import_guard(timeout=60):
            raise kind


def test_the_packages_own_code_counts_wherever_it_lies(program, tmp_path, monkeypatch):
    """An installed program's lines are its own for a guard in that program."""
    installed = frames.is_installed
    monkeypatch.setattr(frames, "is_installed", lambda file: str(tmp_path) in file or installed(file))
    root = program(
        {
            "shop/__init__.py": "import lazyguard\nwith lazyguard.import_guard(timeout=60):\n    import shop.cache\n",
            "shop/cache.py": "import lib\n",
            "lib.py": HANG,
        }
    )
    with pytest.raises(ImportTimeout) as caught:
        importlib.import_module("shop")
    assert caught.value.place == f"{root}/shop/cache.py:1"


@pytest.mark.parametrize("installed", ["site-packages", "dist-packages"])
def test_what_is_installed_is_not_the_programs_wherever_it_lies(program, monkeypatch, installed):
    """Packages of the user, or of another environment on the path, are no code of the program."""
    root = program({f"home/lib/{installed}/lib_there.py": HANG, "uses_it.py": "import lib_there\n"})
    monkeypatch.syspath_prepend(str(root / "home/lib" / installed))
    with pytest.raises(ImportTimeout) as caught, lazyguard.import_guard(timeout=60):
        importlib.import_module("uses_it")
    assert caught.value.place == f"{root}/uses_it.py:1"


def test_a_reload_that_hangs(program):
    """A reload is interrupted like an import; the module stays, and can be reloaded again."""
    root = program({"again.py": "value = 1\n"})
    module = importlib.import_module("again")
    (root / "again.py").write_text(HANG)
    with pytest.raises(ImportTimeout, match=r"again\.py:3"), lazyguard.import_guard(timeout=60):
        importlib.reload(module)
    assert sys.modules["again"] is module
    (root / "again.py").write_text("value = 'another one'\n")
    with lazyguard.import_guard(timeout=60):
        assert importlib.reload(module).value == "another one"


# the time limit, elsewhere


def test_on_another_thread_it_tells_and_interrupts_nothing(program, race, clock, story, monkeypatch):
    """On another thread there is an event at once and a warning at the end; the import goes on."""
    gate, running = threading.Event(), threading.Event()
    monkeypatch.setattr(threading, "lazyguard_test", (gate, running), raising=False)
    body = "import threading\ng, r = threading.lazyguard_test\nr.set()\ng.wait()\nok = 1\n"
    root = program({"slow_one.py": body})
    told: list[warnings.WarningMessage] = []

    def load() -> object:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            with lazyguard.import_guard(timeout=5.0):
                module = importlib.import_module("slow_one")
        told.extend(caught)
        return module.ok

    def meanwhile() -> None:
        assert running.wait(30)
        clock.advance(6.0)
        story.until("overdue", name="slow_one")
        gate.set()

    assert race(load, meanwhile) == [1, None]
    (event,) = [event for event in story.events if event.kind == "overdue"]
    assert event.cause.startswith(f"at {root}/slow_one.py:4, in ")
    assert event.seconds == 6.0
    (warned,) = told
    assert warned.category is lazyguard.errors.ImportBudgetWarning
    assert event.place == f"{warned.filename}:{warned.lineno}"
    assert f"it hangs at {root}/slow_one.py:4" in str(warned.message)


def test_on_another_thread_in_time_nothing_is_told(race, clock, told):
    """A guard whose block has ended reports nothing more."""

    def load() -> None:
        with lazyguard.import_guard(timeout=5.0):
            pass

    assert race(load) == [None]
    clock.advance(6.0)
    assert not told


# connections and processes


def test_forbidden_connections_do_not_happen(program, listener):
    """The error names the line, the endpoint and the chain of imports."""
    port = listener.getsockname()[1]
    root = program({"net.py": CONNECT, "uses_net.py": f"import net\nnet.ping({port})\n"})
    with pytest.raises(ImportSideEffectError) as caught, lazyguard.import_guard(network="forbid"):
        importlib.import_module("uses_net")
    text = str(caught.value)
    assert f"connects to 127.0.0.1:{port}, which the import_guard at {__file__}:" in text
    assert "while uses_net is imported" in text
    assert f"reached by {__file__}:" in text
    assert f"{root}/uses_net.py:2 > {root}/net.py:5" in text
    assert not connected(listener)


def test_a_swallowed_refusal_is_raised_at_the_end(program, listener):
    """If `except Exception: pass` swallows the error, the guard raises it at the block's end."""
    port = listener.getsockname()[1]
    program({"net2.py": CONNECT + f"try:\n    ping({port})\nexcept Exception:\n    pass\n"})
    with pytest.raises(ImportSideEffectError, match=r"net2\.py:5"), lazyguard.import_guard(network="forbid"):
        importlib.import_module("net2")
    assert "net2" in sys.modules


def test_warned_of_connections_happen(program, listener):
    """The warning comes once a line, points at that line, and has a category of its own."""
    port = listener.getsockname()[1]
    root = program({"net3.py": CONNECT + f"ping({port})\nping({port})\n"})
    with pytest.warns(ImportSideEffectWarning, match=f"connects to 127.0.0.1:{port}") as caught:
        with lazyguard.import_guard(network="warn"):
            importlib.import_module("net3")
    assert [(one.filename, one.lineno) for one in caught] == [(f"{root}/net3.py", 5)]
    assert connected(listener)


def test_look_ups_of_names(program):
    """The look-up of a name is network use; that of a number or of localhost is not."""
    guard = lazyguard.import_guard(network="forbid")
    with guard:
        socket.getaddrinfo("127.0.0.1", 80)
        socket.getaddrinfo("localhost", 80)
    for look in (lambda: socket.getaddrinfo("no.such.host.invalid", 80), lambda: socket.gethostbyname("x.invalid")):
        with pytest.raises(ImportSideEffectError, match="looks up"), guard:
            look()


def test_datagrams():
    """A datagram without a connection is network use too."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        with (
            pytest.raises(ImportSideEffectError, match="sends to 127.0.0.1:9"),
            lazyguard.import_guard(network="forbid"),
        ):
            sender.sendto(b"x", ("127.0.0.1", 9))


def test_processes():
    """Each way to start a process is forbidden; the error has the program's name, and no argument."""
    guard = lazyguard.import_guard(subprocess="forbid")
    with pytest.raises(ImportSideEffectError, match="starts true") as caught, guard:
        subprocess.run(["true", "--password=hunter2"], check=False)
    assert "hunter2" not in str(caught.value)
    with pytest.raises(ImportSideEffectError, match="starts a shell") as caught, guard:
        os.system("true hunter2")
    assert "hunter2" not in str(caught.value)
    with pytest.raises(ImportSideEffectError, match="forks"), guard:
        os.fork()


def test_a_process_that_is_warned_of_once():
    """The several audit events of one start give one warning, and the process runs."""
    with (
        pytest.warns(ImportSideEffectWarning, match="starts true") as caught,
        lazyguard.import_guard(subprocess="warn"),
    ):
        subprocess.run(["true"], check=True)
    assert len(caught) == 1


def test_the_watch_is_on_the_own_thread(race, listener):
    """A guard sees nothing of other threads, nor do their guards see its block."""
    port = listener.getsockname()[1]
    inside, done = threading.Event(), threading.Event()

    def guarded() -> str:
        with lazyguard.import_guard(network="forbid"):
            inside.set()
            assert done.wait(30)
            try:
                connect(port)
            except ImportSideEffectError:
                return "forbidden"
        return "not seen"

    def free() -> bool:
        assert inside.wait(30)
        connect(port)
        done.set()
        return True

    refused, free_result = race(guarded, free)
    assert isinstance(refused, ImportSideEffectError)  # swallowed inside, and told at the block's end
    assert free_result is True


def test_nested_watches():
    """The inner guard decides first; what it permits the outer one can forbid."""
    with pytest.raises(ImportSideEffectError), lazyguard.import_guard(subprocess="forbid"):
        with pytest.warns(ImportSideEffectWarning), lazyguard.import_guard(subprocess="warn"):
            os.system("true")


# as a decorator, and what is refused


def test_a_decorator_guards_each_call(program):
    """A decorated function keeps its name, docstring and result, and each call has its own limit."""
    program({"hang3.py": HANG})

    @lazyguard.import_guard(timeout=60)
    def load(name: str) -> object:
        """Loads."""
        return importlib.import_module(name)

    assert load.__doc__ == "Loads."
    assert load.__name__ == "load"
    for _ in range(2):
        with pytest.raises(ImportTimeout, match="hang3"):
            load("hang3")
    assert load("json") is sys.modules["json"]


async def later() -> None: ...


def generator():
    yield


@pytest.mark.parametrize("what", [later, generator, 3])
def test_what_runs_later_is_refused(what):
    """An async function or a generator is refused, since its body runs after the guard has ended."""
    with pytest.raises(UsageError, match="import_guard"):
        lazyguard.import_guard(timeout=1)(what)


@pytest.mark.parametrize("options", [{"timeout": 0}, {"timeout": "2"}, {"network": "deny"}, {"subprocess": True}])
def test_options_that_cannot_be_right(options):
    """Bad options are refused where the guard is made."""
    with pytest.raises(ConfigurationError):
        lazyguard.import_guard(**options)


# forks


def test_blocks_of_tasks_that_take_turns():
    """Blocks that await end in any order, and leave no timer, handler or watch."""

    async def block(seconds: float) -> float:
        with lazyguard.import_guard(timeout=60, network="forbid"):
            await asyncio.sleep(seconds)
        return seconds

    async def main() -> list[float]:
        return await asyncio.gather(*map(block, (0.02, 0.0, 0.03, 0.01)))

    assert asyncio.run(main()) == [0.02, 0.0, 0.03, 0.01]


def test_a_block_that_is_left_elsewhere():
    """A block that is left twice, or on another thread, is a clear error."""
    guard = lazyguard.import_guard(timeout=60)
    with pytest.raises(UsageError, match="begins and ends once, on one thread"):
        guard.__exit__(None, None, None)
    with guard:
        pass
    with pytest.raises(UsageError, match=r"import guard of .*test_import_guard\.py"):
        guard.__exit__(None, None, None)


def test_in_the_child_of_a_fork(in_child, eventually):
    """A forked child keeps the watch of the forking thread alone, and gets no timer of the host."""
    inside, leave = threading.Event(), threading.Event()

    def other() -> None:
        with lazyguard.import_guard(subprocess="forbid"):
            inside.set()
            assert leave.wait(30)

    def work() -> None:
        assert len(import_guard._watchers) == 1
        with pytest.raises(ImportSideEffectError):
            connect(9)

    threading.Thread(target=other, daemon=True).start()
    assert inside.wait(30)
    try:
        with lazyguard.import_guard(network="forbid", timeout=60):
            assert in_child(work) == 0
    finally:
        leave.set()
    eventually(lambda: not import_guard._watchers)
