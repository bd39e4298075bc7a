"""What no proxy can do, since C code asks for the exact type: who declares such a lazy object is told."""

from __future__ import annotations

import sys
import warnings

from lazyguard.errors import ProxyLimitWarning

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from lazyguard._base.places import Place

_TEXT = (
    "C code that takes text alone, such as str.join, json.dumps and `in` of a text, refuses its proxy. Make it "
    "eagerly, or write lazyguard.resolve(...) there."
)
_TUPLE = (
    "C code that takes tuples alone, such as `%` of a text, str.startswith and `except`, refuses its proxy. Make it "
    "eagerly, or write lazyguard.resolve(...) there."
)
_EXCEPTION = (
    "`except` and `raise` refuse a proxy, with a TypeError in the place of the exception that was to be caught. Import "
    "or define it eagerly, or write `except lazyguard.resolve(Name):`."
)
# As the interpreter's own: what has been told of a place is not told again, unless the filters say so.
_registry: dict[Any, Any] = {}


def limit_of(target: object) -> str:
    """Return what a proxy of this target cannot do and how to do without; an empty text where that is rare."""
    kind = type(target)
    if issubclass(kind, str):
        return f"is a {kind.__name__}. {_TEXT}"
    if issubclass(kind, tuple):
        return f"is a {kind.__name__}. {_TUPLE}"
    return f"is an exception class. {_EXCEPTION}" if is_exception_class(target) else ""


def is_exception_class(target: Any) -> bool:
    """Return whether it is a class of exceptions itself."""
    return issubclass(type(target), type) and issubclass(target, BaseException)


def tell(name: str, place: Place, limit: str) -> None:
    """Warn of a limit, at the place of declaration, once."""
    text = f"{name}, declared here and used through a proxy, {limit}"
    warnings.warn_explicit(text, ProxyLimitWarning, place.file, place.line, registry=_registry)


def tell_of_import(module: str, attribute: str, place: Place) -> bool:
    """Warn where a lazy import is of an exception class: one that is loaded, or that is called as they are called."""
    loaded = vars(sys.modules[module]) if module in sys.modules else {}
    if attribute in loaded:
        known, by_name = is_exception_class(loaded[attribute]), ""
    else:
        known, by_name = attribute.endswith(("Error", "Exception")), " by its name"
    if known:
        tell(f"{module}:{attribute}", place, f"is an exception class{by_name}. {_EXCEPTION}")
    return known
