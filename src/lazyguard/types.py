"""The types that annotations name: what the functions of lazyguard return, take and report.

Invariant: importing this loads nothing else; each type comes from its own module at first use (PEP 562).
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lazyguard._monitoring.health import Check, Health
    from lazyguard._monitoring.track_imports import ImportTracker
    from lazyguard._services.preload import Preload
    from lazyguard._services.service import Service
    from lazyguard.events import Event

__all__ = ["Check", "Event", "Health", "ImportTracker", "Preload", "Service"]

_HOMES = {
    "Check": "_monitoring.health",
    "Event": "events",
    "Health": "_monitoring.health",
    "ImportTracker": "_monitoring.track_imports",
    "Preload": "_services.preload",
    "Service": "_services.service",
}


if not TYPE_CHECKING:  # else a checker takes any name for one of ours

    def __getattr__(name: str) -> object:
        home = _HOMES.get(name)
        if home is None:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value: object = getattr(__import__(f"lazyguard.{home}", fromlist=[name]), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
