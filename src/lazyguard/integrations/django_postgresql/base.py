"""Where Django looks for the backend."""

from __future__ import annotations

from lazyguard._base import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any

    # Below Django's own, which has no types.
    DatabaseWrapper: type[Any]
else:
    from lazyguard.integrations._django_postgresql import DatabaseWrapper

__all__ = ["DatabaseWrapper"]
