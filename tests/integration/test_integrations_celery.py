"""`lazyguard.integrations.celery` with real workers on a real Redis: everything that Celery's own applications do, the
broker dying, silent and back again, forks, and the command `celery`.

One prefork worker serves most tests; all processes end with the module.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from textwrap import dedent

import pytest

import lazyguard
from lazyguard.integrations.celery import lazy_celery

for _needed in ("celery", "redis"):
    pytest.importorskip(_needed, reason="the extra `celery` has it")

pytestmark = pytest.mark.usefixtures("limited")
LIMIT, SLACK = 40.0, 8.0

FILES = {
    "shop/__init__.py": "",
    "shop/tasks.py": """
        import os
        import time
        import lazyguard
        from lazyguard.integrations.celery import lazy_celery

        def configure(app):
            app.conf.update(broker_url=os.environ["BROKER"], result_backend=os.environ["BROKER"])
            app.conf.beat_schedule = {"note": {"task": "shop.tasks.note", "schedule": 0.5}}

        app = lazy_celery("shop", configure=configure, timeout=float(os.environ.get("WAIT", "5")))
        app.autodiscover_tasks(["shop"], related_name="jobs")

        @lazyguard.lazy_attribute
        def Counting():
            from celery import Task
            class Counting(Task):
                abstract = True
                label = "counted"
            return Counting

        @app.task
        def add(a, b):
            return a + b

        @app.task(bind=True, name="shop.named", max_retries=1)
        def bound(self, a):
            return [self.name, self.request.retries, a]

        @app.task(base=lazyguard.load("shop.tasks:Counting"), bind=True)
        def based(self):
            return self.label

        begun = []

        def build():
            begun.append(1)
            if len(begun) == 1:
                time.sleep(3600.0)
            return "built"

        built_here = lazyguard.service(build)
        built_aside = lazyguard.service(timeout=3600.0)(lambda: time.sleep(3600.0))

        @app.task(soft_time_limit=1)
        def soft(aside):
            from celery.exceptions import SoftTimeLimitExceeded
            try:
                return str(built_aside() if aside else built_here())
            except SoftTimeLimitExceeded:
                return "soft"

        @app.task
        def total(numbers):
            return sum(numbers)

        @app.task
        def note():
            return seen

        seen = []

        @app.on_after_finalize.connect
        def finalized(sender, **_):
            seen.append(sender.main)
    """,
    "shop/jobs.py": """
        import os
        from celery import shared_task

        @shared_task
        def where():
            return os.getpid()
    """,
}


class Shop:
    """The program of the tests, its Redis and its processes."""

    def __init__(self, directory: Path, redis) -> None:
        self.directory, self.redis = directory, redis
        self.processes: list[subprocess.Popen[bytes]] = []
        for name, text in FILES.items():
            path = directory / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(dedent(text))

    def environment(self, broker: str = "", **settings: str) -> dict[str, str]:
        path = os.pathsep.join([str(Path(lazyguard.__file__).parents[1]), str(self.directory)])
        return {**os.environ, "PYTHONPATH": path, "BROKER": broker or self.redis.url, **settings}

    def start(self, log: str, *arguments: str) -> subprocess.Popen[bytes]:
        with open(self.directory / log, "wb") as file:
            process = subprocess.Popen(
                [sys.executable, "-m", "celery", "-A", "shop.tasks", *arguments],
                cwd=self.directory, env=self.environment(), stdin=subprocess.DEVNULL, stdout=file, stderr=file,
                start_new_session=True,
            )  # fmt: skip
        self.processes.append(process)
        return process

    def worker(self, pool: str) -> subprocess.Popen[bytes]:
        quiet = ("--without-mingle", "--without-gossip", "--without-heartbeat")
        its_own = () if pool == "prefork" else ("-Q", pool, "-n", f"{pool}@here")
        return self.start(f"{pool}.log", "worker", "-P", pool, "-c", "2", "-l", "INFO", *quiet, *its_own)

    def until_ready(self, pool: str, process: subprocess.Popen[bytes]) -> None:
        self.until(lambda: "ready." in self.log(f"{pool}.log"), process, f"{pool}.log")

    def until(self, condition, process: subprocess.Popen[bytes], log: str) -> None:
        """Wait for what another process does, which tells nobody when it is done."""
        until = time.monotonic() + LIMIT
        while not condition():
            assert process.poll() is None, self.log(log)
            assert time.monotonic() < until, self.log(log)
            time.sleep(0.02)

    def log(self, name: str) -> str:
        return (self.directory / name).read_text(errors="replace")

    def end(self, process: subprocess.Popen[bytes]) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def run(self, code: str, *command: str, broker: str = "", **settings: str) -> str:
        """What the lines print, in a process of their own, or what a command says that reads them."""
        done = subprocess.run(
            [sys.executable, *(command or ("-c", dedent(code)))],
            cwd=self.directory, env=self.environment(broker, **settings), input=dedent(code), capture_output=True,
            text=True, timeout=LIMIT,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def shop(make_redis, tmp_path_factory):
    """Return the program, with Redis."""
    redis = make_redis()
    redis.start()
    made = Shop(tmp_path_factory.mktemp("shop"), redis)
    yield made
    for process in made.processes:
        made.end(process)


@pytest.fixture(scope="module")
def workers(shop):
    """Return workers of the program by pool, which start side by side."""
    greenlets = [] if importlib.util.find_spec("gevent") is None else ["gevent"]
    return {pool: shop.worker(pool) for pool in ["prefork", "threads", "solo", *greenlets]}


@pytest.fixture(scope="module")
def worker(shop, workers):
    """Return the prefork worker, ready."""
    shop.until_ready("prefork", workers["prefork"])
    return workers["prefork"]


def test_declaring_imports_no_celery(shop):
    """The module with the application, its tasks, signals and discovery is imported without Celery."""
    lines = """
        import sys, lazyguard, shop.tasks
        repr(shop.tasks.app), repr(shop.tasks.add), lazyguard.health()
        print(sorted({"celery", "kombu", "redis", "asyncio"} & set(sys.modules)), lazyguard.is_resolved(shop.tasks.app))
    """
    assert shop.run(lines) == "[] False\n"


def test_it_is_the_default_application(shop):
    """What asks Celery for the current application gets ours, on any thread, and it is a Celery; so do shared tasks."""
    lines = """
        import threading
        import shop.tasks, celery
        from celery import shared_task
        @shared_task
        def early(): ...
        got = []
        ask = lambda: got.append((celery.current_app.main, early.app.conf.broker_url))
        threads = [threading.Thread(target=ask) for _ in range(2)]
        [thread.start() for thread in threads], [thread.join() for thread in threads]
        print(len(set(got)), got[0], isinstance(shop.tasks.app, celery.Celery))
    """
    assert shop.run(lines) == f"1 ('shop', {shop.redis.url!r}) True\n"


def test_a_worker_runs_what_was_recorded(shop, worker):
    """Plain, named, bound and based tasks, a discovered shared_task, a chain, a group and a chord; one process asks."""
    lines = """
        from celery import chain, chord, group
        from shop.tasks import add, based, bound, note, total
        from shop.jobs import where
        print(add.delay(1, 2).get(timeout=30), add.apply_async((3, 4)).get(timeout=30), add(5, 6))
        print(bound.delay("x").get(timeout=30), based.delay().get(timeout=30), note.delay().get(timeout=30))
        print(where.delay().get(timeout=30) > 0)
        print(chain(add.s(1, 1), add.s(10))().get(timeout=30), group(add.s(n, n) for n in range(3))().get(timeout=30))
        print(chord((add.s(n, n) for n in range(4)), total.s())().get(timeout=30))
    """
    assert shop.run(lines).splitlines() == [
        "3 7 11", "['shop.named', 0, 'x'] counted ['shop']", "True", "12 [0, 2, 4]", "12",
    ]  # fmt: skip


def test_soft_time_limits_amid_a_resolution(shop, worker):
    """The task has Celery's exception at once, from a build and from a wait for one; the process builds afterwards."""
    lines = """
        from shop.tasks import soft
        got = [soft.delay(aside=False).get(timeout=30)]
        while got[-1] == "soft" and len(got) < 20:  # two processes work, and a busy one may be cut off before it builds
            got.append(soft.delay(aside=False).get(timeout=30))
        print([got[0], got[-1]])
        print([soft.delay(aside=True).get(timeout=30) for _ in range(2)])
    """
    assert shop.run(lines) == "['soft', 'built']\n['soft', 'soft']\n"


