"""`require` and `optional_import`: modules that may be missing, and the error where they are.

Invariants: `optional_import` imports nothing when it is called. A module is missing only if it, or a package above it,
cannot be found; a module that fails while it is imported raises its own error. No absence is cached: each use looks
again.
"""

from __future__ import annotations

import sys

from lazyguard import errors
from lazyguard._base import Any, FrameType, ModuleType, places, validation
from lazyguard._base.places import is_module_name
from lazyguard._core import eager, trace
from lazyguard._proxies.inspection import INTROSPECTION, walks

# The dunders that programs read of a module. Any other one is the look-up of a tool that walks a module's globals: that
# must import nothing, and must not fail.
_MODULE_DUNDERS = frozenset(
    ("__all__", "__author__", "__build__", "__cached__", "__file__", "__license__", "__path__", "__version__")
)


def require(name: str, *, extra: str | None = None, package: str | None = None, why: str | None = None) -> ModuleType:
    """Import a module and return it; if it is missing, raise an error that says why and how to install it.

    Args:
        name: The module's absolute name; of a dotted name the innermost module is returned.
        extra: The extra of your distribution that installs it: the error then has `pip install 'yours[extra]'`.
        package: The distribution that installs it, where its name is not the module's.
        why: What the module is needed for, for the error's text.

    Raises:
        MissingModuleError: The module is not installed; it is a ModuleNotFoundError. An exception of a module that is
            installed passes untouched.
        ConfigurationError: `name` is not an absolute module name.

    Example:
        >>> import lazyguard
        >>> lazyguard.require("json.decoder").__name__
        'json.decoder'
        >>> lazyguard.require("no_such_module", why="for the dashboard")  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        lazyguard.errors.MissingModuleError: module 'no_such_module' is not installed, needed for the ...
    """
    return _Requirement(name, extra, package, why, places.caller()).imported()


def optional_import(name: str, *, extra: str | None = None, package: str | None = None, why: str | None = None) -> Any:
    """Return a lazy module that may be missing: it is false then, and every use of it raises.

    Nothing is imported before the first use or truth test. Arguments and errors are those of `require`; the error for a
    missing module comes at the use.

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
    frame = places.declaring(places.caller())
    module = OptionalModule(_Requirement(name, extra, package, why, frame))
    eager.declared(frame, module.__bool__)
    return module


class _Requirement:
    """A module that may be missing, what the error says about it, and the module itself once that is imported."""

    def __init__(self, name: str, extra: str | None, package: str | None, why: str | None, frame: FrameType) -> None:
        self.place = places.of_frame(places.declaring(frame))  # an integration requires its library for its user
        if not is_module_name(name):
            raise errors.ConfigurationError(
                f"{self.place}: {places.shown(name)} is not a module name; give an absolute one: 'package.module'"
            )
        for option, value in (("extra", extra), ("package", package), ("why", why)):
            validation.text(option, value, optional=True)
        self.name, self.extra, self.package, self.why = name, extra, package, why
        self.host: str = frame.f_globals.get("__name__", "")
        self.module: ModuleType | None = None

    def load(self) -> ModuleType:
        """Return the module, importing it at the first call."""
        if self.module is None:
            self.module = trace.traced(self.name, self.place, self.imported)
        return self.module

    def imported(self) -> ModuleType:
        """Import the module and return it."""
        try:
            __import__(self.name)
        except ModuleNotFoundError as error:
            if error.name is None or not f"{self.name}.".startswith(f"{error.name}."):
                raise
            from lazyguard._base import distributions

            remedy = distributions.remedy(self.name, extra=self.extra, package=self.package, host=self.host)
            why = f", needed {self.why}" if self.why else ""
            text = f"module {self.name!r} is not installed{why} (required at {self.place}); {remedy}"
            raise errors.MissingModuleError(text, name=error.name) from error
        return sys.modules[self.name]


class OptionalModule(ModuleType):
    """The module that `optional_import` returns: it has the attributes of the real one, if that is installed."""

    _lazyguard: _Requirement

    def __init__(self, requirement: _Requirement) -> None:
        super().__init__(requirement.name)
        vars(self)["_lazyguard"] = requirement

    def __bool__(self) -> bool:
        try:
            self._lazyguard.load()
        except errors.MissingModuleError:
            return False
        return True

    def __getattr__(self, name: str) -> Any:
        if self._lazyguard.module is None and _is_introspection(name, sys._getframe().f_back):
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}", name=name, obj=self)
        return getattr(self._lazyguard.load(), name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._lazyguard.load(), name, value)

    def __delattr__(self, name: str) -> None:
        delattr(self._lazyguard.load(), name)

    def __dir__(self) -> list[str]:
        module = self._lazyguard.module
        return [] if module is None else dir(module)

    def __repr__(self) -> str:
        state = "not imported yet" if self._lazyguard.module is None else "imported"
        return f"<optional module {self._lazyguard.name!r} ({state}, declared at {self._lazyguard.place})>"


def _is_introspection(name: str, frame: FrameType | None) -> bool:
    return name not in _MODULE_DUNDERS and (name.startswith("__") or name in INTROSPECTION or walks(frame))
