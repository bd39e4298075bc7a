"""What a package's `.pyi` re-exports, read with `ast`; loaded by `attach_stub` alone."""

from __future__ import annotations

import ast

from lazyguard import errors

TYPE_CHECKING = False
if TYPE_CHECKING:
    Names = dict[str, list[str]]


def read(package: str, stub: str, place: str) -> tuple[list[str], Names, Names, dict[str, str]]:
    """Return what the stub re-exports: submodules, names by submodule, names by absolute module; and all places."""
    try:
        with open(stub, encoding="utf-8") as file:
            tree = ast.parse(file.read(), stub)
    except FileNotFoundError as error:
        raise errors.ConfigurationError(f"{package}: there is no stub {stub} (wanted at {place})") from error
    except (OSError, SyntaxError, ValueError) as error:
        raise errors.ConfigurationError(f"{package}: the stub {stub} cannot be read (wanted at {place})") from error
    exported = _exported(tree)
    submodules: list[str] = []
    relative: Names = {}
    absolute: Names = {}
    places: dict[str, str] = {}
    for node in ast.walk(tree):
        if not isinstance(node, ast.ImportFrom):
            continue
        for alias in node.names:
            if alias.name == "*":
                raise errors.ConfigurationError(
                    f"{stub}:{node.lineno}: a star import does not say what to attach; write the names"
                )
            entry = f"{alias.name} as {alias.asname}" if alias.asname else alias.name
            places[alias.asname or alias.name] = f"{stub}:{alias.lineno}"
            if node.level == 1 and node.module is None:
                submodules.append(entry)
            elif node.level == 1 and node.module is not None:
                relative.setdefault(node.module, []).append(entry)
            # A stub imports from elsewhere for its annotations too: only what it re-exports (PEP 484) counts.
            elif alias.asname == alias.name or (alias.asname or alias.name) in exported:
                absolute.setdefault(_absolute(package, node), []).append(entry)
    return submodules, relative, absolute, places


def _exported(tree: ast.Module) -> set[str]:
    """Return the names in the stub's `__all__`."""
    for node in tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        value = getattr(node, "value", None)
        if isinstance(value, (ast.List, ast.Tuple)) and "__all__" in (getattr(t, "id", "") for t in targets):
            return {item.value for item in value.elts if isinstance(item, ast.Constant) and isinstance(item.value, str)}
    return set()


def _absolute(package: str, node: ast.ImportFrom) -> str:
    parent = package.rsplit(".", node.level - 1)[0] if node.level else ""
    return ".".join(part for part in (parent, node.module) if part)
