"""`when_imported`: a function that runs once another module has been imported.

Invariants: waiting costs one dict look-up an import; nothing is loaded for the hook's sake. (wrapt has such
hooks too. To load it while another module is being looked for costs that import tens of milliseconds, its
finder comes too late for the round that is under way, and a hook on any module that wrapt itself needs, such
as inspect, cannot work.)
"""

from __future__ import annotations

import sys

from lazyguard import errors
from lazyguard._base.places import is_module_name
from lazyguard._guards import loaders

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType
    from typing import Any, TypeVar

    Hook = TypeVar("Hook", bound=Callable[[ModuleType], object])

_WAITING: dict[str, list[Callable[[Any], object]]] = {}


def when_imported(name: str) -> Callable[[Hook], Hook]:
    """Run the decorated function, with the module as its argument, once that module has been imported.

    Returns the function unchanged. In a process that has the module already (or is executing it now) it runs
    at once. What it raises comes out of the import that it follows, which fails then; hooks stay in place for
    the next try. Hooks run in the importing thread, in the order of declaration, once. A forked child keeps
    those that wait. A namespace package executes nothing, and so runs no hook. Where another thread is just looking for
    the module, the end of its import is waited for.

    Raises:
        ConfigurationError: `name` cannot be a module's name.

    Example:
        >>> import lazyguard
        >>> @lazyguard.when_imported("colorsys")
        ... def tell(module):
        ...     print("there is", module.__name__)
        >>> import colorsys
        there is colorsys
    """
    if not is_module_name(name):
        raise errors.ConfigurationError(f"when_imported: {name!r} is no module's name; give an absolute one")

    def register(hook: Hook) -> Hook:
        module = sys.modules.get(name)
        if module is not None:
            hook(module)
        else:
            _wait(name, [hook])
            _look_again(name)
        return hook

    return register


def _wait(name: str, hooks: list[Callable[[Any], object]]) -> None:
    _WAITING.setdefault(name, []).extend(hooks)
    if _FINDER not in sys.meta_path:
        # It stays: taking it out would make another thread's round over the list skip the finder behind it.
        sys.meta_path.insert(0, _FINDER)


def _look_again(name: str) -> None:
    """Run what waits where the module has come meanwhile: whoever was importing it had asked our finder before."""
    system: Any = sys.modules["_frozen_importlib"]
    if name in system._module_locks:
        system._lock_unlock_module(name)  # ends when that import has ended; the import system sees to rings
    module = sys.modules.get(name)
    if module is not None:
        _run(name, module)


class _Finder:
    """Stands first on `sys.meta_path` and wraps the loader that the others find, for modules with hooks."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the others' spec with our loader in it; None for modules that nobody waits for."""
        if fullname not in _WAITING:
            return None
        for finder in list(sys.meta_path):
            find = getattr(finder, "find_spec", None)
            spec: ModuleSpec | None = None if finder is self or find is None else find(fullname, path, target)
            if spec is not None:
                loaders.wrap(spec, _then_hooks)
                return spec
        return None


_FINDER = _Finder()


def _then_hooks(name: str, module: ModuleType, execute: Callable[[ModuleType], object]) -> None:
    """Execute the module as if there were no hooks, then run them."""
    execute(module)
    _run(name, module)


def _run(name: str, module: ModuleType) -> None:
    hooks = _WAITING.pop(name, [])
    try:
        for hook in hooks:
            hook(sys.modules.get(name, module))
    except BaseException:
        _wait(name, hooks)  # the import fails, and the module with it: the next one is another
        raise
