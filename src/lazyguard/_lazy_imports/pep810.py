"""Native lazy imports (PEP 810, Python 3.15): the objects that `lazy from module import name` binds, for a package.

Invariants: the interpreter itself replaces the object by the value, so that later accesses cost nothing more. The
statement has the file and the line of the declaration. Its builtins have an `__import__` of ours, so that the errors
are ours. These objects belong into the namespace of a module and nowhere else: only there they are replaced.
"""

import builtins

from lazyguard._base import TYPE_CHECKING, Callable, Sequence

if TYPE_CHECKING:
    from types import CodeType

_statements: "dict[int, CodeType]" = {}  # by the number of names


class FromModule:
    """Stand for the module in `from module import name`: the interpreter asks it for the names."""

    __slots__ = ("_find", "_module")

    def __init__(self, module: str, find: "Callable[[str, str], object]") -> None:
        self._module = module
        self._find = find

    def __getattr__(self, name: str) -> object:
        return self._find(self._module, name)


class Imports:
    """Make the native lazy imports of one package; `find(module, attribute)` returns the value of each."""

    def __init__(self, package: str, find: "Callable[[str, str], object]") -> None:
        self._package = package
        self._builtins = {
            "__import__": lambda name, *_: FromModule(name, find),
            "__lazy_import__": getattr(builtins, "__lazy_import__"),  # noqa: B009 - no checker knows it yet
        }

    def make(self, module: str, attributes: "Sequence[str]", file: str, line: int) -> "list[object]":
        """Return what `lazy from module import attribute, ...` binds: native lazy imports.

        If the filter of `sys.set_lazy_imports_filter` wants this import eager, these are the values themselves.
        """
        count = len(attributes)
        statement = _statements.get(count)
        if statement is None:
            text = f"lazy from M import {', '.join(f'A{n} as N{n}' for n in range(count))}"
            statement = _statements[count] = compile(text, "", "exec")
        # One statement a module: each keeps its code, and one a name would take 1 KB a name. The names are replaced in
        # the code, not compiled: they may be keywords.
        names = {"M": module, **{f"A{n}": attribute for n, attribute in enumerate(attributes)}}
        before, after = tuple(f"A{n}" for n in range(count)), tuple(attributes)
        statement = statement.replace(
            co_filename=file,
            co_firstlineno=line,
            co_names=tuple(names.get(name, name) for name in statement.co_names),
            co_consts=tuple(after if const == before else const for const in statement.co_consts),
        )
        namespace: dict[str, object] = {"__builtins__": self._builtins, "__name__": self._package}
        exec(statement, namespace)
        return [namespace[f"N{n}"] for n in range(count)]
