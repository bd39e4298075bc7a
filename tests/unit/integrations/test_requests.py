"""WSGI and ASGI middleware: health endpoints of the present state, deadlines from a header."""

from __future__ import annotations

import contextvars
import json
import subprocess
import sys
import threading

import pytest

import lazyguard

PATHS = ("/livez", "/readyz", "/startupz", "/healthz")


def test_a_process_that_declares_nothing_is_well(serve):
    """In a process that declares nothing all four endpoints pass."""
    ask = serve()
    assert [(ask(path).status, ask(path).told["status"]) for path in PATHS] == [(200, "pass")] * 4
    assert ask("/livez").told == {"status": "pass"}


def test_an_answer_builds_nothing(serve, plant):
    """No endpoint builds, probes or imports what is pending."""
    get = lazyguard.service(name="db", timeout=1.0, probe=plant.make, critical=True)(plant.make)
    ask = serve()
    assert {ask(path).status for path in PATHS} == {200}
    assert not plant.runs
    assert get.health().state == "pending"


def test_readiness_is_of_critical_services_alone(serve, plant):
    """A failed service warns, a failed critical one fails, and liveness depends on neither."""
    plant.fate = OSError()
    plain = lazyguard.service(name="plain", recovery=None)(plant.make)
    critical = lazyguard.service(name="critical", recovery=None, critical=True)(plant.make)
    ask = serve()
    with pytest.raises(lazyguard.ResolutionError):
        plain().name
    assert [(ask(path).status, ask(path).told["status"]) for path in PATHS] == [
        (200, "pass"),
        (200, "warn"),
        (200, "pass"),
        (200, "warn"),
    ]
    with pytest.raises(lazyguard.ResolutionError):
        critical().name
    assert [(ask(path).status, ask(path).told["status"]) for path in PATHS] == [
        (200, "pass"),
        (503, "fail"),
        (200, "pass"),
        (503, "fail"),
    ]
    plant.fate = None
    critical.reset()
    critical().name
    assert (ask("/readyz").status, ask("/readyz").told["status"]) == (200, "warn")


def test_what_is_degraded_is_ready_and_warns(serve):
    """A critical service whose fallback is served is ready, with a warning and its cause."""

    @lazyguard.service(name="search", recovery=None, critical=True)
    def get() -> list[str]:
        raise OSError

    get.fallback(lambda: ["a fallback"])
    assert len(get()) == 1
    answer = serve()("/readyz")
    assert (answer.status, answer.told["status"]) == (200, "warn")
    [check] = answer.told["checks"]["search"]
    assert (check["observedValue"], check["status"]) == ("degraded", "warn")
    assert check["output"].startswith("OSError at ")


@pytest.mark.usefixtures("limited")
def test_start_up_has_ended_when_preload_has(serve):
    """`/startupz` is 503 during a preload and 200 afterwards, with a warning if something has failed."""
    go = threading.Event()

    @lazyguard.lazy
    def slow() -> list[int]:
        go.wait()
        return []

    started = lazyguard.preload(slow, "no_such_module")
    ask = serve()
    assert [ask(path).status for path in PATHS] == [200, 200, 503, 200]
    assert ask("/startupz").told["status"] == "fail"
    [[check]] = ask("/startupz").told["checks"].values()
    assert check["observedValue"] == "resolving"
    go.set()
    assert started.wait()
    assert (ask("/startupz").status, ask("/startupz").told["status"]) == (200, "warn")


@pytest.mark.usefixtures("limited")
def test_a_preload_that_a_fork_interrupts(serve, in_child):
    """In a forked child the parent's preload does not count; the child's own one does."""
    go = threading.Event()
    theirs = lazyguard.preload(lazyguard.lazy(lambda: go.wait(60)))
    ask = serve()

    def child() -> None:
        assert (ask("/startupz").status, ask("/startupz").told["status"]) == (200, "warn")
        assert [one.running for one in lazyguard.health().checks if one.place == theirs.place] == [0]
        mine = lazyguard.preload(lazyguard.lazy(lambda: go.wait(60)))
        assert ask("/startupz").status == 503
        go.set()
        assert mine.wait()
        assert ask("/startupz").status == 200

    assert ask("/startupz").status == 503
    assert in_child(child) == 0
    go.set()
    assert theirs.wait()


