"""The findings `process-state`: what a module changes of its process, and why that hurts.

Invariants: that it was changed was seen, not guessed. The line is that of an audit event, or the only one of the module
that can do it; where several can, they are named in the detail.
"""

from __future__ import annotations

import ast
import signal
from functools import lru_cache
from typing import TYPE_CHECKING

from lazyguard.audit.report.modules import Finding
from lazyguard.audit.target.statements import tree

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from lazyguard.audit.analysis.import_tree import ImportTree
    from lazyguard.audit.analysis.scope import Scope


THINGS = {
    "the environment": ("sets {} in os.environ", "what was imported before it has read another value", ""),
    "signal handlers": ("handles {}", "it takes the place of the handler of the program that imports it", "signal"),
    "logging": (
        "configures logging ({})",
        "the configuration of the program that imports it comes too late, or twice",
        "basicConfig dictConfig fileConfig setLevel addHandler removeHandler disable logging.disable",
    ),
    "warnings": (
        "filters warnings",
        "those of all other code are hidden or raised, by the order of the imports",
        "filterwarnings simplefilter resetwarnings warnings.filters",
    ),
    "sys.path": ("changes sys.path", "what others import depends on the order from then on", "sys.path addsitedir"),
    "the directory": ("changes the working directory", "relative paths of the whole program lead elsewhere", ""),
    "the time-out of sockets": ("limits all sockets", "connections of other libraries fail by it", "setdefaulttimeout"),
    "the start method": (
        "sets multiprocessing's start method",
        "that can be done once, so that the program that imports it no longer can",
        "set_start_method",
    ),
    "the locale": ("sets the locale", "numbers and texts of the whole process are written by it", "setlocale"),
    "a hook of sys": ("replaces sys.{}", "errors of the whole process go to it, not to that of the program", ""),
    "the hook of threads": ("replaces threading.excepthook", "errors of all threads go to it", "threading.excepthook"),
    "a stream": ("replaces sys.{}", "what the whole program prints or reads goes elsewhere from then on", ""),
}
"""By the things of `target.process_state`: what is said, why it hurts, and the words by which sources do it.

Where no word is given, it is an attribute of `sys` that is assigned.
"""


def state_findings(imports: ImportTree, scope: Scope) -> Iterator[Finding]:
    """Yield what first-party modules have changed."""
    for thing, (file, line), names, span in imports.changes:
        if thing not in THINGS or not scope.owns(file):
            continue
        said, reason, words = THINGS[thing]
        known = [signal_name(int(each)) if thing == "signal handlers" else each for each in names.split()]
        asked = frozenset(words.split() or [f"sys.{each}" for each in known])
        lines = [line] if line is not None else sorted({at for at, name in _acts(file) if name in asked})
        detail = f"{said.format(', '.join(known))}: {reason}"
        detail += f" (line {' or '.join(map(str, lines))})" if len(lines) > 1 else ""
        place = scope.place(file, lines[0] if len(lines) == 1 else None)
        yield Finding("process-state", place.file, place.line, detail, imports.chain(span))


def signal_name(number: int) -> str:
    """Return what a signal is called."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


@lru_cache(maxsize=4096)
def _acts(file: str) -> Sequence[tuple[int, str]]:
    """Return the lines of a source that call or assign something, each with the names of that: `path`, `sys.path`.

    What stands in a `with catch_warnings()` is taken back, and left out.
    """
    found: list[tuple[int, str]] = []
    waiting: list[ast.AST] = [tree(file) or ast.Module([], [])]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.With) and any("catch_warnings" in ast.dump(each.context_expr) for each in node.items):
            continue
        waiting += ast.iter_child_nodes(node)
        if isinstance(node, ast.Call):
            named = [node.func, getattr(node.func, "value", None)]
        elif isinstance(node, ast.Assign | ast.Delete):
            named = [getattr(each, "value", each) if isinstance(each, ast.Subscript) else each for each in node.targets]
        else:
            named = [node.target] if isinstance(node, ast.AugAssign) else []
        for at, each in enumerate(named):
            last, owner = _word(each), _word(getattr(each, "value", None))
            names = [f"{owner}.{last}"] if at and isinstance(node, ast.Call) else [last, f"{owner}.{last}"]
            found += [(node.lineno, name) for name in names]  # type: ignore[attr-defined]
    return found


def _word(node: object) -> str:
    return str(getattr(node, "attr", None) or getattr(node, "id", ""))
