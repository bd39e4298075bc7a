"""The warning of what CPython lets no object stand in for."""

from __future__ import annotations

import asyncio
import sys
import typing
import warnings

import pytest

import lazyguard
from lazyguard import lazy, resolve
from lazyguard._core.cell import Cell
from lazyguard.errors import ProxyLimitWarning

pytestmark = pytest.mark.filterwarnings("always::lazyguard.errors.ProxyLimitWarning")


class Pair(typing.NamedTuple):
    """A tuple with names."""

    x: int = 1


@pytest.mark.parametrize(
    ("target", "what"),
    [
        ("text", "is a str"),
        ((1, 2), "is a tuple"),
        (Pair(), "is a Pair"),
        (KeyError, "is an exception class"),
    ],
)
def test_told_at_resolution(target, what):
    """A text, a tuple, an exception class: told when it is built, with the declaration's file and line, not before."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        thing = lazy(lambda: target)
    with pytest.warns(ProxyLimitWarning, match=what) as told:
        assert thing == target
    (warning,) = told
    assert (warning.filename, warning.lineno) == (__file__, test_told_at_resolution.__code__.co_firstlineno + 13)
    assert "resolve(" in str(warning.message)


@pytest.mark.parametrize("target", [5, [1], KeyError("x"), Cell, sys], ids=str)
def test_not_told(target):
    """Of anything else nothing is told."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        thing = lazy(lambda: target)
        assert thing == target


@pytest.mark.parametrize("target", ["text", (1, 2), Pair(), KeyError], ids=str)
def test_the_remedy_tells_nothing(target):
    """Who asks for the object itself, as the warning says, is not told of what its proxy cannot do; now or later."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        thing = lazy(lambda: target)
        assert resolve(thing) is target
        lazyguard.reset(thing)
        assert asyncio.run(lazyguard.aresolve(thing)) is target
        lazyguard.reset(thing)
        assert thing == target


def test_once_for_each_declaration():
    """With Python's own filters, each declaration is told of once, however often it is built."""

    def declare():
        return lazy(lambda: "text")

    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("default")
        for _ in range(3):
            thing = declare()
            assert thing == "text"
            lazyguard.reset(thing)
            assert thing == "text"
    assert len(told) == 1


def test_overrides_and_module_attributes():
    """A test's fallback is not told of; nor is a module's attribute, which is an ordinary global once it is there."""
    thing = lazy(list)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with lazyguard.override(thing, "a fake"):
            assert thing == "a fake"


def test_a_fallback():
    """A service's fallback is used through its proxy as well, so it is told of."""

    @lazyguard.service(recovery=None)
    def get_name() -> str:
        raise OSError

    @get_name.fallback
    def _() -> str:
        return "nobody"

    with pytest.warns(ProxyLimitWarning, match="is a str"):
        assert get_name().upper() == "NOBODY"


def test_lazy_imports_of_exceptions(program):
    """`except` looks at no proxy, so it is told of at the import statement: by what is loaded, else by the name."""
    program({"failing_host.py": "class GoneError(Exception): ...\nNotAnError = 5\n"})
    namespace = {"lazyguard": lazyguard, "__name__": "importing"}
    with pytest.warns(ProxyLimitWarning, match="failing_host:GoneError.* by its name.*Import or define it eagerly"):
        exec("with lazyguard.lazy_imports():\n    from failing_host import GoneError", namespace)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert issubclass(resolve(namespace["GoneError"]), Exception)  # told once
    __import__("decimal")
    with pytest.warns(ProxyLimitWarning, match="decimal:InvalidOperation.*is an exception class"):
        lazyguard.load("decimal:InvalidOperation")
    __import__("failing_host")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        lazyguard.load("failing_host:NotAnError")


@pytest.mark.parametrize("signals", ["django.dispatch", "celery.utils.dispatch"])
@pytest.mark.parametrize("built", [False, True])
def test_the_sender_of_a_signal(program, signals, built):
    """Signals know a sender by its identity: a proxy of a class as one is told of."""
    signal_class = pytest.importorskip(signals).Signal
    program({"kinds.py": "class Pet:\n    def __init__(self, **named): ...\nclass Owner: ...\n"})
    called = []

    def handler(sender, **named):
        called.append(sender)

    signal, pet = signal_class(), lazyguard.load("kinds:Pet")
    if built:
        assert pet()
    with pytest.warns(ProxyLimitWarning, match=r"kinds:Pet.*sender of a signal.*sender=lazyguard\.resolve"):
        signal.connect(handler, sender=pet)
    real = resolve(pet)
    signal.send(sender=real)
    assert not called
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        signal.connect(handler, sender=resolve(lazyguard.load("kinds:Owner")))
        signal.send(sender=resolve(lazyguard.load("kinds:Owner")))
        signal.connect(lazyguard.load("kinds:Pet"), weak=False)  # a receiver may be a proxy
    assert len(called) == 1
