"""What everything else stands on: places, signatures, checks of options; and here, what stands for `typing`.

Invariant: importing this imports nothing, so that `typing` is kept out of what the host pays for; checkers see the real
generic bases, type variables and `final`.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Generic, ParamSpec, TypeVar, final

    from typing_extensions import dataclass_transform

    P = ParamSpec("P")
    T = TypeVar("T")
    T_co = TypeVar("T_co", covariant=True)
else:

    class Generic:
        """Stands for the real one: `Generic[T]` as a base adds nothing but `[...]` to a class."""

        __slots__ = ()

        def __class_getitem__(cls, parameters):
            return cls if cls is Generic else type(list[int])(cls, parameters)

    P = T = T_co = None
    Any, Callable = object, __import__("_collections_abc").Callable

    def final(thing):
        return thing

    def dataclass_transform(**_):
        return final


def dress(wrapper: "Any", function: "Any") -> "Any":
    """Return a wrapper that looks like its function, as by `functools.wraps`; no annotation is evaluated (PEP 649)."""
    annotations = "__annotate__" if hasattr(function, "__annotate__") else "__annotations__"
    for attribute in ("__module__", "__name__", "__qualname__", "__doc__", "__type_params__", annotations):
        if hasattr(function, attribute):
            setattr(wrapper, attribute, getattr(function, attribute))
    vars(wrapper).update(getattr(function, "__dict__", {}), __wrapped__=function)
    return wrapper


@dataclass_transform(kw_only_default=True)
class Record:
    """What only holds values: its annotations declare them; those with a default in the class may be left out."""

    def __init__(self, **values: object) -> None:
        vars(self).update(values)


__all__ = ["Any", "Callable", "Generic", "P", "Record", "T", "T_co", "dress", "final"]
