"""The dashboard: one page that says how the program is, and the web application around it."""

import logging

from flask import Flask, jsonify
from flask_socketio import SocketIO

from core.admin_ui import blueprint
from core.config import config
from core.database import init_db, transaction
from core.exceptions import error_counter
from core.models import Meeting
from core.services import MeetingQueue, SummaryService, TranscriptionService
from core.tasks import app as celery_app

logger = logging.getLogger(__name__)

socketio = SocketIO()


class IntegratedDashboard:
    """Knows every service and asks each how it is."""

    def __init__(self):
        self.services = {
            "transcription": TranscriptionService(config.redis_url, config.speech_url),
            "summary": SummaryService(config.redis_url, config.summary_sentences),
            "queue": MeetingQueue(config.redis_url, config.queue_limit),
        }
        self.workers = len(celery_app.control.inspect(timeout=1.0).ping() or {})

    def health(self):
        """ready or degraded, and why."""
        services = {}
        for name, service in self.services.items():
            try:
                service.ping()
                services[name] = {"state": "ready"}
            except Exception as error:
                services[name] = {"state": "degraded", "reason": type(error).__name__}
        ready = all(service["state"] == "ready" for service in services.values())
        return {"status": "ready" if ready else "degraded", "services": services}

    def status(self):
        """What the page shows: health, and the figures of the day."""
        with transaction():
            meetings = len(Meeting.all())
        return {
            **self.health(),
            "meetings": meetings,
            "waiting": self.services["queue"].size(),
            "workers": self.workers,
            "errors": error_counter.totals(),
        }


def create_app():
    """The web application: the admins' pages, /health and /api/status, and the same pushed to those who listen."""
    init_db()
    web = Flask("mediahost")
    web.register_blueprint(blueprint)

    @web.get("/health")
    def health():
        return jsonify(dashboard.health())

    @web.get("/api/status")
    def status():
        return jsonify(dashboard.status())

    socketio.init_app(web)

    @socketio.on("status")
    def push_status():
        socketio.emit("status", dashboard.status())

    return web


dashboard = IntegratedDashboard()
app = create_app()
