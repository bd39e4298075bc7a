"""Lazy imports: `load` returns a proxy of a module or of a name in it; `lazy_imports` does so for import statements.

Invariants: what `load` returns is always a proxy. A statement binds what is loaded already itself, so that it is the
same object everywhere; else a proxy. Nothing is imported before the first use, at which a missing module raises an
ImportError with the command that installs it.
"""

from __future__ import annotations

import _thread
import builtins
import sys

from lazyguard._base import TYPE_CHECKING, Any, Callable, FrameType, ModuleType, final, places
from lazyguard._base.places import misused
from lazyguard._core import loaded
from lazyguard._core.declaration import build_early, declared
from lazyguard._lazy_imports.pep810 import FromModule
from lazyguard._proxies import proxy as proxies

if TYPE_CHECKING:
    from lazyguard._base.places import Place
    from lazyguard._core.cell import Cell
    from lazyguard._proxies.proxy import Proxy


def load(
    fullname: str, *, require: str | None = None, error_on_import: bool = False, suppress_warning: bool = False
) -> Any:
    """Return a proxy of a module, or of "package.module:Name", which is imported at the first use.

    The arguments are lazy_loader's, so that a package can switch over.

    Args:
        fullname: The absolute name of a module, or "module:Name" for a name in it.
        require: The requirement that the installed distribution must satisfy ("numpy>=1.24", PEP 508). It is checked at
            the first use, with the package `packaging`.
        error_on_import: Check now that the module can be found and satisfies `require`. The module is still imported at
            the first use; the packages above a dotted name are imported now.
        suppress_warning: Accepted, without effect: there is no warning, since the proxy of a submodule does not import
            the packages above it.

    Raises:
        UsageError: The name is not an absolute one.
        MissingModuleError: With `error_on_import`: the module cannot be found, or does not satisfy `require`.

    The first use raises MissingModuleError, an ImportError, if the module is not installed or does not satisfy
    `require`. If the module fails while it is imported, the use raises an ImportError with that failure as its cause.
    The next use tries again.

    Example:
        >>> import lazyguard
        >>> json = lazyguard.load("json")
        >>> lazyguard.is_resolved(json)
        False
        >>> json.dumps([1])
        '[1]'
        >>> lazyguard.load("decimal:Decimal")("1.10")
        Decimal('1.10')
    """
    frame = places.declaring(places.caller())
    if require is not None or {type(error_on_import), type(suppress_warning)} != {bool}:
        from lazyguard._base import validation

        validation.flag("error_on_import", error_on_import)
        validation.flag("suppress_warning", suppress_warning)
        validation.text("require", require, optional=True)
    proxy = _make(fullname, frame, require=require)
    if error_on_import:
        _check_present(fullname, places.of_frame(frame), require)
    return proxy


def _check_present(name: str, place: Place, require: str | None) -> None:
    """Raise MissingModuleError if a module cannot be found or does not satisfy `require`; import only its parents."""
    from importlib.util import find_spec

    module, what = name.partition(":")[0], f"{name}, declared at {place}"
    missing = module
    try:
        present = sys.modules.get(module) is not None or find_spec(module) is not None
    except ModuleNotFoundError as error:
        missing, present = error.name or module, False
        if not module.startswith(f"{missing}."):
            raise
    wrong = "" if present else _missing_text(missing, require)
    if present and require is not None:
        from lazyguard._base import distributions

        wrong = distributions.unsatisfied(require, what)
    if wrong:
        from lazyguard.errors import MissingModuleError

        raise MissingModuleError(f"{what}: {wrong}", name=missing)


def _missing_text(module: str, require: str | None = None) -> str:
    """Return what is wrong with the name of a missing module, or the command that installs it."""
    above = module.rpartition(".")[0]
    if above in sys.modules:
        return f"{above} has no module {module!r}: correct the name"
    from lazyguard._base import distributions

    return f"module {module!r} is not installed; {distributions.remedy(module, package=require)}"


def _make(name: str, frame: FrameType, *, siblings: list[str] | None = None, require: str | None = None) -> Any:
    """Return the proxy of a name; see `cell_of_name`."""
    cell = cell_of_name(name, frame, siblings=siblings, require=require)
    build_early(frame, lambda: cell.resolve())
    module, _, attribute = name.partition(":")
    warned = bool(attribute) and _warn_of_exception(module, attribute, cell.place)
    at_module_level = places.at_module_level(frame)
    pending = None
    if not attribute:
        # what is no attribute of modules may be this one's all the same: some put an object in their place
        pending = proxies.pending_without("lazy module", "__get__", "__await__", __getattribute__=_module_attribute)
    return proxies.make(
        cell,
        proxies.bound if at_module_level else proxies.shared,
        pending=pending,
        home=(frame.f_globals.get("__name__"), "") if at_module_level else None,
        tells=not warned,
    )


