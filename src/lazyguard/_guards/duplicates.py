"""`prevent_duplicate_imports`: do not execute a package's file again, under a second name or after a failure.

Invariants: an import outside the package costs a few dict look-ups, and for the first of a directory the look at where
that is. The guard holds no lock; those of the import system order the threads. The finders of the import system alone
decide which file a name means. What a module's own execution raised is kept, with its traceback, until the file changes
or the import system's caches are invalidated. What ended an import from outside, such as a guard's time limit or
Control-C, is no failure of the module.
"""

from __future__ import annotations

import os
import sys
from _thread import get_ident

from lazyguard import errors
from lazyguard._base import TYPE_CHECKING, Record, places, validation
from lazyguard._core import whole
from lazyguard._guards import circular_imports, frames, hooks

if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec

    from lazyguard._base import Callable, Iterable, Literal, ModuleType, TracebackType
    from lazyguard._base.places import Place

    Action = Literal["alias", "warn", "error"]


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
    validation.choice("action", action, "alias", "warn", "error")
    present = hooks.GUARDS.get(package)
    if not isinstance(present, _Guard) or present.action != action:
        hooks.GUARDS[package] = present = _Guard(Tree(package), action)
    hooks.install()
    return present.remove


class _Guard:
    """What keeps the files of one package from being executed under a second name, or again after a failure."""

    def __init__(self, tree: Tree, action: Action) -> None:
        self.action = action
        self._tree = tree
        self._foreign = dict(self._loaded_already())
        self._aliases: dict[str, set[str]] = {}
        # Module -> the line that imported it first.
        self._first_imports: dict[str, Place] = {}
        self._failures: dict[str, _Failure] = {}
        self.forget = self._failures.clear

    def spec_for(self, name: str, spec: ModuleSpec, target: ModuleType | None) -> ModuleSpec:
        """Return the spec for a module: that of an alias where its file has another name, else the given one."""
        inside = self._tree.has(name)
        if target is not None:  # a reload keeps the module's name
            if inside:
                self.forget()
            return spec
        if inside:
            return self._canonical(name, spec)
        file = spec.origin if spec.has_location else None
        canonical = None if file is None else self._tree.of_file(file)
        if file is None or canonical is None:
            return spec
        return self._second(name, canonical, file, spec, f"write `import {canonical}` in place of `import {name}`")

    def _canonical(self, name: str, spec: ModuleSpec) -> ModuleSpec:
        # Its import failed, or it was removed: its aliases are out of date.
        for second in self._aliases.pop(name, ()):
            sys.modules.pop(second, None)
        first = self._foreign.get(name)
        remedy = f"write `import {name}` in place of `import {first}`"
        main = _file_of(sys.modules.get("__main__"))
        if main is not None and self._tree.of_file(main) == name:
            first, remedy = "__main__", "move what others import into a module that is not run as a script"
        module = None if first is None else sys.modules.get(first)
        if first is not None and module is not None:
            return self._second(name, first, getattr(module, "__file__", None) or "?", spec, remedy)
        place, failure = frames.importing() or places.NOWHERE, self._failure_of(name)
        if failure is not None:
            if self.action != "warn":
                raise failure.reraised(name)
            text = f"{failure.file} failed when it was imported at {failure.place}, and is executed a second time"
            frames.warn(text, errors.DuplicateImportWarning, place)
        self._first_imports.setdefault(name, place)

        def execute(name: str, module: ModuleType, run: hooks.Execute) -> None:
            try:
                run(module)
            except Exception as error:
                circular_imports.explain(error)
                if not isinstance(error, errors.ImportSideEffectError | errors.ImportTimeout):
                    file = getattr(module, "__file__", None) or ""
                    self._failures[name] = _Failure(
                        error=error, trace=error.__traceback__, file=file, stamp=_stamp(file), place=place
                    )
                raise

        hooks.wrap(spec, execute)
        return spec

    def _failure_of(self, name: str) -> _Failure | None:
        """Return the failure of a module that must not be executed again; None for any other.

        It may be executed again if its file has changed, and in an attempt of a cell.
        """
        failure = self._failures.get(name)
        if failure is None or (_stamp(failure.file) == failure.stamp and not _within_attempt()):
            return failure
        self._failures.pop(name, None)
        return None

    def _second(self, second: str, first: str, file: str, spec: ModuleSpec, remedy: str) -> ModuleSpec:
        """Do what `action` says where the file of the module `first` is imported under another name."""
        if self.action == "alias":
            self._aliases.setdefault(first, set()).add(second)
            return hooks.spec_of(second, first, file)
        if first == "__main__":
            since = f"runs as __main__ (now at {_line_in_main()})"
        else:
            line = self._first_imports.get(first)
            since = f"is module {first}" + (f" (imported at {line})" if line and first in sys.modules else "")
        place = frames.importing() or places.NOWHERE
        text = f"{file} {since}; imported as {second} it is executed a second time: {remedy}"
        if self.action == "error":
            raise errors.DuplicateImportError(f"{place}: {text}", name=second, path=file)
        frames.warn(text, errors.DuplicateImportWarning, place)
        self._first_imports.setdefault(second, place)
        return spec

    def _loaded_already(self) -> Iterable[tuple[str, str]]:
        """Yield (canonical name, other name) of each file that was executed before the guard was installed."""
        for name, module in sys.modules.copy().items():
            file = None if name == "__main__" or self._tree.has(name) else _file_of(module)
            canonical = None if file is None else self._tree.of_file(file)
            if canonical is not None:
                yield canonical, name

    def remove(self) -> None:
        """Remove the guard; the finder stays, for others."""
        if hooks.GUARDS.get(self._tree.package) is self:
            del hooks.GUARDS[self._tree.package]


