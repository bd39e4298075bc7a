"""One module under two names: the loader that gives a name the module object that another name has.

Invariants: the original is executed once and keeps its `__name__`, `__package__` and `__spec__`; no other
module object is visible at any time, so that a thread that imports the same name meanwhile cannot get hold of
a wrong one.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec
    from types import ModuleType
    from typing import Any


class AliasLoader:
    """Imports the original, and lets the import system enter it under the second name."""

    def __init__(self, original: str) -> None:
        self.original = original
        self._own_spec: Any = None

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
        # The import system is about to put `spec` on the module; whoever looks then is to see its true state.
        spec._initializing = True  # type: ignore[attr-defined]
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Give the original its own `__spec__` back; there is nothing to execute."""
        module.__spec__ = self._own_spec


def spec_of(name: str, original: str, origin: str) -> ModuleSpec:
    """Return the spec that makes `name` another name of the module `original`, which lies at `origin`."""
    kind: type[ModuleSpec] = sys.modules["_frozen_importlib"].ModuleSpec
    return kind(name, AliasLoader(original), origin=origin)  # type: ignore[arg-type]
