"""What an import changes of its process beside its own names: one table of things, compared before and after a module.

Invariants: imports nothing. What is not loaded has no state, and what then is loaded has changed nothing. A module
has changed what its own code left otherwise at its end than it was before that code touched it: what a foreign import
changed is not its act, nor what changed while another thread imported, and what it took back is no change. Values stay
here; only names are told.
"""

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

# By the audit event: what it changes. Of the rest Python announces nothing.
ACTS = {"os.putenv": "the environment", "os.unsetenv": "the environment", "os.chdir": "the directory"}
HOOKS = ("excepthook", "unraisablehook", "displayhook", "breakpointhook")
STREAMS = ("stdin", "stdout", "stderr")


def of(module: str, *names: str) -> "Any":
    """Return an attribute of an attribute of a module that is loaded; None where there is none."""
    found: Any = sys.modules.get(module)
    for name in names:
        found = getattr(found, name, None)
    return found


def loggers() -> "dict[str, Any]":
    """Return the levels that are set, the handlers of the root logger, and the level up to which all are off."""
    root, manager = of("logging", "root"), of("logging", "root", "manager")
    found = {name: each.level for name, each in list(manager.loggerDict.items()) if getattr(each, "level", 0)}
    found["root"] = (root.level, [id(each) for each in root.handlers], manager.disable)
    return found


def memory(entry: str) -> int:
    """Return the bytes that the process has now (VmRSS), or had at most (VmHWM); 0 where that is unknown."""
    try:
        with open("/proc/self/status", "rb", buffering=0) as file:
            return int(file.read().partition(b"\n" + entry.encode() + b":")[2].split(None, 1)[0]) << 10
    except Exception:
        return 0


# A thing that cannot be read has no state: its module is not loaded, or something else was put in its place.
THINGS: "dict[str, Callable[[], dict[str, Any]]]" = {
    "the environment": lambda: dict(os.environ),
    "signal handlers": lambda: {str(each): id(of("_signal").getsignal(each)) for each in range(1, 32)},
    "logging": loggers,
    "warnings": lambda: {"": list(of("warnings", "filters") or ())},
    "sys.path": lambda: {"": list(dict.fromkeys(sys.path))},
    "the directory": lambda: {"": os.getcwd()},
    # since 3.13 `_socket` crashes where it is asked before it is executed, which gives it this name
    "the time-out of sockets": lambda: {"": of("_socket", "timeout") and of("_socket").getdefaulttimeout()},
    "the start method": lambda: {"": id(of("multiprocessing.context", "_default_context")._actual_context)},
    "the locale": lambda: {"": of("_locale").setlocale(6, None)} if sys.platform == "linux" else {},
    "a hook of sys": lambda: {name: id(getattr(sys, name, None)) for name in HOOKS},
    "the hook of threads": lambda: {"": id(sys.modules["threading"].excepthook)},
    "a stream": lambda: {name: id(getattr(sys, name, None)) for name in STREAMS},
}


def state() -> "dict[str, dict[str, Any]]":
    """Return the state of each thing, by names."""
    found: dict[str, dict[str, Any]] = {}
    for thing, read in THINGS.items():
        try:
            found[thing] = read()
        except Exception:
            found[thing] = {}
    return found


class Watch:
    """Compares the state between the bodies of modules, of which it knows the files of those that are first-party."""

    def __init__(self) -> None:
        self.last: dict[str, dict[str, Any]] = state()
        self.bodies: list[tuple[str | None, dict[tuple[str, str], Any]]] = []
        self.beside: int = 0
        self.disturbed: bool = False

    def settle(self, other: "str | None") -> None:
        """Charge what has changed to the body that runs; `other` is the file of the one that runs next."""
        file, changed = self.bodies[-1] if self.bodies else (None, {})
        if file is None and other is None:
            return
        now = state()
        for thing, value in now.items() if file is not None and not (self.beside or self.disturbed) else ():
            before = self.last[thing]
            if value != before and before:
                for name in {**before, **value}:
                    if before.get(name) != value.get(name):
                        changed.setdefault((thing, name), before.get(name))
        self.last, self.disturbed = now, False

    def import_beside(self, count: int) -> None:
        """Note that another thread begins to import a module (1), or is done (-1)."""
        self.beside += count
        self.disturbed = True

    def begin(self, file: "str | None") -> None:
        """Note that the body of a module begins; its file where it is first-party."""
        self.settle(file)
        self.bodies.append((file, {}))

    def end(self) -> "tuple[str | None, list[tuple[str, str]]]":
        """Note that it ends, and return its file and what it has changed: things with names."""
        if not self.bodies:
            return None, []
        self.settle(self.bodies[-2][0] if len(self.bodies) > 1 else None)
        file, changed = self.bodies.pop()
        return file, [key for key, before in changed.items() if self.last[key[0]].get(key[1]) != before]
