"""What tools and mistakes tell of a lazy object is what they tell of its target."""

from __future__ import annotations

import collections
import collections.abc
import functools
import inspect
import math
import numbers
import pydoc
import subprocess
import sys
import types
import typing
from unittest import mock

import pytest

import lazyguard

HOME = types.ModuleType("truthful_home")
sys.modules["truthful_home"] = HOME
exec(
    """
import abc
class Base:
    pass
class Pager(Base):
    'Shows a page.'
    def __init__(self, page: int = 1):
        self.page = page
class Made:
    def __new__(cls, *, size: str): ...
class Meta(type):
    def __call__(cls, only): ...
class OfMeta(metaclass=Meta): ...
class Says:
    def __call__(self, word: str = 'a') -> str: ...
class Silent: ...
says = Says()
def function(one, *, two=2): 'Does.'
class Named(abc.ABC): ...
""",
    HOME.__dict__,
)
NAMES = ["Base", "Pager", "Made", "OfMeta", "Says", "says", "function", "Named"]


@pytest.fixture(params=["pending", "resolved"])
def lazy(request):
    """Return a lazy import of a name, pending or not."""

    def make(name):
        made = lazyguard.load(f"truthful_home:{name}")
        if request.param == "resolved":
            lazyguard.resolve(made)
        return made

    return make


class TestSignatures:
    """`inspect` and what goes by it."""

    @pytest.mark.parametrize("name", [name for name in NAMES if name != "Named"])
    def test_signature(self, lazy, name):
        """Of a class, of what has a `__call__`, of a function, and of partial objects and wrappers of these."""
        real = getattr(HOME, name)
        assert str(inspect.signature(lazy(name))) == str(inspect.signature(real))
        assert str(inspect.signature(functools.partial(lazy(name)))) == str(inspect.signature(real))
        wrapped = functools.wraps(lazy(name))(lambda *_: None)
        assert str(inspect.signature(wrapped)) == str(inspect.signature(real))
        # since 3.13 getfullargspec reads the `__call__` of the class that an object really has
        if name not in ("Base", "OfMeta", *["says"] * (sys.version_info >= (3, 13))):
            assert inspect.getfullargspec(lazy(name)) == inspect.getfullargspec(real)

    def test_autospec(self, lazy):
        """A double takes what the class takes."""
        HOME.Double = lazy("Pager")
        with mock.patch("truthful_home.Double", autospec=True) as double:
            double(1)
            with pytest.raises(TypeError, match="too many positional"):
                double(1, 2, 3, 4)

    def test_special_methods(self):
        """Those of its class look like those of the target's class."""
        says = lazyguard.load("truthful_home:says")
        lazyguard.resolve(says)
        shown = type(says).__call__
        assert inspect.signature(shown) == inspect.signature(HOME.Says.__call__)
        assert (shown.__qualname__, inspect.isfunction(shown)) == ("Says.__call__", True)
        assert shown.__get__(says)("b") is shown(says, "b") is None
        assert isinstance(type(lazyguard.lazy(list)).__len__, object)


class TestSubclasses:
    """`issubclass` where either side, or both, are lazy."""

    def test_second_is_lazy(self, lazy):
        """The second is asked, so that it knows itself, however often it is imported."""
        for first in (HOME.Pager, lazy("Pager")):
            assert issubclass(first, lazy("Pager"))
            assert issubclass(first, lazy("Base"))
            assert not issubclass(first, lazy("Says"))
            assert issubclass(first, (int, lazy("Base")))
        assert issubclass(lazy("Named"), lazy("Named"))
        assert not issubclass(lazy("Pager"), lazy("Named"))
        assert issubclass(lazyguard.lazy(lambda: list), lazyguard.load("collections.abc:Sequence"))
        assert issubclass(list, lazyguard.load("typing:Sequence"))

    def test_first_is_lazy(self, lazy):
        """A plain class above it is found."""
        assert issubclass(lazy("Pager"), HOME.Base)


