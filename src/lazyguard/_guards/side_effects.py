"""What code does beside computing: connections, look-ups of names and processes, seen by one audit hook (PEP 578).

Invariants: the hook is put in place at first need, once a process, since Python never takes one away; what it costs
where nobody watches is one test. Watched is a thread, by whoever watches on it; a fork takes over the watches of its
own thread alone. Told are endpoints and the names of programs, never arguments: those may hold passwords.
"""

from __future__ import annotations

import os
import sys
from _thread import get_ident

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType
    from typing import Any, Literal

    Kind = Literal["network", "subprocess"]
    Watch = Callable[[Kind, str, FrameType], object]

_KINDS: dict[str, Kind] = {
    **dict.fromkeys(("socket.connect", "socket.sendto", "socket.sendmsg"), "network"),
    **dict.fromkeys(("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"), "network"),
    **dict.fromkeys(("subprocess.Popen", "os.posix_spawn", "os.spawn", "os.exec", "os.system"), "subprocess"),
    **dict.fromkeys(("os.fork", "os.forkpty", "os.startfile"), "subprocess"),
}
# Thread id -> who watches it, outermost first. Written by the thread itself.
_watched: dict[int, tuple[Watch, ...]] = {}
_installed = False


def watch(told: Watch) -> None:
    """Tell of each act of this thread from now on; what `told` raises comes out of the act, which does not happen."""
    global _installed
    here = get_ident()
    _watched[here] = (*_watched.get(here, ()), told)
    if not _installed:
        _installed = True
        sys.addaudithook(_heard)
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=_in_child)


def end(told: Watch, thread: int) -> None:
    """Watch no more."""
    left = tuple(one for one in _watched.get(thread, ()) if one != told)
    if left:
        _watched[thread] = left
    else:
        _watched.pop(thread, None)


def _heard(event: str, args: tuple[Any, ...]) -> None:
    if not _watched or event not in _KINDS:
        return
    watches = _watched.get(get_ident())
    if watches is None:
        return
    what = _what(event, args)
    if what:
        frame = sys._getframe(1)
        for told in reversed(watches):
            told(_KINDS[event], what, frame)


def _what(event: str, args: tuple[Any, ...]) -> str:
    """Return what is done, or "" for what goes nowhere."""
    if event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
        address = args[1]
        if address is None:
            return ""  # sent to what it is connected to, which was told then
        where = ":".join(map(str, address[:2])) if isinstance(address, tuple) else _text(address)
        return f"{'connects' if event == 'socket.connect' else 'sends'} to {where}"
    if event.startswith("socket."):
        return "" if _is_number(args[0]) else f"looks up {_text(args[0])}"
    if event in ("os.fork", "os.forkpty"):
        return "forks"
    if event == "os.system":
        return "starts a shell"
    program = args[1] if event == "os.spawn" else args[0]
    if event == "subprocess.Popen" and not program:
        program = args[1] if isinstance(args[1], (str, bytes, os.PathLike)) else args[1][0]
    return f"{'becomes' if event == 'os.exec' else 'starts'} {os.path.basename(_text(program))}"


def _text(name: Any) -> str:
    try:
        return os.fsdecode(name)
    except TypeError:
        return f"a {type(name).__name__}"


def _is_number(host: Any) -> bool:
    """Tell whether a host is looked up without asking anybody."""
    if host is None:
        return True
    name = _text(host)
    return name in ("", "localhost") or ":" in name or name.replace(".", "").isdigit()


def _in_child() -> None:
    here = get_ident()
    for thread in list(_watched):
        if thread != here:
            _watched.pop(thread, None)
