"""Law 12: looking at a pending object builds nothing; and what a pending object says of itself."""

from __future__ import annotations

import abc
import doctest
import importlib
import inspect
import logging
import pkgutil
import pydoc
import subprocess
import sys
import typing
import unittest
from pathlib import Path
from unittest import mock

import pytest

import lazyguard
from lazyguard import is_resolved, lazy
from lazyguard._proxies import inspection, proxy

HOST = '''
"""A module of pending objects, each with an annotation that names a class.

>>> 1 + 1
2
"""
from __future__ import annotations
import lazyguard

class Client:
    """What the factories make."""
    kind = "client"
    def ping(self): ...
    def __len__(self): return 3

class Called(Client):
    def __call__(self): ...

def fail():
    raise AssertionError("looking has built it")

@lazyguard.lazy
def client() -> Client: fail()

@lazyguard.lazy(record=("task",))
def test_app() -> Client: fail()

@client.__class__
class NotUsed(Client): ...

@lazyguard.lazy
def called() -> Called: fail()

@lazyguard.lazy
def numbers() -> list[int]: fail()

@lazyguard.lazy
def names() -> dict: fail()

class TestHolder:
    held = client
'''.replace("@client.__class__\nclass NotUsed(Client): ...\n", "")

PENDING = ("client", "test_app", "called", "names", "numbers")


@pytest.fixture
def host(program):
    """Import a module of pending objects; none may be resolved by the end of the test."""
    program({"host.py": HOST})
    module = importlib.import_module("host")
    yield module
    assert [name for name in PENDING if is_resolved(vars(module)[name])] == []


class Talking(typing.Protocol):
    """Says what there must be, and not what there is."""

    def talk(self) -> str: ...


def plain():
    """A factory that says nothing about what it makes."""
    raise AssertionError("looking has built it")


class TestLooking:
    """What builds nothing, with an annotation."""

    @pytest.mark.parametrize("name", PENDING)
    def test_the_basics(self, host, name):
        """repr, is_resolved, health, the class, its docs and its names."""
        thing = vars(host)[name]
        kind = {"called": host.Called, "names": dict, "numbers": list}.get(name, host.Client)
        assert repr(thing).startswith(f"<lazy host:{name}, pending, declared at ")
        assert "host.py:" in repr(thing)
        assert isinstance(thing, kind)
        assert thing.__class__ is kind
        assert not isinstance(thing, str | int | abc.ABC)
        assert thing.__doc__ == kind.__doc__
        assert thing.__module__ == kind.__module__
        assert dir(thing) == sorted(dir(kind))
        assert callable(thing) == (name == "called")
        assert f"host:{name}" in {check.name for check in lazyguard.health().checks}
        lazyguard.health().to_dict()

    def test_what_the_class_lacks(self, host):
        """A special method that the class lacks is lacking: as with any object, that is a TypeError."""
        for use in (iter, next, abs, int, lambda one: one(), lambda one: one[0], lambda one: 1 in one):
            with pytest.raises(TypeError):
                use(host.client)
        with pytest.raises((TypeError, AttributeError)):  # 3.10 raised the latter
            with host.client:
                pass
        with pytest.raises(TypeError):
            hash(host.names)

    def test_logging(self, host, caplog):
        """`%r` in a log line shows the pending object."""
        logging.getLogger("host").error("it is %r", host.client)
        assert "it is <lazy host:client, pending" in caplog.text

    def test_inspect(self, host):
        """getmembers and the predicates of inspect, and what walks packages."""
        members = dict(inspect.getmembers(host))
        assert members["client"] is host.client
        for name in dir(inspect):
            if name.startswith("is") and name != "iskeyword":
                inspect.getmembers(host, getattr(inspect, name))
        inspect.getmembers_static(host) if hasattr(inspect, "getmembers_static") else None
        inspect.unwrap(host.client)
        typing.get_type_hints(host)
        assert list(pkgutil.iter_modules([str(Path(host.__file__).parent)]))

    def test_pydoc(self, host):
        """`help()` of the module."""
        assert "What the factories make" in pydoc.render_doc(host)

    def test_doctest(self, host):
        """doctest's search and run."""
        tests = doctest.DocTestFinder(recurse=True).find(host)
        assert [test.name for test in tests if test.examples] == ["host"]

    def test_unittest(self, host):
        """unittest's loader."""
        assert unittest.TestLoader().loadTestsFromModule(host).countTestCases() == 0

    def test_mock(self, host):
        """`mock.patch` over a pending object, with and without a spec, and an autospec of its class."""
        before = host.client
        with mock.patch("host.client") as fake:
            assert host.client is fake
        with mock.patch.object(host, "client", 5):
            pass
        with mock.patch("host.client", autospec=host.Client) as fake:
            fake.ping()
        with mock.patch.dict(vars(host), client=5):
            pass
        assert host.client is before

    def test_abstract_classes(self):
        """A pending object in the body of an abstract class is looked at for abstract methods."""
        thing = lazy(plain)

        class Holder(abc.ABC):  # noqa: B024
            held = thing

        Holder()
        assert not is_resolved(thing)

    def test_pytest(self, program):
        """pytest's collection, names that begin with `test` included."""
        program({"test_host.py": HOST + "\ndef test_them():\n    assert not lazyguard.is_resolved(test_app)\n"})
        (path,) = [Path(each) for each in sys.path if (Path(each) / "test_host.py").exists()]
        result = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "--doctest-modules", "-p", "no:cacheprovider", "test_host.py"],
            cwd=path,
            env={"PYTHONPATH": str(Path(lazyguard.__file__).parents[1]), "PATH": ""},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert "2 passed" in result.stdout, result.stdout
        assert "has built it" not in result.stdout


