"""The state machine under everything, and `loaded`: a module of ours that is loaded at its first need.

Invariants: no caller gets a module that is half executed, as a signal handler or a finaliser would that runs while its
own thread imports it; what was loaded once is available until the interpreter's end, when nothing can be imported. No
fork cuts an import short, whatever of ours is loaded.
"""

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lazyguard._base import Any

# Where the threads of ours are begun, and where what was interrupted is done; they are loaded by these names.
DAEMONS, INTERRUPTIONS = "_core.daemons", "_core.interruptions"
_whole: "dict[str, Any]" = {}


def loaded(name: str, of: "Any" = None, /) -> "Any":
    """Return the module `lazyguard.<name>`, imported if need be.

    Raises:
        ResolutionError: This very thread is importing it, below a signal handler or a finaliser; or the interpreter is
            ending. The message names `of`, the cell that needs it.
    """
    known = _whole.get(name)
    if known is not None:
        return known
    try:
        found = __import__(f"lazyguard.{name}", fromlist=["*"])
    except ImportError as error:
        if sys.meta_path is not None:
            raise
        raise _refusal(
            f"{_told(of)} cannot be built: the interpreter is ending, and imports nothing any more. Use it before, or "
            "end what needs it in an atexit function."
        ) from error
    if getattr(found.__spec__, "_initializing", False):
        raise _refusal(
            f"{_told(of)} cannot be built now: a signal handler or a finaliser asks for it while its thread is just "
            "importing what builds it. Ask again later, or use any lazy object once before the handler is installed."
        )
    _whole[name] = found
    return found


def whole(name: str) -> "Any":
    """Return the module `lazyguard.<name>` if it was loaded before, else None; imports nothing and waits for nothing.

    One that any thread is just importing is none yet.
    """
    found = _whole.get(name) or sys.modules.get(f"lazyguard.{name}")
    return None if getattr(getattr(found, "__spec__", None), "_initializing", False) else found


def _refusal(text: str) -> Exception:
    errors: Any = _whole.get("errors")  # at the interpreter's end no statement finds what is loaded
    if errors is None:
        if not sys.meta_path:
            return RuntimeError(text)  # for which `lazyguard.ResolutionError` stands by then
        errors = __import__("lazyguard.errors", fromlist=["*"])
    error: Exception = errors.ResolutionError(text)
    return error


def _told(of: "Any") -> str:
    return "a lazy object" if of is None else f"{of.name} ({of.place})"


def _before_fork() -> None:
    from lazyguard._core import unfinished_imports  # the child has it from here, and need not import it

    unfinished_imports.wait()


def _in_child() -> None:
    from lazyguard._core import unfinished_imports

    unfinished_imports.mend()


if hasattr(os, "register_at_fork"):  # pragma: no branch (not on Windows)
    os.register_at_fork(before=_before_fork, after_in_child=_in_child)