def _module_attribute(self: Proxy, name: str) -> Any:
    asker = sys._getframe().f_back
    inspection = loaded(proxies.INSPECTION, proxies.cell_of(self))
    skimmed = inspection.skims(asker, awaited=False)
    if name == "__class__" and (skimmed or not inspection.asks_a_protocol(asker)):
        return ModuleType
    if name == "__name__" and skimmed:
        return proxies.cell_of(self).name
    if name in _NOT_OF_MODULES or skimmed or inspection.asks_for_a_function(asker):
        raise AttributeError(f"module {proxies.cell_of(self).name!r} has no attribute {name!r}", name=name, obj=self)
    return proxies.Pending.__getattribute__(self, name)


_NOT_OF_MODULES = frozenset(("__func__", "__code__"))


def cell_of_name(name: str, frame: FrameType, *, siblings: list[str] | None = None, require: str | None = None) -> Cell:
    """Return a cell whose factory imports a name.

    Args:
        name: As `load` takes it.
        frame: Where it is declared.
        siblings: The modules that `import a.b` statements have named below the same `a`: the target is then the
            top-level package, and all of them are imported with it.
        require: As `load` takes it.
    """
    place = places.of_frame(frame)
    if not isinstance(name, str):
        raise misused(f"load() takes the name of a module, not one of type {type(name).__name__} ({place}).")
    module, colon, attribute = name.partition(":")
    if not all(part.isidentifier() for part in (*module.split("."), attribute if colon else "_")):
        raise misused(f'{name!r} ({place}) cannot be loaded: give an absolute name, "package.module" or "module:Name".')

    def import_it() -> Any:
        if require is not None:
            _check_present(name, place, require)
        try:
            found = __import__(module, None, None, (attribute,) if attribute else ())  # which may be a submodule
            for each in siblings or ():
                __import__(each)
        except ModuleNotFoundError as error:
            missing = error.name or ""
            if not f"{module}.".startswith(f"{missing}."):
                raise  # the module itself needs it
            from lazyguard.errors import MissingModuleError

            raise MissingModuleError(f"{name}, declared at {place}: {_missing_text(missing)}", name=missing) from error
        if not attribute:
            return sys.modules[module] if siblings is None else found
        try:
            return getattr(found, attribute)
        except AttributeError as error:
            from lazyguard.errors import ResolutionImportError

            failure = ResolutionImportError(
                f"{name}, declared at {place}: module {module!r} has no attribute {attribute!r}: correct the name."
            )
            failure.name, failure.path = module, getattr(found, "__file__", None)
            raise failure from error

    if siblings is not None:
        import_it.siblings = siblings  # type: ignore[attr-defined]
    cell: Cell = declared(import_it, name=name, place=place)
    return cell


def _warn_of_exception(module: str, attribute: str, place: Place) -> bool:
    """Warn of an exception class that is imported lazily: one that is loaded, or that is called as they are called."""
    names: dict[str, Any] = getattr(sys.modules.get(module), "__dict__", {})
    by_name = attribute not in names and attribute.endswith(("Error", "Exception"))
    if not by_name and attribute not in names:
        return False
    from lazyguard._proxies import limits

    warned = by_name or limits.is_exception_class(names[attribute])
    if warned:
        limits.tell(f"{module}:{attribute}", place, limits.of_exceptions(" by its name" if by_name else ""))
    return warned


def lazy_imports() -> LazyImports:
    """Make the import statements of a `with` block lazy; type checkers and editors still see the real types.

    Returns:
        A context manager. In its block `import a.b as c` and `from a import b` bind what `load` returns. What is loaded
        already is bound itself: the module whose import has ended, the name that it has. Imports of other modules and
        threads are not changed meanwhile.

    Where Python takes a real class alone it raises a TypeError. So leave out of the block: exceptions, abstract classes
    and what is asked whether it is below one (a search for plug-ins), classes in `case` and `super(Name, self)`.

    Raises:
        UsageError: The block has `from a import *`, which needs the names at once.

    Example:
        >>> import lazyguard
        >>> with lazyguard.lazy_imports():
        ...     import chunked_numbers as numbers
        ...     from sys import path
        >>> lazyguard.is_resolved(numbers)
        False
        >>> import sys
        >>> path is sys.path
        True
    """
    return LazyImports(places.caller())


