"""For all tests: hard time limits with a stack dump, threads that start together, forks, and recorded events."""

from __future__ import annotations

import _thread
import faulthandler
import os
import signal
import subprocess
import sys
import threading
import time
import traceback
import warnings
from contextlib import contextmanager

import hypothesis
import pytest
from _pytest.runner import runtestprotocol

from lazyguard import events
from lazyguard._core import cell as cells
from lazyguard._core import declaration, scheduler, wait_cycles
from lazyguard._core.closing import PendingClose
from lazyguard.testing import FakeClock

# Generous, since the machine may be busy: what hangs, hangs for ever.
HARD_LIMIT = 180.0
LONGEST = (
    "test_celery_brokers.py",
    "test_interruptions.py",
    "test_blocks.py",
    "test_works.py",
    "test_zoo.py",
    "test_pytest_plugin.py",
    "test_integrations_celery.py",
    "test_robust.py",
    "test_advising.py",
    "test_fork_imports.py",
    "test_prefork.py",
)


# Light, as ever, and thorough. What draws examples draws its share of so many.
AMOUNTS = {"signals": (300, 3000, 30_000), "points_apart": (20, 7, 1), "forks_for": (1.0, 5.0, 30.0)}
EXAMPLES = (25, 100, 1000)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add what makes the run a hard one."""
    group = parser.getgroup("hardship")
    group.addoption("--busy-loops", type=int, default=0, help="how many busy loops run beside the tests")
    group.addoption(
        "--no-threads-for", type=float, default=0.0, help="seconds for which lazyguard gets no thread, amid the tests"
    )
    group.addoption("--forks-for", type=float, help="seconds for which each test of forks amid imports goes on forking")
    group.addoption("--signals", type=int, help="how many real signals interrupt what uses a client")
    group.addoption("--points-apart", type=int, help="inject an exception at each so manieth point only")
    group.addoption(
        "--light",
        action="store_true",
        help="fewer points, signals, forks, examples and repetitions: the last look at another Python",
    )
    group.addoption("--thorough", action="store_true", help="all points, and more signals, forks and examples")


def pytest_configure(config: pytest.Config) -> None:
    """Let Ctrl-C be heard: a run in the background of a shell begins with SIGINT ignored, and tests send it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    much = 0 if config.getoption("--light") else 2 if config.getoption("--thorough") else 1
    for option, amounts in AMOUNTS.items():
        if getattr(config.option, option) is None:
            setattr(config.option, option, amounts[much])
    hypothesis.settings.register_profile("lazyguard", max_examples=EXAMPLES[much])
    hypothesis.settings.load_profile("lazyguard")
    if not hasattr(config, "workerinput"):  # one for all workers
        config.pluginmanager.register(Crashes())
        loop = f"import os\nwhile os.getppid() == {os.getpid()}: sum(range(100_000))"
        for _ in range(config.getoption("--busy-loops")):
            busy = subprocess.Popen([sys.executable, "-c", loop])
            config.add_cleanup(busy.wait)
            config.add_cleanup(busy.kill)
    if config.getoption("--no-threads-for"):
        config.pluginmanager.register(NoThreads(config.getoption("--no-threads-for")))


class Crashes:
    """Whether a worker died, so that tests were left out: then `--last-failed` has to run all of them."""

    found = False

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node, error):
        self.found = self.found or error is not None

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session, exitstatus):
        cache = getattr(session.config, "cache", None)
        if cache and (self.found or exitstatus > pytest.ExitCode.TESTS_FAILED):
            cache.set("cache/lastfailed", {})


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Return two workers for each core: half of the time they wait for children and servers."""
    return 2 * (len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take longest, so that no worker goes on alone at the end."""
    items.sort(key=lambda item: item.path.name not in LONGEST)


