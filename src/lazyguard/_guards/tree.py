"""A package's directories on disk, and the name that a file or a directory has by its place among them.

Invariants: places are compared by their real paths; what was asked once about a directory is not asked again.
"""

from __future__ import annotations

import os
import sys

from lazyguard import errors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable


class Tree:
    """The directories of one package; imports nothing."""

    def __init__(self, package: str) -> None:
        self.package = package
        self._inside = f"{package}."
        self._given = _directories(package)
        self._roots = [os.path.realpath(directory) for directory in self._given]
        self._parents: dict[str, str | None] = {}

    def has(self, name: str) -> bool:
        """Tell whether a module's name is the package's or below it."""
        return name == self.package or name.startswith(self._inside)

    def in_directory(self, directory: object, name: str) -> str | None:
        """Return the name in the package of the module `name` found in a directory, if there is one."""
        if not isinstance(directory, str):
            return None
        parent = self._parents[directory] if directory in self._parents else self._parent(directory)
        if parent is None:
            return None
        canonical = f"{parent}.{name}" if parent else name
        if self.has(canonical) and any(
            os.path.exists(f"{directory or '.'}/{name}{end}") for end in (".py", "/__init__.py")
        ):
            return canonical
        return None

    def _parent(self, directory: str) -> str | None:
        """Return the dotted name of a directory of the package, or of the one above; None for any other."""
        real = os.path.realpath(directory)
        parent = self._dotted(real)
        if parent is None and any(os.path.dirname(root) == real for root in self._roots):
            parent = self.package.rpartition(".")[0]
        if os.path.isabs(directory):  # what is relative moves with the process
            self._parents[directory] = parent
        return parent

    def of_file(self, file: str) -> str | None:
        """Return the name that a file has by its place; None outside, and below what is no package."""
        real = os.path.realpath(file)
        stem = f"{os.path.dirname(real)}/{os.path.basename(real).partition('.')[0]}"
        canonical = self._dotted(stem.removesuffix("/__init__"))
        return canonical if canonical is not None and self._is_regular(canonical) else None

    def may_hold(self, file: str) -> bool:
        """Tell cheaply, without a system call, whether a file seems to lie in the package."""
        return any(file.startswith(f"{root}/") for root in (*self._given, *self._roots))

    def _dotted(self, real: str) -> str | None:
        for root in self._roots:
            if f"{real}/".startswith(f"{root}/"):
                return self.package + real[len(root) :].replace("/", ".")
        return None

    def _is_regular(self, canonical: str) -> bool:
        parent = canonical.rpartition(".")[0]
        while parent.startswith(self._inside) and parent not in sys.modules:
            below = parent[len(self._inside) :].replace(".", "/")
            if not any(os.path.exists(f"{root}/{below}/__init__.py") for root in self._roots):
                return False
            parent = parent.rpartition(".")[0]
        return True


def _directories(package: str) -> list[str]:
    module = sys.modules.get(package)
    found: Iterable[str] | None = getattr(module, "__path__", None)
    if module is None:
        from importlib.util import find_spec

        try:
            spec = find_spec(package)
        except (ImportError, ValueError) as error:
            raise errors.ConfigurationError(f"install_import_guard: {package!r} cannot be found") from error
        if spec is None:
            raise errors.ConfigurationError(
                f"install_import_guard: there is no package {package!r}: give the name that it is imported by"
            )
        found = spec.submodule_search_locations
    if not found:
        raise errors.ConfigurationError(
            f"install_import_guard: {package!r} is a module, not a package: give the one that it belongs to"
        )
    return list(found)
