"""Two loaders: one that adds to the execution of a module, one that makes a name an alias of another module.

Invariants: a module shows neither of them; its `__loader__` and its `__spec__` are those of its own loader. A wrapped
loader still answers all other requests, such as for a source or a resource. An alias executes nothing, and its module
is the very object of the original.
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


def wrap(spec: ModuleSpec, executor: Callable[[str, ModuleType, Execute], object]) -> None:
    """Let `executor` execute the module of a spec; call it with the name, the module and what executes the module."""
    if hasattr(spec.loader, "exec_module"):
        spec.loader = _Loader(spec.loader, executor)  # type: ignore[assignment]


class _Loader:
    """Execute a module by a function; leave all else to the module's own loader."""

    def __init__(self, loader: Any, executor: Callable[[str, ModuleType, Execute], object]) -> None:
        self._loader = loader
        self._executor = executor

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """Let the module's own loader create the module; it must find itself in the spec."""
        spec.loader = self._loader
        module: ModuleType | None = self._loader.create_module(spec)
        spec.loader = self  # type: ignore[assignment]
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Put the module's own loader in place, and let the executor run the module."""
        spec: Any = module.__spec__
        if spec is not None and spec.loader is self:
            spec.loader = self._loader
        if getattr(module, "__loader__", None) is self:
            module.__loader__ = self._loader
        self._executor(spec.name if spec is not None else module.__name__, module, self._loader.exec_module)


class AliasLoader:
    """Import the original module, and let the import system register it under a second name."""

    # What the import system sets on the module that it gets, some of it only where it is missing.
    _SET = ("__spec__", "__package__", "__loader__")

    def __init__(self, original: str) -> None:
        self.original = original
        self._own: dict[str, Any] = {}

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """Return the original module; import it if it is not imported yet."""
        partial = sys.modules.get(self.original)
        if partial is not None:
            # Another thread may be importing it, and import our name meanwhile: it must find the original, not wait.
            sys.modules[spec.name] = partial
        try:
            __import__(self.original)
            if self.original not in sys.modules:  # another thread's import of it failed while we waited
                __import__(self.original)
        except BaseException:
            sys.modules.pop(spec.name, None)
            raise
        module = sys.modules[self.original]
        loader: Any = getattr(module.__spec__, "loader", None)
        # Where two aliases are made at a time, take the module's own values, not what the other alias is about to undo.
        self._own = (
            loader._own if isinstance(loader, AliasLoader) else {name: vars(module).get(name) for name in self._SET}
        )
        # The import system is about to set `spec` on the module: show that the module may still be importing.
        spec._initializing = True  # type: ignore[attr-defined]
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Restore what the import system has overwritten on the original; there is nothing to execute."""
        vars(module).update(self._own)


def spec_of(name: str, original: str, origin: str) -> ModuleSpec:
    """Return the spec that makes `name` an alias of the module `original`, whose file is `origin`."""
    kind: type[ModuleSpec] = sys.modules["_frozen_importlib"].ModuleSpec
    return kind(name, AliasLoader(original), origin=origin)  # type: ignore[arg-type]
