"""`preload` returns at once, builds in order in the background, raises nothing there, and delays no exit."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
from contextvars import ContextVar
from pathlib import Path
from textwrap import dedent

import pytest

import lazyguard
from lazyguard import errors
from lazyguard._services import preload

pytestmark = pytest.mark.usefixtures("limited")


@pytest.fixture(autouse=True)
def _forgotten(monkeypatch):
    """Let each test see its own preloads alone."""
    monkeypatch.setattr(preload, "_latest", {})


@pytest.fixture
def gate():
    """Return the event that hanging factories wait for; it is set when the test ends."""
    event = threading.Event()
    yield event
    event.set()


def make(name, *, order=None, hold=None, error=None):
    """Return a function that makes lazy objects, which record their name, and wait and fail on demand."""

    def factory():
        if order is not None:
            order.append(name)
        if hold is not None:
            assert hold.wait(60)
        if error is not None:
            raise error
        return [name]

    return lazyguard.lazy(factory, name=name)


def test_it_returns_at_once_and_goes_in_order(gate):
    """While the first hangs the caller goes on and the others wait; then all are built in order."""
    order: list[str] = []
    things = [make("a", order=order, hold=gate), make("b", order=order), make("c", order=order)]
    handle = lazyguard.preload(*things)
    assert (handle.total, handle.done, handle.ended, handle.failed) == (3, 0, False, 0)
    assert handle.wait(0) is False
    assert not any(map(lazyguard.is_resolved, things))
    gate.set()
    assert handle.wait()
    assert order == ["a", "b", "c"]
    assert (handle.total, handle.done, handle.ended, handle.failed, handle.errors) == (3, 3, True, 0, {})
    assert all(map(lazyguard.is_resolved, things))
    assert handle.wait(0) is True
    assert handle.place.startswith(f"{__file__}:")
    assert repr(handle) == f"<preload ready, 3 of 3 done, called at {handle.place}>"


def test_at_most_so_many_at_a_time():
    """`concurrency` is reached and not exceeded: every factory waits until another one runs beside it."""
    both, running, most = threading.Barrier(2), [], []

    def factory():
        running.append(1)
        most.append(len(running))
        both.wait(30)
        running.pop()
        both.wait(30)
        return "made"

    threads = {thread.ident for thread in threading.enumerate()}
    handle = lazyguard.preload(*(lazyguard.lazy(factory) for _ in range(6)), concurrency=2)
    assert handle.wait()
    assert not handle.errors
    assert max(most) == 2
    assert not [
        thread
        for thread in threading.enumerate()
        if thread.ident not in threads and thread.name == "lazyguard preload" and not thread.daemon
    ]


def test_everything_that_is_lazy(program, plant):
    """Services, live references, keys, lazy objects, lazy attributes, their names and modules can be preloaded."""
    program(
        {
            "preloaded/__init__.py": "import lazyguard\n"
            "__getattr__, __dir__, __all__ = lazyguard.attach(__name__, ['attached'])\n",
            "preloaded/attached.py": "",
            "preloaded/plain.py": "value = None",
            "preloaded/lazy.py": "import lazyguard\n"
            "@lazyguard.lazy_attribute\ndef attribute() -> list:\n    return [1]\n"
            "@lazyguard.lazy\ndef thing() -> list:\n    return [2]\n"
            "@lazyguard.service()\ndef get() -> list:\n    return [3]\n",
        }
    )

    @lazyguard.service()
    def get_tenant(tenant: str) -> str:
        return tenant.upper()

    get_first, get_second = (lazyguard.service(name=name)(plant.make) for name in ("first", "second"))
    key, live, thing = get_tenant.of("a"), get_second(), make("thing")
    handle = lazyguard.preload(
        *(get_first, live, key, thing),
        *("preloaded.lazy:attribute", "preloaded.lazy:thing", "preloaded.lazy:get"),
        *("preloaded:attached", "preloaded.plain:value", "preloaded.plain"),
    )
    assert handle.wait()
    assert handle.errors == {}
    assert all(map(lazyguard.is_resolved, (get_first, live, key, thing)))
    module = sys.modules["preloaded.lazy"]
    assert all(map(lazyguard.is_resolved, ("preloaded.lazy:attribute", module.thing, module.get)))
    assert type(module).__name__ == "module"
    assert "attribute" in vars(module)
    assert vars(module)["attribute"] == [1]
    assert lazyguard.is_resolved("preloaded:attached")


def test_errors_are_kept_and_the_next_one_follows(program, told):
    """Each exception is kept by name, emitted as an event, and stops nothing; the handle ends as failed."""
    program({"breaks.py": "raise ValueError('secret')", "ends.py": "raise SystemExit(3)"})
    refused = OSError("secret")
    things = [make("a", error=refused), make("b", error=KeyboardInterrupt()), make("c")]
    handle = lazyguard.preload(things[0], "breaks", "ends", "no_such_module", "sys:no_such_name", *things[1:])
    assert handle.wait()
    assert list(handle.errors) == ["a", "breaks", "ends", "no_such_module", "sys:no_such_name", "b"]
    assert (handle.done, handle.failed) == (7, 6)
    assert lazyguard.is_resolved(things[2])
    assert isinstance(handle.errors["a"], errors.ResolutionError)
    assert handle.errors["a"].__cause__ is refused
    assert isinstance(handle.errors["no_such_module"], errors.MissingModuleError)
    assert f"declared at {handle.place}" in str(handle.errors["no_such_module"])
    assert isinstance(handle.errors["b"], KeyboardInterrupt)
    handle.errors.clear()
    assert handle.failed == 6
    [end] = [event for event in told if event.name == "preload"]
    assert (end.kind, end.before, end.after, end.place) == ("preload-failed", "resolving", "failed", handle.place)
    assert end.cause.startswith("6 of 7 failed: a: OSError at ")
    assert "breaks: ValueError at " in end.cause
    assert "secret" not in end.cause + repr(handle)
    assert {"a", "breaks"} <= {event.name for event in told if event.kind == "failed"}


def test_the_end_is_an_event(told):
    """A success emits one event, with its seconds."""
    assert lazyguard.preload(make("a")).wait()
    told_of = [(event.kind, event.after, event.cause) for event in told if event.name == "preload"]
    assert told_of == [("preloaded", "ready", "")]


def test_nothing_to_do_has_ended():
    """An empty preload has ended at once."""
    handle = lazyguard.preload()
    assert handle.ended
    assert handle.wait(0)


def test_two_of_one_name():
    """Two items of one name are both built, and both errors are kept."""
    handle = lazyguard.preload(make("a", error=OSError()), make("a", error=ValueError()))
    assert handle.wait()
    assert list(handle.errors) == ["a", "a (2)"]


@pytest.mark.parametrize("given", [None, 3, sys, print, b"core", ["core"], "", "a b", ".relative", "core:a.b"])
def test_what_cannot_be_preloaded(given):
    """An item that cannot be preloaded is refused at once, and nothing has begun."""
    thing = make("a")
    with pytest.raises(errors.UsageError, match=f"{Path(__file__).name}:"):
        lazyguard.preload(thing, given)
    assert not lazyguard.is_resolved(thing)
    assert lazyguard.health().checks == () or all(check.kind != "preload" for check in lazyguard.health().checks)


def test_a_service_with_keys_needs_one():
    """A service with keys is refused at once; the message says how to give the key."""

    @lazyguard.service()
    def get_tenant(tenant: str) -> str:
        return tenant

    with pytest.raises(errors.UsageError, match="get_tenant"):
        lazyguard.preload(get_tenant)


@pytest.mark.parametrize(
    "options", [{"concurrency": 0}, {"concurrency": 1.5}, {"concurrency": True}, {"progress": "yes"}]
)
def test_wrong_options(options):
    """An invalid option is a ConfigurationError that names it."""
    with pytest.raises(errors.ConfigurationError, match=next(iter(options))):
        lazyguard.preload("json", **options)


@pytest.mark.parametrize("timeout", [-1, float("nan"), float("inf"), "1", True])
def test_wrong_waits(timeout):
    """A wait takes seconds, zero or more."""
    handle = lazyguard.preload()
    with pytest.raises(errors.ConfigurationError, match="timeout"):
        handle.wait(timeout)
    with pytest.raises(errors.ConfigurationError, match="timeout"):
        asyncio.run(handle.awaited(timeout))


def test_progress(clock, gate):
    """`progress` is called after each item with the count, the name, the clock's seconds and the error."""
    seen: list[object] = []

    def progress(*told):
        seen.append((*told, handle.ended))

    later = lazyguard.lazy(lambda: clock.advance(2.0) or "made", name="b")
    handle = lazyguard.preload(make("a", hold=gate), later, make("c", error=OSError()), progress=progress)
    gate.set()
    assert handle.wait()
    assert [(done, total, name, round(seconds, 6)) for done, total, name, seconds, *_ in seen] == [
        (1, 3, "a", 0.0),
        (2, 3, "b", 2.0),
        (3, 3, "c", 0.0),
    ]
    assert [error for *_, error, _ in seen] == [None, None, handle.errors["c"]]
    assert not any(ended for *_, ended in seen)


