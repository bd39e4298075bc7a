"""Lazy objects: what `lazy`, `resolve`, `is_resolved`, `reset` and `override` promise."""

from __future__ import annotations

import asyncio
import functools
import gc
import os
import sys
import threading
import tracemalloc
import weakref
from unittest.mock import Mock

import pytest

import lazyguard
from lazyguard import ResolutionError, is_resolved, lazy, override, reset, resolve
from lazyguard.errors import ConfigurationError, UsageError


class Thing:
    """What the factories below make."""

    value = 1

    def needs(self, one, *, two):
        """A factory that cannot be called without arguments."""

    def make(self):
        """A factory that can."""
        return [self]


def counted():
    """Return a lazy object and the list of the objects that its factory has made."""
    made = []

    def factory():
        made.append(Thing())
        return made[-1]

    return lazy(factory), made


class TestBuilding:
    """The one build."""

    def test_at_first_use(self):
        """Declaring builds nothing, the first use builds, the second does not."""
        thing, made = counted()
        assert made == []
        assert not is_resolved(thing)
        assert thing.value == 1
        assert thing.value == 1
        assert len(made) == 1
        assert is_resolved(thing)
        assert resolve(thing) is made[0]

    @pytest.mark.parametrize(
        "factory",
        [Thing, lambda: Thing(), Thing().make, functools.partial(Thing), functools.partial(Thing.make, Thing())],
        ids=["class", "lambda", "method", "partial", "partial with arguments"],
    )
    def test_callables(self, factory):
        """Whatever can be called without arguments is a factory."""
        assert resolve(lazy(factory))

    def test_defaults(self):
        """Parameters with defaults, and the starred ones, do not count."""
        assert lazy(lambda a=1, *b, c=2, **d: [a, c])[1] == 2

    def test_threads(self):
        """Threads that race share one build and one object."""
        barrier = threading.Barrier(8)
        made, seen = [], []

        def factory():
            made.append(1)
            return Thing()

        thing = lazy(factory)

        def use():
            barrier.wait(10)
            seen.append(resolve(thing))

        threads = [threading.Thread(target=use) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
        assert len(made) == 1
        assert len(seen) == 8
        assert len(set(map(id, seen))) == 1

    def test_on_the_thread_of_the_first_user(self):
        """The first user's own thread builds: the object may belong to its thread."""
        assert lazy(threading.current_thread) == threading.current_thread()

    def test_dropped(self):
        """A lazy object made in a function is gone when nobody holds it, resolved or not, and its target too."""
        thing, made = counted()
        target = weakref.ref(resolve(thing))
        proxy = weakref.ref(thing)
        made.clear()
        del thing
        gc.collect()
        assert proxy() is None
        assert target() is None

    def test_in_containers_and_classes(self):
        """As a class attribute a lazy object is not bound, and containers hold it as it is."""

        class Holder:
            thing = lazy(Thing)

        assert not is_resolved(Holder.__dict__["thing"])
        assert Holder.thing.value == Holder().thing.value == 1


class TestFailures:
    """A factory that fails."""

    def test_chained_and_tried_again(self):
        """The error names the object, its place and the type; the cause is untouched; the next use tries again."""
        cause = ConnectionError("nobody there")
        results = [cause, cause, Thing()]

        def factory():
            result = results.pop(0)
            if isinstance(result, Exception):
                raise result
            return result

        thing = lazy(factory)
        for _ in range(2):
            with pytest.raises(ResolutionError) as caught:
                thing.value
            assert caught.value.__cause__ is cause
            assert __file__ in str(caught.value)
            assert "factory" in str(caught.value)
            assert "ConnectionError" in str(caught.value)
            assert "nobody there" not in str(caught.value)
        assert thing.value == 1

    @pytest.mark.parametrize(
        "kind", [AttributeError, StopIteration, TimeoutError, KeyError, RecursionError, AssertionError, GeneratorExit]
    )
    def test_never_passes_for_the_proxys_own(self, kind):
        """What a factory raises ends no loop and answers no hasattr: it is a ResolutionError."""

        def factory():
            raise kind("mine")

        thing = lazy(factory)
        if issubclass(kind, Exception):
            for use in (lambda: hasattr(thing, "x"), lambda: list(thing), lambda: thing == 1, lambda: bool(thing)):
                with pytest.raises(ResolutionError) as caught:
                    use()
                assert type(caught.value.__cause__) is kind
                assert not isinstance(caught.value, AttributeError | StopIteration)
        else:
            with pytest.raises(kind):
                thing.value

    def test_system_exit(self):
        """A factory that ends the program does so, on the thread of its caller."""
        with pytest.raises(SystemExit):
            str(lazy(lambda: sys.exit(3)))

    def test_keyboard_interrupt(self):
        """Ctrl-C during a build passes through; the next use tries again."""
        results = [KeyboardInterrupt, None]

        def factory():
            result = results.pop(0)
            if result is not None:
                raise result
            return Thing()

        thing = lazy(factory)
        with pytest.raises(KeyboardInterrupt):
            thing.value
        assert not is_resolved(thing)
        assert thing.value == 1

    def test_none(self):
        """A factory that returns None has most likely forgotten its return; the error says so."""
        with pytest.raises(ResolutionError, match=r"returned None.*is a `return` missing\?"):
            lazy(lambda: None).value

    def test_missing_module_stays_an_import_error(self):
        """A factory that imports what is not there raises an ImportError, whose cause is the interpreter's."""

        def factory():
            import no_such_module_anywhere

            return no_such_module_anywhere

        with pytest.raises(ImportError) as caught:
            lazy(factory).value
        assert isinstance(caught.value, lazyguard.LazyguardError)
        assert caught.value.name == "no_such_module_anywhere"

    def test_of_itself(self):
        """An object that is asked for in its own factory is an error at once, and no deadlock."""
        thing = lazy(lambda: [thing.value])
        with pytest.raises(lazyguard.errors.CircularResolutionError, match="waits for itself"):
            thing.value


class TestBadInput:
    """What is refused where it is declared."""

    async def _awaited(self):
        return Thing()

    def test_async(self):
        """An `async def`, also behind a partial or an object, is sent to `service`."""

        async def make():
            return Thing()

        class Maker:
            async def __call__(self):
                return Thing()

        for factory in (make, functools.partial(make), functools.partial(functools.partial(make)), Maker()):
            with pytest.raises(UsageError, match=r"async def.*lazyguard\.service"):
                lazy(factory)
        with pytest.raises(UsageError, match="async def"):
            lazy(self._awaited)

    def test_parameters(self):
        """A factory that needs arguments is refused, and told which; so is a method."""
        with pytest.raises(UsageError, match="needs one, two, but is called without arguments"):
            lazy(Thing().needs)
        with pytest.raises(UsageError, match="needs self"):

            class _Host:
                @lazy
                def client(self):
                    return Thing()

    @pytest.mark.parametrize("thing", [5, "json", ["x"], classmethod(Thing)])
    def test_not_callable(self, thing):
        """What cannot be called makes nothing."""
        with pytest.raises(UsageError, match="is made by a function"):
            lazy(thing)

    @pytest.mark.parametrize(
        "options",
        [
            {"on_fork": "maybe"},
            {"on_fork": None},
            {"record": "task"},
            {"record": 5},
            {"record": (5,)},
            {"record": ("a b",)},
            {"name": 5},
        ],
        ids=str,
    )
    def test_options(self, options):
        """A wrong option is refused with a text that has its name and its value."""
        ((name, value),) = options.items()
        with pytest.raises(ConfigurationError) as caught:
            lazy(Thing, **options)
        assert f"{name}={value!r}" in str(caught.value)
        with pytest.raises(ConfigurationError):
            lazy(**options)(Thing)

    @pytest.mark.parametrize("use", [is_resolved, reset, lambda obj: override(obj, 1)], ids=["is", "reset", "override"])
    @pytest.mark.parametrize("obj", [object(), 5, Thing, "json", "json:loads", "no_such:thing", ":", "a:", None])
    def test_plain_objects(self, use, obj):
        """What has no cell is refused, with what is taken instead; also a text that names no lazy attribute."""
        with pytest.raises(UsageError, match=r"lazy (object|attribute)"):
            use(obj)

    def test_resolve_takes_anything(self):
        """`resolve` gives back what is not lazy."""
        thing = object()
        assert resolve(thing) is thing
        assert resolve("json:loads") == "json:loads"


class TestReset:
    """Beginning anew."""

    def test_builds_anew(self):
        """After a reset the object is pending; the next use builds another."""
        thing, made = counted()
        thing.value
        reset(thing)
        assert not is_resolved(thing)
        assert resolve(thing) is made[1]

    def test_pending_and_failed(self):
        """A pending and a failed object can be reset."""
        thing = lazy(lambda: 1 / 0)
        reset(thing)
        with pytest.raises(ResolutionError):
            thing.value
        reset(thing)
        assert not is_resolved(thing)

    def test_during_the_build(self):
        """The result of a build that was reset meanwhile is not served."""
        made = []

        def factory():
            made.append(Thing())
            if len(made) == 1:
                reset(thing)
            return made[-1]

        thing = lazy(factory)
        assert resolve(thing) is made[1]

    @pytest.mark.parametrize("declare", ["function", "module"])
    def test_target_is_let_go(self, declare):
        """The old target is not kept until a full collection."""
        namespace = {"lazy": lazy, "Thing": Thing}
        if declare == "module":
            exec("thing = lazy(Thing)", namespace)
        thing = namespace.get("thing", lazy(Thing))
        target = weakref.ref(resolve(thing))
        gc.disable()
        try:
            reset(thing)
            assert target() is None
        finally:
            gc.enable()


class TestOverride:
    """Another object for a while."""

    def test_seen_by_all(self):
        """In the block everyone who holds the object sees the value; after it what there was."""
        thing, made = counted()
        before = resolve(thing)
        with override(thing, "a fake"):
            assert thing == "a fake"
            assert thing.upper() == "A FAKE"
            assert isinstance(thing, str)
        assert resolve(thing) is before
        assert len(made) == 1

    def test_pending(self):
        """An object that was pending is pending afterwards, and was not built."""
        thing, made = counted()
        with override(thing, [1]):
            assert is_resolved(thing)
            assert len(thing) == 1
        assert not is_resolved(thing)
        assert made == []

    def test_none_is_a_value(self):
        """None can be served."""
        thing, _ = counted()
        with override(thing, None):
            assert thing == None  # noqa: E711
            assert not thing

    def test_nested_and_raising(self):
        """Blocks nest; an exception passes, and the object is what it was."""
        thing, _ = counted()

        def raising():
            with override(thing, 1):
                with override(thing, 2):
                    assert thing == 2
                assert thing == 1
                raise KeyError

        with pytest.raises(KeyError):
            raising()
        assert not is_resolved(thing)

    def test_nothing_before_the_block(self):
        """`override` alone changes nothing."""
        thing, _ = counted()
        override(thing, 1)
        assert not is_resolved(thing)


class TestOnFork:
    """The child of a fork."""

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
    @pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
    @pytest.mark.parametrize(("on_fork", "expected"), [("keep", b"same"), ("reset", b"anew"), ("called", b"told")])
    def test_in_the_child(self, on_fork, expected):
        """A child keeps the object, builds it anew, or calls the function with it, as was declared."""
        told = []
        thing = lazy(Thing, on_fork=told.append if on_fork == "called" else on_fork)
        before = resolve(thing)
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            answer = b"told" if told == [before] else b"same" if resolve(thing) is before else b"anew"
            os.write(writer, answer)
            os._exit(0)
        os.waitpid(child, 0)
        assert os.read(reader, 10) == expected
        os.close(reader)
        os.close(writer)
        assert resolve(thing) is before
        assert told == []


class TestAresolve:
    """`aresolve`."""

    def test_gives_the_object(self):
        """It gives what resolve does, and anything else as it is."""
        thing, made = counted()

        async def main():
            return await lazyguard.aresolve(thing), await lazyguard.aresolve(thing), await lazyguard.aresolve(5)

        first, second, plain = asyncio.run(main())
        assert first is second is made[0]
        assert plain == 5

    def test_beside_the_loop(self):
        """A sync factory runs beside the event loop, which goes on meanwhile."""
        asked, answered = threading.Event(), threading.Event()

        def factory():
            asked.set()
            assert answered.wait(10)
            return Thing()

        async def main():
            building = asyncio.ensure_future(lazyguard.aresolve(lazy(factory)))
            while not asked.is_set():
                await asyncio.sleep(0)
            answered.set()
            return await building

        assert asyncio.run(main()).value == 1


def test_a_factory_that_answers_every_name(limited):
    """A mock as factory is declared like any other callable: nobody unwraps it for ever."""
    assert "pending" in repr(lazy(Mock(return_value=1), name="made by a mock"))


def test_a_factory_that_returns_its_own_proxy():
    """As where the name that it imports is the lazy one by now: told at the first use, not by endless recursion."""
    own = lazyguard.lazy(lambda: own, name="own")
    for _ in range(2):
        with pytest.raises(
            lazyguard.errors.CircularResolutionError, match=r"own, declared at .*returned what stands for it"
        ):
            own.anything
    assert not lazyguard.is_resolved(own)


def test_a_pending_one_is_light():
    """Of many that one line declares each weighs little; Python itself takes 16 bytes more from 3.12 on."""
    kept: list[object] = [None] * 1000
    kept[0] = lazy(Thing)  # what the first one brings for all
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for index in range(1000):
            kept[index] = lazy(Thing)
        weight = (tracemalloc.get_traced_memory()[0] - before) / 1000
    finally:
        tracemalloc.stop()
    assert weight <= (300 if sys.version_info < (3, 12) else 316)