class NoThreads:
    """Let lazyguard start no thread for some seconds, from the middle of the tests on, in each worker.

    A test that fails for it is run again at once, with threads: then it has to pass. All others have to pass as ever.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.counts = {"threads refused": 0, "tests run again": 0}
        self.totals = dict.fromkeys(self.counts, 0)
        self.run = 0
        self.until: float | None = None

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item, nextitem):
        self.run += 1
        workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
        if self.until is None and self.run > len(item.session.items) / workers / 2:
            self.until = time.monotonic() + self.seconds
        if self.until is None or time.monotonic() > self.until:
            return None
        item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
        refused = self.counts["threads refused"]
        with self.none_to_be_had():
            reports = runtestprotocol(item, nextitem=nextitem, log=False)
        if any(report.failed for report in reports) and self.counts["threads refused"] > refused:
            self.counts["tests run again"] += 1
            item._initrequest()
            reports = runtestprotocol(item, nextitem=nextitem, log=False)
        for report in reports:
            item.ihook.pytest_runtest_logreport(report=report)
        item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
        return True

    @contextmanager
    def none_to_be_had(self):
        with pytest.MonkeyPatch.context() as patch:
            for module, name in [
                (_thread, "start_new_thread"),
                (threading, "_start_new_thread"),
                (threading, "_start_joinable_thread"),  # since 3.13
            ]:
                if hasattr(module, name):
                    patch.setattr(module, name, self.refuse(getattr(module, name)))
            yield

    def refuse(self, start):
        def start_or_refuse(*arguments, **options):
            caller = sys._getframe(1)
            thread = caller.f_locals.get("self")
            who = thread.name if isinstance(thread, threading.Thread) else caller.f_globals["__name__"]
            if who.startswith("lazyguard") and time.monotonic() < self.until:
                self.counts["threads refused"] += 1
                raise RuntimeError("can't start new thread")
            return start(*arguments, **options)

        return start_or_refuse

    def pytest_sessionfinish(self, session):
        getattr(session.config, "workeroutput", {}).update(no_threads=self.counts)
        self.add(self.counts)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node):
        self.add(getattr(node, "workeroutput", {}).get("no_threads", {}))

    def add(self, counts: dict[str, int]) -> None:
        for name, count in counts.items():
            self.totals[name] += count

    def pytest_terminal_summary(self, terminalreporter):
        terminalreporter.section(", ".join(f"{count} {name}" for name, count in self.totals.items()))


hanging: set[int] = set()


def under_way() -> set[int]:
    """Return the numbers of the threads that build or wait, and of the attempts that have not ended."""
    threads = {one for one in [*wait_cycles.running, *wait_cycles.waiting] if isinstance(one, int)}
    return threads | {id(one) for one in list(cells.active)}


@pytest.fixture(autouse=True)
def nothing_goes_on_beside_the_next_test():
    """End recoveries and watches over a close, and forget what was logged: the next test has a clock and a log too.

    An attempt on a thread of its own ends when a busy machine lets it; one that hangs on is waited for once.
    """
    yield
    until = time.monotonic() + 5.0
    while (left := under_way() - hanging) and time.monotonic() < until:
        time.sleep(0.001)
    hanging.update(left)
    for cell, _ in declaration.cells():
        if getattr(cell, "recovery_run", None) is not None:
            cell.recovery_run = None  # a run that its cell does not know is over
    for queue in (scheduler._scheduler._due, scheduler._scheduler._inbox):
        for *_, job in queue.copy():
            if isinstance(getattr(job.work, "__self__", None), PendingClose):
                job.cancel()
    events._away.clear()  # what has been logged of one "db" is news of another one


@pytest.fixture
def within(request):
    """Return a context manager that ends the whole run, with the stacks of all threads, when its seconds are over."""
    try:
        from _pytest.faulthandler import fault_handler_stderr_fd_key

        stderr = request.config.stash[fault_handler_stderr_fd_key]
    except (ImportError, KeyError):
        stderr = sys.__stderr__

    @contextmanager
    def limit(seconds: float = HARD_LIMIT):
        faulthandler.dump_traceback_later(seconds, exit=True, file=stderr)
        try:
            yield
        finally:
            faulthandler.cancel_dump_traceback_later()

    return limit


@pytest.fixture
def limited(within):
    """Hold the whole test to the hard limit."""
    with within():
        yield


@pytest.fixture
def race():
    """Return a function that starts functions on threads at one moment, and returns what each returned or raised."""

    def run(*functions, limit: float = 30.0):
        barrier = threading.Barrier(len(functions))
        results: list[object] = [TimeoutError("the thread still runs")] * len(functions)

        def work(index: int) -> None:
            barrier.wait()
            try:
                results[index] = functions[index]()
            except BaseException as error:
                results[index] = error

        threads = [threading.Thread(target=work, args=(index,), daemon=True) for index in range(len(functions))]
        for thread in threads:
            thread.start()
        until = time.monotonic() + limit
        for thread in threads:
            thread.join(max(0.0, until - time.monotonic()))
        return results

    return run


@pytest.fixture
def in_child():
    """Return a function that forks, runs another in the child under a limit, and returns the child's exit status."""
    if not hasattr(os, "fork"):
        pytest.skip("this platform has no fork")

    def run(work) -> int:
        sys.stdout.flush()
        sys.stderr.flush()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # 3.12: a process with threads forks
            pid = os.fork()
        if pid == 0:
            status = 99
            try:
                # not dump_traceback_later: it would wait for its thread, which only the parent has
                faulthandler.register(signal.SIGALRM, file=sys.__stderr__, chain=True)
                signal.alarm(20)
                work()
                status = 0
            except BaseException:
                traceback.print_exc()
                sys.stderr.flush()
            finally:
                os._exit(status)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    return run


