"""Which files are first-party, and the times that are noted."""

from __future__ import annotations

import _thread
import itertools
import threading
from typing import Any

import pytest

from lazyguard.audit.target import process_state, recorder
from lazyguard.audit.target.recorder import is_first_party


@pytest.mark.parametrize(
    ("file", "owned"),
    [
        ("/app/core/tasks.py", True),
        ("/app/core/.venv/lib/python3.11/site-packages/redis/client.py", False),
        ("/app/corex/tasks.py", False),
        ("/app/single.py", True),
        ("/app/single.py.bak", False),
        ("<string>", False),
    ],
)
def test_first_party_is_what_lies_below_a_root(file: str, owned: bool) -> None:
    """Files of the audited packages are first-party; what is installed below them is not."""
    assert is_first_party(file, ("/app/core/", "/app/single.py")) is owned


def test_a_root_in_site_packages_is_first_party() -> None:
    """An installed package can be the target itself."""
    assert is_first_party("/v/site-packages/celery/app.py", ("/v/site-packages/celery/",))


class Notes:
    """A stream that keeps what is noted."""

    process = 0

    def __init__(self) -> None:
        self.times: list[float] = []

    def note(self, kind: str, at: float, *fields: Any) -> None:
        self.times.append(at)


def test_a_directory_that_is_on_the_path_already_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Celery's fixup for Django puts the first entry first once more; another order is a change."""
    monkeypatch.setattr("sys.path", ["/app", "/lib"])
    before = process_state.state()["sys.path"]
    monkeypatch.setattr("sys.path", ["/app", "/app", "/lib", "/app"])
    assert process_state.state()["sys.path"] == before
    monkeypatch.setattr("sys.path", ["/lib", "/app", "/lib"])
    assert process_state.state()["sys.path"] != before


def test_no_time_that_is_noted_lies_before_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """Recording takes time on several threads at once: what the others spend is taken off no time of the import."""
    ticks = itertools.count()
    monkeypatch.setattr(recorder, "process_state", process_state, raising=False)  # as a child loads them
    monkeypatch.setattr(recorder, "_clock", lambda: float(next(ticks)))
    notes = Notes()
    recording = recorder.Recorder(notes, ())  # type: ignore[arg-type]
    recording.begin("setup", None, None)
    recording.end("setup", False)
    started = recording.now()
    assert max(notes.times) < started

    def beside() -> None:
        for _ in range(50):
            recording.begin("other", None, None)
            recording.end("other", False)

    threads = [threading.Thread(target=beside) for _ in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    recording.begin("core", None, None)
    recording.effect("connect", "127.0.0.1:6379", None)
    recording.end("core", False)
    assert min(notes.times[2:]) >= started
    assert notes.times[-3:] == sorted(notes.times[-3:])


def test_what_is_recorded_amid_recording_counts_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A look at the process may itself be an act that is recorded; a machine that is busy then stops the clock once."""
    time = [100.0]
    monkeypatch.setattr(recorder, "process_state", process_state, raising=False)
    monkeypatch.setattr(recorder, "_clock", lambda: time[0])
    notes = Notes()
    recording = recorder.Recorder(notes, ())  # type: ignore[arg-type]
    started = recording.now()

    def begin(file: str | None) -> None:
        recording.effect("sleep", "busy", None)
        time[0] += 5.0
        recording.effect("sleep", "busy", None)

    def places(*_: object) -> list[None]:
        time[0] += 1.0
        return [None] * 6

    monkeypatch.setattr(recording.watch, "begin", begin)
    monkeypatch.setattr(recording, "places", places)
    recording.begin("core", None, None)
    assert (recording.now(), recording.spent) == (started, 8.0)
    time[0] += 2.0
    recording.effect("sleep", "own", None)
    assert min(notes.times) >= started
    assert (notes.times[-1], recording.now()) == (started + 2.0, started + 2.0)


def test_a_thread_may_begin_with_a_sleep(monkeypatch: pytest.MonkeyPatch) -> None:
    """No frame is above it then: it is reported all the same, and the thread sleeps."""
    reported: list[Any] = []
    slept = threading.Event()
    monkeypatch.setattr(recorder.Sleep, "hook", lambda *event: reported.append(event))
    monkeypatch.setattr(recorder, "_sleep", lambda _: slept.set())
    _thread.start_new_thread(recorder.Sleep(), (3600,))
    assert slept.wait(60)
    assert reported == [("time.sleep", (3600,), None)]
