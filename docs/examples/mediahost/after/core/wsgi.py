"""What the WSGI server is pointed at: `core.wsgi:application`."""

import lazyguard
from core.monitoring.integrated_dashboard import app

application = lazyguard.resolve(app)

__all__ = ["application"]
