"""`prevent_duplicate_imports`: do not execute a package's file again, under a second name or after a failure.

Invariants: an import outside the package costs a few dict look-ups and no system call. The guard holds no lock; those
of the import system order the threads. The import system alone decides which file a name means.
"""

from __future__ import annotations

import os
import sys

from lazyguard import errors
from lazyguard._base import places, validation
from lazyguard._guards import loaders
from lazyguard._guards.failed_modules import Failures

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from importlib.machinery import ModuleSpec
    from types import FrameType, ModuleType
    from typing import Literal

    Action = Literal["alias", "warn", "error"]


_ACTIONS = ("alias", "warn", "error")
_GUARDS: dict[str, _Finder] = {}
_OWN_FILES = os.path.dirname(os.path.dirname(__file__)) + os.sep


def prevent_duplicate_imports(package: str, *, action: Action = "alias") -> Callable[[], None]:
    """Keep the files of a package from being executed a second time: under a second name, or after a failure.

    A file gets a second name when a directory of the package is on `sys.path`, as for a script in it: `import models`
    there and `import core.models` elsewhere make two modules, two classes of each name, two registrations. The same
    happens with `python -m core.tasks` and `python core/tasks.py`, whose file runs as `__main__`, when something
    imports `core.tasks`. A file is executed again after a failure when its import is tried again.

    Args:
        package: The package's name; it need not be imported yet.
        action: What an import under a second name does. "alias": it gives the same module object, that of the canonical
            name (imported now if it is not yet), or `__main__` where the file runs as that. "warn": it issues
            DuplicateImportWarning at the importing line, and executes the file. "error": it raises
            DuplicateImportError. Both texts name the line that imported the file first.
            A module that failed is not executed again: its import raises the first exception, with a note. With "warn"
            there is a warning, and the module is executed.

    Returns:
        A function that removes the guard; aliases that it has made stay.

    Raises:
        ConfigurationError: `action` is none of these, or `package` is not a package that can be found.

    A second call with the same action changes nothing; one with another action replaces the guard. If a file was
    executed under another name before the guard was installed, its canonical name is the second one. A class of an
    aliased `__main__` is pickled as `__main__`'s, as in any script.

    The exception of a module that failed is kept, with its traceback. The module is executed again once its file has
    changed, after `importlib.invalidate_caches()`, and after a reload of another module of the package. It is also
    executed again inside the factory of a service or a lazy object, whose next attempt may succeed, and where an
    `import_guard` had ended it. Directories without `__init__.py` are not guarded.

    Example:
        >>> import lazyguard
        >>> undo = lazyguard.prevent_duplicate_imports("json", action="error")
        >>> undo()
    """
    validation.text("package", package)
    if action not in _ACTIONS:
        text = f"action={places.shown(action)} is invalid: give 'alias', 'warn' or 'error'"
        raise errors.ConfigurationError(f"prevent_duplicate_imports({package!r}): {text}")
    present = _GUARDS.get(package)
    if present is not None and present.action == action and present in sys.meta_path:
        return present.remove
    finder = _Finder(Tree(package), action)
    if present is not None:
        present.remove()
    _GUARDS[package] = finder
    # Before the finder of files, behind those of built-in and frozen modules: a core/time.py must not shadow `time`.
    path_finder = sys.modules["_frozen_importlib_external"].PathFinder
    index = sys.meta_path.index(path_finder) if path_finder in sys.meta_path else len(sys.meta_path)
    sys.meta_path.insert(index, finder)
    return finder.remove