@pytest.mark.parametrize("raised", [ValueError("secret"), SystemExit(), KeyboardInterrupt()])
def test_a_progress_that_raises(raised, caplog):
    """Each exception of `progress` is logged without its text; all items are built."""

    def progress(*_):
        raise raised

    things = [make("a"), make("b")]
    handle = lazyguard.preload(*things, progress=progress)
    assert handle.wait()
    assert all(map(lazyguard.is_resolved, things))
    assert not handle.errors
    lines = [record.getMessage() for record in caplog.records if "progress" in record.getMessage()]
    assert len(lines) == 2
    assert f"raised {type(raised).__name__} at {__file__}" in lines[0]
    assert "secret" not in caplog.text


def test_a_wait_ends_by_the_clock(clock, gate, race):
    """A wait returns False when its seconds, or those of its context's deadline, have passed."""
    handle = lazyguard.preload(make("a", hold=gate))

    def in_deadline():
        with lazyguard.deadline(5.0):
            return handle.wait(60.0)

    def advance():
        while not all(done):
            clock.advance(1.0)
            threading.Event().wait(0.001)

    done = [False, False]

    def first():
        done[0] = handle.wait(5.0) is False
        return done[0]

    def second():
        done[1] = in_deadline() is False
        return done[1]

    assert race(first, second, advance) == [True, True, None]
    assert not handle.ended


