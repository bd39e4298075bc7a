"""Lazy attributes of a package (PEP 562; from 3.15 on PEP 810): where each comes from, and which are resolved.

Invariants: the package's own dict is the state: a declared name is resolved when its value is in there. Our
`__getattr__` leaves the dict once it has nothing left to resolve, since its mere presence costs 2.6-3.3x on every
attribute; and it is there, at every moment, while a declared name is not. One lock for all packages sees to that, held
for a few statements and never while anything is imported or let go of; the import system serialises imports.
"""

import builtins
import os
import sys
from _weakref import ref

from lazyguard._core import loaded, whole
from lazyguard._lazy_imports import REGISTRY

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lazyguard import errors
    from lazyguard._base import Any, Callable, Iterable, Mapping, ModuleType
    from lazyguard._base.places import Place
    from lazyguard._lazy_imports.pep810 import Imports

    FileAndLine = tuple[str, int]


# Where the lock is that all cells have, too; it is loaded by this name.
STATE = "_core.state"
# Without a GIL another thread may stand between its look into the dict and its look for `__getattr__`.
_MAY_REMOVE: bool = getattr(sys, "_is_gil_enabled", lambda: True)()
# What keeps names and submodules apart, which is loaded where they may be mistaken for each other.
CONTESTED = "_lazy_imports.contested"
PENDING = object()
# Native lazy imports (PEP 810) begin with Python 3.15: the type of those that nothing has used yet.
NATIVE = hasattr(builtins, "__lazy_import__")
_NATIVE_KIND: "type | None" = getattr(__import__("_types"), "LazyImportType") if NATIVE else None  # noqa: B009


def is_native(value: object) -> bool:
    """Return whether this is a native lazy import that nothing has used yet."""
    return type(value) is _NATIVE_KIND


