"""The findings beside a verdict: connections, look-ups of names, sleeps, files written, processes, threads, and so on.

Invariants: a finding has a first-party line; without one it is none. The same one is reported once. A look-up of an
address that is a number, or of localhost, asks no server and is no finding. What a module changes of its process was
seen, not guessed. The line is that of an audit event, or the only one of the module that can do it; where several can,
they are named in the detail.
"""

from __future__ import annotations

import ast
import ipaddress
import signal
from functools import lru_cache
from typing import TYPE_CHECKING

from lazyguard.audit.analysis.import_tree import Frame
from lazyguard.audit.target.statements import last_name, tree

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from lazyguard.audit.analysis.import_tree import Effect, ImportTree, Scope, Span
    from lazyguard.audit.report.budget import Budget
    from lazyguard.audit.report.modules import Finding


KINDS = ("connect", "dns", "subprocess", "thread", "sleep", "file-write")
ONE_A_LINE = ("subprocess", "sleep", "file-write")


def findings(tree: ImportTree, scope: Scope) -> tuple[Finding, ...]:
    """Return what was seen, in the order in which it happened, double imports last."""
    found: dict[tuple[str, str, int | None, str], Finding] = {}
    for effect in tree.effects:
        if effect.site is None or effect.kind not in KINDS or _is_local_look_up(effect) or _is_no_sleep(effect, tree):
            continue
        # One program raises several events, and the first has its name. Loops over files, or of waits, do so, too.
        key = (effect.kind, effect.site.file, effect.site.line, "" if effect.kind in ONE_A_LINE else effect.detail)
        module = tree.module_of(effect.site.file)
        chain = tree.chain(_first_party(effect.span), *([module] if module else []))
        detail = f"sleeps {_slept(effect):g} s" if effect.kind == "sleep" else effect.detail
        found.setdefault(key, scope.finding(effect.kind, effect.site, detail, chain))
    return (*found.values(), *_double_imports(tree, scope))


def forbidden(tree: ImportTree, scope: Scope, budget: Budget | None) -> Iterator[Finding]:
    """Yield a finding for each name that a budget forbids, with the line that asked for it first."""
    asked: dict[str, tuple[Frame, Span]] = {}
    for span in tree.importing() if budget is not None and budget.forbid else ():
        name, by = budget and budget.forbidden(span.name), span.site or span.importer
        if name and by is not None:
            asked.setdefault(name, (by, span))
    for by, span in asked.values():
        yield scope.finding("forbidden", by, f"{span.name} is executed", tree.chain(span))


def _first_party(span: Span | None) -> Span | None:
    while span is not None and not span.first_party:
        span = span.parent
    return span


def _is_no_sleep(effect: Effect, tree: ImportTree) -> bool:
    """Return whether it is a sleep of no time, or of a thread that the import does not wait for."""
    return effect.kind == "sleep" and (effect.thread != tree.main or not _slept(effect) > 0)


def _slept(effect: Effect) -> float:
    try:
        return float(effect.detail)
    except ValueError:
        return 0.0


def _is_local_look_up(effect: Effect) -> bool:
    if effect.kind != "dns":
        return False
    name = effect.detail.removeprefix("the name of ")
    host = name.partition("%")[0]
    if host in ("", "None", "localhost"):
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return name == effect.detail or address.is_loopback


def _double_imports(tree: ImportTree, scope: Scope) -> Iterator[Finding]:
    """Yield the files that were executed again, under another name or because the first execution failed."""
    first: dict[str, Span] = {}
    for span in tree.spans:
        if not span.first_party or span.file is None or not span.file.endswith((".py", ".pyc")):
            continue
        before = first.setdefault(span.file, span)
        if before is span or span.site is None:
            continue
        if before.name != span.name:
            detail = f"{scope.name(span.file)} is executed as {before.name} and as {span.name}"
        else:
            reason = "its first execution failed" if before.failed else "it was taken out of sys.modules or reloaded"
            detail = f"{span.name} is executed twice: {reason}"
        yield scope.finding("double-import", span.site, detail, tree.chain(span), before.site)


# By the things of `target.process_state`: what is said, why it hurts, and the words by which sources do it. Where no
# word is given, it is an attribute of `sys` that is assigned.
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
        at = Frame(file, lines[0] if len(lines) == 1 else None, "")
        yield scope.finding("process-state", at, detail, imports.chain(span))


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
            last, owner = last_name(each), last_name(getattr(each, "value", None))
            names = [f"{owner}.{last}"] if at and isinstance(node, ast.Call) else [last, f"{owner}.{last}"]
            found += [(node.lineno, name) for name in names]  # type: ignore[attr-defined]
    return found
