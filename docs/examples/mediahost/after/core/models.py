"""Meetings and their transcripts, as they lie in the database."""

from __future__ import annotations

from datetime import datetime, timezone

from sqlalchemy import ForeignKey, select
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from core.database import session, transaction
from core.exceptions import MeetingNotFound
from core.services import queue_service


class Base(DeclarativeBase):
    pass


def _now() -> datetime:
    return datetime.now(timezone.utc)


class Meeting(Base):
    __tablename__ = "meetings"

    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str]
    recording: Mapped[str]
    status: Mapped[str] = mapped_column(default="recorded")
    recorded_at: Mapped[datetime] = mapped_column(default=_now)
    transcript: Mapped[Transcript | None] = relationship(back_populates="meeting")

    @classmethod
    def get(cls, meeting_id: int) -> Meeting:
        """The meeting with this number, or MeetingNotFound."""
        meeting = session.get(cls, meeting_id)
        if meeting is None:
            raise MeetingNotFound(meeting_id)
        return meeting

    @classmethod
    def all(cls) -> list[Meeting]:
        return list(session.scalars(select(cls).order_by(cls.id)))

    def to_dict(self) -> dict[str, object]:
        return {
            "id": self.id,
            "title": self.title,
            "recording": self.recording,
            "status": self.status,
            "recorded_at": self.recorded_at.isoformat(),
            "text": self.transcript.text if self.transcript else None,
            "summary": self.transcript.summary if self.transcript else None,
        }


class Transcript(Base):
    __tablename__ = "transcripts"

    id: Mapped[int] = mapped_column(primary_key=True)
    meeting_id: Mapped[int] = mapped_column(ForeignKey("meetings.id"), unique=True)
    text: Mapped[str]
    summary: Mapped[str | None]
    meeting: Mapped[Meeting] = relationship(back_populates="transcript")


def record_meeting(title: str, recording: str) -> int:
    """Write the meeting down and queue it for transcription; its number.

    Without the queue the meeting is kept all the same, for core.tasks.requeue, and the caller is told.
    """
    with transaction():
        meeting = Meeting(title=title, recording=recording)
        session.add(meeting)
    queue_service.put(meeting.id)
    return meeting.id
