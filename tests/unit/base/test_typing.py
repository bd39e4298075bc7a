"""What stands for names of `typing`."""

from __future__ import annotations

from lazyguard import _base as typing


def test_generic():
    """A class with `Generic[...]` among its bases can be subscripted, and gains nothing else."""

    class Box(typing.Generic[typing.P, typing.T]):
        __slots__ = ("a",)

    assert Box[int].__origin__ is Box
    assert Box[int, str].__args__ == (int, str)
    assert not hasattr(Box(), "__dict__")


def test_final():
    """`final` returns what it decorates."""
    assert typing.final(test_final) is test_final
