"""Lazy attributes of a package (PEP 562): where each comes from, and the address `package:attribute`.

Invariants: the package's own dict is the state: a declared name is resolved when it is in there. No lock: the
import system serialises imports, and writing the same value twice is harmless; so a fork is harmless too. Our
`__getattr__` leaves the dict once nothing is left to resolve, since its mere presence costs 2.6-3.3x on every
attribute.
"""

from __future__ import annotations

import os
import sys

from lazyguard import errors
from lazyguard._core import trace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import ModuleType
    from types import ModuleType as _Module
    from typing import Any
else:
    _Module = type(sys)

# In the dict of every module that has lazy attributes: name -> the LazyAttributes that declared it.
REGISTRY = "__lazy_attributes__"

# Without a GIL another thread may stand between its look into the dict and its look for `__getattr__`.
_MAY_REMOVE: bool = getattr(sys, "_is_gil_enabled", lambda: True)()
_PENDING = object()


class LazyAttributes:
    """The attributes that one `attach` declared for one package."""

    __slots__ = ("contested", "module", "namespace", "origins", "package", "place", "resolver", "written")

    def __init__(self, package: str, origins: dict[str, tuple[str, str | None]], place: str) -> None:
        """Take the `origins`: name -> (absolute module, attribute in it, or None for the module itself)."""
        self.package = package
        self.origins = origins
        self.place = place
        self.module: ModuleType | None = sys.modules.get(package)
        self.namespace: dict[str, Any] = {} if self.module is None else vars(self.module)
        self.written: dict[str, Any] = {}
        self.resolver: Callable[[str], Any] | None = None
        self.contested: set[str] = set()
        self._claim()

    def _claim(self) -> None:
        """Enter the names into the package, and keep them from its submodules of the same names."""
        registry: dict[str, LazyAttributes] = self.namespace.setdefault(REGISTRY, {})
        siblings = _entries(self.namespace.get("__path__", ()))
        for name, (source, attribute) in self.origins.items():
            before = registry.get(name)
            found = self.namespace.get(name, _PENDING)
            # A reload runs `attach` again in the old dict: what the first one found is looked up anew.
            if before is not None and name in before.written and before.written[name] is found:
                before.reset(name)
            elif self._is_shadow(name, found):
                del self.namespace[name]
            registry[name] = self
            submodule = f"{self.package}.{name}"
            if attribute is None or not (name in siblings or f"{source}.".startswith(f"{submodule}.")):
                continue
            loaded = sys.modules.get(submodule)
            if loaded is None or _is_initializing(loaded):
                self.contested.add(name)
        if self.contested and self.module is not None and not isinstance(self.module, _Package):
            kind = type(self.module)
            self.module.__class__ = type(kind.__name__, (_Package, kind), {})

    def _is_shadow(self, name: str, value: object) -> bool:
        """Tell whether `value` is the submodule of a name that was declared to be something else."""
        submodule = sys.modules.get(f"{self.package}.{name}")
        return submodule is not None and submodule is value and self.origins[name][1] is not None

    def resolve(self, name: str) -> Any:
        """Import what `name` stands for, write it into the package, and return it."""
        value = trace.traced(f"{self.package}:{name}", self.place, lambda: self._load(name))
        if self._is_shadow(name, self.namespace.get(name, _PENDING)):
            self.namespace[name] = value
        # Another thread's value, or an override that came meanwhile, stays.
        value = self.written[name] = self.namespace.setdefault(name, value)
        self.settle()
        return value

    def _load(self, name: str) -> Any:
        source, attribute = self.origins[name]
        module: ModuleType | None = None
        try:
            if attribute is None:
                __import__(source)
                return sys.modules[source]
            module = __import__(source, None, None, (attribute,))
            return getattr(module, attribute)
        except errors.LazyguardError:
            raise
        except Exception as error:
            raise self._explain(name, module, error) from error

    def _explain(self, name: str, module: ModuleType | None, error: Exception) -> errors.LazyguardError:
        """Say which declaration failed, and how to mend it; an ImportError stays one."""
        source, attribute = self.origins[name]
        what = f"{self.package}.{name} (declared at {self.place})"
        if module is not None and isinstance(error, AttributeError):
            if _is_initializing(module):
                text = f"{what}: circular import: {source} is not finished, and has no {attribute!r} yet"
            else:
                text = f"{what}: module {source} has no attribute {attribute!r}: correct one or the other"
            return _import_error(text, source, getattr(module, "__file__", None))
        if isinstance(error, ModuleNotFoundError) and error.name:
            return errors.MissingModuleError(f"{what}: {self._missing(source, error.name)}", name=error.name)
        text = f"{what}: importing {source} raised {type(error).__name__}"
        if isinstance(error, ImportError):
            return _import_error(text, error.name, error.path)
        return errors.ResolutionError(text)

    def _missing(self, source: str, missing: str) -> str:
        if f"{source}.".startswith(f"{missing}.") and f"{missing}.".startswith(f"{self.package}."):
            return f"there is no module {missing}: correct the declaration"
        if missing.partition(".")[0] == self.package.partition(".")[0]:
            return f"{source} imports {missing}, which does not exist"
        from lazyguard import _install

        return f"module {missing!r} is not installed; to install it: {_install.command(missing)}"

    def settle(self) -> None:
        """Take out of the package, with what is resolved, our `__getattr__` and our class."""
        ours = _MAY_REMOVE and self.namespace.get("__getattr__") is self.resolver
        if ours and all(name in self.namespace for name in self.origins):
            self.namespace.pop("__getattr__", None)
        if isinstance(self.module, _Package):
            self.module._release()

    def reset(self, name: str) -> None:
        """Make `name` pending again: its next use looks it up anew (in modules that stay imported)."""
        if self.resolver is not None:
            self.namespace.setdefault("__getattr__", self.resolver)
        self.namespace.pop(name, None)
        self.written.pop(name, None)


