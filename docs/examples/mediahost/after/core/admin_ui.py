"""The admins' pages: record, look at, summarise and export meetings."""

from __future__ import annotations

import lazyguard
from core.exceptions import MeetingNotFound, QueueUnavailable

with lazyguard.lazy_imports():
    from flask import Response, jsonify, request

    from core.database import transaction
    from core.models import Meeting, record_meeting
    from core.services import export, queue_service, transcription_service

TYPE_CHECKING = False
if TYPE_CHECKING:
    from flask import Blueprint


@lazyguard.lazy(record=("errorhandler", "get", "post"))
def blueprint() -> Blueprint:
    from flask import Blueprint

    return Blueprint("admin", __name__, url_prefix="/admin")


@blueprint.errorhandler(MeetingNotFound)
@blueprint.errorhandler(QueueUnavailable)
def say_error(error):
    return jsonify(error=str(error)), error.status


@blueprint.get("/meetings")
def list_meetings():
    with transaction():
        return jsonify([meeting.to_dict() for meeting in Meeting.all()])


@blueprint.post("/meetings")
def add_meeting():
    form = request.get_json()
    meeting_id = record_meeting(form["title"], form["recording"])
    return jsonify(id=meeting_id, waiting=queue_service.size()), 201


@blueprint.get("/meetings/<int:meeting_id>")
def show_meeting(meeting_id):
    with transaction():
        return jsonify(Meeting.get(meeting_id).to_dict())


@blueprint.get("/meetings/<int:meeting_id>/preview")
def preview_meeting(meeting_id):
    with transaction():
        meeting = Meeting.get(meeting_id)
    return jsonify(text=preview(meeting.recording))


@lazyguard.guarded()
def preview(recording):
    return transcription_service.transcribe(recording)[:200]


@preview.fallback
def _no_preview(recording):
    # For the call that finds out that Redis is away. The service's own fallback answers those after it.
    return "(no preview at the moment)"


@blueprint.post("/meetings/<int:meeting_id>/summary")
def ask_for_summary(meeting_id):
    from core.reports import summarise_meeting

    with transaction():
        Meeting.get(meeting_id)
    return jsonify(task=summarise_meeting.delay(meeting_id).id), 202


@blueprint.get("/export.<format>")
def export_meetings(format):
    with transaction():
        document = export(format)
    return Response(document, mimetype="application/json" if format == "json" else "text/csv")
