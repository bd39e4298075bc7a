"""Lazy imports: `load` gives a proxy of a module or of something in it; `lazy_imports` does so for import statements.

Invariants: what these give is always a proxy, so it is right in locals, classes and containers; nothing is looked for
before its first use, and a missing module is then an ImportError with the command that installs it.
"""

from __future__ import annotations

import _thread
import builtins
import sys

from lazyguard._base import places
from lazyguard._base.places import misused
from lazyguard._base.typing import final
from lazyguard._core.declaration import build_early, declared
from lazyguard._proxies import proxy as proxies

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType
    from typing import Any

    from lazyguard._core.cell import Cell
    from lazyguard._proxies.proxy import Proxy


def load(
    fullname: str, *, require: str | None = None, error_on_import: bool = False, suppress_warning: bool = False
) -> Any:
    """Return a proxy of a module, or of "package.module:Name", which is imported at its first use.

    The arguments are lazy_loader's, so that a package can switch over.

    Args:
        fullname: The absolute name of a module, or that and the name of something in it.
        require: What the installed distribution must satisfy ("numpy>=1.24", PEP 508); read at first use, with the
            package `packaging`.
        error_on_import: Look now whether the module is there and satisfies `require`; still import it at first use
            (the packages above a dotted name are imported for that).
        suppress_warning: Accepted, without effect: there is nothing to warn of, since a submodule's proxy imports
            nothing above it either.

    Raises:
        UsageError: The name is relative or empty.
        MissingModuleError: With `error_on_import`, and the module is not there, or not as required.

    The first use raises MissingModuleError, an ImportError, where the module is not installed or not in the version
    that is required, and an ImportError from what went wrong where it is broken; the next use tries again.

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
    frame = places.caller()
    proxy = _make(fullname, frame, require=require)
    if error_on_import:
        _check(fullname, places.of_frame(frame), require)
    return proxy


def _check(name: str, place: str, require: str | None) -> None:
    """Raise MissingModuleError where a module is not there, or not as required; import only what is above it."""
    from importlib.util import find_spec

    from lazyguard.errors import MissingModuleError

    module = name.partition(":")[0]
    missing: str | None = module
    try:
        if sys.modules.get(module) is not None or find_spec(module) is not None:
            missing = None
    except ModuleNotFoundError as error:
        missing = error.name or module
        if not module.startswith(f"{missing}."):
            raise
    if missing is not None:
        raise MissingModuleError(f"{name}, declared at {place}: {_missing(missing, require)}", name=missing)
    if require is not None:
        from lazyguard._base import distributions

        wrong = distributions.unsatisfied(require, f"{name}, declared at {place}")
        if wrong:
            raise MissingModuleError(f"{name}, declared at {place}: {wrong}", name=module)


def _missing(module: str, require: str | None = None) -> str:
    """Say how to mend that `module` cannot be found."""
    above = module.rpartition(".")[0]
    if above in sys.modules:
        return f"{above} has no module {module!r}: correct the name"
    from lazyguard._base import distributions

    return f"module {module!r} is not installed; to install it: {distributions.command(module, package=require)}"


def _make(name: str, frame: FrameType, *, beside: list[str] | None = None, require: str | None = None) -> Any:
    """Return the proxy of what `name` says; see `cell_of_name`."""
    cell = cell_of_name(name, frame, beside=beside, require=require)
    build_early(frame, lambda: cell.resolve())
    module, _, attribute = name.partition(":")
    told = bool(attribute) and _tell_of_exception(module, attribute, cell.place)
    at_module_level = places.at_module_level(frame)
    return proxies.make(
        cell,
        proxies.bound if at_module_level else proxies.shared,
        pending=None if attribute else proxies.pending_module(),
        home=(frame.f_globals.get("__name__"), "") if at_module_level else None,
        tells=not told,
    )


def cell_of_name(name: str, frame: FrameType, *, beside: list[str] | None = None, require: str | None = None) -> Cell:
    """Return a cell that imports what `name` says.

    Args:
        name: As `load` takes it.
        frame: Where it is declared.
        beside: The modules that `import a.b` statements have named below the same `a`: the proxy is then of the topmost
            package, and all of them are imported with it.
        require: As `load` takes it.
    """
    place = places.of_frame(frame)
    if not isinstance(name, str):
        raise misused(f"load() takes the name of a module, not one of type {type(name).__name__} ({place}).")
    module, _, attribute = name.partition(":")
    if not all(part.isidentifier() for part in (*module.split("."), attribute or "_")):
        raise misused(f'{name!r} ({place}) cannot be loaded: give an absolute name, "package.module" or "module:Name".')

    def import_it() -> Any:
        if require is not None:
            _check(name, place, require)
        try:
            found = __import__(module, None, None, (attribute,) if attribute else ())  # which may be a submodule
            if not attribute and beside is None:
                return sys.modules[module]
            for each in beside or ():
                __import__(each)
        except ModuleNotFoundError as error:
            missing = error.name or ""
            if missing != module and not module.startswith(f"{missing}."):
                raise  # something that the module itself needs
            from lazyguard.errors import MissingModuleError

            raise MissingModuleError(f"{name}, declared at {place}: {_missing(missing)}", name=missing) from error
        if not attribute:
            return found
        try:
            return getattr(found, attribute)
        except AttributeError as error:
            from lazyguard.errors import ResolutionImportError

            told = ResolutionImportError(
                f"{name}, declared at {place}: module {module!r} has no attribute {attribute!r}: correct the name."
            )
            told.name, told.path = module, getattr(found, "__file__", None)
            raise told from error

    if beside is not None:
        import_it.beside = beside  # type: ignore[attr-defined]
    cell: Cell = declared(import_it, name=name, place=place)
    return cell


def _tell_of_exception(module: str, attribute: str, place: str) -> bool:
    """Warn of an exception class that is imported lazily, and return whether it is one; `_limits` says why."""
    if attribute.endswith(("Error", "Exception")) or attribute in getattr(sys.modules.get(module), "__dict__", ()):
        from lazyguard._proxies import views

        return views.tell_of_import(module, attribute, place)
    return False


def lazy_imports() -> LazyImports:
    """Make the import statements of a `with` block lazy, so that type checkers and editors see real types.

    Returns:
        A context manager. In its block `import a.b as c` and `from a import b` bind what `load` gives; imports that
        other modules or threads make meanwhile are not touched.

    Raises:
        UsageError: For `from a import *`, which must know the names at once.

    Example:
        >>> import lazyguard
        >>> with lazyguard.lazy_imports():
        ...     import decimal as numbers
        ...     from json import dumps
        >>> lazyguard.is_resolved(numbers)
        False
        >>> dumps({"a": 1})
        '{"a": 1}'
    """
    return LazyImports(places.caller())


@final
class LazyImports:
    """What `lazy_imports` returns: puts its own `__import__` in place for one block of one thread."""

    __slots__ = ("_before", "_closed", "_frame", "_named_ones", "_thread")

    def __init__(self, frame: FrameType) -> None:
        self._frame = frame
        self._thread = _thread.get_ident()
        self._before: Any = None
        self._closed = False
        self._named_ones: list[Proxy] = []

    def __enter__(self) -> None:
        self._closed = False
        self._before = builtins.__import__
        builtins.__import__ = self._import

    def __exit__(self, *_: object) -> None:
        self._closed = True
        # Blocks of other threads may have begun since: the last one to end takes out all that have ended.
        while type(block := getattr(builtins.__import__, "__self__", None)) is LazyImports and block._closed:
            builtins.__import__ = block._before
        for proxy in self._named_ones:
            kind = type(proxy)
            if kind.__name__ == _NAMED:
                proxies.set_class(proxy, kind.__mro__[1])
        self._named_ones.clear()

    def _import(
        self,
        name: str,
        globals: Any = None,
        locals: Any = None,
        fromlist: Any = (),
        level: int = 0,
    ) -> Any:
        ours = globals is self._frame.f_globals and _thread.get_ident() == self._thread and not self._closed
        if not ours or name == "__future__":
            return self._before(name, globals, locals, fromlist, level)
        absolute = _absolute(name, globals, level) if level else name
        if fromlist and "*" in fromlist:
            raise misused(
                f"from {absolute} import * ({places.of_frame(self._frame)}) cannot be lazy: name what you use."
            )
        if fromlist:
            return _From(absolute, self._frame)
        return self._topmost(absolute)

    def _topmost(self, whole: str) -> Any:
        """Return the proxy that `import a.b` binds to `a`, and from which `import a.b as x` walks down."""
        root, _, below = whole.partition(".")
        bound = self._frame.f_locals.get(root)
        beside = _beside(bound)
        beside.append(whole)
        proxy = _make(whole, self._frame, beside=beside)
        return self._walked(proxy, whole, root, beside) if below else proxy

    def _walked(self, proxy: Any, whole: str, here: str, beside: list[str]) -> Any:
        """Let the interpreter take the names below `here` from the proxy, as long as the block lasts."""

        def walk(_: Proxy, name: str) -> Any:
            below = f"{here}.{name}"
            if whole != below and not whole.startswith(f"{below}."):
                return proxies.pending_module().__getattribute__(proxy, name)
            if whole in beside:
                beside.remove(whole)  # it has a name of its own, so the topmost package is not asked for it
            found = _make(whole, self._frame)
            return found if whole == below else self._walked(found, whole, below, beside)

        kind: Any = type(_NAMED, (type(proxy),), {"__slots__": (), "__getattribute__": walk})
        proxies.set_class(proxy, kind)
        self._named_ones.append(proxy)
        return proxy


def _beside(bound: object) -> list[str]:
    """Return the modules that a name bound by an earlier `import a.b` stands for; the list is shared from then on."""
    if not issubclass(type(bound), proxies.Proxy):
        return []
    found: list[str] = getattr(proxies.cell_of(bound).factory, "beside", [])
    return found


def _absolute(name: str, globals: Any, level: int) -> str:
    """Return the absolute name of a relative import."""
    package = globals.get("__package__")
    if package is None:  # since 3.15 only the spec knows it
        package = getattr(globals.get("__spec__"), "parent", "")
    parts = package.split(".")
    if level > len(parts) or not package:
        raise ImportError("attempted relative import beyond top-level package")
    above = ".".join(parts[: len(parts) - level + 1])
    return f"{above}.{name}" if name else above


# The name of a class that only lives until its `with` block ends.
_NAMED = "NamedByImport"


@final
class _From:
    """Stands for the module in `from module import name`; the interpreter takes the names from it."""

    __slots__ = ("_frame", "_module")

    def __init__(self, module: str, frame: FrameType) -> None:
        self._module = module
        self._frame = frame

    def __getattr__(self, name: str) -> Any:
        return _make(f"{self._module}:{name}", self._frame)
