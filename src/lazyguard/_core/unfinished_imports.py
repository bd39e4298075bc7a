"""Imports that a fork cuts short: waited for before it, within bounds, and done anew in the child.

Invariants: no module lock of a thread that only the parent has is held in the child; a module that was half executed
is no longer in `sys.modules` there, and becomes whole, as the same object, before anything reads it; what this thread
itself imports, and what other greenlets of it import, is left alone; no import runs in the fork itself.

The interpreter's table of module locks is private. It is the same in all that counts here from Python 3.10 to 3.15.
Where it is not, what is half executed refuses its use by an ImportError.
"""

from __future__ import annotations

import _thread
import sys
import time

from lazyguard._base import Any, ModuleType, NoReturn, places

# How often a fork looks whether the imports of other threads have ended, a millisecond or more apart. Not a time: a
# clock may be frozen.
LOOKS = 2000
# Threads that a fork has waited for in vain: the next one does not.
_given_up: set[int] = set()
# Modules that are to be executed anew, by name.
_half: dict[str, ModuleType] = {}
# What they had made: nothing of it is finalised here, since the parent may use it.
_inherited: list[object] = []
_FIELDS = ("lock", "wakeup", "owner", "count", "waiters")


def wait() -> None:
    """Let other threads end the imports that they are at."""
    theirs = {lock: lock.owner for lock in _locks() or () if _is_others(lock)}
    _given_up.intersection_update(theirs.values())
    for _ in range(LOOKS):
        if not any(lock.owner == owner and owner not in _given_up for lock, owner in theirs.items()):
            return
        time.sleep(0.001)
    _given_up.update(owner for lock, owner in theirs.items() if lock.owner == owner)


def mend() -> None:
    """Free what threads of the parent have locked, and set aside what they have imported by half; for the child."""
    locks = _locks()
    if locks is None:
        _refuse()
        return
    cut = [lock.name for lock in locks if _is_others(lock)]
    for lock in locks:
        if _is_others(lock):
            lock.owner, lock.count = None, type(lock.count)()
        if not getattr(lock.lock, "_is_owned", bool)():
            lock.lock._at_fork_reinit()
        lock.wakeup._at_fork_reinit()
        lock.waiters = type(lock.waiters)()
    blocking = _machinery("_blocking_on")
    blocking = getattr(blocking, "data", blocking)  # since 3.12 its values are weak
    for thread in [thread for thread in blocking if thread != _thread.get_ident()]:
        del blocking[thread]
    order = list(sys.modules)  # of their beginning, then of their end
    half = [name for name in cut if _is_half(name)]
    for name in half:
        _set_aside(name)
    if half:
        later = order[min(map(order.index, half)) :]
        if _ANEW not in sys.meta_path:
            sys.meta_path.insert(0, _ANEW)
        while half:
            used = _half.get(half.pop())
            users = [name for name in later if used is not None and _uses(name, used)]
            for name in users:
                _set_aside(name)
            half += users
    _given_up.clear()


def _machinery(name: str) -> Any:
    return getattr(sys.modules.get("_frozen_importlib"), name, None)


def _locks() -> list[Any] | None:
    """Return the interpreter's module locks; None where they are not as we know them, or greenlets have them."""
    table, blocking = _machinery("_module_locks"), _machinery("_blocking_on")
    if type(table) is not dict or not isinstance(getattr(blocking, "data", blocking), dict):
        return None
    if _thread.get_ident.__module__ != "_thread":
        return []
    locks = [lock for known in table.copy().values() if (lock := known()) is not None]
    return locks if all(hasattr(lock, field) for lock in locks for field in _FIELDS) else None


def _is_others(lock: Any) -> bool:
    return lock.owner is not None and lock.owner != _thread.get_ident()


def _names(module: object) -> dict[str, Any]:
    """Return what a module has bound; nothing for an object that stands in the place of one."""
    return object.__getattribute__(module, "__dict__") if issubclass(type(module), ModuleType) else {}


def _is_half(name: str) -> bool:
    """Return whether a module whose import was cut is half executed; one that is whole is bound in its package."""
    parent, _, child = name.rpartition(".")
    package, module = sys.modules.get(parent), sys.modules.get(name)
    begun = getattr(_names(package).get("__spec__"), "_uninitialized_submodules", [])
    if child in begun:
        begun.remove(child)
    if module is None:
        return False
    if getattr(_names(module).get("__spec__"), "_initializing", False):
        return True
    if package is not None:
        _names(package).setdefault(child, module)
    return False


