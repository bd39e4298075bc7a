"""Circular imports explained: the ring, the name that is not bound yet, and the line to move.

Invariants: only errors that Python itself puts down to a circular import are added to, once, and nothing is taken from
them; nothing is executed, sources are read. What cannot be found out is not said.
"""

from __future__ import annotations

from lazyguard._guards import frames

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ast
    from collections.abc import Iterator
    from types import FrameType
    from typing import Any, TypeAlias

    # A module's name, its file, and the line of it that has the next import in the ring, or that fails.
    Link: TypeAlias = tuple[str, str, int]

_MARK = "a ring of imports:"


def explain(error: BaseException) -> None:
    """Add the ring to an error that comes of one; leave any other as it is."""
    text = error.msg if isinstance(error, ImportError) else error.args[0] if error.args else ""
    if not isinstance(error, (ImportError, AttributeError)) or not isinstance(text, str):
        return
    if "circular import" not in text or _MARK in text or any(_MARK in note for note in _notes(error)):
        return
    try:
        told = _explanation(error, text)
    except (OSError, SyntaxError, ValueError):
        return  # a source that cannot be read
    if not told:
        return
    add_note: Any = getattr(error, "add_note", None)
    if add_note is not None:
        add_note(told)
    elif isinstance(error, ImportError):  # Python 3.10
        error.msg = f"{text}\n{told}"
    else:
        error.args = (f"{text}\n{told}", *error.args[1:])


def _notes(error: BaseException) -> list[str]:
    notes: list[str] = getattr(error, "__notes__", [])
    return notes


def _explanation(error: ImportError | AttributeError, text: str) -> str:
    quoted = text.split("'")[1::2]
    if len(quoted) < 2:
        return ""
    if isinstance(error, ImportError) or text.startswith("cannot access submodule"):
        missing, module = quoted[0], quoted[1]
    else:
        module, missing = quoted[0], quoted[-1]
    ring = _ring(error, module)
    if not ring:
        return ""
    (_, first, first_line), (last, file, line) = ring[0], ring[-1]
    lines = [f"This is {_MARK}"]
    lines += [
        f"  {one} ({where}:{at}) imports {after}"
        for (one, where, at), after in zip(ring, [link[0] for link in ring[1:]], strict=False)
    ]
    bound = _bound(first, missing, first_line)
    later = f"{first}:{bound} binds it, later" if bound else "it binds no such name at module level"
    lines.append(f"  {last} ({file}:{line}) needs {missing!r} of {module}, which is not bound yet: {later}")
    lines.append(_advice(ring, missing, bound))
    return "\n".join(lines)


def _ring(error: BaseException, module: str) -> list[Link]:
    """Return the modules that are being executed, from the one that is half done to the one that fails."""
    found: list[Link] = []
    inside = False
    for frame, line in _stack(error):
        if frames.is_machinery(frame):
            continue
        if frame.f_code.co_name == "<module>":
            name = str(frame.f_globals.get("__name__"))
            if name == module:
                found, inside = [], True
            if inside:
                found.append((name, frame.f_code.co_filename, line))
        elif inside and frame.f_code.co_filename == found[-1][1]:
            found[-1] = (*found[-1][:2], line)  # an import in a function that the body calls
    return found


def _stack(error: BaseException) -> Iterator[tuple[FrameType, int]]:
    """Yield the frames and lines from the outermost to where the error was raised."""
    trace = error.__traceback__
    if trace is None:
        return
    outer = []
    frame = trace.tb_frame.f_back
    while frame is not None:
        outer.append((frame, frame.f_lineno))
        frame = frame.f_back
    yield from reversed(outer)
    while trace is not None:
        yield trace.tb_frame, trace.tb_lineno
        trace = trace.tb_next


def _advice(ring: list[Link], missing: str, bound: int | None) -> str:
    (module, first, first_line), (last, file, line) = ring[0], ring[-1]
    alias = _alias(file, line, missing)
    if alias is not None and last != module:
        uses = _uses(file, alias)
        if uses is not None:
            where = ", ".join(f"{file}:{one}" for one in uses) or "nowhere, it seems: leave it out"
            return f"Move {file}:{line} into the functions that use {alias!r}: {where}."
    if bound:
        return f"Move {first}:{first_line} below {first}:{bound}, or what binds {missing!r} above it."
    return f"Import {missing!r} from the module that makes it, or move {first}:{first_line} into what needs it."


def _tree(file: str) -> ast.Module:
    import ast
    import tokenize

    with tokenize.open(file) as source:
        return ast.parse(source.read())


def _bound(file: str, name: str, after: int) -> int | None:
    """Return the first line below `after` at which a module binds a name."""
    found = [line for line in _bindings(_tree(file), name) if line > after]
    return min(found, default=None)


def _bindings(node: ast.AST, name: str) -> Iterator[int]:
    import ast

    for child in ast.iter_child_nodes(node):
        if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            if child.name == name:
                yield child.lineno
        elif isinstance(child, (ast.Import, ast.ImportFrom)):
            if any((each.asname or each.name.partition(".")[0]) == name for each in child.names):
                yield child.lineno
        elif isinstance(child, ast.Name):
            if child.id == name and isinstance(child.ctx, ast.Store):
                yield child.lineno
        elif not isinstance(child, ast.Lambda):
            yield from _bindings(child, name)


def _alias(file: str, line: int, name: str) -> str | None:
    """Return what the from-import at a line of a module's body calls the name; None where there is none."""
    import ast

    for node in ast.walk(_tree(file)):
        if isinstance(node, ast.ImportFrom) and node.lineno <= line <= (node.end_lineno or line):
            for each in node.names:
                if each.name == name:
                    return each.asname or name
    return None


def _uses(file: str, name: str) -> list[int] | None:
    """Return the lines, in functions, that use a name; None where the module's own body uses it."""
    found = list(_loads(_tree(file), name, False))
    return None if not all(later for _, later in found) else sorted({line for line, _ in found})


def _loads(node: ast.AST, name: str, later: bool) -> Iterator[tuple[int, bool]]:
    """Yield the lines that use a name, and whether that is in a function's body."""
    import ast

    if isinstance(node, ast.Name) and node.id == name and isinstance(node.ctx, ast.Load):
        yield node.lineno, later
    inner = node.body if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) else []
    for child in ast.iter_child_nodes(node):
        yield from _loads(child, name, later or child in inner or isinstance(node, ast.Lambda))