class TestHelp:
    """pydoc, whose C code takes no proxy of a class."""

    def test_help(self, lazy):
        """Of the class itself; of a module that holds it."""
        text = pydoc.plain(pydoc.render_doc(lazy("Pager")))
        assert text == pydoc.plain(pydoc.render_doc(HOME.Pager))
        user = types.ModuleType("truthful_user")
        user.__all__, user.Pager, user.function = ["Pager", "function"], lazy("Pager"), lazy("function")
        text = pydoc.plain(pydoc.render_doc(user))
        if lazyguard.is_resolved(user.Pager):
            assert "Shows a page." in text
            assert "Does." in text
        assert issubclass(user.Pager.__class__, type)

    @pytest.mark.parametrize("make", [lambda: HOME.says, lambda: HOME.Pager(), lambda: HOME.Named()])
    @pytest.mark.parametrize("state", ["pending", "annotated", "resolved", "hot"])
    def test_help_of_an_object(self, make, state):
        """It documents the class of the target."""

        def factory():
            return make()

        factory.__annotations__ = {"return": type(make())} if state == "annotated" else {}
        thing = lazyguard.lazy(factory)
        for _ in range({"resolved": 1, "hot": 300}.get(state, 0)):
            assert thing.__class__ is not object
        real, told = (pydoc.plain(pydoc.render_doc(each)).partition("\n\n")[2] for each in (make(), thing))
        assert told.replace("lazy ", "") == real

    def test_classify_class_attrs(self, lazy):
        """`inspect` lists what a class has, which Sphinx and pydoc do."""
        told, real = ({each.name for each in inspect.classify_class_attrs(one)} for one in (lazy("Pager"), HOME.Pager))
        assert told - {"__annotations__"} == real - {"__annotations__"}  # up to 3.13 they come with the first look


INTERFACES = [
    (collections.abc.Callable[[int], int], lambda: HOME.function, inspect.signature),
    (typing.Callable[[int], int], lambda: HOME.function, lambda one: one.__name__),
    (collections.abc.Sequence, lambda: [1], lambda one: one * 2),
    (collections.abc.Iterable[int], lambda: [1], len),
    (collections.abc.Mapping, lambda: {1: 1}, lambda one: one | {1: 2}),
    (numbers.Real, lambda: 1, lambda one: one + 1),
]


@pytest.mark.parametrize(("said", "make", "use"), INTERFACES)
def test_an_interface_is_no_class(said, make, use):
    """A return annotation of collections.abc does not say what the object lacks: its first use is right."""
    make.__annotations__ = {"return": said}
    assert use(lazyguard.lazy(make)) == use(make())


class TestMistakes:
    """What an exact type is wanted for says what to pass."""

    def test_exact_type(self):
        """Where C code looks at the type itself, its words have the way out."""
        with pytest.raises(TypeError, match=r"pass lazyguard's resolve\(it\)"):
            ", ".join([lazyguard.lazy(lambda: "text")])
        pager = lazyguard.load("truthful_home:Pager")
        with pytest.raises(TypeError, match=r"pass lazyguard's resolve\(it\)"):
            super(pager, pager()).__init__()
        # these leave out what stands before a dot, and what exceeds 50 characters
        for use, make in ((open, tuple), (open, lambda: HOME.Pager), (math.sqrt, tuple)):
            with pytest.raises(TypeError, match=r"not '?lazy \w+ \(pass lazyguard's resolve\(it\)\)'?$"):
                use(lazyguard.lazy(make))

    @pytest.mark.parametrize("make", [dict, list, object, lambda: len, lambda: HOME.says, lambda: HOME.Silent(), int])
    def test_no_name_of_ours(self, make):
        """At the first use and later."""
        lazy = lazyguard.lazy(lambda: make())
        for _ in range(2):
            for use in (next, open, lambda one: one @ one, lambda one: one.missing, lambda one: one[None], len, hash):
                if use is open and make is int:
                    continue
                said = []
                for each in (lazy, make()):
                    try:
                        use(each)
                    except Exception as error:
                        said.append(str(error))
                assert len(set(said)) <= 1


