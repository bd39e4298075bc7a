"""In which form an import is deferred: the text to write in its place.

Invariants: a suggestion, nothing is written. From Python 3.15 on the language has a statement for it (PEP 810), which
may not stand in a `try`, a `with`, a function or a class; before, lazyguard has.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    Statement = Mapping[str, Any]

NATIVE = (3, 15)


def replacement(one: Statement, version: tuple[int, ...], *, optional: bool = False) -> str:
    """Returns what to write in place of a statement (as `statements.Statement` has it)."""
    if optional:
        (name,) = one["names"]
        if name == one["module"] or "." not in one["module"] or one["text"].endswith(f" as {name}"):
            return f'{name} = lazyguard.optional_import("{one["module"]}")'
    if version >= NATIVE and one["within"] in ("", "if", "block"):
        return f"lazy {one['text']}"
    if one["within"] == "with" and one["kind"] == "import" and one["text"].endswith(" as " + next(iter(one["names"]))):
        return f'{next(iter(one["names"]))} = lazyguard.load("{one["module"]}")'
    return f"with lazyguard.lazy_imports():\n    {one['text']}"


def attached(exports: Sequence[Statement], package: str, *, has_all: bool) -> str:
    """Returns the one call that stands for all re-exports of a package that are deferred.

    Where the package says what it offers (`__all__`), that stays.
    """
    submodules: list[str] = []
    relative: dict[str, list[str]] = {}
    absolute: dict[str, list[str]] = {}
    for one in exports:
        module = one["module"]
        entries = [taken if taken == name else f"{taken} as {name}" for name, taken in one["names"].items()]
        if module == package:
            submodules += entries
        elif module.startswith(package + "."):
            relative.setdefault(module[len(package) + 1 :], []).extend(entries)
        else:
            absolute.setdefault(module, []).extend(entries)
    lines = ["    __name__,"]
    if submodules:
        lines.append(f"    submodules={_list(submodules)},")
    for option, table in (("submod_attrs", relative), ("absolute_attrs", absolute)):
        if table:
            pairs = ", ".join(f'"{module}": {_list(names)}' for module, names in table.items())
            lines.append(f"    {option}={{{pairs}}},")
    left = "__getattr__, __dir__, _" if has_all else "__getattr__, __dir__, __all__"
    return "\n".join([f"{left} = lazyguard.attach(", *lines, ")"])


def _list(names: Sequence[str]) -> str:
    return "[" + ", ".join(f'"{name}"' for name in names) + "]"