class _Finder:
    """Find the package's files under second names, and its modules that have failed."""

    def __init__(self, tree: Tree, action: Action) -> None:
        self.tree = tree
        self.action = action
        self._foreign = dict(self._loaded_already())
        self._aliases: dict[str, set[str]] = {}
        # Module -> the line that imported it first.
        self._first_imports: dict[str, places.Place] = {}
        self._failures = Failures(lambda name: self._first_imports.get(name, places.NOWHERE))
        # The file that runs as `__main__`, and its canonical name.
        self._main: tuple[object, str | None] = (None, None)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the spec of a second name; None leaves the name to the finders behind."""
        if target is not None:
            if self.tree.has(fullname):
                self._failures.forget()
            return None  # a reload keeps the module's name
        if self.tree.has(fullname):
            return self._canonical(fullname, path)
        name = fullname.rpartition(".")[2]
        for entry in sys.path if path is None else path:
            canonical = self.tree.in_directory(entry, name)
            if canonical is not None:
                spec = sys.modules["_frozen_importlib_external"].PathFinder.find_spec(fullname, path)
                # An earlier entry of the path may have a file of that name.
                if spec is None or not spec.has_location or self.tree.of_file(spec.origin) != canonical:
                    return None
                return self._spec_of(fullname, canonical, spec.origin, f"import {canonical}", f"import {fullname}")
        return None

    def _canonical(self, name: str, path: Sequence[str] | None) -> ModuleSpec | None:
        # Its import failed, or it was removed: its aliases are out of date.
        for second in self._aliases.pop(name, ()):
            sys.modules.pop(second, None)
        first = "__main__" if name == self._name_of_main() else self._foreign.get(name)
        module = None if first is None else sys.modules.get(first)
        if first is not None and module is not None:
            file = getattr(module, "__file__", None) or "?"
            return self._spec_of(name, first, file, f"import {name}", f"import {first}")
        failure = self._failures.of(name)
        if failure is not None:
            if self.action != "warn":
                raise failure.reraised(name)
            frame = _importing_frame()
            _warn(
                frame, f"{failure.file} failed when it was imported at {failure.place}, and is executed a second time"
            )
        spec: ModuleSpec | None = sys.modules["_frozen_importlib_external"].PathFinder.find_spec(name, path)
        if spec is not None:
            self._first_imports.setdefault(name, places.of_frame(_importing_frame()))
            loaders.wrap(spec, self._failures.execute)
        return spec

    def _name_of_main(self) -> str | None:
        """Return the canonical name of the file that runs as `__main__`."""
        main = sys.modules.get("__main__")
        file = getattr(main, "__dict__", {}).get("__file__")
        if self._main[0] != file:
            self._main = (file, self.tree.of_file(file) if isinstance(file, str) else None)
        return self._main[1]

    def _spec_of(self, second: str, first: str, file: str, right: str, wrong: str) -> ModuleSpec | None:
        if self.action == "alias":
            self._aliases.setdefault(first, set()).add(second)
            return loaders.spec_of(second, first, file)
        frame = _importing_frame()
        if first == "__main__":
            since = f"runs as __main__ (now at {_line_in_main()})"
            remedy = "move what others import into a module that is not run as a script"
        else:
            line = self._first_imports.get(first)
            since = f"is module {first}" + (f" (imported at {line})" if line and first in sys.modules else "")
            remedy = f"write `{right}` in place of `{wrong}`"
        text = f"{file} {since}; imported as {second} it is executed a second time: {remedy}"
        if self.action == "error":
            raise errors.DuplicateImportError(f"{places.of_frame(frame)}: {text}", name=second, path=file)
        _warn(frame, text)
        self._first_imports.setdefault(second, places.of_frame(frame))
        return None

    def invalidate_caches(self) -> None:
        """Let failed modules be executed again; `importlib.invalidate_caches` calls this."""
        self._failures.forget()

    def _loaded_already(self) -> Iterable[tuple[str, str]]:
        """Yield (canonical name, other name) of each file that was executed before the guard was installed."""
        for name, module in sys.modules.copy().items():
            if name == "__main__" or self.tree.has(name) or not issubclass(type(module), type(sys)):
                continue
            # Not by getattr: a module that loads itself at the first access must stay unloaded.
            file = object.__getattribute__(module, "__dict__").get("__file__")
            if isinstance(file, str) and self.tree.may_hold(file):
                canonical = self.tree.of_file(file)
                if canonical is not None:
                    yield canonical, name

    def remove(self) -> None:
        """Remove the guard."""
        if self in sys.meta_path:
            sys.meta_path.remove(self)
        if _GUARDS.get(self.tree.package) is self:
            del _GUARDS[self.tree.package]


def _warn(frame: FrameType, text: str) -> None:
    import warnings

    warnings.warn_explicit(
        text,
        errors.DuplicateImportWarning,
        frame.f_code.co_filename,
        frame.f_lineno,
        module=frame.f_globals.get("__name__"),
        registry=frame.f_globals.setdefault("__warningregistry__", {}),
    )


def _line_in_main() -> str:
    """Return the line that `__main__` is executing on this thread; else the end of its file."""
    main = vars(sys.modules["__main__"])
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if frame.f_globals is main and frame.f_code.co_name == "<module>":
            return places.of_frame(frame)
        frame = frame.f_back
    return f"the end of {main.get('__file__')}"


def _importing_frame() -> FrameType:
    """Return the frame of the import statement: the innermost outside lazyguard and the import system."""
    frame: FrameType = sys._getframe(1)
    while frame.f_back is not None:
        file = frame.f_code.co_filename
        if not file.startswith((_OWN_FILES, "<frozen importlib")) and not file.endswith("/importlib/__init__.py"):
            break
        frame = frame.f_back
    return frame


class Tree:
    """The directories of one package, and the names of the files in them; it imports nothing."""

    def __init__(self, package: str) -> None:
        self.package = package
        self._inside = f"{package}."
        self._directories = _search_locations(package)
        self._roots = [os.path.realpath(directory) for directory in self._directories]
        self._parents: dict[str, str | None] = {}

    def has(self, name: str) -> bool:
        """Return whether a module name is the package's or below it."""
        return name == self.package or name.startswith(self._inside)

    def in_directory(self, directory: object, name: str) -> str | None:
        """Return the canonical name of the module `name` in a directory, if the package has such a file there."""
        if not isinstance(directory, str):
            return None
        parent = self._parents[directory] if directory in self._parents else self._parent(directory)
        if parent is None:
            return None
        canonical = f"{parent}.{name}" if parent else name
        if self.has(canonical) and any(
            os.path.exists(f"{directory or '.'}/{name}{end}") for end in (".py", "/__init__.py")
        ):
            return canonical
        return None

    def _parent(self, directory: str) -> str | None:
        """Return the dotted name of a directory of the package, or of the directory above; None for any other."""
        real = os.path.realpath(directory)
        parent = self._dotted(real)
        if parent is None and any(os.path.dirname(root) == real for root in self._roots):
            parent = self.package.rpartition(".")[0]
        if os.path.isabs(directory):  # a relative one depends on the working directory
            self._parents[directory] = parent
        return parent

    def of_file(self, file: str) -> str | None:
        """Return the canonical name of a file; None outside the package, and in a directory without `__init__.py`."""
        real = os.path.realpath(file)
        stem = f"{os.path.dirname(real)}/{os.path.basename(real).partition('.')[0]}"
        canonical = self._dotted(stem.removesuffix("/__init__"))
        return canonical if canonical is not None and self._is_regular(canonical) else None

    def may_hold(self, file: str) -> bool:
        """Return, without a system call, whether a file may lie in the package."""
        return any(file.startswith(f"{root}/") for root in (*self._directories, *self._roots))

    def _dotted(self, real: str) -> str | None:
        for root in self._roots:
            if f"{real}/".startswith(f"{root}/"):
                return self.package + real[len(root) :].replace("/", ".")
        return None

    def _is_regular(self, canonical: str) -> bool:
        parent = canonical.rpartition(".")[0]
        while parent.startswith(self._inside) and parent not in sys.modules:
            below = parent[len(self._inside) :].replace(".", "/")
            if not any(os.path.exists(f"{root}/{below}/__init__.py") for root in self._roots):
                return False
            parent = parent.rpartition(".")[0]
        return True


def _search_locations(package: str) -> list[str]:
    module = sys.modules.get(package)
    found: Iterable[str] | None = getattr(module, "__path__", None)
    if module is None:
        from importlib.util import find_spec

        try:
            spec = find_spec(package)
        except (ImportError, ValueError) as error:
            raise errors.ConfigurationError(f"prevent_duplicate_imports: {package!r} cannot be found") from error
        if spec is None:
            raise errors.ConfigurationError(
                f"prevent_duplicate_imports: there is no package {package!r}: give the name that it is imported by"
            )
        found = spec.submodule_search_locations
    if not found:
        raise errors.ConfigurationError(
            f"prevent_duplicate_imports: {package!r} is a module, not a package: give the package that it belongs to"
        )
    return list(found)
