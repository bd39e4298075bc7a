"""The Celery application and the tasks that work on meetings."""

from __future__ import annotations

import lazyguard
from lazyguard.integrations.celery import lazy_celery

with lazyguard.lazy_imports():
    import logging

    from celery import chord, group

    from core.database import transaction
    from core.exceptions import error_counter
    from core.models import Meeting, Transcript
    from core.services import queue_service, transcription_service

TYPE_CHECKING = False
if TYPE_CHECKING:
    from celery import Celery, Task


def configure(app: Celery) -> None:
    from core.config import config

    app.conf.update(
        broker_url=config.broker_url,
        result_backend=config.broker_url,
        task_acks_late=True,
        task_track_started=True,
        result_expires=3600,
        worker_prefetch_multiplier=1,
        broker_connection_retry_on_startup=True,
    )
    app.conf.beat_schedule = {
        "drain-queue": {"task": "core.tasks.drain_queue", "schedule": 30.0},
        "count-statuses": {"task": "core.reports.count_statuses", "schedule": 300.0},
    }


# What sends a task, or asks workers, waits for the broker two seconds, or as long as the request's deadline lets it.
app = lazy_celery(
    "mediahost", configure=configure, timeout=2.0, include=["core.reports"], task_cls="core.tasks:MeetingTask"
)


@lazyguard.lazy_attribute
def MeetingTask() -> type[Task]:
    from celery import Task

    from core.exceptions import RETRYABLE

    class MeetingTask(Task):
        """What all tasks here share: another try after a passing error, and a count of those that do not pass."""

        abstract = True
        autoretry_for = RETRYABLE
        max_retries = 5
        retry_backoff = 1
        retry_backoff_max = 60

        def on_failure(self, exc, task_id, args, kwargs, einfo):
            with lazyguard.fallbacks("allow"):
                error_counter.count(exc)

    return MeetingTask


def log_retry(sender=None, reason=None, **kwargs):
    logging.getLogger(__name__).info("%s is tried again: %s", sender.name, type(reason.exc).__name__)


@lazyguard.when_imported("celery.signals")
def connect_signals(signals):
    signals.task_retry.connect(log_retry)


@app.on_after_finalize.connect
def schedule_requeue(sender, **kwargs):
    sender.add_periodic_task(3600.0, requeue.s(), name="requeue")


@app.task(name="core.tasks.transcribe_meeting")
def transcribe_meeting(meeting_id):
    """Transcribe one meeting and keep the text."""
    with transaction():
        meeting = Meeting.get(meeting_id)
        text = transcription_service.transcribe(meeting.recording)
        if meeting.transcript is None:
            meeting.transcript = Transcript(text=text)
        else:
            meeting.transcript.text = text
        meeting.status = "transcribed"
        return {"meeting": meeting_id, "words": len(text.split())}


@app.task(name="core.tasks.add_up")
def add_up(results):
    """What a batch came to: the end of a chord."""
    return {"meetings": len(results), "words": sum(result["words"] for result in results)}


@app.task(name="core.tasks.drain_queue")
def drain_queue(count=10):
    """Take what waits in the queue and transcribe it side by side."""
    waiting = queue_service.take(count)
    if waiting:
        transcribe_all(waiting)
    return waiting


@app.task(name="core.tasks.requeue")
def requeue():
    """Queue what was recorded while the queue was away."""
    with transaction():
        recorded = [meeting.id for meeting in Meeting.all() if meeting.status == "recorded"]
    for meeting_id in recorded:
        queue_service.put(meeting_id)
    return recorded


def transcribe_all(meeting_ids):
    """Transcribe these meetings side by side; the result is what they come to."""
    return chord(group(transcribe_meeting.s(meeting_id) for meeting_id in meeting_ids))(add_up.s())
