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
from typing import TYPE_CHECKING, Any

from lazyguard._base import distributions

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from lazyguard.audit.analysis.import_tree import ImportTree
    from lazyguard.audit.analysis.scope import Scope

_RENAMED = """
    Crypto=pycryptodome MySQLdb=mysqlclient OpenSSL=pyOpenSSL PIL=pillow attr=attrs bs4=beautifulsoup4
    cv2=opencv-python dateutil=python-dateutil docx=python-docx dotenv=python-dotenv fitz=PyMuPDF git=GitPython
    github=PyGithub grpc=grpcio jose=python-jose jwt=PyJWT ldap=python-ldap magic=python-magic
    pkg_resources=setuptools rest_framework=djangorestframework serial=pyserial skimage=scikit-image
    sklearn=scikit-learn slugify=python-slugify usb=pyusb win32api=pywin32 yaml=PyYAML zmq=pyzmq
"""
DISTRIBUTIONS = {module: name for module, _, name in (pair.partition("=") for pair in _RENAMED.split())}
"""Distributions whose name differs from that of their module. They may not be installed here, to look it up."""
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
    return distributions.command(name, package=DISTRIBUTIONS.get(top))


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
    directory = os.path.dirname(file)
    try:
        entries = os.listdir(directory)
    except OSError:
        return []
    found = [each for each in entries if each.endswith(_SUFFIXES) or os.path.isdir(os.path.join(directory, each))]
    names = {each.partition(".")[0] for each in found}
    return [name for name in names if name.isidentifier() and not name.startswith("__")]


def _close(name: str, names: Iterable[str]) -> str:
    """Return the most similar names, in words."""
    same = [each for each in names if each.lower() == name.lower()]
    close = same or difflib.get_close_matches(name, sorted(names), 3, 0.6)
    return f": did you mean {' or '.join(close)}?" if close else ""
