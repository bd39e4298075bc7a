"""A loader that stands for another one until its module is executed, for who has something to do before or after that.

Invariants: the module shows nothing of it, in `__loader__` and `__spec__` it has its own loader; what is asked of it
besides, such as a source or a resource, the own loader answers.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from importlib.machinery import ModuleSpec
    from types import ModuleType
    from typing import Any, TypeAlias

    Execute: TypeAlias = Callable[[ModuleType], object]


def wrap(spec: ModuleSpec, around: Callable[[str, ModuleType, Execute], object]) -> None:
    """Let `around` execute the module of a spec: it is given its name, the module, and what executes it."""
    if hasattr(spec.loader, "exec_module"):
        spec.loader = _Loader(spec.loader, around)  # type: ignore[assignment]


class _Loader:
    def __init__(self, loader: Any, around: Callable[[str, ModuleType, Execute], object]) -> None:
        self._loader = loader
        self._around = around

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """Leave it to the loader, which is to find itself in the spec."""
        spec.loader = self._loader
        module: ModuleType | None = self._loader.create_module(spec)
        spec.loader = self  # type: ignore[assignment]
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Execute the module as if its own loader did."""
        spec: Any = module.__spec__
        if spec is not None and spec.loader is self:
            spec.loader = self._loader
        if getattr(module, "__loader__", None) is self:
            module.__loader__ = self._loader
        self._around(spec.name if spec is not None else module.__name__, module, self._loader.exec_module)