def _set_aside(name: str) -> None:
    module = sys.modules.pop(name)
    if _names(module)["__spec__"].name == name:  # else it is another name for a module
        _half[name] = module
        if type(module) is ModuleType:
            module.__class__ = _Half


def _uses(name: str, half: ModuleType) -> bool:
    """Return whether a whole module was executed with one that was not: of a ring, all begin anew, or none is right."""
    names, taken_from = _names(sys.modules.get(name)), _names(half)["__name__"]
    if getattr(names.get("__spec__"), "_initializing", True):
        return False  # this thread's own
    bound = {id(value) for value in names.values()}
    if id(half) in bound:
        return True
    top = taken_from.partition(".")[0]  # which `import a.b` binds
    objects = {id(value) for key, value in _names(half).items() if key[:2] != "__" and _is_made_in(taken_from, value)}
    if objects.isdisjoint(bound) and id(sys.modules.get(top, half)) not in bound:
        return False
    try:
        said = names["__spec__"].loader.get_code(name).co_names
    except Exception:
        return False  # it cannot be executed anew either
    relative = name.partition(".")[0] == top and not objects.isdisjoint(bound)
    return taken_from in said or (relative and taken_from.rpartition(".")[2] in said)


def _is_made_in(module: str, value: object) -> bool:
    """Return whether a module has made what it has bound: for sure a class or a function, else most likely."""
    kind = type(value)
    if issubclass(kind, type) or kind is _FUNCTION:
        return getattr(value, "__module__", module) == module
    return not issubclass(kind, _PLAIN)


_FUNCTION = type(_names)
_PLAIN = (ModuleType, str, int, float, bytes, type(None))


class _Half(ModuleType):
    """A module that was half executed, for those who have it already: it becomes whole before anything is read."""

    def __getattribute__(self, name: str) -> Any:
        if name[:2] == "__" == name[-2:]:
            return object.__getattribute__(self, name)
        own = object.__getattribute__(self, "__name__")
        __import__(own)
        whole = sys.modules[own]
        return ModuleType.__getattribute__(self, name) if whole is self else getattr(whole, name)


class _Anew:
    """Finds what has been set aside, first of all finders."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> Any:
        """Return the module's own spec, with a loader that begins with what is there."""
        module = _half.get(name)
        if module is None:
            return None
        known = _names(module)["__spec__"]
        if _is_compiled(known.loader):
            raise ImportError(
                f"{name} cannot be imported in this process: it was forked while another thread was importing it, and "
                "an extension module cannot be imported anew. Import it before the fork.",
                name=name,
            )
        spec = object.__new__(type(known))
        vars(spec).update(vars(known), loader=_Loader(module, known.loader), _initializing=False)
        return spec


def _is_compiled(loader: Any) -> bool:
    files: Any = sys.modules["_frozen_importlib_external"]
    return isinstance(loader, files.ExtensionFileLoader) or loader is _machinery("BuiltinImporter")


_ANEW: Any = _Anew()


class _Loader:
    """Hands out the module that is there, empty, and leaves the rest to its own loader."""

    def __init__(self, module: ModuleType, loader: Any) -> None:
        self._module = module
        self._loader = loader

    def create_module(self, spec: Any) -> ModuleType:
        module = self._module
        spec.loader = self._loader
        _half.pop(spec.name, None)
        if type(module) is _Half:
            ModuleType.__setattr__(module, "__class__", ModuleType)
        names = _names(module)
        _inherited.append(names.copy())
        # a submodule that is whole is not imported anew, so nothing would bind it here
        whole = {key: value for key, value in names.items() if value is sys.modules.get(f"{spec.name}.{key}")}
        names.clear()
        names.update(whole, __name__=spec.name, __doc__=None)
        return module

    def exec_module(self, module: ModuleType) -> NoReturn:
        """The module's own loader does it."""
        raise NotImplementedError


class _Refusing(ModuleType):
    """Stands in the place of a module that is half executed and cannot be imported anew."""

    def __getattribute__(self, name: str) -> Any:
        if name[:2] == "__" == name[-2:]:
            return ModuleType.__getattribute__(self, name)
        raise ImportError(
            f"{self.__name__} cannot be used in this process: it was forked while another thread was importing it. "
            "Import it before the fork.",
            name=self.__name__,
        )


def _refuse() -> None:
    here = {id(frame.f_globals) for frame in places.outwards(sys._getframe())}
    for name, module in sys.modules.copy().items():
        names = _names(module)
        if getattr(names.get("__spec__"), "_initializing", False) and id(names) not in here:
            sys.modules[name] = _Refusing(name)
