"""The example with lazyguard works: real Redis, a real Celery worker (prefork), a real web server.

Everything is its own process, under a limit, and ends with the module.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

import pytest

SPOKEN = ("We ship the recorder on Friday.", "The recorder needs a battery.", "Lunch was fine.")
TEXT = " ".join(SPOKEN)
OFFLINE = "transcripts are not available"


@pytest.fixture(scope="module")
def running(make_redis, make_program):
    """Return the program with Redis, one worker and the web server running."""
    redis = make_redis()
    redis.start()
    program = make_program(redis.url)
    program.start_web()
    program.start_worker()
    return program


def record(program, recording: str) -> int:
    """Record a meeting through the web; its number."""
    status, text = program.request("/admin/meetings", {"title": "weekly", "recording": recording})
    assert status == 201, text
    return json.loads(text)["id"]


def meeting(program, number: int) -> dict[str, object]:
    return program.json(f"/admin/meetings/{number}")


def test_a_meeting_is_transcribed_and_summarised(running):
    """A task goes through the worker, then a shared_task that Flask calls first; both write to the database."""
    number = record(running, running.recording("weekly.vtt", *SPOKEN))
    running.wait(lambda: meeting(running, number)["status"] == "transcribed")
    assert meeting(running, number)["text"] == TEXT
    status, text = running.request(f"/admin/meetings/{number}/summary", method="POST")
    assert status == 202, text
    running.wait(lambda: meeting(running, number)["status"] == "summarised")
    assert meeting(running, number)["summary"] == TEXT
    status, document = running.request("/admin/export.csv")
    assert (status, document.splitlines()[0]) == (200, "id,title,recording,status,recorded_at,text,summary")
    assert TEXT in document
    assert running.request("/admin/meetings/9999")[0] == 404


def test_a_shared_task_called_first_from_flask_goes_to_our_broker(make_program, running):
    """In a new web process, on a thread that did not build the application, the shared_task finds its broker."""
    number = record(running, running.recording("shared.vtt", *SPOKEN))
    running.wait(lambda: meeting(running, number)["status"] == "transcribed")
    lines = f"""
import threading
from core.reports import summarise_meeting
found = []
thread = threading.Thread(target=lambda: found.append(summarise_meeting.delay({number}).get(timeout=30)))
thread.start(); thread.join()
print(found)
"""
    assert running.run(lines).strip() == repr([TEXT])


def test_a_group_ends_in_its_chord(running):
    """Several meetings are transcribed side by side, and their chord adds up what they came to."""
    numbers = []
    for at in range(3):
        recording = running.recording(f"group-{at}.vtt", *SPOKEN)
        lines = f"""
from core.database import transaction, session
from core.models import Meeting
with transaction():
    meeting = Meeting(title="group", recording={recording!r})
    session.add(meeting)
print(meeting.id)
"""
        numbers.append(int(running.run(lines)))
    lines = f"from core.tasks import transcribe_all\nprint(transcribe_all({numbers}).get(timeout=30))"
    assert running.run(lines).strip() == repr({"meetings": 3, "words": 3 * len(TEXT.split())})


def test_a_task_that_fails_is_tried_again(running):
    """A recording that is not there yet is tried again, told by the signal, and transcribed once it is there."""
    path = running.directory / "late.vtt"
    number = record(running, str(path))
    running.wait(lambda: "transcribe_meeting is tried again: TranscriptionFailed" in running.log("worker.log"))
    assert meeting(running, number)["text"] is None
    running.recording("late.vtt", *SPOKEN)
    running.wait(lambda: meeting(running, number)["text"] == TEXT)


def test_the_script_that_imports_models_writes_its_index(running):
    """core/rebuild_index.py imports the models by another name, in the same process as core, and works."""
    number = record(running, running.recording("index.vtt", "Antidisestablishmentarianism was discussed."))
    running.wait(lambda: meeting(running, number)["status"] == "transcribed")
    done = subprocess.run(
        [sys.executable, "-W", "error", "core/rebuild_index.py"],
        cwd=running.path,
        env={**running.env, "PYTHONPATH": os.pathsep.join([str(running.path), running.env["PYTHONPATH"]])},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=30.0,
    )
    assert done.returncode == 0, done.stderr
    with open(done.stdout.strip(), encoding="utf-8") as file:
        assert json.load(file)["antidisestablishmentarianism"] == [number]


def test_the_dashboard_shows_real_figures(running):
    """Ready, with the worker counted and the queue measured."""
    status = running.json("/api/status")
    assert status["status"] == "ready"
    assert status["workers"] == 1
    assert status["waiting"] == 0


def test_the_dashboard_lives_without_redis(make_redis, make_program):
    """Redis away at the start: 200, degraded, and saying why. Redis comes: ready, in the same process."""
    redis = make_redis()
    program = make_program(redis.url)
    web = program.start_web()
    health = program.json("/health")
    assert health["status"] == "degraded"
    assert {service["state"] for service in health["services"].values()} == {"degraded"}
    assert all("ConnectionError" in service["reason"] for service in health["services"].values())
    status = program.json("/api/status")
    assert (status["status"], status["waiting"], status["workers"]) == ("degraded", None, 0)
    redis.start()
    program.wait(lambda: program.json("/health")["status"] == "ready")
    assert web.poll() is None


def test_the_endpoints_for_whoever_runs_it(make_redis, make_program):
    """Alive, started and ready without Redis, with a warning; the program's own /health goes on beside them."""
    program = make_program(make_redis().url)
    program.start_web()
    program.wait(lambda: program.request("/startupz")[0] == 200)
    assert program.json("/livez") == {"status": "pass"}
    assert program.json("/readyz")["status"] == "warn", "nothing here is critical"
    health = program.json("/healthz")
    assert health["status"] == "warn"
    assert "core.services:get_queue_service" in health["checks"]
    assert "database" in health["checks"]
    assert "services" in program.json("/health")


