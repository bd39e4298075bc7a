"""What the WSGI server is pointed at: `core.wsgi:application`."""

from core.monitoring.integrated_dashboard import app as application

__all__ = ["application"]
