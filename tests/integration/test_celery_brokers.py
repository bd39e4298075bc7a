"""`lazy_celery(timeout=)` with every kind of broker that it promises it for: what waits ends in time, and tells where.

Brokers that refuse, that are silent when a client connects, or fall silent after the handshake. The RabbitMQ and the
Redis are real; what is silent from the beginning is a socket that accepts.
"""

from __future__ import annotations

import gc
import shutil
import socket
import ssl
import subprocess
import sys
import threading
import time
from contextlib import nullcontext
from textwrap import dedent

import pytest

import lazyguard
from lazyguard.integrations.celery import lazy_celery

for _needed in ("celery", "redis"):
    pytest.importorskip(_needed, reason="the extra `celery` has it")

from kombu import pools  # noqa: E402
from kombu.exceptions import OperationalError  # noqa: E402

pytestmark = [
    pytest.mark.usefixtures("limited"),
    # py-amqp leaves the sockets of connections that are dropped, not closed, to the collector
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
WAIT, SLACK = 0.4, 8.0
# What the clients would wait without us.
THEIRS = 60.0


def app_on(url: str, **options) -> object:
    app = lazy_celery("shop", broker=url, timeout=WAIT, default=False, **options)
    app.conf.broker_connection_timeout = THEIRS
    return app


def asking(app) -> dict[str, object]:
    """What waits for a broker, by name."""

    @app.task(name="nothing", shared=False)
    def nothing(): ...

    return {
        "send_task": lambda: app.send_task("work"),
        "delay": app.tasks["nothing"].delay,
        "purge": lambda: app.control.purge(),
        "broadcast": lambda: app.control.revoke("a-task"),
        "inspect": lambda: app.control.inspect(timeout=WAIT).ping(),
    }


def bounded(work, most: float) -> OperationalError:
    start = time.monotonic()
    with pytest.raises(OperationalError) as caught:
        work()
    assert time.monotonic() - start < most + SLACK
    return caught.value


@pytest.fixture
def silent():
    """Return the port of a socket that accepts, and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def refusing():
    """Return a port on which nobody listens."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


@pytest.fixture
def silent_after_tls(tmp_path):
    """Return the port of a server that shakes hands as TLS has it, and says nothing."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", certificate, "-days", "2",
         "-subj", "/CN=localhost"],
        check=True, capture_output=True,
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    open_ones: list[socket.socket] = []

    def serve() -> None:
        while True:
            try:
                open_ones.append(context.wrap_socket(server.accept()[0], server_side=True))
            except ssl.SSLError:
                pass
            except OSError:
                return

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve)
        thread.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
        thread.join()
    for one in open_ones:
        one.close()


@pytest.fixture(autouse=True)
def closed():
    """Close the connections that a test leaves in pools."""
    yield
    pools.reset()
    gc.collect()


ASKED = ("send_task", "delay", "purge", "broadcast", "inspect")
KINDS = ("amqp", "amqps", "pyamqp", "redis", "rediss")
AWAY = [(kind, how) for kind in KINDS for how in ("silent", "refusing")]


@pytest.mark.parametrize(("kind", "how"), [*AWAY, ("amqps", "silent_after_tls"), ("rediss", "silent_after_tls")])
def test_what_waits_ends_in_time(kind, how, request, race):
    """A caller has an error within timeout=, or the time that its deadline leaves, whichever is less."""
    port = request.getfixturevalue(how)
    insecure = {"broker_use_ssl": {"ssl_cert_reqs" if kind == "rediss" else "cert_reqs": ssl.CERT_NONE}}

    def asks(name: str, seconds: float | None):
        app = app_on(f"{kind}://127.0.0.1:{port}/", changes=insecure if kind in ("amqps", "rediss") else {})
        work = asking(app)[name]

        def ask() -> str:
            most = min(seconds or WAIT, WAIT) + (WAIT if name == "inspect" else 0)
            with nullcontext() if seconds is None else lazyguard.deadline(seconds):
                return str(bounded(work, most))

        return ask

    for told in race(*[asks(name, seconds) for name in ASKED for seconds in (None, 0.1, 60.0)]):
        assert f"Celery app shop, declared at {__file__}:" in str(told)
        assert "timeout=0.4" in str(told)


@pytest.mark.parametrize("url", ["sqs://", "sentinel://127.0.0.1:26379", "redis://a;sqs://", "filesystem://"])
def test_other_brokers_are_refused(url):
    """Where the application is made: that timeout= cannot be kept for this broker, and what to do."""
    with pytest.raises(lazyguard.errors.ConfigurationError, match=r"redis, rediss, amqp.*timeout=None"):
        lazy_celery("other", broker=url, default=False)

    def configure(app):
        app.conf.broker_url = url

    late = lazy_celery("other", configure=configure, default=False)

    @late.task(shared=False)
    def work(): ...

    for send in (work.delay, lambda: late.send_task("work")):
        with pytest.raises(lazyguard.errors.ConfigurationError, match=f"at {__file__}:"):
            send()


def test_a_result_backend_behind_sentinels_is_refused():
    """Sending waits for it, and nothing can limit that."""
    with pytest.raises(lazyguard.errors.ConfigurationError, match=r"result backend.*redis.*timeout=None"):
        lazy_celery("other", backend="sentinel://127.0.0.1:26379", default=False)
    late = lazy_celery("other", broker="memory://", default=False)
    late.config_from_object({"result_backend": "sentinel://127.0.0.1:26379"})

    @late.task(shared=False)
    def work(): ...

    for _ in range(2):
        with pytest.raises(lazyguard.errors.ConfigurationError, match=f"at {__file__}:"):
            work.delay()


def test_without_a_timeout_it_waits_as_celery_does(refusing):
    """timeout=None takes any broker, and leaves every limit as it is."""
    app = lazy_celery("other", broker="filesystem://", timeout=None, default=False)
    assert "socket_timeout" not in app.conf.broker_transport_options
    assert app.connection_for_write().transport_cls == "filesystem"


def test_in_memory():
    """A broker that is in this process is taken: nothing waits for it."""
    app = lazy_celery("memory", broker="memory://", default=False)
    assert app.send_task("work").id


def test_a_callers_haste_opens_no_breaker(silent):
    """Callers with less time than timeout= count for nothing; what waits for the whole of it is a failure."""
    app = app_on(f"amqp://127.0.0.1:{silent}/")
    send = lazyguard.guarded(breaker=lazyguard.Breaker(failure_threshold=2, open_time=60.0))(app.send_task)
    app.amqp.producer_pool  # its imports take time
    for _ in range(3):
        with lazyguard.deadline(0.02):
            bounded(lambda: send("work"), 0.02)
    for _ in range(2):
        with lazyguard.deadline(60.0):
            bounded(lambda: send("work"), WAIT)
    with pytest.raises(lazyguard.CircuitOpen):
        send("work")


def test_more_callers_than_connections(silent):
    """Who waits for a connection of the pool ends in time too."""
    app = app_on(f"amqp://127.0.0.1:{silent}/")
    app.conf.broker_pool_limit = 1
    app.amqp.producer_pool
    took: list[float] = []
    barrier = threading.Barrier(8)

    def send() -> None:
        barrier.wait()
        start = time.monotonic()
        with pytest.raises(OperationalError):
            app.send_task("work")
        took.append(time.monotonic() - start)

    threads = [threading.Thread(target=send) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(took) == 8
    assert max(took) < WAIT * 5, took  # one after another it would be 8


@pytest.fixture(scope="module")
def rabbit(make_rabbit):
    """Return a RabbitMQ that runs."""
    made = make_rabbit()
    made.start()
    return made


def sent(app) -> None:
    """Send a task, as often as a machine that is busy needs for once within the time."""
    for _ in range(50):
        try:
            assert app.send_task("work").id
            return
        except OperationalError as error:
            last = error
    raise last


WORKED = """
    import os
    import sys
    import lazyguard
    from celery.contrib.testing.worker import start_worker
    from lazyguard.integrations.celery import lazy_celery

    app = lazy_celery("patient", broker=sys.argv[1], backend="rpc://", timeout=30.0)

    @app.task
    def add(a, b):
        return a + b

    with start_worker(lazyguard.resolve(app), perform_ping_check=False):
        print(add.delay(1, 2).get(timeout=30))
        with lazyguard.deadline(30.0):
            print(add.delay(3, 4).get(timeout=30), flush=True)
        os._exit(0)  # a worker on a thread ends late
"""


def test_a_task_goes_through_rabbitmq(rabbit):
    """A task is sent, worked and answered, with its results over the broker too."""
    command = [sys.executable, "-c", dedent(WORKED), rabbit.url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.returncode) == ("3\n7\n", 0), done.stderr


@pytest.mark.parametrize("backend", ["redis", "rpc"])
def test_a_result_that_does_not_come(backend, rabbit, make_redis):
    """Who waits for it in a deadline is told DeadlineExceeded, whatever its client calls it."""
    results = make_redis()
    results.start()
    url = results.url if backend == "redis" else "rpc://"
    app = lazy_celery("results", broker=rabbit.url, backend=url, timeout=30.0, default=False)
    result = app.send_task("work", queue=f"nobody-{backend}")
    with pytest.raises(lazyguard.DeadlineExceeded), lazyguard.deadline(0.2):
        result.get(timeout=60)
    consumer = result.backend.result_consumer
    del result
    gc.collect()  # its end asks its server, which is to be there
    consumer.stop()


def test_a_rabbitmq_that_falls_silent(rabbit):
    """After the handshake: what needs its answer ends in time, and the next callers are served when it is back."""
    changes = {"broker_transport_options": {"confirm_publish": True}}
    app = app_on(rabbit.url, changes=changes)
    patient = lazy_celery("patient", broker=rabbit.url, timeout=30.0, default=False, changes=changes)
    assert patient.send_task("work").id
    sent(app)
    rabbit.freeze()
    try:
        for name, work in asking(app).items():
            bounded(work, 2 * WAIT if name == "inspect" else WAIT)
            with lazyguard.deadline(0.1):
                bounded(work, 0.1)
        bounded(lambda: app.send_task("work", args=["x" * 20_000_000]), WAIT)  # more than its socket takes
    finally:
        rabbit.thaw()
    assert patient.send_task("work").id
    sent(app)


def test_the_next_of_several_brokers(silent, rabbit):
    """The first is silent: the same call is with the next, within its time."""
    app = lazy_celery("two", broker=f"amqp://127.0.0.1:{silent}//;{rabbit.url}", timeout=2.0, default=False)
    sent(app)


DJANGO = """
    import sys, time
    from django.conf import settings
    from django.http import HttpResponse
    from django.urls import path

    URL = sys.argv[1]

    def order(request):
        bill.delay()
        return HttpResponse("sent")

    def bought(request):
        return HttpResponse(send())

    urlpatterns = [path("order", order), path("bought", bought)]
    settings.configure(
        ROOT_URLCONF=__name__, SECRET_KEY="x", ALLOWED_HOSTS=["*"], LAZYGUARD={"timeout": 60.0},
        MIDDLEWARE=["lazyguard.integrations.django.Middleware"], CELERY_BROKER_URL=URL, CELERY_RESULT_BACKEND="rpc://",
        CELERY_BROKER_CONNECTION_TIMEOUT=60.0,
    )
    import django
    django.setup()
    import lazyguard
    from django.test import Client
    from lazyguard.integrations.celery import lazy_celery

    app = lazy_celery("shop", timeout=0.4)
    app.config_from_object("django.conf:settings", namespace="CELERY")

    @app.task
    def bill(): ...

    @lazyguard.guarded(breaker=lazyguard.Breaker(failure_threshold=2, open_time=60.0))
    def send():
        return bill.delay().id

    @send.fallback
    def _kept():
        return "kept for later"

    client = Client(raise_request_exception=False)
    app.amqp.producer_pool, app.backend
    for page in ("/order", "/bought", "/bought", "/bought"):
        start = time.monotonic()
        answer = client.get(page)
        print(answer.status_code, answer.content.decode()[:14] if answer.status_code == 200 else "", flush=True)
        assert time.monotonic() - start < 0.4 + 8.0
"""


@pytest.mark.parametrize("how", ["silent", "refusing"])
def test_in_a_django_project(how, request):
    """With its settings, in a request with a longer deadline: the error comes in time, and a fallback answers it."""
    pytest.importorskip("django", reason="the group `integration` has it")
    url = f"amqp://127.0.0.1:{request.getfixturevalue(how)}//"
    done = subprocess.run(
        [sys.executable, "-c", dedent(DJANGO), url], capture_output=True, text=True, timeout=100, check=False
    )
    assert done.stdout.splitlines() == ["500 ", *["200 kept for later"] * 3], done.stderr
