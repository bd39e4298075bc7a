"""Mailboxes: each listener has the events of one thing in order, whoever posts them and whatever else it is told."""

from __future__ import annotations

import sys
import threading
import time
from collections import defaultdict
from contextvars import Context
from functools import wraps

import pytest

import lazyguard
from lazyguard import events
from lazyguard._base import mailbox as mailboxes
from lazyguard._core import scheduler
from lazyguard._core.cell import Cell

pytestmark = pytest.mark.usefixtures("limited")


@pytest.fixture
def listen(monkeypatch):
    """Subscribe to events of these tests alone, without the log; the listeners are gone after the test."""
    monkeypatch.setattr(events, "_mailboxes", {})

    def subscribed(listener):
        # on a busy machine the scheduler tells that it is late, and what other tests have left goes on
        wanted = wraps(listener)(lambda one: listener(one) if one.name in ("n", "c") else None)
        return lazyguard.subscribe(wanted)

    return subscribed


def event(kind: str = "ready", number: int = 0) -> events.Event:
    return events.Event(kind=kind, name="n", place="p", before="a", after="b", generation=number)


def later(work, *arguments) -> None:
    """Do it as scheduled work does."""
    scheduler.background().run(work, *arguments)


def test_what_a_caller_does_is_told_on_its_thread(listen, race):
    """Of each caller on its own, however many there are, and of what they do with one cell in order."""
    seen = []
    listen(lambda one: seen.append((one.generation, threading.get_ident())))

    def work(source: int):
        def emit() -> int:
            for number in range(200):
                events.emit(event(number=source * 1000 + number), of=source)
            return threading.get_ident()

        return emit

    threads = race(*[work(source) for source in range(1, 5)])
    for source, thread in enumerate(threads, start=1):
        assert [who for who in seen if who[0] // 1000 == source] == [(source * 1000 + n, thread) for n in range(200)]


def post(one: events.Event, of: int) -> None:
    """Put an event where `deliver` finds it, as a transition does."""
    letters = events.addressed(one, of)
    any(events.putting(letters))
    events.posted(letters)


@pytest.mark.parametrize("slow", [False, True])
def test_the_order_of_a_cell_holds_whoever_posts(listen, race, eventually, slow):
    """Callers and scheduled work that tell of one cell: each listener hears all of it, in the order of posting."""
    posted: dict[int, list[int]] = defaultdict(list)
    heard = [defaultdict(list), defaultdict(list)]
    order = threading.Lock()

    def listener(into):
        def hear(one: events.Event) -> None:
            if slow and one.generation % 50 == 0:
                time.sleep(0.01)
            into[one.generation // 10_000].append(one.generation)

        return hear

    for into in heard:
        listen(listener(into))

    def work(first: int):
        def emit() -> None:
            for number in range(first, first + 150):
                for source in (1, 2, 3):
                    with order:
                        (later if number % 2 else Context().run)(post, event(number=source * 10_000 + number), source)
                        posted[source].append(source * 10_000 + number)
                    events.deliver()

        return emit

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        assert race(*[work(first) for first in (0, 200, 400)]) == [None] * 3
    finally:
        sys.setswitchinterval(before)
    eventually(lambda: all(len(into[source]) == 450 for into in heard for source in (1, 2, 3)))
    assert heard == [posted, posted]


def test_a_listener_that_blocks_holds_up_no_other(listen, eventually):
    """What scheduled work emits reaches the others within a second or two; and the blocked one when it goes on."""
    gate, blocked, heard = threading.Event(), [], []

    def block(one: events.Event) -> None:
        if one.generation == 0:
            gate.wait()
        blocked.append(one.generation)

    listen(block)
    listen(lambda one: heard.append(one.generation))
    for number in range(10):
        later(events.emit, event(number=number), 1)
    eventually(lambda: heard == list(range(10)))
    assert not blocked
    assert sum(thread.name == "lazyguard events" for thread in threading.enumerate()) <= 2
    gate.set()
    eventually(lambda: blocked == list(range(10)))


def test_a_caller_that_a_listener_holds_keeps_no_event_from_others(listen, eventually):
    """Where one listener blocks a caller's own thread, the next one hears of it with what is scheduled."""
    gate, heard = threading.Event(), []
    listen(lambda one: gate.wait() if one.generation == 0 else None)
    listen(lambda one: heard.append(one.generation))
    caller = threading.Thread(target=events.emit, args=(event(number=0), 1), daemon=True)
    caller.start()
    eventually(lambda: events.mailboxes()[0]._telling)
    later(events.emit, event(number=1), 1)
    eventually(lambda: heard == [0, 1])
    gate.set()
    caller.join(20)


def test_no_more_wait_than_there_is_room_for(listen, eventually):
    """Reminders go first, then the oldest; the next event says how many were lost."""
    gate, heard = threading.Event(), []

    def listener(one: events.Event) -> None:
        gate.wait()
        heard.append(one)

    listen(listener)
    later(events.emit, event(number=0), 1)
    eventually(lambda: not events.mailboxes()[0].waiting)  # it is being told of the first one
    for number in range(1, mailboxes.MOST + 1):
        later(events.emit, event("reminder" if number % 10 == 0 else "ready", number), 1)
    for number in range(mailboxes.MOST + 1, mailboxes.MOST + 101):
        later(events.emit, event(number=number), 1)
    for number in range(2000, 2005):
        later(events.emit, event(number=number), 1)
        later(events.emit, event("reminder", number), 1)
    assert len(events.mailboxes()[0].waiting) == mailboxes.MOST
    gate.set()
    eventually(lambda: len(heard) == mailboxes.MOST + 1)
    assert "reminder" not in [one.kind for one in heard]
    assert [one.lost for one in heard[:3]] == [0, 110, 0]
    assert [one.generation for one in heard[:3]] == [0, 6, 7]
    assert heard[-1].generation == 2004


def test_what_a_listener_sets_off_follows_what_it_is_told(listen):
    """An event that comes of an event is told after it, to all, on the same thread."""
    heard = []
    cell = Cell(lambda: [1], name="c", place="p")

    def resets(one: events.Event) -> None:
        if one.kind == "ready" and one.generation == 0:
            cell.reset()
        heard.append((1, one.kind, threading.get_ident()))

    listen(resets)
    listen(lambda one: heard.append((2, one.kind, threading.get_ident())))
    cell.resolve()
    here = threading.get_ident()
    for listener in (1, 2):
        told = [one[1:] for one in heard if one[0] == listener]
        assert told == [("ready", here), ("reset", here), ("ready", here)]


@pytest.mark.parametrize("raised", [SystemExit, KeyboardInterrupt, GeneratorExit])
def test_a_programs_exit_passes_when_all_is_done(listen, raised):
    """What is no Exception comes out of the caller's call, after all listeners were told."""
    heard = []

    def leave(_: events.Event) -> None:
        raise raised

    listen(leave)
    listen(heard.append)
    cell = Cell(lambda: [1], name="c", place="p")
    with pytest.raises(raised):
        cell.resolve()
    assert [one.kind for one in heard] == ["ready"]
    assert cell.now.state == "ready"
    assert cell.resolve() == [1]


@pytest.mark.parametrize("raised", [ValueError, SystemExit, KeyboardInterrupt])
def test_what_scheduled_work_is_told_of_raises_nowhere(listen, eventually, caplog, raised):
    """It is said once; the others are told, and so is the one that raises, the next time."""
    heard, tries = [], []

    def broken(_: events.Event) -> None:
        tries.append(1)
        raise raised("secret")

    listen(broken)
    listen(heard.append)
    for number in range(3):
        later(events.emit, event(number=number), 1)
    eventually(lambda: len(heard) == len(tries) == 3)
    assert caplog.text.count(f"raised {raised.__name__}") == 1
    assert "secret" not in caplog.text


def test_who_listens_no_more_is_told_nothing_more(listen, eventually):
    """What waited for it is dropped."""
    gate, heard = threading.Event(), []
    undo = listen(lambda one: (gate.wait(), heard.append(one.generation)))
    for number in range(3):
        later(events.emit, event(number=number), 1)
    eventually(lambda: len(events.mailboxes()[0].waiting) == 2)
    undo()
    gate.set()
    eventually(lambda: heard == [0])
    later(events.emit, event(number=9), 1)
    assert heard == [0]


def test_a_fork_loses_what_waits(listen, in_child, eventually):
    """In the child nothing is told that the parent has posted, and the next event is."""
    gate, heard = threading.Event(), []
    listen(lambda one: (gate.wait(), heard.append(one.generation)))
    later(events.emit, event(number=0), 1)
    later(events.emit, event(number=1), 1)
    eventually(lambda: events.mailboxes()[0]._telling)

    def child() -> None:
        gate.set()
        events.emit(event(number=2), of=1)
        later(events.emit, event(number=3), 1)
        eventually(lambda: heard == [2, 3])

    assert in_child(child) == 0
    gate.set()
    eventually(lambda: heard == [0, 1])


def test_an_interruption_anywhere_leaves_no_listener_deaf(listen):
    """Whatever a signal ends on its way to a listener, the next event of the same cell is told, after what is left."""
    heard = []
    listen(lambda one: heard.append(one.generation))
    ours = {mailboxes.__file__, events.__file__}
    at = raised_at = 0

    def trace(frame, what, _):
        nonlocal at
        if frame.f_code.co_filename not in ours:
            return None
        frame.f_trace_opcodes = True
        if what == "opcode":
            at += 1
            if at == raised_at:
                raise KeyboardInterrupt
        return trace

    sys._getframe().f_trace_opcodes = True  # 3.12 delivers them where that was asked for before tracing begins
    number = 0
    while at >= raised_at:
        at, raised_at = 0, raised_at + 1
        number += 2
        before = sys.gettrace()
        sys.settrace(trace)
        try:
            events.emit(event(number=number), of=1)
        except KeyboardInterrupt:
            pass
        finally:
            sys.settrace(before)
        events.emit(event(number=number + 1), of=1)
        assert heard[-1] == number + 1, f"deaf after an interruption at step {raised_at}"
    assert raised_at > 200
    assert heard == sorted(heard)


def test_a_look_that_was_lost_is_made_up_for(listen, eventually, monkeypatch):
    """Whoever was to look whether a listener hangs, and never came: the next event has one look again."""
    gate, heard = threading.Event(), []
    listen(lambda one: gate.wait() if one.generation == 0 else None)
    listen(lambda one: heard.append(one.generation))
    monkeypatch.setitem(scheduler._watching, scheduler._scheduler, time.monotonic() - 0.5)
    for number in (0, 1):
        later(events.emit, event(number=number), 1)
    eventually(lambda: heard == [0, 1])
    gate.set()
    eventually(lambda: not scheduler.teller.at_work)


def test_a_listener_that_blocks_since_a_time_that_has_not_come(listen, eventually):
    """What hangs is known by the machine's clock: a test's own may have been ahead when the listener was called."""
    begun, gate, heard = threading.Event(), threading.Event(), []
    listen(lambda one: begun.set() or gate.wait() if one.generation == 0 else None)
    listen(lambda one: heard.append(one.generation))
    with lazyguard.testing.FakeClock() as clock:
        clock.advance(1e6)
        later(events.emit, event(number=0), 1)
        assert begun.wait(20)
    later(events.emit, event(number=1), 1)
    eventually(lambda: heard == [0, 1])
    gate.set()
    eventually(lambda: not scheduler.teller.at_work)
