"""What everything else stands on: places, signatures, checks of options; and here, what stands for `typing`.

Invariant: importing this imports nothing, so that `typing` is kept out of what the host pays for; checkers see the real
generic bases, type variables and `final`.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Generic, ParamSpec, TypeVar, final

    P = ParamSpec("P")
    T = TypeVar("T")
    T_co = TypeVar("T_co", covariant=True)
else:

    class _Subscriptable:
        """Stands for `Generic` in a list of bases: `Generic[T]` is a class that adds nothing but `[...]`."""

        def __getitem__(self, _parameters):
            return _Generic

    class _Generic:
        __slots__ = ()
        __class_getitem__ = classmethod(type(list[int]))

    Generic = _Subscriptable()
    P = T = T_co = None

    def final(thing):
        return thing


__all__ = ["Generic", "P", "T", "T_co", "final"]