def test_ctrl_c_ends_a_wait(gate):
    """Ctrl-C interrupts a wait while the preload hangs."""
    handle = lazyguard.preload(make("a", hold=gate))

    def press() -> None:
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=press)
    with pytest.raises(KeyboardInterrupt):
        thread.start()
        handle.wait()
    thread.join()
    assert not handle.ended


def test_many_wait_and_all_are_woken(gate, race):
    """Threads and tasks that wait for the end are all woken by it."""
    handle = lazyguard.preload(make("a", hold=gate))
    waiting = [handle.wait, handle.wait, lambda: asyncio.run(handle.awaited()), lambda: asyncio.run(handle.awaited(60))]

    def open_gate():
        gate.set()
        return "opened"

    assert race(*waiting, open_gate) == [True, True, True, True, "opened"]


def test_awaiting_does_not_block_the_loop(clock, gate):
    """Other tasks run while one awaits the end; `awaited` returns False after its timeout."""

    async def main():
        handle = lazyguard.preload(make("a", hold=gate))
        early = asyncio.ensure_future(handle.awaited(5.0))
        late = asyncio.ensure_future(handle.awaited())
        while not early.done():
            clock.advance(1.0)
            await asyncio.sleep(0.001)
        assert early.result() is False
        gate.set()
        assert await late is True
        assert await handle.awaited(0) is True

    asyncio.run(main())


