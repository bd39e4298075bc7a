"""What the WSGI server is pointed at: `core.wsgi:application`. What requests need is built while it comes up."""

import lazyguard
from core.monitoring.integrated_dashboard import app, dashboard
from core.services import get_queue_service, get_summary_service, get_transcription_service
from lazyguard.integrations.wsgi import Middleware

# /livez, /readyz, /startupz and /healthz beside the program's own pages; X-Request-Timeout is a request's deadline
application = Middleware(lazyguard.resolve(app), timeout_header="X-Request-Timeout", max_timeout=30.0)
preloaded = lazyguard.preload(
    *("redis", "requests"),  # first, so that the timeouts of the services are for their servers alone
    *(get_transcription_service, get_summary_service, get_queue_service),
    *(dashboard, "core.tasks:app", "pandas"),
)

__all__ = ["application"]
