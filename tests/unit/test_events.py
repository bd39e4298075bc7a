"""Events: one a transition, after the fact, never with an exception's text."""

from __future__ import annotations

import logging
import sys
import threading

import pytest

import lazyguard
from lazyguard import events
from lazyguard._core import state


@pytest.fixture
def seen():
    """Collect the events of a test."""
    found = []
    undo = lazyguard.subscribe(found.append)
    yield found
    undo()


def fail() -> object:
    raise ConnectionError("redis://user:secret@host")


def test_one_event_a_transition(seen):
    """Building, resetting and building again are three events, with names, places, states and generations."""
    numbers = lazyguard.lazy(lambda: [1], name="numbers")
    numbers[0]
    numbers[0]
    lazyguard.reset(numbers)
    numbers[0]
    told = [(event.kind, event.name, event.before, event.after, event.generation) for event in seen]
    assert told == [
        ("ready", "numbers", "resolving", "ready", 0),
        ("reset", "numbers", "ready", "pending", 1),
        ("ready", "numbers", "resolving", "ready", 1),
    ]
    assert all(__file__ in event.place for event in seen)
    assert seen[0].seconds >= 0
    assert repr(seen[0]) == "<Event ready numbers resolving->ready generation=0>"


def test_override_is_told(seen):
    """The begin and the end of an override each emit an event."""
    with lazyguard.override(lazyguard.lazy(list), "a fake"):
        pass
    assert [event.kind for event in seen] == ["overridden", "overridden"]


def test_no_secret(seen, caplog):
    """An event and the log have the type and the place of an exception, never its text."""
    with pytest.raises(lazyguard.ResolutionError):
        len(lazyguard.lazy(fail))
    (event,) = seen
    assert event.cause.startswith(f"ConnectionError at {__file__}:")
    told = f"{event!r} {event.cause} {caplog.text}"
    assert "ConnectionError" in caplog.text
    assert "secret" not in told


def test_after_the_fact_and_without_a_lock():
    """A listener sees the object of the event, and runs without a lock."""
    states = []
    numbers = lazyguard.lazy(lambda: [1], name="numbers")

    def listener(event):
        states.append((lazyguard.is_resolved(numbers), numbers == [1]))
        assert state.lock.acquire(blocking=False)
        state.lock.release()

    undo = lazyguard.subscribe(listener)
    assert len(numbers) == 1
    undo()
    assert states == [(True, True)]


def test_a_listener_that_raises(seen, caplog):
    """An exception of a listener is logged by its type, and reaches neither other listeners nor the caller."""

    def broken(event):
        raise KeyError("secret")

    undo = lazyguard.subscribe(broken)
    assert len(lazyguard.lazy(lambda: [1])) == 1
    undo()
    assert "raised KeyError at" in caplog.text
    assert "secret" not in caplog.text
    assert len(seen) == 1


def test_subscribed_twice(seen):
    """A function that is subscribed twice is called twice; each undo ends one, and a second undo ends no other."""
    heard = []
    first, second = lazyguard.subscribe(heard.append), lazyguard.subscribe(heard.append)
    event = events.Event(kind="ready", name="n", place="p", before="a", after="b", generation=0)
    events.emit(event)
    first()
    first()
    events.emit(event)
    second()
    events.emit(event)
    assert len(heard) == 3


def test_subscribe_something_else():
    """A listener that cannot be called is refused."""
    with pytest.raises(lazyguard.errors.UsageError, match="takes a function of one event, not one of type int"):
        lazyguard.subscribe(5)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("kind", "level"), [("degraded", logging.WARNING), ("recovered", logging.INFO), ("ready", logging.DEBUG)]
)
def test_the_log(kind, level, caplog):
    """The default listener writes one line an event, on a level that fits it."""
    with caplog.at_level(logging.DEBUG, logger="lazyguard"):
        events.emit(events.Event(kind=kind, name=kind, place="f.py:3", before="x", after="y", cause="OSError at g:1"))
    assert [(record.levelno, record.getMessage()) for record in caplog.records] == [
        (level, f"{kind} is y ({kind}, OSError at g:1), declared at f.py:3")
    ]


def test_describe_without_a_traceback():
    """An exception that was never raised is described by its type; None by an empty text."""

    class OwnError(Exception):
        pass

    assert events.describe(None) == ""
    assert events.describe(ValueError("secret")) == "ValueError"
    assert events.describe(OwnError()).endswith("OwnError")


