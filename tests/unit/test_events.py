"""Events: one a transition, after the fact, and never an exception's text."""

from __future__ import annotations

import logging
import sys

import pytest

import lazyguard
from lazyguard import events
from lazyguard._core import cell as cells


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
    """The begin and the end of an override are an event each."""
    with lazyguard.override(lazyguard.lazy(list), "a fake"):
        pass
    assert [event.kind for event in seen] == ["overridden", "overridden"]


def test_no_secret(seen, caplog):
    """An event and the log tell the type and the place of an exception, never what it says."""
    with pytest.raises(lazyguard.ResolutionError):
        len(lazyguard.lazy(fail))
    (event,) = seen
    assert event.cause.startswith(f"ConnectionError at {__file__}:")
    told = f"{event!r} {event.cause} {caplog.text}"
    assert "ConnectionError" in caplog.text
    assert "secret" not in told


def test_after_the_fact_and_without_a_lock():
    """A listener sees the object that the event tells of, and holds up nobody: no lock is held meanwhile."""
    states = []
    numbers = lazyguard.lazy(lambda: [1], name="numbers")

    def listener(event):
        states.append((lazyguard.is_resolved(numbers), numbers == [1]))
        assert cells.lock.acquire(blocking=False)
        cells.lock.release()

    undo = lazyguard.subscribe(listener)
    assert len(numbers) == 1
    undo()
    assert states == [(True, True)]


def test_a_listener_that_raises(seen, caplog):
    """What a listener raises is written to the log by its type, and reaches neither the others nor the user."""

    def broken(event):
        raise KeyError("secret")

    undo = lazyguard.subscribe(broken)
    assert len(lazyguard.lazy(lambda: [1])) == 1
    undo()
    assert "raised KeyError at" in caplog.text
    assert "secret" not in caplog.text
    assert len(seen) == 1


def test_subscribed_twice(seen):
    """A function subscribed twice hears twice; each undo ends one, and undoing again ends no other."""
    heard = []
    first, second = lazyguard.subscribe(heard.append), lazyguard.subscribe(heard.append)
    event = events.Event("ready", name="n", place="p", before="a", after="b", generation=0)
    events.emit(event)
    first()
    first()
    events.emit(event)
    second()
    events.emit(event)
    assert len(heard) == 3


def test_subscribe_something_else():
    """What cannot be called is refused where it is given."""
    with pytest.raises(lazyguard.errors.UsageError, match="takes a function of one event, not one of type int"):
        lazyguard.subscribe(5)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("kind", "level"), [("degraded", logging.WARNING), ("recovered", logging.INFO), ("ready", logging.DEBUG)]
)
def test_the_log(kind, level, caplog):
    """The default listener writes one line an event, on a level that fits it."""
    with caplog.at_level(logging.DEBUG, logger="lazyguard"):
        events.emit(
            events.Event(kind, name=kind, place="f.py:3", before="x", after="y", generation=0, cause="OSError at g:1")
        )
    assert [(record.levelno, record.getMessage()) for record in caplog.records] == [
        (level, f"{kind} is y ({kind}, OSError at g:1), declared at f.py:3")
    ]


def test_describe_without_a_traceback():
    """An exception that was never raised is told by its type; none is told by nothing."""

    class OwnError(Exception):
        pass

    assert events.describe(None) == ""
    assert events.describe(ValueError("secret")) == "ValueError"
    assert events.describe(OwnError()).endswith("OwnError")


def test_threads_that_subscribe_at_once(race, monkeypatch):
    """Each listener is there until its own end, whatever others begin and end meanwhile."""
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
