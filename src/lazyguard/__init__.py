"""lazyguard: lazy objects, lazy module attributes, import guards and services that survive.

Invariant: importing this loads nothing else. Every public name comes from its own module at first use (PEP 562) and is
an ordinary global from then on.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lazyguard._attach import attach, attach_stub
    from lazyguard._check import Check
    from lazyguard._close import aclose, close
    from lazyguard._conform import assert_conforms
    from lazyguard._core.deadline import deadline, remaining
    from lazyguard._declaration import service
    from lazyguard._guarded import guarded
    from lazyguard._guards.bounded import import_guard
    from lazyguard._guards.duplicates import install_import_guard
    from lazyguard._guards.hooks import when_imported
    from lazyguard._guards.once import once
    from lazyguard._guards.optional import optional_import, require
    from lazyguard._health import Health, health
    from lazyguard._imports import ImportTracker, track_imports
    from lazyguard._lazy import aresolve, is_resolved, lazy, override, reset, resolve
    from lazyguard._live import is_fallback
    from lazyguard._load import imports, load
    from lazyguard._mock import mock_service
    from lazyguard._module import module_attribute
    from lazyguard._pinned import pinned
    from lazyguard._policies.breaker import Breaker
    from lazyguard._policies.fallback import fallbacks
    from lazyguard._policies.recovery import Recovery
    from lazyguard._policies.retry import Retry
    from lazyguard._preload import Preload, preload
    from lazyguard._service import Service
    from lazyguard.errors import (
        CircuitOpen,
        CircularResolutionError,
        ConfigurationError,
        ConformityError,
        ConformityWarning,
        DeadlineExceeded,
        DuplicateImportError,
        DuplicateImportWarning,
        ImportActError,
        ImportActWarning,
        ImportBudgetWarning,
        ImportTimeout,
        LazyguardError,
        MissingModuleError,
        ProxyLimitWarning,
        ResolutionError,
        ResolutionImportError,
        ResolutionTimeout,
        ServiceUnavailable,
        UsageError,
    )
    from lazyguard.events import Event, subscribe

__version__ = "0.1.0"

__all__ = [
    "aresolve",
    "is_resolved",
    "lazy",
    "override",
    "reset",
    "resolve",
    "attach",
    "attach_stub",
    "imports",
    "load",
    "module_attribute",
    "once",
    "optional_import",
    "require",
    "import_guard",
    "install_import_guard",
    "when_imported",
    "Service",
    "service",
    "Retry",
    "Breaker",
    "Recovery",
    "aclose",
    "close",
    "guarded",
    "deadline",
    "remaining",
    "fallbacks",
    "is_fallback",
    "pinned",
    "mock_service",
    "assert_conforms",
    "Check",
    "Health",
    "health",
    "Preload",
    "preload",
    "ImportTracker",
    "track_imports",
    "CircuitOpen",
    "CircularResolutionError",
    "ConfigurationError",
    "ConformityError",
    "ConformityWarning",
    "DeadlineExceeded",
    "DuplicateImportError",
    "DuplicateImportWarning",
    "ImportActError",
    "ImportActWarning",
    "ImportBudgetWarning",
    "ImportTimeout",
    "LazyguardError",
    "MissingModuleError",
    "ProxyLimitWarning",
    "ResolutionError",
    "ResolutionImportError",
    "ResolutionTimeout",
    "ServiceUnavailable",
    "UsageError",
    "Event",
    "subscribe",
]

_HOMES = {
    "_lazy": "aresolve is_resolved lazy override reset resolve",
    "_attach": "attach attach_stub",
    "_load": "imports load",
    "_module": "module_attribute",
    "_guards.once": "once",
    "_guards.optional": "optional_import require",
    "_guards.bounded": "import_guard",
    "_guards.duplicates": "install_import_guard",
    "_guards.hooks": "when_imported",
    "_declaration": "service",
    "_service": "Service",
    "_policies.retry": "Retry",
    "_policies.breaker": "Breaker",
    "_policies.recovery": "Recovery",
    "_policies.fallback": "fallbacks",
    "_close": "aclose close",
    "_guarded": "guarded",
    "_core.deadline": "deadline remaining",
    "_live": "is_fallback",
    "_pinned": "pinned",
    "_mock": "mock_service",
    "_conform": "assert_conforms",
    "_check": "Check",
    "_health": "Health health",
    "_preload": "Preload preload",
    "_imports": "ImportTracker track_imports",
    "errors": (
        "CircuitOpen CircularResolutionError ConfigurationError ConformityError ConformityWarning DeadlineExceeded "
        "DuplicateImportError DuplicateImportWarning ImportActError ImportActWarning ImportBudgetWarning "
        "ImportTimeout LazyguardError MissingModuleError ProxyLimitWarning ResolutionError ResolutionImportError "
        "ResolutionTimeout ServiceUnavailable UsageError"
    ),
    "events": "Event subscribe",
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names.split()}


def __getattr__(name: str) -> object:
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        module: object = __import__(f"{__name__}.{home}", fromlist=[name])
    except ImportError:
        # at the interpreter's end nothing is imported any more, not even what is loaded: that is found below us
        module = globals().get(home)
        if sys.meta_path or module is None:
            raise
    value: object = getattr(module, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
