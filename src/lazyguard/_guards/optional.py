"""`require` and `optional_import`: modules that may be missing, and what is said when they are.

Invariants: declaring imports nothing. Missing is only what is not there, it or a package above it: a module
that is there and fails while it is imported says so itself. No absence is remembered: each use looks again.
"""

from __future__ import annotations

import sys

from lazyguard import errors
from lazyguard._base import places
from lazyguard._base.places import is_module_name
from lazyguard._core import eager, trace
from lazyguard._proxies.inspection import INTROSPECTION, walks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType
    from types import ModuleType as _Module
    from typing import Any
else:
    _Module = type(sys)

# What modules have and programs read. Any other dunder is the look-up of a tool that walks a module's
# globals, which must not import anything, still less fail, on its way.
_MODULE_DUNDERS = frozenset(
    ("__all__", "__author__", "__build__", "__cached__", "__file__", "__license__", "__path__", "__version__")
)


def require(name: str, *, extra: str | None = None, package: str | None = None, why: str | None = None) -> _Module:
    """Import a module and return it, or say now what is missing, what it is needed for and how to get it.

    Args:
        name: The module, dotted or not; of a dotted one the innermost is returned.
        extra: The extra of your distribution that brings it: the text then has `pip install 'yours[extra]'`.
        package: The distribution that brings it, where its name is not the module's.
        why: What it is needed for, for the text.

    Raises:
        MissingModuleError: It is not installed; a ModuleNotFoundError. Whatever a module raises that is there passes
            as it is.

    Example:
        >>> import lazyguard
        >>> lazyguard.require("json.decoder").__name__
        'json.decoder'
        >>> lazyguard.require("no_such_module", why="for the dashboard")  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        lazyguard.errors.MissingModuleError: module 'no_such_module' is not installed, needed for the ...
    """
    return _Wanted(name, extra, package, why, places.caller()).load()


def optional_import(name: str, *, extra: str | None = None, package: str | None = None, why: str | None = None) -> Any:
    """Return a fallback for a module that may be missing: false if it is, and every use of it raises then.

    Nothing is imported before the first use or truth test. Arguments and errors are those of `require`.

    Example:
        >>> import lazyguard
        >>> sio = lazyguard.optional_import("no_such_module", extra="dashboard")
        >>> bool(sio)
        False
        >>> bool(lazyguard.optional_import("json"))
        True
        >>> lazyguard.optional_import("json").dumps([1])
        '[1]'
    """
    frame = places.caller()
    fallback = OptionalModule(_Wanted(name, extra, package, why, frame))
    eager.declared(frame, fallback.__bool__)
    return fallback


class _Wanted:
    """A module that someone asks for, and all that an error has to say about it."""

    __slots__ = ("extra", "host", "name", "package", "place", "why")

    def __init__(self, name: str, extra: str | None, package: str | None, why: str | None, frame: FrameType) -> None:
        self.place = places.of_frame(places.declaring(frame))  # an integration asks for what its user uses
        if not is_module_name(name):
            raise errors.ConfigurationError(
                f"{self.place}: {name!r} is no module's name; give an absolute one: 'package.module'"
            )
        self.name, self.extra, self.package, self.why = name, extra, package, why
        self.host: str = frame.f_globals.get("__name__", "")

    def load(self) -> _Module:
        """Import it."""
        try:
            __import__(self.name)
        except ModuleNotFoundError as error:
            if error.name is None or not f"{self.name}.".startswith(f"{error.name}."):
                raise
            raise errors.MissingModuleError(self._text(), name=error.name) from error
        return sys.modules[self.name]

    def _text(self) -> str:
        from lazyguard._base import distributions

        command = distributions.command(self.name, extra=self.extra, package=self.package, host=self.host)
        why = f", needed {self.why}" if self.why else ""
        what = f"module {self.name!r} is not installed{why} (asked for at {self.place})"
        return f"{what}; to install it: {command}"


class OptionalModule(_Module):
    """What `optional_import` returns: the module's attributes, where there is a module."""

    def __init__(self, wanted: _Wanted) -> None:
        super().__init__(wanted.name)
        vars(self)["_lazyguard"] = (wanted, None)

    def __bool__(self) -> bool:
        try:
            _module(self)
        except errors.MissingModuleError:
            return False
        return True

    def __getattr__(self, name: str) -> Any:
        if vars(self)["_lazyguard"][1] is None and _is_look(name, sys._getframe().f_back):
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}", name=name, obj=self)
        return getattr(_module(self), name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(_module(self), name, value)

    def __delattr__(self, name: str) -> None:
        delattr(_module(self), name)

    def __dir__(self) -> list[str]:
        module = vars(self)["_lazyguard"][1]
        return [] if module is None else dir(module)

    def __repr__(self) -> str:
        wanted, module = vars(self)["_lazyguard"]
        state = "not imported yet" if module is None else "imported"
        return f"<optional module {wanted.name!r} ({state}, declared at {wanted.place})>"


def _is_look(name: str, frame: FrameType | None) -> bool:
    return name not in _MODULE_DUNDERS and (name.startswith("__") or name in INTROSPECTION or walks(frame))


def _module(fallback: OptionalModule) -> _Module:
    """Return the real module; it is kept from the first success on."""
    state: tuple[_Wanted, _Module | None] = vars(fallback)["_lazyguard"]
    wanted, module = state
    if module is None:
        module = trace.traced(wanted.name, wanted.place, wanted.load)
        vars(fallback)["_lazyguard"] = (wanted, module)
    return module
