"""Lazy imports: `load` gives a proxy of a module or of something in it; `imports` does so for import statements.

Invariants: what these give is always a proxy, so it is right in locals, classes and containers; nothing is looked for
before its first use, and a missing module is then an ImportError with the command that installs it.
"""

from __future__ import annotations

import _thread
import builtins
import sys

from lazyguard import _place, _proxy
from lazyguard._core.cell import Cell
from lazyguard._typing import final
from lazyguard.errors import MissingModuleError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType
    from typing import Any

    from lazyguard._proxy import Proxy


def load(name: str, /) -> Any:
    """Return a proxy of a module, or of "package.module:Name", which is imported at its first use.

    Args:
        name: The absolute name of a module, or that and the name of something in it.

    Raises:
        UsageError: The name is relative or empty.

    The first use raises MissingModuleError, an ImportError, where the module is not installed, and an ImportError from
    what went wrong where it is broken; the next use tries again.

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
    return _make(name, _place.caller())


def _make(name: str, frame: FrameType, *, top: bool = False) -> Any:
    module, _, attribute = name.partition(":")
    place = _place.of_frame(frame)
    if not all(part.isidentifier() for part in (*module.split("."), attribute or "_")):
        raise UsageError(
            f'{name!r} ({place}) cannot be loaded: give an absolute name, "package.module" or "module:Name".'
        )

    def import_it() -> Any:
        try:
            found = __import__(module)  # the topmost package
            if not top:
                found = sys.modules[module]
        except ModuleNotFoundError as error:
            missing = error.name or ""
            if missing != module and not module.startswith(f"{missing}."):
                raise  # something that the module itself needs
            raise MissingModuleError(
                f"{name}, declared at {place}, is needed now, but {missing!r} is not installed: "
                f"pip install {missing.partition('.')[0]}",
                name=missing,
            ) from error
        if not attribute:
            return found
        try:
            return getattr(found, attribute)
        except AttributeError as error:
            raise ImportError(f"cannot import name {attribute!r} from {module!r}", name=module) from error

    cell = Cell(import_it, name=name, place=place)
    return _proxy.make(cell, _proxy.bound if frame.f_locals is frame.f_globals else _proxy.shared)


def imports() -> LazyImports:
    """Make the import statements of a `with` block lazy, so that type checkers and editors see real types.

    Returns:
        A context manager. In its block `import a.b as c` and `from a import b` bind what `load` gives; imports that
        other modules or threads make meanwhile are not touched.

    Raises:
        UsageError: For `from a import *`, which must know the names at once.

    Example:
        >>> import lazyguard
        >>> with lazyguard.imports():
        ...     import decimal as numbers
        ...     from json import dumps
        >>> lazyguard.is_resolved(numbers)
        False
        >>> dumps({"a": 1})
        '{"a": 1}'
    """
    return LazyImports(_place.caller())


@final
class LazyImports:
    """What `imports` returns: puts its own `__import__` in place for one block of one thread."""

    __slots__ = ("_before", "_frame", "_open", "_thread")

    def __init__(self, frame: FrameType) -> None:
        self._frame = frame
        self._thread = _thread.get_ident()
        self._before: Any = None
        self._open: list[Proxy] = []

    def __enter__(self) -> None:
        self._before = builtins.__import__
        builtins.__import__ = self._import

    def __exit__(self, *_: object) -> None:
        builtins.__import__ = self._before
        for proxy in self._open:
            kind = type(proxy)
            if kind.__name__ == _NAMED:
                _proxy.set_class(proxy, kind.__mro__[1])
        self._open.clear()

    def _import(
        self,
        name: str,
        globals: Any = None,
        locals: Any = None,
        fromlist: Any = (),
        level: int = 0,
    ) -> Any:
        if globals is not self._frame.f_globals or _thread.get_ident() != self._thread or name == "__future__":
            return self._before(name, globals, locals, fromlist, level)
        absolute = name
        if level:
            package: str = globals.get("__package__") or ""
            parts = package.split(".")
            if level > len(parts) or not package:
                raise ImportError("attempted relative import beyond top-level package")
            above = ".".join(parts[: len(parts) - level + 1])
            absolute = f"{above}.{name}" if name else above
        if fromlist and "*" in fromlist:
            raise UsageError(
                f"from {absolute} import * ({_place.of_frame(self._frame)}) cannot be lazy: name what you use."
            )
        if fromlist:
            return _From(absolute, self._frame)
        return self._named(absolute, absolute.partition(".")[0], top=True)

    def _named(self, whole: str, here: str, *, top: bool) -> Any:
        """Return the proxy of `import whole`, or of `import whole as x` when the interpreter walks down to it."""
        proxy = _make(whole, self._frame, top=top)
        if here == whole:
            return proxy

        def walk(_: Proxy, name: str) -> Any:
            below = f"{here}.{name}"
            if whole == below or whole.startswith(f"{below}."):
                return self._named(whole, below, top=False)
            return _proxy.Pending.__getattribute__(proxy, name)

        kind: Any = type(_NAMED, (type(proxy),), {"__slots__": (), "__getattribute__": walk})
        _proxy.set_class(proxy, kind)
        self._open.append(proxy)
        return proxy


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