def test_the_command_celery(shop, worker):
    """`celery inspect ping`, `shell` with lines to read, and `beat` for two of its ticks take it for an application."""
    command = ("-m", "celery", "-A", "shop.tasks")
    beat = shop.start("beat.log", "beat", "-l", "INFO", "-s", str(shop.directory / "schedule"))
    assert "pong" in shop.run(
        "", *command, "inspect", "ping", "-d", f"celery@{socket.gethostname()}", "--timeout", "10"
    )
    assert "got 5\n" in shop.run("print('got', add.delay(2, 3).get(timeout=30))\n", *command, "shell", "--python")
    shop.until(lambda: shop.log("beat.log").count("Sending due task note") > 1, beat, "beat.log")
    shop.end(beat)


def test_a_web_process_that_published_forks(shop, worker):
    """The child of a plain os.fork sends and is answered over connections of its own, and so is its parent."""
    lines = """
        import os
        from shop.tasks import add, app
        assert add.delay(1, 1).get(timeout=30) == 2
        assert app.backend.result_consumer._pubsub is not None
        def name(fd):
            try:
                return os.readlink(f"/proc/self/fd/{fd}")
            except OSError:
                return ""
        parents = {name(fd) for fd in os.listdir("/proc/self/fd") if name(fd).startswith("socket:")}
        assert parents
        pid = os.fork()
        if pid == 0:
            used = set()
            import socket
            for sending in ("sendall", "send"):
                def watch(self, *a, do=getattr(socket.socket, sending)):
                    used.add(name(self.fileno()))
                    return do(self, *a)
                setattr(socket.socket, sending, watch)
            assert [add.delay(n, n).get(timeout=30) for n in range(5)] == [0, 2, 4, 6, 8]
            assert used and not used & parents, (used, parents)
            os._exit(0)
        assert [add.delay(n, 1).get(timeout=30) for n in range(5)] == [1, 2, 3, 4, 5]
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    """
    assert shop.run(lines) == "0\n"


