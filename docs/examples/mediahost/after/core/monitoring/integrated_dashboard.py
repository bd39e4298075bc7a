"""The dashboard: one page that says how the program is, and the web application around it."""

from __future__ import annotations

import lazyguard
from core.services import get_queue_service, get_summary_service, get_transcription_service

with lazyguard.lazy_imports():
    from flask import Flask, jsonify

    from core.admin_ui import blueprint
    from core.database import init_db, transaction
    from core.exceptions import error_counter
    from core.models import Meeting
    from core.tasks import app as celery_app

TYPE_CHECKING = False
if TYPE_CHECKING:
    from flask_socketio import SocketIO

flask_socketio = lazyguard.optional_import("flask_socketio", package="flask-socketio", why="to push the status")


@lazyguard.lazy
def socketio() -> SocketIO:
    return flask_socketio.SocketIO()


class IntegratedDashboard:
    """Knows every service and asks each how it is."""

    def __init__(self):
        self.services = {
            "transcription": get_transcription_service,
            "summary": get_summary_service,
            "queue": get_queue_service,
        }

    @property
    def workers(self):
        """How many workers answer within a second; nobody is asked while Redis is away."""
        if lazyguard.is_fallback(get_queue_service()):
            return 0
        return len(celery_app.control.inspect(timeout=1.0).ping() or {})

    def health(self):
        """ready or degraded, and why."""
        services = {}
        for name, service in self.services.items():
            try:
                service().ping()
                services[name] = {"state": service.health().state}
            except Exception as error:
                services[name] = {"state": "degraded", "reason": type(error).__name__}
            else:
                if lazyguard.is_fallback(service):
                    services[name]["reason"] = service.health().cause
        ready = all(service["state"] == "ready" for service in services.values())
        return {"status": "ready" if ready else "degraded", "services": services}

    def status(self):
        """What the page shows: health, and the figures of the day."""
        with transaction():
            meetings = len(Meeting.all())
        try:
            waiting = get_queue_service().size()
        except Exception:
            waiting = None
        return {
            **self.health(),
            "meetings": meetings,
            "waiting": waiting,
            "workers": self.workers,
            "errors": error_counter.totals(),
        }


def create_app():
    """The web application: the admins' pages, /health and /api/status, and the same pushed to those who listen."""
    init_db()
    web = Flask("mediahost")
    web.register_blueprint(lazyguard.resolve(blueprint))

    @web.get("/health")
    def health():
        return jsonify(dashboard.health())

    @web.get("/api/status")
    def status():
        return jsonify(dashboard.status())

    if flask_socketio:
        socketio.init_app(web)

        @socketio.on("status")
        def push_status():
            socketio.emit("status", dashboard.status())

    return web


@lazyguard.lazy
def dashboard() -> IntegratedDashboard:
    return IntegratedDashboard()


@lazyguard.lazy
def app() -> Flask:
    return create_app()
