"""Places of declaration: `file:line` of a frame or of a function, for errors, reprs and health."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType


def caller(depth: int = 1) -> FrameType:
    """Return the frame `depth` levels above the function that asks (1: whoever called it)."""
    return sys._getframe(depth + 1)


def declaring(frame: FrameType) -> FrameType:
    """Return the innermost frame, from this one outwards, that is not in a function of lazyguard's: who declares."""
    while frame.f_back is not None and _package(frame) == "lazyguard" and not at_module_level(frame):
        frame = frame.f_back
    return frame


def _package(frame: FrameType) -> str:
    """Return the first part of the name of the module whose code the frame executes; "" where it has none."""
    module = frame.f_globals.get("__name__")
    return module.partition(".")[0] if isinstance(module, str) else ""


def at_module_level(frame: FrameType) -> bool:
    """Return whether the frame executes a module's own statements."""
    if frame.f_code.co_flags & 0x1:  # inspect.CO_OPTIMIZED: a function's, whose f_locals would be a copy that stays
        return False
    return frame.f_locals is frame.f_globals


def of_frame(frame: FrameType) -> str:
    """Return `file:line` of what the frame is executing."""
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"


def of_user(frame: FrameType | None) -> str:
    """Return `file:line` of the innermost frame that is neither lazyguard's nor the import system's."""
    while frame is not None:
        if _package(frame) not in ("lazyguard", "importlib"):
            return of_frame(frame)
        frame = frame.f_back
    return "nobody's line"


def of_callable(function: object, otherwise: str) -> str:
    """Return `file:line` of a Python function's first line; `otherwise` for what has no code."""
    code = getattr(function, "__code__", None)
    if code is None:
        return otherwise
    return f"{code.co_filename}:{code.co_firstlineno}"


def name_in(frame: FrameType, kind: str) -> str:
    """Return `module:kind`, for what has no name of its own, of a frame in that module."""
    return f"{frame.f_globals.get('__name__', '?')}:{kind}"


def name_of(function: object) -> str:
    """Return `module:qualname` of a callable, or its type's where it has none."""
    named = function if hasattr(function, "__qualname__") else type(function)
    return f"{getattr(named, '__module__', '?')}:{getattr(named, '__qualname__', '?')}"


def is_module_name(name: object) -> bool:
    """Tell whether this is an absolute module name, as far as one can see from it."""
    return isinstance(name, str) and all(part.isidentifier() for part in name.split("."))


def misconfigured(text: str) -> Exception:
    """Return a ConfigurationError: an option cannot be right."""
    from lazyguard.errors import ConfigurationError

    return ConfigurationError(text)


def misused(text: str) -> Exception:
    """Return a UsageError: something is used in a way that cannot work."""
    from lazyguard.errors import UsageError

    return UsageError(text)
