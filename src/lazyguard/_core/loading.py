"""Modules of ours that are loaded at first need: `loaded` returns one whole, or says why it cannot be had.

Invariants: nobody is handed a module that is half executed, as a signal handler or a finaliser would be that runs while
its own thread imports it; what was had once is had until the interpreter's end, when nothing can be imported any more;
a fork waits, within bounds, for the imports of other threads, whose locks the child would wait for for ever.
"""

from __future__ import annotations

import _thread
import os
import sys

from lazyguard._base.real_time import monotonic
from lazyguard.errors import ResolutionError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_whole: dict[str, Any] = {}
# The threads that import a module of ours at present.
_importing: set[int] = set()
_PATIENCE = 5.0  # seconds; such an import takes milliseconds


def whole(name: str) -> Any:
    """Return the module `lazyguard.<name>` if it was had before, else None; imports nothing."""
    return _whole.get(name)


def loaded(name: str, of: Any = None, /) -> Any:
    """Return the module `lazyguard.<name>`, imported if need be.

    Raises:
        ResolutionError: This very thread is importing it, below a signal handler or a finaliser; or the interpreter is
            ending. The message names `of`, the cell that needs it.
    """
    known = _whole.get(name)
    if known is not None:
        return known
    here = _thread.get_ident()
    outermost = here not in _importing
    _importing.add(here)
    try:
        found = __import__(f"lazyguard.{name}", fromlist=["*"])
    except ImportError as error:
        if sys.meta_path is not None:
            raise
        raise ResolutionError(
            f"{_told(of)} cannot be built: the interpreter is ending, and imports nothing any more. Use it before, or "
            "end what needs it in an atexit function."
        ) from error
    finally:
        if outermost:
            _importing.discard(here)
    if getattr(found.__spec__, "_initializing", False):
        raise ResolutionError(
            f"{_told(of)} cannot be built now: a signal handler or a finaliser asks for it while its thread is just "
            "importing what builds it. Ask again later, or use any lazy object once before the handler is installed."
        )
    _whole[name] = found
    return found


def _let_others_import() -> None:
    import time

    until = monotonic() + _PATIENCE
    while _importing - {_thread.get_ident()} and monotonic() < until:
        time.sleep(0.001)


if hasattr(os, "register_at_fork"):  # pragma: no branch (not on Windows)
    os.register_at_fork(
        before=_let_others_import, after_in_child=lambda: _importing.intersection_update({_thread.get_ident()})
    )


def _told(of: Any) -> str:
    return "a lazy object" if of is None else f"{of.name} ({of.place})"