class _Package(_Module):
    """A package with declared names that are also names of submodules, until those have been imported."""

    def __setattr__(self, name: str, value: Any) -> None:
        registry: dict[str, LazyAttributes] = vars(self).get(REGISTRY, {})
        owner = registry.get(name)
        if owner is None or not owner._is_shadow(name, value):
            super().__setattr__(name, value)
            return
        # The import system does this once a submodule: afterwards the name is safe.
        owner.contested.discard(name)
        self._release()

    def _release(self) -> None:
        """Be a plain module again if no name is in danger any more (and nobody has put a class over this one)."""
        registry: dict[str, LazyAttributes] = vars(self).get(REGISTRY, {})
        first, *others = type(self).__bases__
        if first is _Package and not any(each.contested for each in registry.values()):
            self.__class__ = others[0]


def _import_error(text: str, name: str | None, path: str | None) -> errors.ResolutionImportError:
    error = errors.ResolutionImportError(text)
    error.name, error.path = name, path
    return error


def _is_initializing(module: ModuleType) -> bool:
    return getattr(getattr(module, "__spec__", None), "_initializing", False)


def _entries(directories: Iterable[str]) -> set[str]:
    """Return the names that may be modules in these directories."""
    found: set[str] = set()
    for directory in directories:
        # In an archive there is nothing to list: there the names of the sources have to do.
        if os.path.isdir(directory):
            found.update(entry.partition(".")[0] for entry in os.listdir(directory))
    return found


def is_lazy_attribute(module: ModuleType, name: str) -> bool:
    """Return whether `name` was declared as a lazy attribute of the module; resolves nothing."""
    return name in vars(module).get(REGISTRY, {})


def is_resolved_attribute(module: ModuleType, name: str) -> bool:
    """Return whether the lazy attribute has its value; resolves nothing. UsageError for any other name."""
    return name in _owner(module, name).namespace


def reset_attribute(module: ModuleType, name: str) -> None:
    """Make a lazy attribute pending again, whatever it holds. UsageError for a name that is none."""
    _owner(module, name).reset(name)


def override_attribute(module: ModuleType, name: str, value: object) -> Callable[[], None]:
    """Put `value` in a lazy attribute's place, resolving nothing; return what restores the state from before.

    UsageError for a name that is no lazy attribute.
    """
    owner = _owner(module, name)
    before = owner.namespace.get(name, _PENDING)
    owner.namespace[name] = value

    def restore() -> None:
        if before is _PENDING:
            owner.reset(name)
        else:
            owner.namespace[name] = before

    return restore


def _owner(module: ModuleType, name: str) -> LazyAttributes:
    registry: dict[str, LazyAttributes] = vars(module).get(REGISTRY, {})
    if name in registry:
        return registry[name]
    known = ", ".join(sorted(registry)) or "none"
    raise errors.UsageError(f"{module.__name__}:{name} is no lazy attribute; those of {module.__name__}: {known}")
