"""A loader that stands for another one until its module is executed, for who has something to do before or after that.

Invariants: the module shows nothing of it, in `__loader__` and `__spec__` it has its own loader; what is asked of it
besides, such as a source or a resource, the own loader answers.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from importlib.machinery import ModuleSpec
    from types import ModuleType
    from typing import Any, TypeAlias

    Execute: TypeAlias = Callable[[ModuleType], object]
    from types import ModuleType


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


# What the import system fills in where it is missing, as it is on a script's `__main__`.
_WRITTEN = ("__package__", "__loader__", "__file__", "__cached__", "__path__")


class AliasLoader:
    """Imports the original, and lets the import system enter it under the second name."""

    def __init__(self, original: str) -> None:
        self.original = original
        self._own_spec: Any = None
        self._own: dict[str, Any] = {}

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """Return the original, importing it if need be."""
        began = sys.modules.get(self.original)
        if began is not None:
            # Another thread may be importing it, and come to import our name: let it find the original, not
            # wait.
            sys.modules[spec.name] = began
        try:
            __import__(self.original)
            if self.original not in sys.modules:  # another thread's import of it failed while we waited
                __import__(self.original)
        except BaseException:
            sys.modules.pop(spec.name, None)
            raise
        module = sys.modules[self.original]
        own: Any = module.__spec__
        # Two aliases made at a time: take the module's own, not the other alias's.
        self._own_spec = own.loader._own_spec if own and isinstance(own.loader, AliasLoader) else own
        self._own = {name: vars(module)[name] for name in _WRITTEN if name in vars(module)}
        # The import system is about to put `spec` on the module; whoever looks then is to see its true state.
        spec._initializing = True  # type: ignore[attr-defined]
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Give the original back what the import system has written on it; there is nothing to execute."""
        module.__spec__ = self._own_spec
        for name in _WRITTEN:
            if name in self._own:
                setattr(module, name, self._own[name])
            elif name in vars(module):
                delattr(module, name)


def spec_of(name: str, original: str, origin: str) -> ModuleSpec:
    """Return the spec that makes `name` another name of the module `original`, which lies at `origin`."""
    kind: type[ModuleSpec] = sys.modules["_frozen_importlib"].ModuleSpec
    return kind(name, AliasLoader(original), origin=origin)  # type: ignore[arg-type]