@final
class LazyImports:
    """The context manager that `lazy_imports` returns: it replaces `__import__` for one block of one thread."""

    def __init__(self, frame: FrameType) -> None:
        self._frame = frame
        self._thread = _thread.get_ident()
        self._before: Any = None
        self._closed = False
        self._walking: list[Proxy] = []

    def __enter__(self) -> None:
        self._closed = False
        self._before = builtins.__import__
        builtins.__import__ = self._import

    def __exit__(self, *_: object) -> None:
        self._closed = True
        # Blocks of other threads may have begun since: the last one to end removes all that have ended.
        while type(block := getattr(builtins.__import__, "__self__", None)) is LazyImports and block._closed:
            builtins.__import__ = block._before
        for proxy in self._walking:
            kind = type(proxy)
            if kind.__name__ == _WALKING:
                proxies.set_class(proxy, kind.__mro__[1])
        self._walking.clear()

    def _import(self, name: str, globals: Any = None, locals: Any = None, fromlist: Any = (), level: int = 0) -> Any:
        ours = globals is self._frame.f_globals and _thread.get_ident() == self._thread and not self._closed
        if not ours or name == "__future__":
            return self._before(name, globals, locals, fromlist, level)
        absolute = _absolute(name, globals, level) if level else name
        if fromlist and "*" in fromlist:
            raise misused(
                f"from {absolute} import * ({places.of_frame(self._frame)}) cannot be lazy: name what you use."
            )
        if fromlist:
            return FromModule(absolute, self._name_in)
        # `import a.b` binds `a`, from which `import a.b as x` reads `b`
        root, _, below = absolute.partition(".")
        siblings = _siblings(self._frame.f_locals.get(root))
        if _present(absolute) is not ABSENT and not siblings:
            found = _present(root)
            if found is not ABSENT:
                return found
        siblings.append(absolute)
        proxy = _make(absolute, self._frame, siblings=siblings)
        return self._walked(proxy, absolute, root, siblings) if below else proxy

    def _name_in(self, module: str, name: str) -> Any:
        found = _present(module, name)
        return _make(f"{module}:{name}", self._frame) if found is ABSENT else found

    def _walked(self, proxy: Any, whole: str, here: str, siblings: list[str]) -> Any:
        """Let the interpreter read the names below `here` from the proxy until the block ends."""

        def walk(_: Proxy, name: str) -> Any:
            below = f"{here}.{name}"
            if whole != below and not whole.startswith(f"{below}."):
                return _module_attribute(proxy, name)
            if whole in siblings:
                siblings.remove(whole)  # it is bound by itself, so the top-level package need not import it
            found = _present(whole) if whole == below else ABSENT
            if found is ABSENT:
                found = _make(whole, self._frame)
            return found if whole == below else self._walked(found, whole, below, siblings)

        kind: Any = type(_WALKING, (type(proxy),), {"__slots__": (), "__getattribute__": walk})
        proxies.set_class(proxy, kind)
        self._walking.append(proxy)
        return proxy


def _siblings(bound: object) -> list[str]:
    """Return the modules of earlier `import a.b` statements that a name is bound to; all of them share the list."""
    if not issubclass(type(bound), proxies.Proxy):
        return []
    found: list[str] = getattr(proxies.cell_of(bound).factory, "siblings", [])
    return found


def _absolute(name: str, globals: Any, level: int) -> str:
    """Return the absolute name of a relative import."""
    # since 3.15 only the spec has it
    package: str = globals.get("__package__") or getattr(globals.get("__spec__"), "parent", "")
    above, *left_out = package.rsplit(".", level - 1)
    if not above or len(left_out) < level - 1:
        raise ImportError("attempted relative import beyond top-level package")
    return f"{above}.{name}" if name else above


# The name of a class that a proxy has until its `with` block ends.
_WALKING = "NamedByImport"


# What `_present` returns for what is not there yet.
ABSENT: Any = object()
# A module's names, whatever its class does when it is asked for an attribute.
_names_of: Callable[[Any], dict[str, Any]] = vars(ModuleType)["__dict__"].__get__


def _present(module: str, attribute: str = "") -> Any:
    """Return what an import statement would bind without running any code; ABSENT where there is no such thing.

    That is a module whose import has ended, or a name that it has. What comes at its first use is not there: a lazy
    attribute, a native lazy import, what a `__getattr__` makes.
    """
    found = sys.modules.get(module)
    if not _is_whole(found):
        return ABSENT
    if not attribute:
        return found
    value = ABSENT if hasattr(type(found), attribute) else _names_of(found).get(attribute, ABSENT)
    absent = type(value).__name__ == "lazy_import" or (issubclass(type(value), ModuleType) and not _is_whole(value))
    return ABSENT if absent else value


def _is_whole(found: Any) -> bool:
    """Return whether it is a module, and its import has ended."""
    if not issubclass(type(found), ModuleType):
        return False
    return not getattr(_names_of(found).get("__spec__"), "_initializing", False)
