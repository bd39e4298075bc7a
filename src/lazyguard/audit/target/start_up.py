"""What an interpreter runs before any program: `.pth` and `.start` files, `sitecustomize`, each with what it costs.

Invariants: started with -S, so that all of it runs here, under a time limit and as it would otherwise: in the same
order, with the same frames above it, and before the modules that `probe.py` needs are loaded. The file that is being
run is named in the answer before it runs, so that one which hangs or ends the interpreter is known.
"""

import faulthandler
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from lazyguard.audit.target import child, stream

# The modules that the start imports, where they are there.
CUSTOM = ("sitecustomize", "usercustomize")


class Watch:
    """Notes what each file takes by itself, without the time in which it waited for a processor."""

    def __init__(self, out: str) -> None:
        self.out = out
        self.costs: dict[str, float] = {}
        self.running: list[str] = [""]
        self.since: float = self.now()

    def now(self) -> float:
        """Return the time that was not spent waiting for a processor."""
        return time.perf_counter() - child.queued()

    def charge(self, running: "list[str]") -> None:
        """Charge what runs with the time since the last change, and note what runs from now on."""
        now, name = self.now(), self.running[-1]
        self.costs[name] = self.costs.get(name, 0.0) + now - self.since
        self.running = running
        with open(self.out, "w", encoding="ascii") as file:
            file.write('{"loading": ' + stream.encode(running[-1]) + "}")
        self.since = self.now()

    def run(self, name: str, function: "Any", *given: "Any") -> "Any":
        """Call a function for a file; where that ends the start, it is the one that was running."""
        before = self.running
        self.charge([*before, name])
        result = function(*given)
        self.charge(before)
        return result


def watch(site: "Any", watched: Watch) -> None:
    """Have the module `site` say which file it runs."""
    state = getattr(site, "StartupState", None)
    if state is not None:  # since 3.15 what all the files say is gathered first
        process = state.process

        def gathered(self: "Any") -> None:
            for name in ("_importexecs", "_entrypoints"):
                setattr(self, name, _Named(watched, getattr(self, name)))
            process(self)

        state.process = gathered
    else:
        addpackage = site.addpackage
        site.addpackage = lambda where, name, known: watched.run(f"{where}/{name}", addpackage, where, name, known)
    finder = sys.modules["_frozen_importlib_external"].PathFinder
    for name in CUSTOM:
        original = getattr(site, f"exec{name}")

        def custom(name: str = name, original: "Any" = original) -> None:
            origin = getattr(finder.find_spec(name), "origin", None)
            watched.run(origin or name, original)

        setattr(site, f"exec{name}", custom)


class _Named(dict):  # type: ignore[type-arg]
    """What several files have the start do, by their names: each runs while its item is the present one."""

    def __init__(self, watched: Watch, given: "dict[str, Any]") -> None:
        super().__init__(given)
        self.watched = watched

    def items(self) -> "Iterator[tuple[str, Any]]":  # type: ignore[override]
        """Yield the items; what is done between two is charged to the first."""
        before = self.watched.running
        for name in self:
            self.watched.charge([*before, name])
            yield name, self[name]
        self.watched.charge(before)


def main(argv: "list[str]") -> None:
    """Run `child.py start_up FILE LIMIT PATHS 0|1 PATTERNS TARGET...`: the start within LIMIT seconds, then the probe.

    The file has the answer.
    """
    out, limit, path, *rest = argv
    del sys.path[: 0 if getattr(sys.flags, "safe_path", False) else 1]
    faulthandler.dump_traceback_later(float(limit), exit=True)
    site: Any = __import__("site")
    watched = Watch(out)
    watch(site, watched)
    site.main()
    faulthandler.cancel_dump_traceback_later()
    child.load("probe")  # before what lies in the path can hide a module of Python
    sys.path[:0] = path.split(":")
    costs = [[file, seconds] for file, seconds in watched.costs.items() if file]
    probe_: Any = child.probe  # type: ignore[attr-defined]
    probe_.main([out, path, *rest], costs)