def test_the_form_of_an_answer(serve):
    """Answers are health+json without caching; HEAD has the headers alone; other methods are refused."""
    ask = serve(lambda: "the application")
    for path in PATHS:
        answer = ask(path)
        assert answer.headers == {
            "Cache-Control": "no-store",
            "Content-Type": "application/health+json",
            "Content-Length": str(len(answer.body)),
        }
        head = ask(path, "HEAD")
        assert (head.status, head.headers, head.body) == (200, answer.headers, b"")
        for method in ("POST", "PUT", "DELETE", "OPTIONS"):
            refused = ask(path, method)
            assert (refused.status, refused.headers["Allow"], refused.body) == (405, "GET, HEAD", b"")
            assert refused.headers["Cache-Control"] == "no-store"


def test_other_paths_are_the_applications(serve):
    """Only the four paths below the prefix are answered; without an application the rest is 404."""
    ask = serve(lambda: "the application", prefix="/health")
    assert ask("/health/livez").told == {"status": "pass"}
    for path in ("/livez", "/health", "/health/", "/health/livez/", "/healthlivez", "/", "/health/LIVEZ"):
        assert ask(path).body == b"the application"
    alone = serve()
    assert (alone("/shop").status, alone("/shop").body) == (404, b"")


def test_a_process_that_drains_is_not_ready(serve, monkeypatch):
    """After `drain` the ready path is 503, and the others are as they were."""
    from lazyguard._services import readiness

    monkeypatch.setattr(readiness, "_drains", None)
    ask = serve()
    assert ask("/readyz").status == 200
    lazyguard.drain(delay=86400.0)
    assert [ask(path).status for path in PATHS] == [200, 503, 200, 200]


def test_what_a_reader_may_see(serve, plant):
    """Without details there are names and states; with details why, without a place; "places" are said on demand."""
    get = lazyguard.service(name="named", recovery=None, critical=True)(plant.make)
    plant.fate = OSError()

    @get.fallback
    def _() -> object:
        raise KeyError

    with pytest.raises(lazyguard.ResolutionError):
        get().name
    open_to_all = {"componentType": "critical service", "status": "fail", "observedValue": "failed"}
    assert serve(details=False)("/healthz").told == {"status": "fail", "checks": {"named": [open_to_all]}}
    [told] = serve(details=True)("/healthz").told["checks"]["named"]
    assert {**told, **open_to_all} == told
    assert told["output"] == "OSError"
    assert told["fallbacks"] == [{"state": "failed", "cause": "KeyError"}]
    text = json.dumps(serve(details=True)("/healthz").told)
    assert ".py" not in text
    assert ".py:" in json.dumps(serve(details="places")("/healthz").told)


@pytest.mark.parametrize(
    ("header", "left"),
    [
        ("1.5", 1.5),
        ("2", 2.0),
        (" .5 ", 0.5),
        ("0.25", 0.25),
        ("10.1", 10.0),
        ("99999999999999999999", 10.0),
        *(
            (bad, None)
            for bad in ("", "0", "0.0", "-1", "+1", "1e3", "1_0", "inf", "nan", "1,5", "1.5s", "1, 2", "\u0663")
        ),
        ("9" * 400, None),
    ],
)
def test_a_request_has_the_deadline_that_it_asks_for(serve, clock, header, left):
    """A header's value is a decimal number above zero, up to `max_timeout`; any other value is ignored."""
    header = header.encode().decode("latin-1")  # as a server hands it on
    ask = serve(lambda: lazyguard.remaining(), max_timeout=10.0)
    assert ask("/", X_Request_Timeout=header).body == str(left).encode()
    assert lazyguard.remaining() is None


def test_deadlines_by_the_middlewares_options(serve, clock):
    """`timeout_header` and `timeout` set another header, a default, or no header."""
    asked = serve(lambda: lazyguard.remaining(), timeout_header="X-Time-Left", timeout=5.0)
    assert asked("/").body == b"5.0"
    assert asked("/", X_Time_Left="2").body == b"2.0"
    assert asked("/", X_Time_Left="7").body == b"5.0"  # no more than the server's own limit
    more = serve(lambda: lazyguard.remaining(), timeout=5.0, max_timeout=10.0)
    assert more("/", X_Request_Timeout="7").body == b"7.0"
    assert more("/", X_Request_Timeout="70").body == b"10.0"
    assert asked("/", X_Time_Left="soon", X_Request_Timeout="7").body == b"5.0"
    deaf = serve(lambda: lazyguard.remaining(), timeout_header=None)
    assert deaf("/", X_Request_Timeout="7").body == b"None"


def test_a_deadline_that_is_there_already_counts(serve, clock):
    """A request's deadline only shrinks an outer one, which is restored afterwards, also after an error."""

    def fails() -> None:
        raise LookupError(lazyguard.remaining())

    with lazyguard.deadline(3.0):
        assert serve(lambda: lazyguard.remaining())("/", X_Request_Timeout="7").body == b"3.0"
        with pytest.raises(LookupError, match="2.0"):
            serve(fails)("/", X_Request_Timeout="2")
        assert lazyguard.remaining() == 3.0
    assert lazyguard.remaining() is None


