"""Tasks that do not care which Celery application runs them."""

from collections import Counter

from celery import shared_task

from core.database import transaction
from core.exceptions import TranscriptionFailed
from core.models import Meeting
from core.services import summary_service


@shared_task
def summarise_meeting(meeting_id):
    """Summarise a meeting that has a transcript."""
    with transaction():
        meeting = Meeting.get(meeting_id)
        if meeting.transcript is None:
            raise TranscriptionFailed(f"meeting {meeting_id} has no transcript yet")
        meeting.transcript.summary = summary_service.summarise(meeting.transcript.text)
        meeting.status = "summarised"
        return meeting.transcript.summary


@shared_task
def count_statuses():
    """How many meetings are recorded, transcribed, summarised."""
    with transaction():
        return dict(Counter(meeting.status for meeting in Meeting.all()))
