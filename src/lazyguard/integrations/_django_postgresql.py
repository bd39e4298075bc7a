"""The database backend of `lazyguard.integrations.django_postgresql`: waits for PostgreSQL that keep the deadline.

Invariant: without a deadline everything is Django's own.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db.backends.postgresql import base


class DatabaseWrapper(base.DatabaseWrapper):  # type: ignore[misc, unused-ignore]
    """Django's own for PostgreSQL, with psycopg 3: no wait for the server passes `lazyguard.deadline`.

    Name it in DATABASES: `"ENGINE": "lazyguard.integrations.django_postgresql"`. The deadline is that of the request,
    which `lazyguard.integrations.django.Middleware` gives it, or of the calling context. When it passes, the connection
    is closed, and `django.db.OperationalError` is raised, which the middleware answers with 504. The next use connects
    anew. A statement goes on in the server until that sees it: give it a `statement_timeout` too.

    Raises:
        ImproperlyConfigured: psycopg 3 is not installed, or there is the option "pool"; when it connects.
    """

    if base.is_psycopg3:
        from lazyguard.integrations._psycopg_connection import Connection

        Database: Any = SimpleNamespace(**{**vars(base.Database), "connect": Connection.connect})

    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        """Return a connection that keeps the deadline."""
        if not base.is_psycopg3 or self.settings_dict["OPTIONS"].get("pool"):
            raise ImproperlyConfigured(
                'lazyguard.integrations.django_postgresql needs psycopg 3, and no option "pool".'
            )
        return super().get_new_connection(conn_params)
