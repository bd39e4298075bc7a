"""`when_imported`: a function that runs once another module has been imported. And the finder for all guards.

Invariants: a pending hook costs one dict look-up an import, and loads nothing. The finder stands first, changes what
the others find, and finds nothing itself. (wrapt has such hooks too. To load wrapt
amid another import would cost that import tens of milliseconds. Its finder would miss the search that is under way. A
hook on a module that wrapt itself needs, such as inspect, could not work.)
"""

from __future__ import annotations

import sys

from lazyguard import errors
from lazyguard._base.places import is_module_name, shown
from lazyguard._guards import loaders

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType
    from typing import Any, Protocol, TypeVar

    Hook = TypeVar("Hook", bound=Callable[[ModuleType], object])

    class Guard(Protocol):
        """What stands around the imports of a package."""

        def around(self, name: str, spec: ModuleSpec, target: ModuleType | None) -> ModuleSpec:
            """Return the spec to use for a module in place of the one that was found."""
            ...

        def forget(self) -> None:
            """Do what `importlib.invalidate_caches` asks for."""


_PENDING: dict[str, list[Callable[[Any], object]]] = {}
# By package.
GUARDS: dict[str, Guard] = {}


def when_imported(name: str) -> Callable[[Hook], Hook]:
    """Run the decorated function, with the module as its argument, once that module has been imported.

    Returns the function unchanged. If the module is imported already, or is being executed, the function runs at once.
    Else it runs once, on the importing thread; hooks of one module run in the order of declaration. If a hook raises,
    the import fails with its exception, and the hooks run again at the next try. A forked child keeps the pending
    hooks. A namespace package executes nothing, so it runs no hook. While another thread imports the module, the
    declaration waits for that import to end.

    Raises:
        ConfigurationError: `name` is not an absolute module name.

    Example:
        >>> import lazyguard
        >>> @lazyguard.when_imported("colorsys")
        ... def tell(module):
        ...     print("there is", module.__name__)
        >>> import colorsys
        there is colorsys
    """
    if not is_module_name(name):
        raise errors.ConfigurationError(f"when_imported: {shown(name)} is not a module name; give an absolute one")

    def register(hook: Hook) -> Hook:
        if not callable(hook):  # pyright: ignore[reportUnnecessaryComparison]
            raise errors.UsageError(
                f"when_imported({name!r}) decorates a function, not one of type {type(hook).__name__}."
            )
        module = sys.modules.get(name)
        if module is not None:
            hook(module)
        else:
            _add(name, [hook])
            _catch_up(name)
        return hook

    return register


def _add(name: str, hooks: list[Callable[[Any], object]]) -> None:
    _PENDING.setdefault(name, []).extend(hooks)
    install()


def install() -> None:
    """Put the finder before all others."""
    if _FINDER not in sys.meta_path:
        # It stays: to remove it would make another thread's loop over the list skip the finder behind it.
        sys.meta_path.insert(0, _FINDER)


def _catch_up(name: str) -> None:
    """Run the hooks if the module was imported meanwhile: that import had passed our finder before."""
    system: Any = sys.modules["_frozen_importlib"]
    if name in system._module_locks:
        system._lock_unlock_module(name)  # waits for that import; the import system detects wait cycles
    module = sys.modules.get(name)
    if module is not None:
        _run_hooks(name, module)


class _Finder:
    """Ask the finders behind for a module with hooks, or for any module while there are guards, and change its spec."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the spec to use; None leaves the name to the finders behind."""
        if fullname not in _PENDING and not GUARDS:
            return None
        for finder in list(sys.meta_path):
            find = getattr(finder, "find_spec", None)
            spec: ModuleSpec | None = None if finder is self or find is None else find(fullname, path, target)
            if spec is not None:
                for guard in list(GUARDS.values()):
                    spec = guard.around(fullname, spec, target)
                if fullname in _PENDING:
                    loaders.wrap(spec, _execute_and_run_hooks)
                return spec
        return None

    def invalidate_caches(self) -> None:
        """Let the guards forget what they know; `importlib.invalidate_caches` calls this."""
        for guard in list(GUARDS.values()):
            guard.forget()


_FINDER = _Finder()


def _execute_and_run_hooks(name: str, module: ModuleType, execute: Callable[[ModuleType], object]) -> None:
    """Execute the module, then run its hooks."""
    execute(module)
    _run_hooks(name, module)


def _run_hooks(name: str, module: ModuleType) -> None:
    hooks = _PENDING.pop(name, [])
    try:
        for hook in hooks:
            hook(sys.modules.get(name, module))
    except BaseException:
        _add(name, hooks)  # the import fails, and the next one makes another module
        raise