def test_the_dashboard_lives_with_a_silent_redis(checks, make_program):
    """A Redis that accepts and never answers holds up the first request only as long as the services' time-outs."""
    with checks.silent_redis() as url:
        program = make_program(url)
        program.start_web()
        first = time.monotonic()
        assert program.json("/api/status")["status"] == "degraded"
        second = time.monotonic()
        assert program.json("/health")["status"] == "degraded"
        third = time.monotonic()
        program.end()
    assert second - first < 4 * 2.0 + 5.0
    assert third - second < 1.5, "what is degraded is not waited for again"


def test_a_service_degrades_when_redis_dies_and_recovers(make_redis, make_program):
    """Redis is killed after the services were built: the web serves fallbacks, takes no meeting, and comes back."""
    redis = make_redis()
    redis.start()
    program = make_program(redis.url)
    program.start_web()
    recording = program.recording("weekly.vtt", *SPOKEN)
    number = record(program, recording)
    assert program.json("/health")["status"] == "ready"
    redis.stop()
    for _ in range(3):  # as many failing calls as open the breaker
        assert program.json("/health")["status"] == "degraded"
    assert OFFLINE in program.json(f"/admin/meetings/{number}/preview")["text"]
    status, text = program.request("/admin/meetings", {"title": "lost?", "recording": recording})
    assert status == 503, "a meeting that cannot be queued is not passed over in silence"
    assert "error" in json.loads(text)
    redis.start()
    program.wait(lambda: program.json("/health")["status"] == "ready")
    assert program.json(f"/admin/meetings/{number}/preview")["text"] == TEXT


def test_the_closed_queue_swallows_nothing(make_redis, make_program):
    """Without Redis the queue admits to being a fallback, and raises at every use."""
    lines = """
import lazyguard
from core.services import queue_service
for use in (lambda: queue_service.put(1), lambda: queue_service.take(), lambda: queue_service.size()):
    try:
        print(use())
    except Exception as error:
        print(type(error).__name__, lazyguard.is_fallback(queue_service))
"""
    assert make_program(make_redis().url).run(lines).split("\n")[:3] == ["QueueUnavailable True"] * 3


def test_a_task_that_met_a_fallback_is_retried(make_redis, make_program):
    """The broker lives, the services' Redis does not: the task is retried, not acknowledged."""
    broker, redis = make_redis(), make_redis()
    broker.start()
    program = make_program(redis.url, broker_url=broker.url)
    program.start_worker()
    recording = program.recording("weekly.vtt", *SPOKEN)
    lines = f"""
from core.database import init_db, transaction, session
from core.models import Meeting
from core.tasks import transcribe_meeting
init_db()
with transaction():
    meeting = Meeting(title="weekly", recording={recording!r})
    session.add(meeting)
transcribe_meeting.delay(meeting.id)
"""
    program.run(lines)
    program.wait(lambda: "transcribe_meeting is tried again: ServiceUnavailable" in program.log("worker.log"))
    show = "from core.models import Meeting; print([(m.status, m.to_dict()['text']) for m in Meeting.all()])"
    assert program.run(show).strip() == repr([("recorded", None)])
    redis.start()
    program.wait(lambda: "transcribed" in program.run(show))
    assert program.run(show).strip() == repr([("transcribed", TEXT)])
    assert OFFLINE not in program.log("worker.log")


PRELOAD = """
import lazyguard
from core import wsgi
assert wsgi.preloaded.wait(30), wsgi.preloaded
assert not wsgi.preloaded.errors, wsgi.preloaded.errors
built = (wsgi.get_transcription_service, wsgi.get_summary_service, wsgi.get_queue_service, wsgi.dashboard)
print(all(map(lazyguard.is_resolved, built)), *sorted({get.health().state for get in built[:3]}))
"""


def test_the_wsgi_module_preloads(running, checks, make_program):
    """What requests need is built in the background; with a silent Redis its fallbacks, and nothing fails."""
    assert running.run(PRELOAD) == "True ready\n"
    with checks.silent_redis() as url:
        assert make_program(url).run(PRELOAD) == "True degraded\n"
