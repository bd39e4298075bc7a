"""Which files are first-party, and the times that are noted."""

from __future__ import annotations

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
