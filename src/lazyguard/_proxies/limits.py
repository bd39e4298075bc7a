"""What no proxy can do, since C code asks for the exact type: who declares such a lazy object is told."""

from __future__ import annotations

import warnings

from lazyguard._base import TYPE_CHECKING, Any
from lazyguard.errors import ProxyLimitWarning

if TYPE_CHECKING:
    from lazyguard._base.places import Place

# A class, and where C code takes nothing else.
_EXACT = {
    str: "text alone, such as str.join, json.dumps and `in` of a text",
    tuple: "tuples alone, such as `%` of a text, str.startswith and `except`",
}
_MEND = "Make it eagerly, or write lazyguard.resolve(...) there."
# As the interpreter's own: what has been told of a place is not told again, unless the filters say so.
_registry: dict[Any, Any] = {}


def tell_of(target: object, name: str, place: Place) -> None:
    """Warn of what a proxy of this target cannot do, and say how to do without; not where that is rare."""
    limit = of_exceptions() if is_exception_class(target) else ""
    for kind, alone in _EXACT.items():
        if issubclass(type(target), kind):
            limit = f"is a {type(target).__name__}. C code that takes {alone}, refuses its proxy. {_MEND}"
    if limit:
        tell(name, place, limit)


def of_exceptions(known: str = "") -> str:
    """Return what a proxy of an exception class cannot do; `known`: how it is known to be one."""
    return (
        f"is an exception class{known}. `except` and `raise` refuse a proxy, with a TypeError in the place of the "
        "exception that was to be caught. Import or define it eagerly, or write `except lazyguard.resolve(Name):`."
    )


def is_exception_class(target: Any) -> bool:
    """Return whether it is a class of exceptions itself."""
    return issubclass(type(target), type) and issubclass(target, BaseException)


def tell(name: str, place: Place, limit: str) -> None:
    """Warn of a limit, at the place of declaration, once."""
    text = f"{name}, declared here and used through a proxy, {limit}"
    warnings.warn_explicit(text, ProxyLimitWarning, place.file, place.line, registry=_registry)