@pytest.fixture
def told():
    """Return the list to which every event of the test is added."""
    seen: list[events.Event] = []
    undo = events.subscribe(seen.append)
    yield seen
    undo()


@pytest.fixture
def eventually():
    """Return a function that waits until a condition holds, for what tells nobody when it has happened."""

    def wait(condition, limit: float = 20.0) -> None:
        until = time.monotonic() + limit
        while not condition():
            assert time.monotonic() < until, "it did not happen"
            time.sleep(0.001)

    return wait


@pytest.fixture
def clock():
    """Return a clock that stands still until the test moves it, and is the clock of all cells meanwhile."""
    with FakeClock() as fake:
        yield fake


@pytest.fixture
def pace(monkeypatch):
    """Return the bounds of every wait that has been scheduled; the longest one is taken."""
    from lazyguard._policies import recovery_run

    bounds: list[tuple[float, float]] = []
    asked = threading.local()
    wait = recovery_run.RecoveryRun.wait

    def uniform(low: float, high: float) -> float:
        asked.bounds = low, high
        return high

    def wait_and_note(course: recovery_run.RecoveryRun) -> None:
        wait(course)
        bounds.append(asked.bounds)  # not before: until it is scheduled, a clock that is moved is not seen

    monkeypatch.setattr("random.uniform", uniform)
    monkeypatch.setattr(recovery_run.RecoveryRun, "wait", wait_and_note)
    return bounds


class Story:
    """The events about one name, in order, and a wait for the next of them."""

    def __init__(self) -> None:
        self._heard = threading.Condition()
        self.events: list[events.Event] = []

    def hear(self, event: events.Event) -> None:
        with self._heard:
            self.events.append(event)
            self._heard.notify_all()

    def kinds(self, name: str = "db") -> list[str]:
        return [event.kind for event in self.events if event.name == name]

    def until(self, *kinds: str, name: str = "db", limit: float = 30.0) -> None:
        """Wait until the events of that name are these kinds, so far, and no others."""
        with self._heard:
            assert self._heard.wait_for(lambda: len(self.kinds(name)) >= len(kinds), limit), self.events
        assert self.kinds(name) == list(kinds)


@pytest.fixture
def story():
    """Return what is told about the cells of the test."""
    heard = Story()
    undo = events.subscribe(heard.hear)
    yield heard
    undo()


class Thing:
    """What factories make in tests; `fate` is what its methods raise."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.fate: BaseException | None = None
        self.closed = 0

    def work(self, answer: object = "done") -> object:
        if self.fate is not None:
            raise self.fate
        return answer

    async def awork(self) -> str:
        if self.fate is not None:
            raise self.fate
        return "done"

    @property
    def state(self) -> object:
        return self.work("fine")

    def __len__(self) -> int:
        self.work()
        return 3

    def close(self) -> None:
        self.closed += 1


class Plant:
    """A factory whose attempts end as the test says: a thing, an error, or a hang until `let_go`."""

    def __init__(self) -> None:
        self.fate: BaseException | None = None
        self.hanging = False
        self.things: list[Thing] = []
        self.runs = 0
        self.threads: list[str] = []
        self._changed = threading.Condition()
        self._gate = threading.Event()

    def make(self) -> Thing:
        gate, hanging, fate = self._gate, self.hanging, self.fate
        with self._changed:
            self.runs += 1
            self.threads.append(threading.current_thread().name)
            self._changed.notify_all()
        if hanging:
            assert gate.wait(60)
        if fate is not None:
            raise fate
        self.things.append(Thing(f"thing {len(self.things) + 1}"))
        return self.things[-1]

    def let_go(self) -> None:
        """End all attempts that hang."""
        self.hanging = False
        gate, self._gate = self._gate, threading.Event()
        gate.set()

    def until(self, runs: int, limit: float = 30.0) -> None:
        """Wait until so many attempts have begun."""
        with self._changed:
            assert self._changed.wait_for(lambda: self.runs >= runs, limit), self.runs


@pytest.fixture
def plant():
    """Return a factory that does what the test says; nothing named db hangs or recovers after the test."""
    made = Plant()
    yield made
    for cell, _ in declaration.cells():
        if cell.name == "db":
            cell.reset()
    made.let_go()
    until = time.monotonic() + 30
    while any(thread.name == "lazyguard db" for thread in threading.enumerate()):  # one may not have started yet
        assert time.monotonic() < until, "an attempt outlives its test"
        time.sleep(0.001)
