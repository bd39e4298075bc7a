"""lazyguard: lazy objects, lazy module attributes, import guards and services that survive.

Invariant: importing this loads nothing else. Every public name comes from its own module at first use (PEP 562) and is
an ordinary global from then on.
"""

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lazyguard import errors as errors
    from lazyguard import types as types
    from lazyguard._core.closing import aclose as aclose
    from lazyguard._core.closing import close as close
    from lazyguard._core.deadlines import deadline as deadline
    from lazyguard._core.deadlines import remaining as remaining
    from lazyguard._core.mode import set_active as set_active
    from lazyguard._guards.duplicates import prevent_duplicate_imports as prevent_duplicate_imports
    from lazyguard._guards.hooks import when_imported as when_imported
    from lazyguard._guards.import_guard import import_guard as import_guard
    from lazyguard._guards.once import once as once
    from lazyguard._guards.optional import optional_import as optional_import
    from lazyguard._guards.optional import require as require
    from lazyguard._lazy_imports.access import aresolve as aresolve
    from lazyguard._lazy_imports.access import is_fallback as is_fallback
    from lazyguard._lazy_imports.access import is_resolved as is_resolved
    from lazyguard._lazy_imports.access import override as override
    from lazyguard._lazy_imports.access import reset as reset
    from lazyguard._lazy_imports.access import resolve as resolve
    from lazyguard._lazy_imports.attach import attach as attach
    from lazyguard._lazy_imports.attach import attach_stub as attach_stub
    from lazyguard._lazy_imports.lazy_attribute import lazy_attribute as lazy_attribute
    from lazyguard._lazy_imports.load import lazy_imports as lazy_imports
    from lazyguard._lazy_imports.load import load as load
    from lazyguard._monitoring.health import health as health
    from lazyguard._monitoring.health_file import health_file as health_file
    from lazyguard._monitoring.track_imports import track_imports as track_imports
    from lazyguard._policies.breaker import Breaker as Breaker
    from lazyguard._policies.fallback import fallbacks as fallbacks
    from lazyguard._policies.recovery import Recovery as Recovery
    from lazyguard._policies.retry import Retry as Retry
    from lazyguard._proxies.lazy import lazy as lazy
    from lazyguard._services.declare import service as service
    from lazyguard._services.guarded import guarded as guarded
    from lazyguard._services.mock import mock_service as mock_service
    from lazyguard._services.pinned import pinned as pinned
    from lazyguard._services.preload import preload as preload
    from lazyguard._services.readiness import await_until_ready as await_until_ready
    from lazyguard._services.readiness import drain as drain
    from lazyguard._services.readiness import wait_until_ready as wait_until_ready
    from lazyguard.errors import CircuitOpen as CircuitOpen
    from lazyguard.errors import DeadlineExceeded as DeadlineExceeded
    from lazyguard.errors import LazyguardError as LazyguardError
    from lazyguard.errors import ResolutionError as ResolutionError
    from lazyguard.errors import ServiceUnavailable as ServiceUnavailable
    from lazyguard.events import subscribe as subscribe


__version__ = "0.2.0"

# The names of each module, as one text that is searched when a name is first used: a dict would be made for nothing.
_HOMES = """
_proxies.lazy: lazy
_lazy_imports.access: aresolve is_fallback is_resolved override reset resolve
_lazy_imports.attach: attach attach_stub
_lazy_imports.lazy_attribute: lazy_attribute
_lazy_imports.load: lazy_imports load
_guards.once: once
_guards.optional: optional_import require
_guards.import_guard: import_guard
_guards.duplicates: prevent_duplicate_imports
_guards.hooks: when_imported
_services.declare: service
_services.guarded: guarded
_services.mock: mock_service
_services.pinned: pinned
_services.preload: preload
_services.readiness: await_until_ready drain wait_until_ready
_policies.retry: Retry
_policies.breaker: Breaker
_policies.recovery: Recovery
_policies.fallback: fallbacks
_core.closing: aclose close
_core.deadlines: deadline remaining
_core.mode: set_active
_monitoring.health: health
_monitoring.health_file: health_file
_monitoring.track_imports: track_imports
errors: CircuitOpen DeadlineExceeded LazyguardError ResolutionError ServiceUnavailable
events: subscribe
"""


if not TYPE_CHECKING:  # else a checker takes any name for one of ours

    def __getattr__(name):
        if name == "__all__":
            value = [word for word in _HOMES.split() if not word.endswith(":")]
            return globals().setdefault(name, value)
        is_module = name in ("errors", "types")
        before, found, _ = _HOMES.replace("\n", " \n").partition(f" {name} ")
        if not (found or is_module):
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        home = name if is_module else before.rpartition("\n")[2].partition(":")[0]
        try:
            module = __import__(f"{__name__}.{home}", fromlist=["*"])
        except ImportError:
            if sys.meta_path:
                raise
            # at the interpreter's end nothing is imported any more; what is loaded is found below this module
            folder, _, module = home.rpartition(".")
            module = getattr(globals().get(folder), module, None) if folder else globals().get(module)
            if module is None and home == "errors":
                return RuntimeError  # as which an error of ours is raised that cannot be loaded by then
            if module is None:
                raise
        value = globals()[name] = module if is_module else getattr(module, name)
        return value

    def __dir__():
        return sorted({*globals(), *__getattr__("__all__")})
