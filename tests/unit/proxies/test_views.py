"""Resolved proxies: what the property tests of law 13 leave out, since it takes more than one operation."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import dataclasses
import gc
import inspect
import math
import os
import pickle
import sys
import threading
import types
import typing
import weakref

import pytest

import lazyguard
from lazyguard import lazy, reset, resolve
from lazyguard._proxies import views


class Resource:
    """Everything that can be entered, iterated and awaited."""

    def __init__(self):
        self.log = []

    def __enter__(self):
        self.log.append("enter")
        return self

    def __exit__(self, *error):
        self.log.append(error[0])
        return True

    async def __aenter__(self):
        self.log.append("aenter")
        return self

    async def __aexit__(self, *error):
        self.log.append("aexit")

    def __await__(self):
        yield from asyncio.sleep(0).__await__()
        return "awaited"

    def __aiter__(self):
        self.left = 2
        return self

    async def __anext__(self):
        if not self.left:
            raise StopAsyncIteration
        self.left -= 1
        return self.left


@dataclasses.dataclass
class Point:
    """Something that `match`, pickle and copy know."""

    x: int = 1
    y: int = 2


class Descriptor:
    """A descriptor with a state of its own."""

    def __get__(self, instance, owner=None):
        return ("got", type(instance).__name__)


def make(factory, flavour, state):
    """Return a lazy object, declared in a module or in a function, pending or resolved."""
    if flavour == "bound":
        namespace = {"lazy": lazy, "factory": factory, "__name__": "declaring"}
        exec("thing = lazy(factory)", namespace)
        thing = namespace["thing"]
    else:
        thing = lazy(factory)
    if state == "resolved":
        resolve(thing)
    return thing


@pytest.fixture(params=["bound", "shared"])
def flavour(request):
    """How the target is shown."""
    return request.param


@pytest.fixture(params=["pending", "resolved"])
def declared(request, flavour):
    """Make lazy objects in one flavour and one state."""
    return lambda factory: make(factory, flavour, request.param)


class TestProtocols:
    """Protocols of more than one step, and code that looks on the class."""

    def test_contexts(self, declared):
        """`with` and ExitStack, an exception included."""
        thing = declared(Resource)
        with thing as entered:
            raise KeyError
        assert entered is resolve(thing)
        with contextlib.ExitStack() as stack:
            assert stack.enter_context(thing) is entered
        assert entered.log == ["enter", KeyError, "enter", None]

    def test_instance_attributes_are_no_special_methods(self, declared):
        """As in the interpreter, special methods are the class's, whatever the instance holds by their names."""
        target = Resource()
        target.__enter__ = target.__round__ = lambda *_: "the instance's"
        thing = declared(lambda: target)
        with thing as entered:
            pass
        assert entered is target
        with pytest.raises(TypeError):
            round(thing)

    def test_async(self, declared):
        """`await`, `async for`, `async with`, AsyncExitStack."""
        thing = declared(Resource)

        async def main():
            async with thing as entered, contextlib.AsyncExitStack() as stack:
                assert await stack.enter_async_context(thing) is entered
            return await thing, [each async for each in thing]

        assert asyncio.run(main()) == ("awaited", [1, 0])
        assert thing.log == ["aenter", "aenter", "aexit", "aexit"]

    def test_descriptors_and_functions_as_class_attributes(self, declared):
        """What binds in a class binds behind a proxy too."""

        class Holder:
            described = declared(Descriptor)
            method = declared(lambda: lambda self, extra: (self, extra))
            value = declared(Point)

        holder = Holder()
        assert holder.described == ("got", "Holder")
        assert holder.method(1) == (holder, 1)
        assert holder.value.x == 1

    def test_data_descriptors(self, flavour):
        """A property behind a proxy is read, set and deleted; what is no descriptor gives way to the instance's own."""
        kept = []
        accessor = property(lambda self: kept[-1], lambda self, value: kept.append(value), lambda self: kept.clear())

        class Holder:
            described = make(lambda: accessor, flavour, "resolved")
            plain = make(Point, flavour, "pending")

        holder = Holder()
        holder.described = 5
        assert (holder.described, kept) == (5, [5])
        del holder.described
        assert kept == []
        holder.plain = "the instance's"
        assert holder.plain == "the instance's"

    def test_dataclasses(self, flavour):
        """The functions of `dataclasses`, which ask the class."""
        thing = make(Point, flavour, "resolved")
        assert dataclasses.is_dataclass(thing)
        assert (dataclasses.asdict(thing), dataclasses.astuple(thing)) == ({"x": 1, "y": 2}, (1, 2))
        assert dataclasses.replace(thing, x=5) == Point(5, 2)

    def test_the_class_says_no_more_than_the_targets(self, flavour):
        """A text is no path and no number to an abstract class, although open() and int() take its proxy."""
        thing = make(lambda: "text", flavour, "resolved")
        for kind in (os.PathLike, typing.SupportsInt, typing.SupportsBytes):
            assert not isinstance(thing, kind)
        assert not hasattr(type(thing), "__bool__")
        assert type(thing).__add__(thing, thing) == "texttext"
        assert type(make(lambda: 5, flavour, "resolved")).__add__(thing, "x") == "textx"

    @pytest.mark.skipif(sys.version_info < (3, 12), reason="no class can have a buffer before 3.12 (PEP 688)")
    def test_buffers(self, declared):
        """A buffer behind a proxy is read, written and let go of."""
        thing = declared(lambda: bytearray(b"abc"))
        with memoryview(thing) as view:
            view[0] = ord("x")
        assert b"".join([thing, b"!"]) == b"xbc!"
        thing.extend(b"more")  # refused while a view is held
        with pytest.raises(TypeError):
            memoryview(declared(Point))

    def test_generators_and_iterators(self, declared):
        """An iterator behind a proxy is consumed through it; send and throw reach it."""

        def generate():
            got = yield 1
            yield got

        thing = declared(generate)
        assert next(thing) == 1
        assert thing.send(5) == 5
        assert list(thing) == []

    def test_await_without_a_method(self, declared):
        """What Python awaits by what it is, and not by a method, is awaited as it is, and once at a time."""

        @types.coroutine
        def marked():
            got = yield "waits"
            return got

        def unmarked():
            yield "waits"

        async def coroutine():
            return await marked()

        async def waits_for(thing):
            return await thing

        for target in (marked(), coroutine()):
            waiting = waits_for(declared(lambda target=target: target))
            assert waiting.send(None) == "waits"
            with pytest.raises(StopIteration, match="42"):
                waiting.send(42)
        with pytest.raises(
            TypeError, match="generator can't be used in 'await' expression|'generator' object can't be"
        ):
            waits_for(declared(unmarked)).send(None)
        target = coroutine()
        target.send(None)
        with pytest.raises(RuntimeError, match="is being awaited already"):
            waits_for(declared(lambda: target)).send(None)
        target.close()

    def test_match(self, declared):
        """Class patterns find the target's class and its `__match_args__`."""
        match declared(Point):
            case Point(x, y):
                assert (x, y) == (1, 2)
            case _:
                raise AssertionError

    def test_sequence_and_mapping_patterns(self, flavour):
        """Sequences and mappings are what they are when they are there."""
        match make(lambda: [1, 2], flavour, "resolved"), make(lambda: {"a": 1}, flavour, "resolved"):
            case [first, *_], {"a": value}:
                assert (first, value) == (1, 1)
            case _:
                raise AssertionError
        match make(lambda: "ab", flavour, "resolved"):
            case [*_]:
                raise AssertionError

    def test_pickle_and_copy(self, declared):
        """Pickling and copying are those of the target; deepcopy of a container copies what is behind the proxy."""
        thing = declared(Point)
        assert type(pickle.loads(pickle.dumps(thing))) is Point
        assert type(copy.copy(thing)) is type(copy.deepcopy(thing)) is Point
        (copied,) = copy.deepcopy([thing])
        assert type(copied) is Point
        assert copied is not resolve(thing)
        assert copy.deepcopy(declared(lambda: Point)) is Point
        assert [field.name for field in dataclasses.fields(declared(Point))] == ["x", "y"]

    def test_weakref(self, declared):
        """A weak reference is one to the proxy."""
        thing = declared(Point)
        assert weakref.ref(thing)() is thing

    def test_signature_and_wraps(self, flavour):
        """A function behind a proxy has its signature, its name, and can be decorated and a thread's target."""

        def function(a: int, *, b: str = "x") -> None:
            done.set()

        done = threading.Event()
        thing = make(lambda: function, flavour, "resolved")
        assert inspect.signature(thing) == inspect.signature(function)
        assert (thing.__name__, thing.__code__) == ("function", function.__code__)
        thread = threading.Thread(target=thing, args=(1,))
        thread.start()
        thread.join(10)
        assert done.is_set()

    def test_classes(self, declared):
        """A class behind a proxy is called, subscripted, a base, and the second argument of isinstance."""
        thing = declared(lambda: Point)
        assert isinstance(thing(3), Point)
        assert isinstance(Point(), thing)
        assert issubclass(Point, thing)
        assert isinstance(thing, type)
        assert declared(lambda: list)[int] == list[int]

        class Sub(thing):
            pass

        assert Sub.__mro__[1] is Point

    def test_special_methods_of_instances_are_not_the_classs(self, declared):
        """A class whose instances can be entered or rounded cannot be entered or rounded itself."""

        class Rounding(Resource):
            def __round__(self, digits=0):
                return 0

        for use in (round, contextlib.ExitStack().enter_context):
            with pytest.raises((TypeError, AttributeError)):
                use(declared(lambda: Rounding))

    def test_exceptions(self, declared):
        """An exception behind a proxy has its attributes; raised it has to be resolved."""
        thing = declared(lambda: KeyError("x"))
        assert thing.args == ("x",)
        with pytest.raises(KeyError):
            raise resolve(thing)

    def test_paths_and_numbers_from_text(self, declared, tmp_path):
        """A text behind a proxy is a path, and a number is read from it."""
        (tmp_path / "file").write_text("12")
        path = declared(lambda: str(tmp_path / "file"))
        with open(path) as file:
            assert int(declared(file.read)) == 12
        assert float(declared(lambda: "1.5")) == 1.5

    def test_tuples_of_classes(self, declared):
        """A tuple of classes behind a proxy is one for isinstance."""
        thing = declared(lambda: (KeyError, ValueError))
        assert isinstance(KeyError(), thing)
        assert not isinstance(OSError(), thing)
        assert issubclass(ValueError, thing)

    def test_modules(self, declared):
        """A module behind a proxy gives and takes attributes."""
        thing = declared(lambda: types.ModuleType("made"))
        thing.value = 5
        assert resolve(thing).value == thing.value == 5
        del thing.value
        assert not hasattr(thing, "value")


