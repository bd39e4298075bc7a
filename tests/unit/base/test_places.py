"""Places of declaration."""

from __future__ import annotations

import copy
import functools
import inspect
import json
import pickle
import sys
import weakref

from lazyguard import lazy
from lazyguard._base import places


def test_a_place_is_a_file_and_a_line():
    """It prints as `file:line`, equals another one of the same line, and survives copying and pickling."""
    place = places.Place("C:/app:1.py", 12)
    assert (place.file, place.line, str(place), f"{place}") == ("C:/app:1.py", 12, "C:/app:1.py:12", "C:/app:1.py:12")
    assert place == places.Place("C:/app:1.py", 12)
    assert len({place, places.Place("C:/app:1.py", 12)}) == 1
    for again in (copy.deepcopy(place), pickle.loads(pickle.dumps(place))):
        assert (type(again), again.file, again.line, again) == (places.Place, place.file, 12, place)
    assert json.dumps({"place": place}) == '{"place": "C:/app:1.py:12"}'


def test_caller():
    """`caller` is the frame of whoever called the function that asks."""

    def asking():
        return places.caller()

    line = inspect.currentframe().f_lineno + 1
    frame = asking()
    assert frame is inspect.currentframe()
    assert places.of_frame(frame).rpartition(":")[0] == __file__
    assert line


def test_of_callable():
    """A function is placed by its first line, anything without code by what is given instead."""
    line = test_of_callable.__code__.co_firstlineno
    assert places.of_callable(test_of_callable, "x:1") == f"{__file__}:{line}"
    assert places.of_callable(list, "x:1") == "x:1"


def test_name_of():
    """Functions and classes have names; other callables go by their type."""
    assert places.name_of(test_name_of) == f"{__name__}:test_name_of"
    assert places.name_of(dict) == "builtins:dict"
    assert places.name_of(functools.partial(dict)) == "functools:partial"


def test_at_module_level():
    """A module's statements are at module level, a function's and a class's are not."""
    namespace = {"place": places, "seen": {}, "__name__": "declaring"}
    source = """
def ask(name):
    seen[name] = place.at_module_level(place.caller())
ask("module")
class A:
    ask("class")
def function():
    ask("function")
function()
"""
    exec(source, namespace)
    assert namespace["seen"] == {"module": True, "class": False, "function": False}


def test_who_declares_is_outside_of_our_functions():
    """A function of lazyguard's declares for whoever called it; a module of lazyguard's declares for itself."""
    ours = {"place": places, "__name__": "lazyguard.integrations.some"}
    source = """
def declare():
    return place.declaring(place.caller(0))
at_import = declare()
"""
    exec(source, ours)
    assert ours["declare"]() is sys._getframe()
    assert ours["at_import"].f_globals is ours


def test_locals_are_not_kept():
    """To declare something in a function keeps none of the function's other objects alive."""

    class Kept: ...

    kept = Kept()
    gone = weakref.ref(kept)
    lazy(Kept)
    del kept
    assert gone() is None