def test_async_services_on_the_running_loop():
    """A preload that is called in a task builds async services on that loop, in order."""
    order: list[object] = []

    async def main():
        loop = asyncio.get_running_loop()

        @lazyguard.service(timeout=30.0, name="aio")
        async def get_client() -> list[str]:
            await asyncio.sleep(0)
            order.append(asyncio.get_running_loop() is loop)
            return ["client"]

        handle = lazyguard.preload(make("a", order=order), get_client, make("b", order=order))
        assert await handle.awaited()
        assert handle.errors == {}
        assert order == ["a", True, "b"]
        assert len(get_client()) == 1

    asyncio.run(main())


def test_an_async_service_without_a_loop(program):
    """Without a loop the error names `aget`; a service that is resolved already is no error."""

    @lazyguard.service(name="aio")
    async def get_client() -> list[str]:
        return ["client"]

    handle = lazyguard.preload(get_client, make("b"))
    assert handle.wait()
    assert list(handle.errors) == ["aio"]
    assert isinstance(handle.errors["aio"], errors.UsageError)
    assert "aget()" in str(handle.errors["aio"])
    assert handle.place in str(handle.errors["aio"])

    async def main():
        await get_client.aget()
        handle = lazyguard.preload(get_client)
        assert await handle.awaited()
        assert not handle.errors

    asyncio.run(main())


def test_a_loop_that_is_closed_meanwhile(gate):
    """If the loop is closed, its services fail with an error that says so, and the rest follows."""
    handles = []

    @lazyguard.service(name="aio")
    async def get_client() -> list[str]:
        return ["client"]

    async def main():
        handles.append(lazyguard.preload(make("a", hold=gate), get_client, make("b")))

    asyncio.run(main())
    gate.set()
    [handle] = handles
    assert handle.wait()
    assert list(handle.errors) == ["aio"]
    assert isinstance(handle.errors["aio"], RuntimeError)
    assert "closed" in str(handle.errors["aio"])


def test_a_loop_that_ends_while_it_builds(gate):
    """An async factory that is cancelled with its loop is a kept error."""
    handles, begun = [], threading.Event()

    @lazyguard.service(name="aio")
    async def get_client() -> list[str]:
        begun.set()
        await asyncio.sleep(3600)
        return ["client"]

    async def main():
        handles.append(lazyguard.preload(get_client, make("b")))
        while not begun.is_set():
            await asyncio.sleep(0.001)

    asyncio.run(main())
    [handle] = handles
    assert handle.wait()
    assert list(handle.errors) == ["aio"]
    assert handle.done == 2


def test_a_wait_that_would_block_the_loop(gate):
    """On the thread of the loop that async services are built on, `wait` is refused and names `awaited`."""

    async def main():
        handle = lazyguard.preload(make("a", hold=gate))
        assert handle.wait(0) is False
        with pytest.raises(errors.UsageError, match=r"await handle\.awaited\(\)"):
            handle.wait(1.0)
        gate.set()
        assert await handle.awaited()
        assert handle.wait() is True

    asyncio.run(main())


def test_a_factory_that_waits_for_its_preload():
    """A factory that waits for its own preload gets an error, since it would wait for ever."""
    handles: list[lazyguard.types.Preload] = []
    ready = threading.Event()

    def factory():
        assert ready.wait(30)
        return handles[0].wait()

    handles.append(lazyguard.preload(lazyguard.lazy(factory, name="a"), make("b")))
    ready.set()
    assert handles[0].wait()
    assert isinstance(handles[0].errors["a"].__cause__, errors.UsageError)
    assert handles[0].done == 2


