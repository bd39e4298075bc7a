"""What an import missed, and how to mend it: a distribution to install, a module or a name that is spelled otherwise.

Invariants: a command to install is given only for what is neither first-party nor was ever in the standard library:
such a name may be registered by anyone. A name counts as missing only in a module that is done; one that is not done is
part of a circular import.
"""

from __future__ import annotations

import difflib
import os
import re
import sys
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lazyguard._base import distributions
from lazyguard.audit.options import read_toml
from lazyguard.audit.processes.plan import is_installed
from lazyguard.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from lazyguard.audit.analysis.import_tree import ImportTree, Scope

# Modules that are on other platforms alone.
ELSEWHERE = frozenset(
    "msvcrt nt winreg winsound _winapi _winreg win32api win32com win32con win32file win32gui pythoncom pywintypes wmi "
    "objc AppKit Foundation Quartz CoreFoundation _scproxy java org jnius".split()
)
_ELSEWHERE = re.compile(
    r"'(windll|WinDLL|wintypes|oledll|WINFUNCTYPE|CTRL_C_EVENT|kqueue|startfile|STARTUPINFO|Windows\w+Policy|Proactor\w+)'"
    r"|\b(win32|windows|darwin|mac ?os|osx)\b.{0,20}\bonly\b|\bonly\b.{0,40}\b(win32|windows|darwin|mac ?os|osx)\b",
    re.IGNORECASE,
)
GONE = dict.fromkeys(("asynchat", "asyncore", "distutils", "imp", "smtpd"), "3.12") | dict.fromkeys(
    (
        *("aifc", "audioop", "cgi", "cgitb", "chunk", "crypt", "imghdr", "lib2to3", "mailcap", "msilib", "nis"),
        *("nntplib", "ossaudiodev", "pipes", "sndhdr", "spwd", "sunau", "telnetlib", "uu", "xdrlib"),
    ),
    "3.13",
)
_SUFFIXES = (".py", ".pyc", ".so", ".pyd")
_NO_MODULE = re.compile(r"No module named '([^']+)'(?:; '([^']+)' is not a package)?")
_NOT_DONE = re.compile(r"partially initialized module '([^']+)'")
_NO_NAME = re.compile(r"cannot import name '([^']+)'|has no attribute '([^']+)'")


def hint(kind: str, message: str, about: Sequence[Any], tree: ImportTree, scope: Scope) -> str | None:
    """Return how to mend an import error; None where nothing is known.

    Args:
        about: what the child reported of the module that lacks a name: its name, its file, its names.
    """
    if kind == "ModuleNotFoundError" and (found := _NO_MODULE.match(message)):
        return _no_module(found[1], tree, scope) if found[2] is None else _no_package(found[2], tree, scope)
    if kind in ("ImportError", "AttributeError") and (found := _NOT_DONE.search(message)):
        return f"{found[1]} is not done: this is a circular import, not a name that is missing"
    named = _NO_NAME.search(message)
    if not about or named is None:
        return None
    module, file, names = about
    name = named[1] or named[2]
    where = f"{module} ({scope.name(file)})" if file else str(module)
    return f"{where} has no {name}{_close(name, names)}"


def _no_module(name: str, tree: ImportTree, scope: Scope) -> str:
    top, _, rest = name.partition(".")
    if _is_own(top, tree, scope):
        package, _, last = name.rpartition(".")
        file = _file_of(package, tree)
        if file is None:
            return f"there is no {name} in the audited path"
        return f"{package} ({scope.name(file)}) has no module {last}{_close(last, _modules_beside(file))}"
    if rest and any(span.name == top for span in tree.spans):
        return f"{top} is installed and has no {name}: another version of it has, or had"
    if top in GONE:
        return f"{top} is no longer in the standard library from Python {GONE[top]} on"
    if top in sys.stdlib_module_names:
        return f"{top} belongs to the standard library; this interpreter is older, or was built without it"
    here = _elsewhere_here(top, scope)
    if here is not None:
        return (
            f"it is {scope.name(here)} here: give --path {os.path.dirname(here)}, where the program puts it on sys.path"
        )
    project, found = _declared(name, tree, scope)
    if found is not None:
        return f"pip install '{project}[{found[1]}]'" if found[1] else f"pip install {found[0]}"
    return distributions.command(name) or f"{name} is not installed, and no distribution is known here to have it"