class _Failure(Record):
    """The failure of one module."""

    error: Exception
    trace: TracebackType | None
    file: str
    stamp: tuple[int, int]
    place: Place

    def reraised(self, name: str) -> Exception:
        """Return the first import's exception, with its first traceback and a note that says why."""
        error = self.error.with_traceback(self.trace)
        note = (
            f"{name} failed with this when it was first imported (at {self.place}), and is not executed a second time: "
            "call importlib.invalidate_caches() to try it again"
        )
        add_note = getattr(error, "add_note", None)
        if add_note is not None and note not in getattr(error, "__notes__", ()):
            add_note(note)
        return error


def _stamp(file: str) -> tuple[int, int]:
    try:
        found = os.stat(file)
    except OSError:
        return 0, 0
    return found.st_mtime_ns, found.st_size


def _within_attempt() -> bool:
    """Return whether an attempt of a cell runs here: it may succeed where the last one failed."""
    wait_cycles = whole("_core.wait_cycles")
    if wait_cycles is None:
        return False
    begun_in = wait_cycles.within.get()
    attempt = None if begun_in is None else begun_in()
    return bool(wait_cycles.running.get(get_ident())) or (attempt is not None and attempt.outcome is None)


def _file_of(module: object) -> str | None:
    """Return a module's file, without `getattr`: a module that loads itself at the first access stays unloaded."""
    if not issubclass(type(module), type(sys)):
        return None
    file = object.__getattribute__(module, "__dict__").get("__file__")
    return file if isinstance(file, str) else None


def _line_in_main() -> str:
    """Return the line that `__main__` is executing on this thread; else the end of its file."""
    main = vars(sys.modules["__main__"])
    for frame in places.outwards(sys._getframe(1)):
        if frame.f_globals is main and frame.f_code.co_name == "<module>":
            return places.of_frame(frame)
    return f"the end of {main.get('__file__')}"


class Tree:
    """The directories of one package, and the names of the files in them; it imports nothing."""

    def __init__(self, package: str) -> None:
        self.package = package
        self._roots = [os.path.join(os.path.realpath(directory), "") for directory in _search_locations(package)]
        # Directory of a file -> whether it is in the package.
        self._inside: dict[str, bool] = {}

    def has(self, name: str) -> bool:
        """Return whether a module name is the package's or below it."""
        return f"{name}.".startswith(f"{self.package}.")

    def of_file(self, file: str) -> str | None:
        """Return the canonical name of a file; None outside the package, and in a directory without `__init__.py`."""
        directory = os.path.join(os.path.dirname(os.path.abspath(file)), "")
        if directory not in self._inside:
            self._inside[directory] = self._root_of(os.path.join(os.path.realpath(directory), "")) is not None
        real = os.path.realpath(file) if self._inside[directory] else ""
        root = self._root_of(real)
        if root is None:
            return None
        parts = real[len(root) :].split(os.sep)
        parts[-1] = parts[-1].partition(".")[0]
        names = [self.package, *(part for part in parts if part != "__init__")]
        for depth in range(1, len(parts)):
            init = os.path.join(root, *parts[:depth], "__init__.py")
            if ".".join(names[: depth + 1]) not in sys.modules and not os.path.exists(init):
                return None
        return ".".join(names)

    def _root_of(self, real: str) -> str | None:
        return next((root for root in self._roots if real.startswith(root)), None)


def _search_locations(package: str) -> list[str]:
    found: Iterable[str] | None = getattr(sys.modules.get(package), "__path__", None)
    what = f"prevent_duplicate_imports: {package!r}"
    if package not in sys.modules:
        from importlib.util import find_spec

        try:
            spec = find_spec(package)
        except (ImportError, ValueError):
            spec = None
        if spec is None:
            raise errors.ConfigurationError(f"{what} cannot be found: give the name of a package that can be imported")
        found = spec.submodule_search_locations
    if not found:
        raise errors.ConfigurationError(f"{what} is a module, not a package: give the package that it belongs to")
    return list(found)
