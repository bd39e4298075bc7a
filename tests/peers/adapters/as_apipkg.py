"""apipkg.initpkg is lazyguard.attach, of a package and of the modules that a dict in its table describes.

A module of another name is a lazy module, as its AliasModule is.
"""

import sys
from types import ModuleType

import apipkg

import lazyguard


def initpkg(package, exportdefs, attr=None, eager=False):
    """Return the package, with lazy attributes in the place of its own."""
    module = sys.modules.setdefault(package, ModuleType(package))
    vars(module).setdefault("__file__", None)
    vars(module).update(attr or {})
    attributes = {}
    for name, where in exportdefs.items():
        if isinstance(where, dict):
            sys.modules[f"{package}.{name}"] = initpkg(f"{package}.{name}", where)
            vars(module)[name] = sys.modules[f"{package}.{name}"]
        elif ":" not in where:
            vars(module)[name] = lazyguard.load(where)
        else:
            source, _, path = (package + where if where.startswith(".") else where).partition(":")
            *path, attribute = path.split(".")
            attributes.setdefault(".".join([source, *path]), []).append(f"{attribute} as {name}")
    found = lazyguard.attach(package, absolute_attrs=attributes)
    module.__getattr__, module.__dir__, module.__all__ = found
    return module


class Looks(type):
    """So that every module is an instance."""

    def __instancecheck__(cls, one):
        return isinstance(one, ModuleType)


class ApiModule(metaclass=Looks):
    """Called as initpkg is."""

    def __new__(cls, *given):
        return initpkg(*given)


apipkg.initpkg, apipkg.ApiModule = initpkg, ApiModule
apipkg.AliasModule = lambda _, module, name=None: lazyguard.load(f"{module}:{name}" if name else module)
