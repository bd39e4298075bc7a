"""A lazy object that a function makes begins in a class for its type, and gets one of its own when it is used often."""

from __future__ import annotations

import gc
import sys
import threading
import weakref

import pytest

import lazyguard
from lazyguard import lazy, reset, resolve
from lazyguard._proxies import special_methods, views


class Point:
    """A target."""

    def __init__(self, x=1):
        self.x = x

    def method(self):
        return self.x

    def __call__(self):
        return self.x

    def __add__(self, other):
        return self.x + other

    def __eq__(self, other):
        return self.x == other

    __hash__ = None


USES = {
    "attribute": lambda one: one.x,
    "method": lambda one: one.method(),
    "call": lambda one: one(),
    "add": lambda one: one + 0,
    "eq": lambda one: one == 1,
    "class": lambda one: isinstance(one, int),
    "set": lambda one: setattr(one, "x", 1),
}


def is_own(thing):
    """Return whether the class that it really has is for it alone."""
    target = resolve(thing)
    return type(thing) is not views._shared.get(weakref.ref(type(target)))


def heat(thing, use=USES["attribute"]):
    """Use it often."""
    for _ in range(views.COLD_USES + 1):
        use(thing)
    assert is_own(thing)
    return thing


@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_used_often(use):
    """Whatever uses count; afterwards all is as it was, and others of its type are as cold as before."""
    cold, hot = lazy(Point), lazy(Point)
    str(cold), resolve(hot)
    for _ in range(views.COLD_USES):
        use(hot)
    assert not is_own(hot)
    use(hot)
    assert is_own(hot)
    assert not is_own(cold)
    for one in (cold, hot):
        assert [each(one) for each in USES.values()] == [1, 1, 1, 1, True, False, None]
        with pytest.raises(TypeError, match="unhashable type: 'Point'"):
            hash(one)
        with pytest.raises(TypeError, match="'Point' object is not iterable"):
            iter(one)
    hot.x = 7
    assert (resolve(hot).x, cold.x) == (7, 1)


def test_dropped():
    """What a hot one holds goes when it goes, without the garbage collector."""
    gc.disable()
    try:
        for make in (lambda: heat(lazy(Point)), lambda: lazy(lambda: lambda: None)):
            thing = make()
            target = weakref.ref(resolve(thing))
            assert target() is not None
            del thing
            assert target() is None
    finally:
        gc.enable()


def test_reset_and_overridden():
    """It shows what is there now, cold again, and lets go of what it showed."""
    made = iter(range(1, 9))
    thing = heat(lazy(lambda: Point(next(made))))
    before, target = type(thing), weakref.ref(resolve(thing))
    gc.disable()
    try:
        reset(thing)
        assert target() is None
        assert "__getattribute__" not in special_methods.space_of(before)
    finally:
        gc.enable()
    assert heat(thing).x == 2
    with lazyguard.override(thing, [5]):
        assert thing[0] == 5
        assert not is_own(thing)
    assert (thing.x, thing + 1) == (2, 3)
    assert heat(thing).x == 2


def test_a_kept_class_after_a_reset():
    """A method that was looked up before goes on, on the object that is there."""
    thing = lazy(lambda: Point(3))
    resolve(thing)
    shared = type(thing)
    reset(thing)
    assert shared.__dict__["__getattribute__"] is not None
    assert special_methods.space_of(shared)["__getattribute__"](thing, "x") == 3


def test_none_is_never_hot():
    """None has no class of its own."""
    thing = lazyguard.lazy(lambda: None)
    with lazyguard.override(thing, None):
        for _ in range(3 * views.COLD_USES):
            assert thing == None  # noqa: E711
        assert not is_own(thing)


def test_pinned():
    """A pinned one is counted for itself."""
    thing = heat(lazy(lambda: Point(4)))
    with lazyguard.pinned(thing) as pinned:
        reset(thing)
        assert heat(pinned).x == 4


def test_swapped_while_it_gets_hot():
    """Threads use it and heat it while it is reset and overridden: they see whole objects only, and no error."""
    thing = lazy(Point)
    stop, seen, errors = threading.Event(), set(), []

    def use():
        try:
            while not stop.is_set():
                seen.add((thing.x, isinstance(thing, Point)))
                assert thing() >= 1
        except BaseException as error:
            errors.append(error)

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    threads = [threading.Thread(target=use) for _ in range(4)]
    try:
        for thread in threads:
            thread.start()
        for number in range(200):
            for _ in range(views.COLD_USES):
                thing.x
            if number % 2:
                reset(thing)
            else:
                with lazyguard.override(thing, Point(number + 2)):
                    thing.x
    finally:
        stop.set()
        sys.setswitchinterval(before)
    for thread in threads:
        thread.join(20)
    assert errors == []
    assert (1, True) in seen
