"""Modules of ours that are loaded at first need: `loaded` returns one whole, or says why it cannot be had.

Invariants: nobody is handed a module that is half executed, as a signal handler or a finaliser would be that runs while
its own thread imports it; what was had once is had until the interpreter's end, when nothing can be imported any more.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_whole: dict[str, Any] = {}


def loaded(name: str, of: Any = None, /) -> Any:
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


def _refusal(text: str) -> Exception:
    from lazyguard.errors import ResolutionError

    return ResolutionError(text)


def _told(of: Any) -> str:
    return "a lazy object" if of is None else f"{of.name} ({of.place})"