class LazyAttributes:
    """The attributes that one `attach` declared for one package."""

    def __init__(
        self,
        package: str,
        origins: "dict[str, tuple[str, str | None]]",
        declared_at: "FileAndLine",
        places: "Mapping[str, FileAndLine]",
    ) -> None:
        """Take the `origins`: name -> (absolute module, attribute in it, or None for the module itself).

        `places` has the places of those names that are not declared where the others are.
        """
        self.package = package
        self.origins = origins
        self.declared_at = declared_at
        self.places = places
        self.module: ModuleType | None = sys.modules.get(package)
        self.namespace: dict[str, Any] = {} if self.module is None else vars(self.module)
        self.written: dict[str, Any] = {}
        self.resolver: Callable[[str], Any] | None = None
        self.contested: set[str] = set()
        self.failures: dict[str, str] = {}
        self.unsettled = list(origins)
        self.imports: Imports | None = None
        self._claim()
        _known[ref(self, _known.pop)] = None

    def _claim(self) -> None:
        """Enter the names into the package, and keep them from its submodules of the same names."""
        registry: dict[str, LazyAttributes] = self.namespace.setdefault(REGISTRY, {})
        siblings = _entries(self.namespace.get("__path__", ()))
        for name, (source, attribute) in self.origins.items():
            before = registry.get(name)
            found = self.namespace.get(name, PENDING)
            # A reload runs `attach` again in the old dict: what the first one found is looked up anew.
            if before is not None and (before.written.get(name, before) is found or is_native(found)):
                before.reset(name)
            elif self.is_shadow(name, found):
                del self.namespace[name]
            registry[name] = self
            submodule = f"{self.package}.{name}"
            if attribute is None or not (name in siblings or f"{source}.".startswith(f"{submodule}.")):
                continue
            loaded = sys.modules.get(submodule)
            if loaded is None or _is_initializing(loaded):
                self.contested.add(name)
        if self.contested and self.module is not None:
            from lazyguard._lazy_imports import contested

            contested.keep_apart(self.module)

    def is_shadow(self, name: str, value: object) -> bool:
        """Tell whether `value` is the submodule of a name that was declared to be something else."""
        submodule = sys.modules.get(f"{self.package}.{name}")
        return submodule is not None and submodule is value and self.origins[name][1] is not None

    def resolve(self, name: str) -> "Any":
        """Import what `name` stands for, write it into the package, and return it."""
        value = self._traced(name)
        with loaded(STATE).lock:
            found = self.namespace.get(name, PENDING)
            if self.is_shadow(name, found) or is_native(found):
                self.namespace[name] = value
            # Another thread's value, or an override that came meanwhile, stays.
            value = self.written[name] = self.namespace.setdefault(name, value)
        self.settle()
        return value

    def make_native(self) -> None:
        """Put native lazy imports in the places of the names (Python 3.15), which the interpreter resolves itself.

        Where a module has a `__getattr__`, the interpreter asks that first. Ours costs nothing there: on 3.15 it makes
        the module's other attributes no slower. So it stays until all is resolved, as on older versions, and a name
        that its half-imported module has already is found, where the interpreter by itself would see a cycle.
        """
        names: dict[tuple[str, str], list[str]] = {}
        statements: dict[str, list[str]] = {}
        for name in self.origins:
            module, attribute = self._statement(name)
            if (module, attribute) not in names:
                statements.setdefault(module, []).append(attribute)
            names.setdefault((module, attribute), []).append(name)

        def find(module: str, attribute: str) -> "Any":
            same = names[module, attribute]
            value = self._traced(same[0])
            for name in same:
                self.written[name] = value
            self.settle()
            return value

        from lazyguard._lazy_imports.pep810 import Imports

        self.imports = Imports(self.package, find)
        for module, attributes in statements.items():
            file, line = self.places.get(names[module, attributes[0]][0], self.declared_at)
            for attribute, value in zip(attributes, self.imports.make(module, attributes, file, line), strict=True):
                for name in names[module, attribute]:
                    self._bind(name, value, like=names[module, attribute][0])

    def _statement(self, name: str) -> "tuple[str, str]":
        """Return the module and the attribute of a `from module import attribute` that gives `name`."""
        source, attribute = self.origins[name]
        if attribute is not None:
            return source, attribute
        above, _, submodule = source.rpartition(".")
        return above, submodule

    def _bind(self, name: str, value: object, *, like: str) -> None:
        # What the package has of its own goes before what it declares, as with `__getattr__`. Where the same words
        # import a submodule and something else, the second is left to `__getattr__`.
        if name in self.namespace or self.origins[name] != self.origins[like]:
            return
        if not is_native(value):  # imported before, or now where `sys.set_lazy_imports_filter` wants it so
            if self.origins[name][1] is None and value is not sys.modules.get(self.origins[name][0]):
                return  # it is what the package has of that name in the place of the submodule
            self.written[name] = value
        self.namespace[name] = value

    def place_of(self, name: str = "") -> "Place":
        """Return where the name is declared; without a name, where the others are."""
        from lazyguard._base.places import Place

        return Place(*self.places.get(name, self.declared_at))

    def _traced(self, name: str) -> "Any":
        if os.environ.get("LAZYGUARD_TRACE", "") in ("", "0"):
            return self._load(name)
        from lazyguard._core import trace

        return trace.traced(f"{self.package}:{name}", self.place_of(name), lambda: self._load(name))

    def _load(self, name: str) -> "Any":
        source, attribute = self.origins[name]
        module: ModuleType | None = None
        value: Any
        try:
            if attribute is None:
                __import__(source)
                value = sys.modules[source]
            else:
                module = __import__(source, None, None, (attribute,))
                value = getattr(module, attribute)
        except Exception as error:
            from lazyguard import errors, events

            self.failures[name] = events.describe(error)
            if isinstance(error, errors.LazyguardError):
                raise
            raise self._explain(name, module, error) from error
        self.failures.pop(name, None)
        return value

    def _explain(self, name: str, module: "ModuleType | None", error: Exception) -> "errors.LazyguardError":
        """Say which declaration failed, and how to mend it; an ImportError stays one."""
        from lazyguard import errors

        source, attribute = self.origins[name]
        what = f"{self.package}.{name} (declared at {self.place_of(name)})"
        if isinstance(error, ModuleNotFoundError) and error.name:
            return errors.MissingModuleError(f"{what}: {self._missing(source, error.name)}", name=error.name)
        lacking = module is not None and isinstance(error, AttributeError)
        # the second is a builtin since 3.15
        if (lacking and _is_initializing(module)) or type(error).__name__ == "ImportCycleError":
            text = f"{what}: circular import: {source} is not finished, and has no {attribute!r} yet"
        elif lacking:
            text = f"{what}: module {source} has no attribute {attribute!r}: correct one or the other"
        else:
            text = f"{what}: importing {source} raised {type(error).__name__}"
        if lacking:
            error = ImportError(name=source, path=getattr(module, "__file__", None))
        if not isinstance(error, ImportError):
            return errors.ResolutionError(text)
        said = errors.ResolutionImportError(text)
        said.name, said.path = error.name, error.path
        return said

    def _missing(self, source: str, missing: str) -> str:
        if f"{source}.".startswith(f"{missing}.") and f"{missing}.".startswith(f"{self.package}."):
            return f"there is no module {missing}: correct the declaration"
        if missing.partition(".")[0] == self.package.partition(".")[0]:
            return f"{source} imports {missing}, which does not exist"
        from lazyguard._base import distributions

        return f"module {missing!r} is not installed; {distributions.remedy(missing)}"

    def settle(self) -> None:
        """Take out of the package, with what is resolved, our `__getattr__` and our class."""
        with loaded(STATE).lock:
            while self.unsettled:
                # A finaliser on top of this may settle too: what one looked at, it may have taken out by now.
                try:
                    name = self.unsettled[-1]
                    if not self.is_resolved(name):
                        break
                    self.unsettled.remove(name)
                except (IndexError, ValueError):
                    continue
            # No other thread misses it where the names are native: they were there before it looked.
            ours = self.namespace.get("__getattr__") is self.resolver
            if ours and not self.unsettled and (_MAY_REMOVE or self.imports is not None):
                del self.namespace["__getattr__"]  # the resolver is held by this object
        contested = whole(CONTESTED)  # not loaded: no name is
        if contested is not None:
            contested.release(self.module)

    def is_resolved(self, name: str) -> bool:
        """Return whether the value of `name` is there."""
        found = self.namespace.get(name, PENDING)
        return found is not PENDING and not is_native(found)

    def reset(self, name: str) -> None:
        """Make `name` pending again: its next use looks it up anew (in modules that stay imported)."""
        with loaded(STATE).lock:
            if name not in self.unsettled:
                self.unsettled.append(name)
            if self.resolver is not None:
                self.namespace.setdefault("__getattr__", self.resolver)
            dropped = self.namespace.pop(name, None), self.written.pop(name, None)
        del dropped  # outside the lock: it may have a finaliser
        self.failures.pop(name, None)


_known: "dict[ref[Any], None]" = {}


def declared() -> "list[LazyAttributes]":
    """Return what `attach` has declared for packages that are imported, in that order."""
    found = [known() for known in list(_known)]
    return [one for one in found if one is not None and sys.modules.get(one.package) is one.module is not None]


def _is_initializing(module: "ModuleType | None") -> bool:
    return getattr(getattr(module, "__spec__", None), "_initializing", False)


def _entries(directories: "Iterable[str]") -> "set[str]":
    """Return the names that may be modules in these directories."""
    found: set[str] = set()
    for directory in directories:
        # In an archive there is nothing to list: there the names of the sources have to do.
        if os.path.isdir(directory):
            found.update(entry.partition(".")[0] for entry in os.listdir(directory))
    return found
