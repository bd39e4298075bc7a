"""`LAZYGUARD_EAGER=package,...`: what modules of these packages declare is built when their import has ended.

Invariants: nothing is built while a module of these packages is being executed on the thread, since a factory may need
what stands further down, or in a module that imports this one; the thread that imports builds, with no lock held; where
the variable is not set, a declaration costs one look at the environment.
"""

from __future__ import annotations

import _thread
import os
import sys

from lazyguard._base import TYPE_CHECKING, Any, Callable, FrameType, places

if TYPE_CHECKING:
    Build = tuple[str, Callable[[], object]]  # the module that declared it, and what builds it

_WAITING = "_lazyguard_eager"
# While this thread is building, its `queue` is what it builds; what its factories import is built after them.
_building: Any = _thread._local()


def named(module: str) -> bool:
    """Return whether LAZYGUARD_EAGER names the module or a package above it, or all (`1` or `*`)."""
    text = os.environ.get("LAZYGUARD_EAGER", "")
    wanted = [name.strip() for name in text.split(",")] if text else []
    return any(name in ("1", "*") or f"{module}.".startswith(f"{name}.") for name in wanted if name)


def declared(frame: FrameType, build: Callable[[], object]) -> None:
    """Let `build` run when the import has ended that `frame`, a module's own, belongs to, if it is to be eager."""
    if not os.environ.get("LAZYGUARD_EAGER") or not places.at_module_level(frame):
        return
    module = str(frame.f_globals.get("__name__"))
    spec = _outermost(frame)
    if spec is None or not named(module):
        return
    if _WAITING not in vars(spec):
        setattr(spec, _WAITING, [])
        kind = type(spec)
        spec.__class__ = type(kind.__name__, (kind,), {"__setattr__": _set, "__module__": kind.__module__})
    vars(spec)[_WAITING].append((module, build))


def _outermost(frame: FrameType | None) -> Any:
    """Return the spec of the outermost eager module that this thread is importing; None where there is none."""
    found = None
    for each in places.outwards(frame):
        spec: Any = each.f_globals.get("__spec__")
        if getattr(spec, "_initializing", False) and places.at_module_level(each) and named(spec.name):
            found = spec
    return found


def _set(spec: Any, name: str, value: object) -> None:
    """Stand for `__setattr__` of a spec whose module is being executed: the import system says when that has ended."""
    kind: Any = type(spec).__mro__[1]
    kind.__setattr__(spec, name, value)
    if name == "_initializing" and not value:
        spec.__class__ = kind
        builds = vars(spec).pop(_WAITING)
        if spec.name in sys.modules:  # else its execution has failed
            _build(builds, spec.name)


def _build(builds: list[Build], imported: str) -> None:
    """Build all, in the order of declaration; a failure makes the import fail."""
    queue: list[Build] | None = getattr(_building, "queue", None)
    if queue is not None:
        queue += builds
        return
    try:
        _building.queue = builds
        for module, build in builds:  # which may grow meanwhile
            if module in sys.modules:
                build()
    except BaseException:
        sys.modules.pop(imported, None)
        raise
    finally:
        _building.queue = None