class TestProxiesOfProxies:
    """Targets that stand for something else."""

    def test_lazy_of_lazy(self, declared):
        """A lazy object whose factory gives a lazy object."""
        thing = declared(lambda: lazy(lambda: [1, 2]))
        assert thing + [3] == [1, 2, 3]  # noqa: RUF005
        assert len(thing) == 2
        assert thing == [1, 2]

    def test_local_proxy(self, declared):
        """What werkzeug's LocalProxy stands for is asked for each time, and never kept from the resolution."""
        local = pytest.importorskip("werkzeug.local")
        current = local.Local()
        current.value = [1]
        thing = declared(lambda: current("value"))
        assert thing == [1]
        assert len(thing) == 1
        current.value = [1, 2, 3]
        assert len(thing) == 3
        assert thing[2] == 3
        assert list(thing) == [1, 2, 3]
        assert 3 in thing
        del current.value
        with pytest.raises(RuntimeError):
            len(thing)

    def test_local_proxy_of_nothing(self, declared):
        """What stands for nothing yet is resolved all the same, as flask.request is outside of a request."""
        local = pytest.importorskip("werkzeug.local")
        current = local.Local()
        thing = declared(lambda: current("value"))
        resolve(thing)
        with pytest.raises(RuntimeError):
            round(thing)
        current.value = 1.6
        assert round(thing) == 2
        current.value = 3.7
        assert round(thing) == 4

    def test_special_methods_that_bind_in_their_own_way(self, declared):
        """A descriptor in the place of a special method is asked at each use, with the target."""

        class Now:
            def __get__(self, instance, owner=None):
                value = instance.value  # fails while there is none
                return lambda *_: value

        class Standing:
            __round__ = Now()
            __trunc__ = staticmethod(lambda: "truncated")

        target = Standing()
        thing = declared(lambda: target)
        resolve(thing)
        for target.value in (1, 2):
            assert round(thing) == target.value
        assert math.trunc(thing) == "truncated"