def test_threads_that_subscribe_at_once(race, monkeypatch):
    """Each listener stays until its own undo, whatever others begin and end meanwhile."""
    monkeypatch.setattr(events, "_mailboxes", {})
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)

    def come_and_go() -> None:
        for _ in range(2000):
            lazyguard.subscribe(print)()

    def stay() -> None:
        for _ in range(500):
            lazyguard.subscribe(repr)

    try:
        assert race(come_and_go, come_and_go, stay, stay) == [None] * 4
    finally:
        sys.setswitchinterval(before)
    assert [mailbox.listener for mailbox in events.mailboxes()] == [repr] * 1000


def test_the_log_of_a_night(caplog, clock):
    """One line that a service is away and one that it is back, at one level, with fields and a template of its kind."""
    up = []

    @lazyguard.service(name="db", recovery=lazyguard.Recovery(initial=1.0, maximum=1.0))
    def get_db() -> list:
        if not up:
            raise ConnectionError
        return [1]

    get_db.fallback(lambda: [0])
    back = threading.Event()
    undo = lazyguard.subscribe(lambda event: event.kind == "recovered" and back.set())
    assert get_db()[0] == 0
    clock.advance(90.0)
    up.append(1)
    while not back.wait(0.01):
        clock.advance(1.0)
    undo()
    away, again = [record for record in caplog.records if record.getMessage().startswith("db ")]
    assert (away.levelno, again.levelno) == (logging.WARNING, logging.WARNING)
    assert away.msg == "%s is degraded (%s), declared at %s"
    assert (away.event, away.service, away.state) == ("degraded", "db", "degraded")
    assert away.cause.startswith("ConnectionError at ")
    assert away.place.startswith(__file__)
    assert again.msg == "%s is ready again after %.1f s (recovered), declared at %s"
    assert (again.event, again.state, again.cause) == ("recovered", "ready", "")
    assert again.seconds >= 90.0
    assert again.getMessage().startswith("db is ready again after 9")


def test_the_log_of_a_service_without_a_fallback(caplog):
    """It failed, and is back when it was built."""
    up = []

    @lazyguard.lazy(name="settings")
    def settings() -> list:
        if not up:
            raise KeyError
        return [1]

    for _ in range(3):
        with pytest.raises(lazyguard.ResolutionError):
            len(settings)
    up.append(1)
    assert len(settings) == 1
    lines = [record.getMessage() for record in caplog.records if record.getMessage().startswith("settings ")]
    assert len(lines) == 2
    assert lines[0].startswith("settings is failed (KeyError at ")
    assert lines[1].startswith("settings is ready again after 0.")


def test_the_log_of_many_keys(caplog):
    """The keys of a service are one: one line when the first is away, and one when all are back."""
    up = []

    @lazyguard.service(name="tenants", recovery=None)
    def get_client(tenant: int) -> list:
        if not up:
            raise ConnectionError
        return [tenant]

    get_client.fallback(lambda cause, tenant: [])
    clients = [get_client(tenant) for tenant in range(5)]
    assert [len(client) for client in clients] == [0] * 5
    up.append(1)
    for tenant, client in enumerate(clients):
        assert len([record for record in caplog.records if record.getMessage().startswith("tenants ")]) == 1
        get_client.of(tenant).require_real()
        assert len(client) == 1
    lines = [record.getMessage() for record in caplog.records if record.getMessage().startswith("tenants ")]
    assert ["again after" in line for line in lines] == [False, True]


def test_a_log_handler_that_raises(capsys):
    """It is said once on stderr, and hurts no one."""
    calls = []

    class Full(logging.Handler):
        def handle(self, record) -> bool:
            calls.append(record)
            raise OSError("the disk is full of secrets")

    logger = logging.getLogger("lazyguard")
    handler = Full()
    logger.addHandler(handler)
    try:
        for number in range(3):
            event = events.Event(kind="stuck", name=f"a{number}", place="p", before="b", after="b", generation=0)
            events.emit(event)
    finally:
        logger.removeHandler(handler)
    said = capsys.readouterr().err
    assert len(calls) == 3
    assert said.count("listener lazyguard.events:log raised OSError at ") == 1
    assert "secrets" not in said
    events.mailboxes()[0].reported.clear()