def test_what_is_shown_is_collected():
    """Nothing that makes classes show another name keeps them alive."""
    code = (
        "import gc, weakref, lazyguard\n"
        "class Local: ...\n"
        "thing = lazyguard.lazy(Local); thing.__doc__; str(thing)\n"
        "kind = weakref.ref(Local)\n"
        "del Local, thing; gc.collect()\n"
        "assert kind() is None\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_the_end_of_the_interpreter_is_silent():
    """Also for what a cache of C code holds, which outlives the names of our modules."""
    code = (
        "import typing, lazyguard\n"
        "def make():\n"
        "    thing = lazyguard.lazy(lambda: int)\n"
        "    for _ in range(300): thing.__class__\n"
        "    return thing\n"
        "typing.Optional[make()], typing.List[make()], typing.Annotated[int, make()]\n"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, timeout=60, capture_output=True, text=True)
    assert done.stderr == ""


class Adder:
    """What can be called."""

    def __call__(self, a, *, b: int = 2):
        """Take one by position and one by name."""
        return a + b


def make_adder() -> Adder:
    """Say what it makes."""
    return Adder()


def loose():
    return Adder()


DECLARE = [lazyguard.lazy, lambda factory: lazyguard.service()(factory)(), lambda factory: AT_MODULE_LEVEL[factory]]
AT_MODULE_LEVEL = {make_adder: lazyguard.lazy(make_adder), loose: lazyguard.lazy(loose)}


@pytest.mark.parametrize("factory", [make_adder, loose])
@pytest.mark.parametrize("declare", DECLARE)
def test_signature_of_a_callable_object(declare, factory):
    """It is that of its class, pending and resolved."""
    adder = declare(factory)
    lazyguard.reset(adder)
    for _ in range(2):
        assert inspect.getfullargspec(adder) == inspect.getfullargspec(Adder())
        assert inspect.signature(adder) == inspect.signature(functools.partial(adder)) == inspect.signature(Adder())
        assert adder(1, b=3) == 4


@pytest.mark.parametrize("factory", [make_adder, loose])
@pytest.mark.parametrize("declare", DECLARE)
def test_help_of_an_object(declare, factory):
    """pydoc documents the class of an object; that of a lazy one it takes for the class of its target."""
    adder = declare(factory)
    lazyguard.reset(adder)
    real = pydoc.plain(pydoc.render_doc(Adder()))
    assert pydoc.plain(pydoc.render_doc(adder)).replace("lazy Adder", "Adder") == real
    assert lazyguard.is_resolved(adder) == (factory is loose)  # an annotation tells the class
    lazyguard.resolve(adder)
    assert pydoc.plain(pydoc.render_doc(adder)) == real


class Broken:
    """What can be called, and answers nothing that it is asked for, as a promise does that cannot be kept."""

    def __call__(self) -> int:
        return 1

    def __getattr__(self, name: str) -> object:
        raise RuntimeError(name)


@pytest.mark.parametrize("declare", [lazyguard.lazy, lambda factory: lazyguard.service()(factory)()])
def test_a_callable_object_that_answers_nothing(declare):
    """It is built, and what it raises is raised when it is used."""
    broken = declare(lambda: Broken())
    assert broken() == 1
    with pytest.raises(RuntimeError, match="anything"):
        broken.anything


def test_a_missing_name_reads_as_the_interpreter_has_it():
    """Also of a class in C, which is named with its module."""

    def deque() -> collections.deque:
        return collections.deque()

    with pytest.raises(AttributeError) as real:
        collections.deque().__enter__
    with pytest.raises(AttributeError) as pending:
        lazyguard.lazy(deque).__enter__
    assert str(pending.value) == str(real.value)