def test_the_broker_dies_and_returns(shop, worker):
    """A web process is told within its time that the broker is gone; it and the worker go on with it afterwards."""
    lines = """
        import sys, time
        from kombu.exceptions import OperationalError
        from lazyguard.errors import DeadlineExceeded
        from shop.tasks import add
        def add_up():  # a machine that is busy may need more than once the time that a publication has
            for _ in range(20):
                try:
                    return add.delay(1, 1).get(timeout=30)
                except (DeadlineExceeded, OperationalError):
                    pass
        assert add_up() == 2
        print("up", flush=True)
        sys.stdin.readline()
        start = time.monotonic()
        try:
            add.delay(1, 1)
        except OperationalError:
            print("down", time.monotonic() - start, flush=True)
        sys.stdin.readline()
        print(add_up(), flush=True)
    """
    web = subprocess.Popen(
        [sys.executable, "-c", dedent(lines)], cwd=shop.directory, env=shop.environment(WAIT="0.5"), text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    with web:
        try:
            assert web.stdout.readline() == "up\n"
            shop.redis.stop()
            print(file=web.stdin, flush=True)
            word, seconds = web.stdout.readline().split()
            assert word == "down"
            assert float(seconds) < 0.5 + SLACK
        finally:
            if shop.redis.process is None:
                shop.redis.start()
        print(file=web.stdin, flush=True)
        assert web.stdout.readline() == "2\n"
        assert web.wait(LIMIT) == 0
    assert worker.poll() is None


BOUNDS = """
    import time
    import lazyguard
    from celery import chord
    from kombu.exceptions import OperationalError
    from shop.tasks import add, app, total
    app.backend, app.amqp, app.control, app.tasks
    def bounded(work, least, most):
        start = time.monotonic()
        try:
            work()
        except OperationalError:
            seconds = time.monotonic() - start
            assert least * 0.8 <= seconds < most, seconds
        else:
            raise AssertionError("it was answered")
    slack = 8.0
    asking = (lambda: add.delay(1, 1), lambda: chord([add.s(1, 1)])(total.s()), lambda: app.control.inspect().ping())
    for work in asking:
        with lazyguard.deadline(0.3):
            bounded(work, 0.3, 0.3 + slack)
    bounded(asking[0], 0.5, 0.5 + slack)
    print("bounded")
"""


def test_a_silent_broker_ends_with_the_deadline(shop, make_redis):
    """It accepts and never answers: delay, a chord and inspect end with the deadline, and without one in `timeout`."""
    silent = make_redis()
    silent.start()
    silent.freeze()
    try:
        assert shop.run(BOUNDS, broker=silent.url, WAIT="0.5") == "bounded\n"
    finally:
        silent.thaw()


def test_a_refusing_broker_ends_with_the_deadline(shop, make_redis):
    """Nobody listens: the same, in place of Celery's twenty seconds."""
    assert shop.run(BOUNDS, broker=make_redis().url, WAIT="0.5") == "bounded\n"


@pytest.mark.parametrize("pool", ["threads", "solo", "gevent"])
def test_other_pools(shop, workers, pool):
    """Threads, the worker's own process and greenlets run its tasks too."""
    if pool not in workers:
        pytest.skip("gevent is not installed: the group `stress` has it")
    shop.until_ready(pool, workers[pool])
    lines = f"from shop.tasks import add; print(add.apply_async((1, 2), queue={pool!r}).get(timeout=30))"
    assert shop.run(lines) == "3\n"


def test_an_error_names_the_declaration():
    """What `configure` raises comes out of the first use, with the place of the application."""

    def configure(app):
        raise LookupError("no settings")

    app = lazy_celery("broken", configure=configure, default=False)
    with pytest.raises(lazyguard.ResolutionError, match=r"Celery app broken.*test_integrations_celery\.py") as caught:
        app.conf
    assert isinstance(caught.value.__cause__, LookupError)


def test_what_the_configuration_says_comes_first():
    """Time-outs, retries and transport options of the host's own are left as they are, the others are added."""
    options = {"visibility_timeout": 5, "socket_timeout": 9.0}

    def configure(app):
        app.conf.update(broker_transport_options=options, task_publish_retry_policy={"max_retries": 7})

    conf = lazy_celery("host", configure=configure, timeout=3.0, default=False, broker="redis://").conf
    assert options.items() <= conf.broker_transport_options.items()
    assert conf.broker_transport_options["socket_connect_timeout"] == 3.0
    assert conf.task_publish_retry_policy == {"max_retries": 7}
    assert conf.redis_socket_timeout == 3.0


@pytest.mark.parametrize("wrong", [{"timeout": 0}, {"default": "yes"}, {"configure": "no"}])
def test_wrong_options_are_told_at_once(wrong):
    """An invalid option is an error of the declaration."""
    with pytest.raises(lazyguard.errors.ConfigurationError, match=next(iter(wrong))):
        lazy_celery("wrong", **wrong)
