"""Counts registrations: what an import leaves behind in other modules.

Invariants: `child.py` loads this beside `deferred.py`; it imports nothing but atexit and warnings. It reads no
attribute that could run code of the program. Counted are dicts, lists and sets that are globals of modules, or
attributes of their classes and of the objects in them, and what is registered with the process. Entries of the standard
library are not counted, for they come whenever it is loaded; neither are caches, nor lazyguard's own registry of lazy
objects. A filter of warnings counts where the program makes it: those of a library are about the library, and come with
it (numpy makes four).
"""

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from lazyguard.audit.target import recorder

CONTAINERS = (dict, list, set)
STANDARD = frozenset(sys.stdlib_module_names)
PLAIN = frozenset(("type", "ABCMeta", "EnumMeta", "EnumType", "_ProtocolMeta"))


def is_foreign(module: object) -> bool:
    """Return whether the name of a module is one of the standard library's, or none."""
    return not isinstance(module, str) or module.partition(".")[0] in STANDARD or module == "builtins"


def contents(value: object) -> "dict[str, Any]":
    """Return an object's own attributes, without running its code."""
    try:
        found = object.__getattribute__(value, "__dict__")
    except Exception:
        return {}
    return dict(found)


class Registrations:
    """Counts registrations; `owned` are the files that are first-party, as roots."""

    def __init__(self, owned: "tuple[str, ...]", subclasses: bool) -> None:
        self.owned = owned
        self.subclasses = subclasses
        self.calls: dict[str, int] = {}
        atexit: Any = __import__("atexit")
        codecs: Any = sys.modules["codecs"]
        self._count(atexit, "register", "functions with atexit", True)
        self._count(codecs, "register", "codecs", False)
        if hasattr(os, "register_at_fork"):
            self._count(os, "register_at_fork", "functions with os.register_at_fork", True)
        warnings: Any = __import__("warnings")
        for name in ("filterwarnings", "simplefilter"):
            self._count_callers(warnings, name, "filters of warnings")

    def _owns(self, module: object) -> bool:
        file = getattr(sys.modules.get(module), "__file__", None) if isinstance(module, str) else None
        return isinstance(file, str) and recorder.is_first_party(file, self.owned)

    def _count(self, module: "Any", name: str, text: str, only_owned: bool) -> None:
        original: Callable[..., Any] = getattr(module, name)
        self.calls[text] = 0

        def counted(*args: "Any", **more: "Any") -> "Any":
            given = next(iter((*args, *more.values())), None)
            owner = getattr(given, "__module__", None)
            if self._owns(owner) if only_owned else not is_foreign(owner):
                self.calls[text] += 1
            return original(*args, **more)

        setattr(module, name, counted)

    def _count_callers(self, module: "Any", name: str, text: str) -> None:
        original: Callable[..., Any] = getattr(module, name)
        self.calls[text] = 0

        def counted(*args: "Any", **more: "Any") -> "Any":
            self.calls[text] += self._owns(sys._getframe(1).f_globals.get("__name__"))
            return original(*args, **more)

        setattr(module, name, counted)

    def snapshot(self) -> "dict[str, int]":
        """Return how many there are, by what they are registered as: `entries in core.app.REGISTRY`."""
        found = dict(self.calls)
        seen: set[int] = set()

        def count(value: object, name: str) -> None:
            if issubclass(type(value), CONTAINERS) and id(value) not in seen and "cache" not in name.lower():
                seen.add(id(value))
                sized: Any = value
                found[f"entries in {name}"] = len(sized)

        for module_name, module in list(sys.modules.items()):
            if is_foreign(module_name) or type(module) is not type(sys) or module_name.startswith("lazyguard."):
                continue
            owned = self._owns(module_name)
            for name, value in list(module.__dict__.items()):
                if name.startswith("__"):
                    continue
                whole = f"{module_name}.{name}"
                count(value, whole)
                if not owned or isinstance(value, (*CONTAINERS, type(sys))):
                    continue
                if isinstance(value, type):
                    if value.__module__ == module_name:
                        self._of_class(value, whole, count, found)
                elif not is_foreign(type(value).__module__):
                    for attribute, inner in contents(value).items():
                        count(inner, f"{whole}.{attribute}")
        self._of_process(found)
        return found

    def _of_class(
        self, kind: "type[Any]", whole: str, count: "Callable[[object, str], None]", found: "dict[str, int]"
    ) -> None:
        for attribute, inner in list(type.__getattribute__(kind, "__dict__").items()):
            if not attribute.startswith("__"):
                count(inner, f"{whole}.{attribute}")
        notified = any("__init_subclass__" in vars(each) and not is_foreign(each.__module__) for each in kind.__mro__)
        if notified or type(kind).__name__ not in PLAIN or self.subclasses:
            found[f"subclasses of {whole}"] = len(type.__subclasses__(kind))

    def _of_process(self, found: "dict[str, int]") -> None:
        for name in ("meta_path", "path_hooks"):
            members: list[Any] = getattr(sys, name)
            found[f"entries in sys.{name}"] = sum(
                not is_foreign(getattr(each, "__module__", None) or type(each).__module__) for each in members
            )
        signals: Any = sys.modules.get("_signal")
        if signals is not None:
            caught = [signals.getsignal(number) for number in signals.valid_signals()]
            found["handlers of signals"] = sum(not is_foreign(getattr(each, "__module__", "os")) for each in caught)
        logging: Any = sys.modules.get("logging")
        if hasattr(logging, "root"):
            loggers = [logging.root, *list(logging.root.manager.loggerDict.values())]
            handlers = [each for logger in loggers for each in getattr(logger, "handlers", ())]
            found["handlers of loggers"] = sum(type(each).__name__ != "NullHandler" for each in handlers)
        kinds: Any = getattr(sys.modules.get("copyreg"), "dispatch_table", {})
        found["entries in copyreg.dispatch_table"] = sum(
            self._owns(getattr(each, "__module__", None)) for each in kinds
        )
