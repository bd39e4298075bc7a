"""Packages with declared names that are also names of submodules: the import of one must not hide the other.

Invariant: the package is a plain module again once all these submodules have been imported.
"""

from __future__ import annotations

from lazyguard._base import Any, ModuleType
from lazyguard._lazy_imports import REGISTRY


def keep_apart(module: ModuleType) -> None:
    """Keep the declared names of a package from being taken by its submodules of these names."""
    if not isinstance(module, Package):
        kind = type(module)
        module.__class__ = type(kind.__name__, (Package, kind), {})


def release(module: ModuleType | None) -> None:
    """Make it a plain module again if no name is in danger any more, and no other class stands above ours."""
    if not isinstance(module, Package):
        return
    registry: dict[str, Any] = vars(module).get(REGISTRY, {})
    first, *others = type(module).__bases__
    if first is Package and not any(each.contested for each in registry.values()):
        module.__class__ = others[0]


class Package(ModuleType):
    """A package with declared names that are also names of submodules, until those have been imported."""

    def __setattr__(self, name: str, value: Any) -> None:
        registry: dict[str, Any] = vars(self).get(REGISTRY, {})
        owner = registry.get(name)
        if owner is None or not owner.is_shadow(name, value):
            try:
                above = super()
            except TypeError:  # another thread has made it a plain module since this call began
                setattr(self, name, value)
            else:
                above.__setattr__(name, value)
            return
        # The import system does this once a submodule: afterwards the name is safe.
        owner.contested.discard(name)
        release(self)
