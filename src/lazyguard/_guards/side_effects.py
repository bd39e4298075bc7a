"""Side effects of code: connections, look-ups of names and processes, reported by one audit hook (PEP 578).

Invariants: the hook is installed at first need, once a process, since Python never removes one. Without a watcher it
costs one test. A watcher sees the side effects of its own thread. A forked child keeps those of the forking thread
alone. A description has endpoints and names of programs, never arguments: those may hold passwords.
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
    Watcher = Callable[[Kind, str, FrameType], object]

_KIND_OF_EVENT: dict[str, Kind] = {
    **dict.fromkeys(("socket.connect", "socket.sendto", "socket.sendmsg"), "network"),
    **dict.fromkeys(("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"), "network"),
    **dict.fromkeys(("subprocess.Popen", "os.posix_spawn", "os.spawn", "os.exec", "os.system"), "subprocess"),
    **dict.fromkeys(("os.fork", "os.forkpty", "os.startfile"), "subprocess"),
}
# Thread id -> its watchers, outermost first. Written by the thread itself.
_watchers: dict[int, tuple[Watcher, ...]] = {}
_installed = False


def watch(watcher: Watcher) -> None:
    """Call `watcher` before each side effect of this thread; if it raises, the side effect does not happen."""
    global _installed
    here = get_ident()
    _watchers[here] = (*_watchers.get(here, ()), watcher)
    if not _installed:
        _installed = True
        sys.addaudithook(_audit_hook)
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=_in_child)


def unwatch(watcher: Watcher, thread: int) -> None:
    """Remove a watcher of a thread."""
    left = tuple(other for other in _watchers.get(thread, ()) if other != watcher)
    if left:
        _watchers[thread] = left
    else:
        _watchers.pop(thread, None)


def _audit_hook(event: str, args: tuple[Any, ...]) -> None:
    if not _watchers or event not in _KIND_OF_EVENT:
        return
    watchers = _watchers.get(get_ident())
    if watchers is None:
        return
    description = _description(event, args)
    if description:
        frame = sys._getframe(1)
        for watcher in reversed(watchers):
            watcher(_KIND_OF_EVENT[event], description, frame)


def _description(event: str, args: tuple[Any, ...]) -> str:
    """Return what the event does, or "" if it reaches nothing outside."""
    if event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
        address = args[1]
        if address is None:
            return ""  # sent to the connected address, which was reported when it connected
        where = ":".join(map(str, address[:2])) if isinstance(address, tuple) else _text(address)
        return f"{'connects' if event == 'socket.connect' else 'sends'} to {where}"
    if event.startswith("socket."):
        return "" if _needs_no_lookup(args[0]) else f"looks up {_text(args[0])}"
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


def _needs_no_lookup(host: Any) -> bool:
    """Return whether a host is resolved without a request to a name server."""
    if host is None:
        return True
    name = _text(host)
    return name in ("", "localhost") or ":" in name or name.replace(".", "").isdigit()


def _in_child() -> None:
    here = get_ident()
    for thread in list(_watchers):
        if thread != here:
            _watchers.pop(thread, None)
