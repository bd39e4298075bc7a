"""What everything else stands on: places, signatures, checks of options; and here, what stands for `typing`.

Invariant: importing this imports nothing, so that `typing` is kept out of what the host pays for. Checkers see the real
names, which annotations use; when the program runs, those that no code asks for stand for any object or nothing.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Generator, Iterable, Iterator, Mapping, Sequence
    from types import FrameType, ModuleType, TracebackType
    from typing import Any, Generic, Literal, NoReturn, ParamSpec, Protocol, TypeAlias, TypeVar, final, overload

    from typing_extensions import dataclass_transform

    P = ParamSpec("P")
    T = TypeVar("T")
    T_co = TypeVar("T_co", covariant=True)
    __all__ = ["Any", "Callable", "Coroutine", "Generator", "Iterable", "Iterator", "Mapping", "Sequence"]
    __all__ += ["FrameType", "Literal", "ModuleType", "NoReturn", "Protocol", "TracebackType", "TypeAlias", "TypeVar"]
    __all__ += ["Generic", "P", "Record", "T", "T_co", "dress", "final", "overload"]
else:
    from _collections_abc import Callable, Coroutine, Generator, Iterable, Iterator, Mapping, Sequence

    class Generic:
        """Stands for the real one: `Generic[T]` as a base adds nothing but `[...]` to a class."""

        __slots__ = ()

        def __class_getitem__(cls, parameters):
            return cls if cls is Generic else type(list[int])(cls, parameters)

    ModuleType = type(__import__("sys"))
    Any = object
    FrameType = TracebackType = Literal = NoReturn = Protocol = TypeAlias = TypeVar = overload = P = T = T_co = None

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
