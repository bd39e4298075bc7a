"""What an import has raised, in words and places that outlive the process.

Invariants: imports nothing. Nothing is raised, whatever the exception's own methods do.
"""

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Any

    from lazyguard.audit.target import recorder

MOST_CAUSES = 10
"""Exceptions in a row that are looked at for the module that was missed."""


def lacking(error: BaseException) -> "list[Any]":
    """Return name, file and names of the module that lacks what was asked of it; or []."""
    try:
        if isinstance(error, ImportError) and not isinstance(error, ModuleNotFoundError):
            module = sys.modules.get(error.name or "")
        elif isinstance(error, AttributeError):
            module = getattr(error, "obj", None)
        else:
            return []
        if module is None or type(module) is not type(sys):
            return []
        names = [each for each in module.__dict__ if not each.startswith("__")][: recorder.MOST_EFFECTS]
        return [module.__name__, module.__dict__.get("__file__"), names]
    except Exception:
        return []


def describe(error: BaseException, owns: "Callable[[str], bool]" = lambda _: False) -> "list[Any]":
    """Return type, message, whether it asks to exit, the frames (outermost first), what lacks a name, what is missing.

    Of a very deep stack only the end, the bodies of modules, and the innermost line that `owns` has are kept.
    """
    frames: list[Any] = []
    trace: TracebackType | None = error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        if not code.co_filename.startswith(recorder.IMPORT_SYSTEM) and code.co_filename != recorder.PROGRAM:
            frames.append([code.co_filename, trace.tb_lineno, code.co_name])
        trace = trace.tb_next
    if isinstance(error, SyntaxError) and error.filename:
        frames.append([error.filename, error.lineno, "<module>"])
    kind = type(error)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    try:
        message = str(error)
    except Exception:
        message = "(its message cannot be read)"
    own = max((at for at, frame in enumerate(frames) if owns(frame[0])), default=-1)
    last = len(frames) - recorder.MOST_FRAMES
    kept = [frame for at, frame in enumerate(frames) if at >= last or at == own or frame[2] == "<module>"]
    return [name, message[: recorder.LONGEST_TEXT], isinstance(error, SystemExit), kept, lacking(error), missed(error)]


def missed(error: "BaseException | None") -> "str | None":
    """Return the module that could not be found, where the error is of that or was raised over it."""
    for _ in range(MOST_CAUSES):
        if error is None:
            break
        if isinstance(error, ModuleNotFoundError) and error.name:
            return str(error.name)
        error = error.__cause__ or error.__context__
    return None
