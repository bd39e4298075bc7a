"""Side effects of code: connections, look-ups of names and processes, reported by one audit hook (PEP 578).

Invariants: the hook is installed at first need, once a process, since Python never removes one. Without a watcher it
costs one test. A watcher sees the side effects of its own thread. A forked child keeps those of the forking thread
alone. A description has endpoints and names of programs, never arguments: those may hold passwords.
"""

from __future__ import annotations

import os
import sys
from _thread import get_ident

from lazyguard._base import TYPE_CHECKING, Any, Callable, FrameType, Literal

if TYPE_CHECKING:
    Kind = Literal["network", "subprocess"]
    Watcher = Callable[[Kind, str, FrameType], object]

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
    if not _watchers or event not in _EVENTS:
        return
    watchers = _watchers.get(get_ident())
    if watchers is None:
        return
    kind, describe = _EVENTS[event]
    description = describe(*args)
    if description:
        frame = sys._getframe(1)
        for watcher in reversed(watchers):
            watcher(kind, description, frame)


def _text(name: Any) -> str:
    try:
        return os.fsdecode(name)
    except TypeError:
        return f"a {type(name).__name__}"


def _connects(_: object, address: Any) -> str:
    return f"connects to {_endpoint(address)}"


def _sends(_: object, address: Any) -> str:
    # to the connected address, which was reported when it connected, where none is given
    return "" if address is None else f"sends to {_endpoint(address)}"


def _endpoint(address: Any) -> str:
    return ":".join(map(str, address[:2])) if isinstance(address, tuple) else _text(address)


def _looks_up(host: Any, *_: object) -> str:
    """Describe a look-up; "" for a host that is found without a request to a name server."""
    name = "" if host is None else _text(host)
    local = name in ("", "localhost") or ":" in name or name.replace(".", "").isdigit()
    return "" if local else f"looks up {name}"


def _starts(program: Any, *_: object) -> str:
    return f"starts {os.path.basename(_text(program))}"


def _opens(program: Any, arguments: Any, *_: object) -> str:
    if not program:
        program = arguments if isinstance(arguments, (str, bytes, os.PathLike)) else arguments[0]
    return _starts(program)


# Event -> its kind, and what describes it by its arguments; "" for what reaches nothing outside.
_EVENTS: dict[str, tuple[Kind, Callable[..., str]]] = {
    "socket.connect": ("network", _connects),
    **dict.fromkeys(("socket.sendto", "socket.sendmsg"), ("network", _sends)),
    **dict.fromkeys(("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"), ("network", _looks_up)),
    **dict.fromkeys(("os.fork", "os.forkpty"), ("subprocess", lambda: "forks")),
    "os.system": ("subprocess", lambda _: "starts a shell"),
    "os.exec": ("subprocess", lambda program, *_: _starts(program).replace("starts", "becomes", 1)),
    "os.spawn": ("subprocess", lambda _, program, *__: _starts(program)),
    **dict.fromkeys(("os.posix_spawn", "os.startfile"), ("subprocess", _starts)),
    "subprocess.Popen": ("subprocess", _opens),
}


def _in_child() -> None:
    here = get_ident()
    for thread in list(_watchers):
        if thread != here:
            _watchers.pop(thread, None)