class TestLookingWithoutAnnotation:
    """What builds nothing although nobody says what is to come."""

    @pytest.mark.parametrize("name", sorted(inspection.INTROSPECTION))
    def test_names_of_introspection(self, name):
        """A pending object says that it lacks what tools look for in modules."""
        thing = lazy(plain)
        with pytest.raises(AttributeError, match="is pending"):
            getattr(thing, name)
        assert not is_resolved(thing)

    def test_repr_and_identity(self):
        """repr, id, is, type, and membership in a list by identity."""
        thing = lazy(plain, name="a thing")
        assert repr(thing).startswith("<lazy a thing, pending, declared at ")
        assert thing in [thing]
        assert issubclass(type(thing), proxy.Proxy)

    def test_a_failed_one(self):
        """A failed object can be looked at as well, and shows that it has failed."""
        thing = lazy(plain, name="a thing")
        with pytest.raises(lazyguard.ResolutionError):
            thing.x
        assert repr(thing).startswith("<lazy a thing, failed, declared at ")
        assert not is_resolved(thing)


class TestAnnotations:
    """Which return annotations are understood; none is ever evaluated."""

    @pytest.mark.parametrize(
        ("annotation", "expected"),
        [
            (int, int),
            ("Path", Path),
            ("mock.Mock", mock.Mock),
            ("Missing", None),
            ("mock.Missing", None),
            ("dict", dict),
            ("list[int]", list),
            (" Path ", Path),
            ("Path | None", None),
            ("typing.Annotated[int, 1]", None),
            ("typing.Union[int, str]", None),
            ("1 / 0", None),
            ("", None),
            (list[int], list),
            (typing.Annotated[Path, 1], Path),
            (typing.Union[int, str], None),  # noqa: UP007
            (int | None, None),
            (type[int], None),
            ("type[int]", None),
            (typing.Any, None),
            ("typing.Any", None),
            (object, None),
            ("object", None),
            (typing.SupportsInt, None),
            (Talking, None),
            ("Talking", None),
            (typing.Optional[int], None),  # noqa: UP045
            (None, None),
            (type, None),
            ("annotations.x", None),
        ],
        ids=str,
    )
    def test_kinds(self, annotation, expected):
        """A class that is there, by itself, by name or by a dotted one; anything else says nothing."""

        def factory():
            raise AssertionError("built")

        factory.__annotations__ = {"return": annotation}
        assert proxy.declared_class(proxy.cell_of(lazy(factory))) is expected

    def test_partial_and_class(self):
        """A factory without code says nothing."""
        assert proxy.declared_class(proxy.cell_of(lazy(dict))) is None

    def test_a_class_that_comes_later(self):
        """A class that is defined after the factory is known once it is there."""
        namespace = {"lazy": lazy, "__name__": "later"}
        exec(
            "from __future__ import annotations\n@lazy\ndef thing() -> Later: return 1 / 0\nclass Later: ...", namespace
        )
        assert isinstance(namespace["thing"], namespace["Later"])
        assert not is_resolved(namespace["thing"])

    def test_a_lazy_class_is_not_built(self):
        """An annotation that names a lazy object says nothing, and does not build it."""
        namespace = {"lazy": lazy, "load": lazyguard.load, "__name__": "annotated"}
        exec(
            "from __future__ import annotations\n"
            "Kind = load('no_such_module:Kind')\nmodule = load('no_such_module')\n"
            "@lazy\ndef one() -> Kind: return 5\n"
            "@lazy\ndef two() -> module.Kind: return 5\n",
            namespace,
        )
        assert namespace["one"] + namespace["two"] == 10

    def test_evaluated_annotations(self):
        """Without the future import a class is there as itself, and what only a checker sees says nothing."""
        namespace = {"lazy": lazy, "__name__": "annotated"}
        exec("def make() -> int: return 1 / 0\nthing = lazy(make)", namespace)
        assert isinstance(namespace["thing"], int)
        assert not is_resolved(namespace["thing"])

    def test_another_class_than_announced(self):
        """When the object is there its own class counts."""

        def factory() -> list:
            return {"a": 1}

        thing = lazy(factory)
        assert isinstance(thing, list)
        assert thing["a"] == 1
        assert not isinstance(thing, list)
        assert isinstance(thing, dict)


class TestPendingClasses:
    """The classes of pending proxies."""

    def test_shared(self):
        """Objects that are announced alike share a class, and it goes with the class that it stands for."""

        class Kind: ...

        assert proxy.pending_class(Kind) is proxy.pending_class(Kind)
        assert proxy.pending_class(None) is proxy.pending_class(None)

    def test_small(self):
        """A pending proxy has no dict."""
        assert sys.getsizeof(lazy(plain)) <= 64
        assert not hasattr(type(lazy(plain)), "__dict__") or "__dict__" not in dir(proxy.pending_class(None))