def verdict(kind: str, message: str, missed: str | None, tree: ImportTree, scope: Scope) -> str:
    """Return the class of a failed import: `fails`, or what is no fault of the program.

    That is `not-installed`, where what is missing is optional: the project declares it as an extra, or is installed and
    does not require it, or raises an error of its own over it. And `other-platform`.
    """
    top = (missed or "").partition(".")[0]
    if top in ELSEWHERE or (kind.endswith(("Error", "Warning")) and _ELSEWHERE.search(message)):
        return "other-platform"
    if missed is None or _is_own(top, tree, scope) or top in sys.stdlib_module_names or _elsewhere_here(top, scope):
        return "fails"
    of_its_own = kind != "ModuleNotFoundError"
    told = not of_its_own or any(each in message.lower() for each in (top.lower(), "install"))
    if not told or any(span.name == top for span in tree.spans):  # it is installed, and lacks a submodule
        return "fails"
    _, found = _declared(missed, tree, scope)
    if found is not None:
        return "not-installed" if found[1] else "fails"
    files = [span.file for span in tree.spans if span.name == tree.target.partition(".")[0] and span.file]
    return "not-installed" if of_its_own or any(map(is_installed, files)) else "fails"


def _declared(module: str, tree: ImportTree, scope: Scope) -> tuple[str, tuple[str, str | None] | None]:
    """Return the name of the target's project, and the requirement and the extra by which it declares a module."""
    project, requirements = _requirements(tree.target.partition(".")[0], scope.path, scope.sys_path)
    wanted = {module.partition(".")[0], module, distributions.distribution_of(module) or module}
    for each in requirements:
        name = re.match(r"[\w.-]+", each)
        if name is not None and distributions.normal(name[0]) in map(distributions.normal, wanted):
            extra = re.search(r"extra\s*==\s*['\"]([^'\"]+)", each)
            return project, (name[0], extra and extra[1])
    return project, None


@lru_cache(maxsize=64)
def _requirements(top: str, path: str, sys_path: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
    """Return the project of a package and what it requires: by a pyproject.toml near, else as installed."""
    for directory in [each for path_ in path.split(os.pathsep) for each in (path_, os.path.dirname(path_))]:
        try:
            project = read_toml(Path(directory, "pyproject.toml")).get("project", {})
            extras: dict[str, list[str]] = project.get("optional-dependencies", {})
            optional = [f"{one}; extra == '{extra}'" for extra, several in extras.items() for one in several]
            if project:
                return project.get("name", "."), (*project.get("dependencies", ()), *optional)
        except (ConfigurationError, AttributeError, TypeError):
            continue
    for found in metadata.distributions(name=top, path=list(sys_path)):
        return top, tuple(found.requires or ())
    return top, ()


def _elsewhere_here(top: str, scope: Scope) -> str | None:
    """Return the module or package of this name that lies below a package of the program."""
    for root in scope.roots:
        if not root.endswith("/") or is_installed(root):
            continue
        below = sorted(each for each in Path(root).glob("*") if each.is_dir() and each.name.isidentifier())
        for file in [each / name for each in (Path(root), *below) for name in (top, top + ".py")]:
            if os.path.isfile(file) or os.path.isfile(file / "__init__.py"):
                return str(file)
    return None


def _no_package(name: str, tree: ImportTree, scope: Scope) -> str:
    file = _file_of(name, tree)
    where, hides = (f" ({scope.name(file)})", ": does it hide a package?") if file else ("", "")
    return f"{name}{where} is a module and no package, so nothing is below it{hides}"


def _file_of(name: str, tree: ImportTree) -> str | None:
    return next((span.file for span in tree.spans if span.name == name and span.file), None)


def _is_own(top: str, tree: ImportTree, scope: Scope) -> bool:
    return top == tree.target.partition(".")[0] or any(
        span.first_party and span.name.partition(".")[0] == top for span in tree.spans
    )


def _modules_beside(file: str) -> list[str]:
    """Return the names of the modules and packages beside the file of a package."""
    found = [each for each in Path(file).parent.glob("*") if each.suffix in _SUFFIXES or each.is_dir()]
    names = {each.name.partition(".")[0] for each in found}
    return [name for name in names if name.isidentifier() and not name.startswith("__")]


def _close(name: str, names: Iterable[str]) -> str:
    """Return the most similar names, in words."""
    same = [each for each in names if each.lower() == name.lower()]
    close = same or difflib.get_close_matches(name, sorted(names), 3, 0.6)
    return f": did you mean {' or '.join(close)}?" if close else ""
