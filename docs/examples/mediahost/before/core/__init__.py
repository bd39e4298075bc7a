"""mediahost: meetings are recorded, transcribed and summarised."""

from core.exceptions import MediaHostError, MeetingNotFound, QueueUnavailable, TranscriptionFailed
from core.tasks import app as celery_app
from core.services import queue_service, summary_service, transcription_service
from core.models import Meeting, Transcript, record_meeting

__all__ = [
    "MediaHostError",
    "MeetingNotFound",
    "QueueUnavailable",
    "TranscriptionFailed",
    "celery_app",
    "queue_service",
    "summary_service",
    "transcription_service",
    "Meeting",
    "Transcript",
    "record_meeting",
]