def test_a_services_timeout_bounds_its_wait(clock, plant):
    """A service that exceeds its timeout is abandoned; the next one follows, and a late result is adopted."""
    plant.hanging = True
    get = lazyguard.service(name="db", timeout=2.0, recovery=None)(plant.make)
    thing = make("b")
    handle = lazyguard.preload(get, thing)
    plant.until(1)
    while not handle.wait(0):
        clock.advance(1.0)
        threading.Event().wait(0.001)
    assert isinstance(handle.errors["db"], errors.ResolutionTimeout)
    assert lazyguard.is_resolved(thing)


def test_a_fallback_is_no_error(plant):
    """A service whose fallback is served counts as built; it is degraded, and health shows it."""
    plant.fate = OSError()
    get = lazyguard.service(name="db", recovery=None)(plant.make)
    get.fallback(lambda: "a fallback")
    handle = lazyguard.preload(get)
    assert handle.wait()
    assert not handle.errors
    assert lazyguard.is_fallback(get)
    with lazyguard.fallbacks("deny"):
        denied = lazyguard.preload(get)
        assert denied.wait()
    assert isinstance(denied.errors["db"], errors.ServiceUnavailable)


def test_the_callers_context_without_its_deadline():
    """The threads have the caller's context variables, but not its deadline."""
    variable: ContextVar[str] = ContextVar("variable", default="none")
    variable.set("the caller's")
    seen = lazyguard.lazy(lambda: (variable.get(), lazyguard.remaining()))
    with lazyguard.deadline(60.0):
        handle = lazyguard.preload(seen)
    assert handle.wait()
    assert tuple(seen) == ("the caller's", None)


def test_health_shows_the_progress(gate):
    """`health` has one check for the latest preload of each line: resolving, then ready or failed with the failures."""

    def check():
        [one] = [check for check in lazyguard.health().checks if check.kind == "preload"]
        return one

    begun = threading.Event()
    hanging = lazyguard.lazy(lambda: begun.set() or gate.wait(60), name="b")
    for number in range(2):
        things = (make("a"), hanging) if not number else (make("c", error=OSError("secret")), make("d"))
        handle = lazyguard.preload(*things)
        if not number:
            assert begun.wait(30)
            assert (check().name, check().state, check().status) == ("preload", "resolving", "warn")
            assert (check().cause, check().running, check().place) == ("1 of 2 are done", 1, handle.place)
            gate.set()
            assert handle.wait()
            assert (check().state, check().status, check().cause) == ("ready", "pass", "")
            assert lazyguard.health().to_dict()["checks"]["preload"][0]["componentType"] == "preload"
    assert handle.wait()
    assert (check().state, check().status) == ("failed", "warn")
    assert check().cause.startswith("1 of 2 failed: c: OSError at ")
    assert "secret" not in check().cause


def test_a_fork_ends_it_in_the_child(gate, in_child, plant):
    """In a forked child it has ended, interrupted; the rest is not built there until preload is called again."""
    built: list[str] = []
    begun = threading.Event()
    hanging = lazyguard.lazy(lambda: begun.set() or gate.wait(60), name="b")
    rest = make("c", order=built)
    handle = lazyguard.preload(make("a", error=OSError()), hanging, rest)
    over = lazyguard.preload(make("d"))
    assert over.wait()
    assert begun.wait(30)

    def in_the_child():
        assert handle.ended
        assert handle.interrupted
        assert handle.wait()
        assert asyncio.run(handle.awaited())
        assert (handle.done, handle.total, list(handle.errors)) == (1, 3, ["a"])
        assert not over.interrupted
        assert not built
        [check] = [check for check in lazyguard.health().checks if check.place == handle.place]
        assert (check.state, check.status) == ("failed", "warn")
        assert check.cause.startswith("a fork came when 1 of 3 were done")
        assert not lazyguard.is_resolved(rest)
        anew = lazyguard.preload(rest)
        assert anew.wait()
        assert not anew.interrupted
        assert built == ["c"]

    assert in_child(in_the_child) == 0
    assert not handle.interrupted
    gate.set()
    assert handle.wait()
    assert built == ["c"]


