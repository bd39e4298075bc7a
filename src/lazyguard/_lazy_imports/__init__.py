"""Lazy imports: packages, modules and single attributes that are imported or built at their first use."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

# In the namespace of every module that has lazy attributes: name -> the LazyAttributes that declared it.
REGISTRY = "__lazy_attributes__"


class FromModule:
    """Stand for the module in `from module import name`: the interpreter asks it for the names."""

    __slots__ = ("_find", "_module")

    def __init__(self, module: str, find: Callable[[str, str], object]) -> None:
        self._module = module
        self._find = find

    def __getattr__(self, name: str) -> object:
        return self._find(self._module, name)