def test_a_deadline_ends_with_the_answer(serve, clock):
    """What a request has left running, in its context, has the deadline no more."""
    left_running: list[contextvars.Context] = []

    def work() -> float | None:
        left_running.append(contextvars.copy_context())
        return lazyguard.remaining()

    assert serve(work, timeout=2.0)("/").body == b"2.0"
    clock.advance(60.0)
    assert left_running[0].run(lazyguard.remaining) is None


def test_a_deadline_that_has_passed_says_whose_it_was(serve, clock):
    """The error has the seconds and their source."""

    def late() -> str:
        clock.advance(2.0)
        with pytest.raises(lazyguard.DeadlineExceeded) as raised:
            lazyguard.remaining()
        return str(raised.value)

    assert serve(late)("/", X_Request_Timeout="1.5").body == (
        b"the deadline of 1.5 s for this request has passed; its header allows no more."
    )


@pytest.mark.parametrize(
    "options",
    [
        {"prefix": "health"},
        {"prefix": "/health/"},
        {"prefix": "/"},
        {"prefix": None},
        {"details": 1},
        {"details": "place"},
        {"timeout_header": "X Time"},
        {"timeout_header": ""},
        {"timeout_header": 1},
        {"timeout": 0},
        {"max_timeout": -1.0},
    ],
)
def test_bad_options(serve, options):
    """Each bad option is refused by its name."""
    with pytest.raises(lazyguard.errors.ConfigurationError, match=next(iter(options))):
        serve(**options)


SECRETS = ("hunter2", "db.internal", "tenant-7")


def test_nothing_leaks(serve, program):
    """No answer has URLs, passwords, arguments or texts of exceptions, whatever has failed."""
    program(
        {
            "attaching/__init__.py": "import lazyguard\n__getattr__, __dir__, __all__ = "
            "lazyguard.attach(__name__, submod_attrs={'broken': ['name']})\n",
            "attaching/broken.py": "raise ValueError('postgresql://user:hunter2@db.internal/shop')",
        }
    )
    url = "postgresql://user:hunter2@db.internal/shop"
    error = ConnectionError(f"no answer from {url}")

    @lazyguard.service(recovery=None, critical=True)
    def get_database(address: str = url) -> list[int]:
        raise error from ValueError(url)

    @lazyguard.service(recovery=None, critical=True)
    def get_tenant(tenant: str, /, password: str) -> list[int]:
        raise error

    @get_tenant.fallback
    def _(cause: Exception, tenant: str, password: str) -> list[int]:
        raise error

    @lazyguard.service(recovery=None)
    def get_cache(*where: str) -> list[int]:
        raise error

    @get_cache.fallback
    def _(cause: Exception, *where: str) -> list[int]:
        return [1]

    @lazyguard.guarded(breaker=lazyguard.Breaker(failure_threshold=1))
    def call(address: str) -> None:
        raise error

    @lazyguard.lazy
    def engine() -> list[int]:
        raise error

    import attaching

    kept = [get_database(), get_tenant("tenant-7", "hunter2"), get_cache(url)]
    for each in kept:
        try:
            len(each)
        except lazyguard.LazyguardError:
            pass
    with pytest.raises(ConnectionError):
        call(url)
    with pytest.raises((ImportError, lazyguard.LazyguardError, ValueError)):
        attaching.name
    started = lazyguard.preload(engine, get_database)
    assert started.wait(timeout=60)
    assert started.failed == 2
    ask = serve()
    told = "".join(f"{ask(path).headers}{ask(path).body.decode()}" for path in PATHS)
    assert ask("/readyz").status == 503
    assert all(name in told for name in ("get_database", "get_tenant", "get_cache", "call", "attaching", "preload"))
    assert not [secret for secret in SECRETS if secret in told]


def test_importing_and_declaring_loads_no_framework():
    """Importing a middleware loads nothing but lazyguard."""
    lines = """
import sys, lazyguard
from lazyguard.integrations import asgi, wsgi
asgi.Middleware(print), wsgi.Middleware(print, prefix="/health")
dear = {"flask", "django", "starlette", "fastapi", "asyncio", "typing", "threading", "inspect", "logging", "json"}
print(sorted(dear & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-S", "-c", f"import sys; sys.path[:0] = {sys.path!r}{lines}"],
                          capture_output=True, text=True, timeout=60, check=True)  # fmt: skip
    assert done.stdout == "[]\n"