# A factory forks: the thread that builds is then the child's only one, and must not go on there.
FORKS = """
import os, lazyguard
parent = os.getpid()

@lazyguard.lazy
def forks():
    pid = os.fork()
    if pid:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) + 1
    return "in the child"

@lazyguard.lazy
def after():
    if os.getpid() != parent:
        os._exit(7)
    return "made"

handle = lazyguard.preload(forks, after)
assert handle.wait() and not handle.errors, handle.errors
print(forks - 1, after)
"""

# What hangs for ever, in Python and in an import, holds no exit.
HANGS = """
import sys, threading, lazyguard
sys.path.insert(0, sys.argv[1])
begun = threading.Event()

@lazyguard.lazy
def hangs():
    begun.set()
    threading.Event().wait()

handle = lazyguard.preload(hangs, "hangs_for_ever", concurrency=2)
begun.wait()
while "hangs_for_ever" not in sys.modules:
    threading.Event().wait(0.001)
print("over", handle.ended)
"""


def run(code, *arguments):
    """Run code in a fresh interpreter; return what it prints."""
    environment = {**os.environ, "PYTHONPATH": str(Path(lazyguard.__file__).parents[1])}
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)], env=environment, capture_output=True, text=True, timeout=50
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_factory_that_forks():
    """If a factory forks, the preload's thread goes no further in the child."""
    assert run(FORKS) == "0 made\n"


def test_no_exit_waits_for_it(tmp_path):
    """The process exits at once, whatever hangs in the background."""
    (tmp_path / "hangs_for_ever.py").write_text("import threading\nthreading.Event().wait()\n")
    assert run(HANGS, tmp_path) == "over False\n"


# No thread can have a stack of so many bytes.
NO_THREADS = """
import threading, lazyguard
threading.stack_size(1 << 46)
handle = lazyguard.preload("decimal", "fractions")
assert handle.ended and handle.wait() and handle.failed == 2
print(type(handle.errors["decimal"]).__name__)
"""


def test_without_a_thread():
    """Without a thread nothing is built or raised: each item has the error."""
    assert run(NO_THREADS) == "RuntimeError\n"


def test_lazy_objects_that_are_each_others(limited):
    """Lazy objects that are each other's target end the preload."""
    one = lazyguard.lazy(lambda: other)
    other = lazyguard.lazy(lambda: one)
    started = lazyguard.preload(one)
    assert started.wait()
    assert not started.failed


FIRST_FAILURE = """
    import sys
    import lazyguard

    away = False

    class Client:
        def get(self):
            if away:
                raise OSError
            return 1

    def make():
        if away:
            raise OSError
        return Client()

    @lazyguard.service(retry=lazyguard.Retry(attempts=2, initial=0.001), failures=(OSError,))
    def get_it() -> Client:
        return make()

    @get_it.fallback
    def without() -> Client:
        return Client()

    @lazyguard.service()
    def get_plain() -> Client:
        return make()

    wanted = get_plain if sys.argv[1] == "plain" else get_it
    assert lazyguard.preload(wanted).wait(30)
    assert "tenacity" in sys.modules or sys.argv[1] == "plain"
    before, away = set(sys.modules), True
    for _ in range(2):
        try:
            wanted().get()
        except (OSError, lazyguard.ResolutionError):
            wanted.reset()
    print(sorted(set(sys.modules) - before))
"""


@pytest.mark.parametrize("kind", ["plain", "guarded"])
def test_a_first_failure_loads_nothing(tmp_path, kind):
    """What an outage would load is there before it: tenacity, wrapt, logging."""
    script = tmp_path / "program.py"
    script.write_text(dedent(FIRST_FAILURE))
    ran = subprocess.run([sys.executable, str(script), kind], capture_output=True, text=True, timeout=60)
    assert (ran.returncode, ran.stdout) == (0, "[]\n"), ran.stderr
