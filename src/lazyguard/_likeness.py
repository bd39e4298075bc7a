"""The metaclass of the classes that proxies have: it answers whoever asks the class as the target's class would.

Invariants: the interpreter's own look-ups (operators, `len`, `iter`) read the namespaces of the class and never come
here, so it costs them nothing; what asks by name, such as `type(p).__add__(p, x)`, `dataclasses.asdict` or an abstract
class, finds what the target's class has, no more and no less.
"""

from __future__ import annotations

from lazyguard._specials import BASIC, SPECIAL, has

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

# What the class of a proxy has although its target's class may lack it: what `copy` takes from the class.
_OWN = frozenset(("__copy__", "__deepcopy__"))
_FUNCTION = type(lambda: None)
_plain: Callable[[type, str], Any] = type.__getattribute__


def space_of(view: type) -> Any:
    """Return the namespace that the class has, not the one that it shows."""
    return _plain(view, "__dict__")


class Likeness(type):
    """The type of the classes of proxies.

    Attributes:
        _kind: Returns the class of the target, None while nobody knows it; of each class.
        _fetch: Returns the target of a proxy; of `Proxy` and what overrides it.
        _run: Does to a target what a special method asked of its class does, as `_operations.by_class`; likewise.
    """

    def __getattribute__(cls, name: str) -> Any:
        if name != "__dict__" and name not in BY_CLASS:
            return _plain(cls, name)
        found = _plain(cls, name)  # else the target's class has none either
        if name in BASIC and type(found) is _FUNCTION:
            return found  # to look at a pending object builds nothing
        kind = _plain(cls, "_kind")()
        if name == "__dict__":
            return {each: found[each] for each in found if kind is None or each not in BY_CLASS or _shown(kind, each)}
        if kind is None or _shown(kind, name):
            return None if found is None else BY_CLASS[name]
        return getattr(kind, name)  # its metaclass's, or the error that it has none

    def __getattr__(cls, name: str) -> Any:
        kind = _plain(cls, "_kind")()
        if kind is None:
            raise AttributeError(f"{name!r} is known of no object before it is there")
        return getattr(kind, name)


def _shown(kind: type, name: str) -> bool:
    return name in _OWN or has(kind, name)


def _by_class(name: str) -> Callable[..., Any]:
    def method(self: Any, /, *arguments: Any, **named: Any) -> Any:
        view = type(self)
        if type(view) is Likeness:
            return _plain(view, "_run")(name, self, _plain(view, "_fetch")(self), arguments, named)
        return getattr(view, name)(self, *arguments, **named)  # no proxy

    method.__name__ = name
    return method


# typed as what it makes
new_class: Callable[[str, tuple[type, ...], dict[str, Any]], Any] = Likeness
BY_CLASS = {name: _by_class(name) for name in SPECIAL | BASIC}