class TestClasses:
    """The classes of resolved proxies."""

    def test_bound_is_for_one(self):
        """Declared at module level, each target has a class; let go of when it is replaced."""
        one, two = make(Point, "bound", "resolved"), make(Point, "bound", "resolved")
        assert type(one) is not type(two)
        target = weakref.ref(resolve(one))
        kept = type(one)
        gc.disable()
        try:
            reset(one)
            assert target() is None
        finally:
            gc.enable()
        assert "__getattribute__" not in vars(kept)

    def test_shared_is_for_all_of_a_type(self):
        """Declared in functions, targets of one type share a class, which goes with the type."""
        one, two = lazy(Point), lazy(Point)
        assert (one.x, two.x) == (1, 1)
        assert type(one) is type(two)
        two.x = 9
        assert one.x == 1

        class Temporary: ...

        gc.collect()
        before = len(views._shared)
        thing = lazy(Temporary)
        resolve(thing)
        assert len(views._shared) == before + 1
        del thing, Temporary
        gc.collect()
        assert len(views._shared) == before

    def test_swapped_under_use(self, flavour):
        """Threads that use an object while it is reset and overridden see whole objects only, and no error."""
        thing = make(lambda: Point(1, 1), flavour, "resolved")
        stop = threading.Event()
        seen, errors = set(), []

        def use():
            try:
                while not stop.is_set():
                    seen.add(thing.x)
                    point = copy.copy(thing)
                    assert point.x == point.y
                    assert isinstance(thing.__class__, type)
            except BaseException as error:
                errors.append(error)

        threads = [threading.Thread(target=use) for _ in range(4)]
        for thread in threads:
            thread.start()
        for number in range(300):
            if number % 2:
                reset(thing)
            else:
                with lazyguard.override(thing, Point(number + 2, number + 2)):
                    thing.x
        stop.set()
        for thread in threads:
            thread.join(20)
        assert errors == []
        assert 1 in seen
