"""Explain circular imports: the cycle, the name that is not bound yet, and the line to move.

Invariants: only an error that Python itself calls a circular import is changed. The explanation is added once, and the
original text stays. Sources are read, and nothing is executed. What cannot be found out is left out.
"""

from __future__ import annotations

from lazyguard._base import TYPE_CHECKING, Any, FrameType, Iterator, TypeAlias, places
from lazyguard._guards import frames

if TYPE_CHECKING:
    import ast

    # A module's name, its file, and the line that has the next import in the cycle, or that fails.
    Link: TypeAlias = tuple[str, str, int]

_HEADLINE = "an import cycle:"


def explain(error: BaseException) -> None:
    """Add the import cycle to an error that it has caused; leave any other error as it is."""
    text = error.msg if isinstance(error, ImportError) else error.args[0] if error.args else ""
    if not isinstance(error, (ImportError, AttributeError)) or not isinstance(text, str):
        return
    notes: list[str] = getattr(error, "__notes__", [])
    if "circular import" not in text or any(_HEADLINE in said for said in (text, *notes)):
        return
    try:
        explanation = _explained(error, text)
    except (OSError, SyntaxError, ValueError):
        return  # the source cannot be read
    if not explanation:
        return
    add_note: Any = getattr(error, "add_note", None)
    if add_note is not None:
        add_note(explanation)
    elif isinstance(error, ImportError):  # Python 3.10
        error.msg = f"{text}\n{explanation}"
    else:
        error.args = (f"{text}\n{explanation}", *error.args[1:])


def _explained(error: ImportError | AttributeError, text: str) -> str:
    quoted = text.split("'")[1::2]
    if len(quoted) < 2:
        return ""
    if isinstance(error, ImportError) or text.startswith("cannot access submodule"):
        missing, module = quoted[0], quoted[1]
    else:
        module, missing = quoted[0], quoted[-1]
    cycle = _cycle(error, module)
    if not cycle:
        return ""
    (_, first, first_line), (last, file, line) = cycle[0], cycle[-1]
    lines = [f"This is {_HEADLINE}"]
    lines += [
        f"  {name} ({path}:{number}) imports {imported}"
        for (name, path, number), imported in zip(cycle, [link[0] for link in cycle[1:]], strict=False)
    ]
    bound = _binding_line(first, missing, first_line)
    binding = f"{first}:{bound} binds it, later" if bound else "it binds no such name at module level"
    lines.append(f"  {last} ({file}:{line}) needs {missing!r} of {module}, which is not bound yet: {binding}")
    lines.append(_advice(cycle, missing, bound))
    return "\n".join(lines)


def _cycle(error: BaseException, module: str) -> list[Link]:
    """Return the modules that are being executed, from the partially initialized one to the one that fails."""
    import linecache

    found: list[Link] = []
    inside = False
    for frame, line in _stack(error):
        if frames.is_machinery(frame):
            continue
        linecache.checkcache(frame.f_code.co_filename)
        linecache.lazycache(frame.f_code.co_filename, frame.f_globals)  # a loader may have the source, of a zip archive
        if frame.f_code.co_name == "<module>":
            name = str(frame.f_globals.get("__name__"))
            if name == module:
                found, inside = [], True
            if inside:
                found.append((name, frame.f_code.co_filename, line))
        elif inside and frame.f_code.co_filename == found[-1][1]:
            found[-1] = (*found[-1][:2], line)  # the body calls a function, which has the import
    return found


def _stack(error: BaseException) -> list[tuple[FrameType, int]]:
    """Return frames and lines, from the outermost to the one that raised the error."""
    from traceback import walk_tb

    trace = error.__traceback__
    outer = places.outwards(None if trace is None else trace.tb_frame.f_back)
    return [*[(frame, frame.f_lineno) for frame in outer][::-1], *walk_tb(trace)]


def _advice(cycle: list[Link], missing: str, bound: int | None) -> str:
    import ast

    (module, first, first_line), (last, file, line) = cycle[0], cycle[-1]
    tree = _tree(file)
    statements = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    on_line = [node for node in statements if node.lineno <= line <= (node.end_lineno or line)]
    aliases = [each.asname or missing for node in on_line for each in node.names if each.name == missing]
    uses = _uses(tree, aliases[0]) if aliases and last != module else None
    if uses is not None:
        where = ", ".join(f"{file}:{number}" for number in uses) or "no use was found, so remove it"
        return f"Move {file}:{line} into the functions that use {aliases[0]!r}: {where}."
    if bound:
        return f"Move {first}:{first_line} below {first}:{bound}, or move what binds {missing!r} above it."
    return f"Import {missing!r} from the module that defines it, or move {first}:{first_line} into what needs it."


def _tree(file: str) -> ast.Module:
    import ast
    import linecache

    lines = linecache.getlines(file)
    if not lines:
        raise OSError
    return ast.parse("".join(lines))


def _binding_line(file: str, name: str, after: int) -> int | None:
    """Return the first line below `after` on which a module binds a name."""
    return min((line for line in _bindings(_tree(file), name) if line > after), default=None)


def _bindings(node: ast.AST, name: str) -> Iterator[int]:
    import ast

    for child in ast.iter_child_nodes(node):
        if _bound(child) == name:
            yield getattr(child, "lineno", 0)
        if not isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)):
            yield from _bindings(child, name)


def _bound(node: Any) -> str:
    """Return the name that a node binds, be it a definition, an import or an assignment; an empty text for others."""
    if hasattr(node, "id"):
        return str(node.id) if type(node.ctx).__name__ == "Store" else ""
    name = getattr(node, "asname", None) or getattr(node, "name", None) or ""
    return str(name).partition(".")[0]


def _uses(tree: ast.Module, name: str) -> list[int] | None:
    """Return the lines, in functions, that use a name; None where the module's own body uses it."""
    import ast

    nodes = list(ast.walk(tree))
    functions = [node for node in nodes if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))]
    bodies = [range(node.body[0].lineno, (node.end_lineno or node.lineno) + 1) for node in functions]
    loads = [node for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)]
    lines = sorted({node.lineno for node in loads if node.id == name})
    return lines if all(any(line in body for body in bodies) for line in lines) else None
