"""`when_imported`: a function that runs once another module has been imported. And the finder and loaders of guards.

Invariants: a pending hook costs one dict look-up an import, and loads nothing. The finder stands first, changes what
the others find, and finds nothing itself. A module shows none of the loaders: its `__loader__` and its `__spec__` are
those of its own loader. A wrapped loader still answers all other requests, such as for a source or a resource. An alias
executes nothing, and its module is the very object of the original. (wrapt has such hooks too. To load wrapt
amid another import would cost that import tens of milliseconds. Its finder would miss the search that is under way. A
hook on a module that wrapt itself needs, such as inspect, could not work.)
"""

from __future__ import annotations

import sys

from lazyguard import errors
from lazyguard._base import TYPE_CHECKING, Any, Callable, ModuleType, Sequence, TypeAlias, TypeVar, signatures
from lazyguard._base.places import is_module_name, shown

if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec

    Hook = TypeVar("Hook", bound=Callable[[ModuleType], object])
    Execute: TypeAlias = Callable[[ModuleType], object]


_PENDING: dict[str, list[Callable[[Any], object]]] = {}
# By package: `spec_for` returns the spec to use for a module in place of the one that was found, and `forget` forgets
# what is known, at `importlib.invalidate_caches`.
GUARDS: dict[str, Any] = {}


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
        ... def show(module):
        ...     print("there is", module.__name__)
        >>> import colorsys
        there is colorsys
    """
    if not is_module_name(name):
        raise errors.ConfigurationError(f"when_imported: {shown(name)} is not a module name; give an absolute one")

    def register(hook: Hook) -> Hook:
        decorated: object = hook
        wrong = signatures.late_kind(hook) if callable(decorated) else f"one of type {type(hook).__name__}"
        if wrong:
            raise errors.UsageError(f"when_imported({name!r}) decorates a plain function, not {wrong}.")
        is_new = name not in sys.modules
        if is_new:
            _add(name, [hook])
        _wait_for(name)
        module = sys.modules.get(name)
        if is_new:
            _run_hooks(name)
        elif module is None:
            _add(name, [hook])  # that import has failed
        else:
            hook(module)
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


def _wait_for(name: str) -> None:
    """Wait until no other thread imports the module; the import system detects wait cycles."""
    system: Any = sys.modules["_frozen_importlib"]
    if name in system._module_locks:
        system._lock_unlock_module(name)


class _Finder:
    """Ask the finders behind for a module with hooks, or for any module while there are guards, and change its spec."""

    def find_spec(self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> Any:
        """Return the spec to use; None leaves the name to the finders behind."""
        if fullname not in _PENDING and not GUARDS:
            return None
        for finder in list(sys.meta_path):
            find = getattr(finder, "find_spec", None)
            spec: Any = None if finder is self or find is None else find(fullname, path, target)
            if spec is not None:
                for guard in list(GUARDS.values()):
                    spec = guard.spec_for(fullname, spec, target)
                if fullname in _PENDING:
                    wrap(spec, _execute_and_run_hooks)
                return spec
        return None

    def invalidate_caches(self) -> None:
        """Let the guards forget what they know, when `importlib.invalidate_caches` calls this."""
        for guard in list(GUARDS.values()):
            guard.forget()


_FINDER = _Finder()


def _execute_and_run_hooks(name: str, module: ModuleType, execute: Execute) -> None:
    """Execute the module, then run its hooks."""
    execute(module)
    _run_hooks(name, module)


def _run_hooks(name: str, executed: ModuleType | None = None) -> None:
    """Run the pending hooks of a module, if it is there."""
    module = sys.modules.get(name, executed)
    hooks = [] if module is None else _PENDING.pop(name, [])
    try:
        for hook in hooks:
            hook(sys.modules.get(name, module))
    except BaseException:
        _add(name, hooks)  # the import fails, and the next one makes another module
        raise


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
