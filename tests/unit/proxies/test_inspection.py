"""Law 12 with the tools of the standard library and pytest: they walk over modules of pending objects and build none.

The modules are those of tests/looking_zoo. `host`: it is known what the objects will be; `jobs`: what recorded
decorators will make; `loose`: nobody knows.
"""

from __future__ import annotations

import doctest
import functools
import gc
import importlib
import inspect
import logging
import os
import pickle
import pkgutil
import pprint
import pydoc
import reprlib
import subprocess
import sys
import traceback
import types
import typing
import unittest
import warnings
from pathlib import Path
from unittest import mock

import pytest

import lazyguard
from lazyguard import is_resolved

ZOO = Path(__file__).parents[2] / "looking_zoo"
KNOWN, ALL = ["host"], ["host", "jobs", "loose"]
# ispackage: only a module that is imported can tell
PREDICATES = [name for name in dir(inspect) if name.startswith("is") and name not in ("iskeyword", "ispackage")]


@pytest.fixture
def zoo(monkeypatch):
    """Return a function that imports a module of the zoo; by the end of the test nothing may have been built."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(str(ZOO))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    package = importlib.import_module("pending")
    yield lambda name: importlib.import_module(f"pending.{name}")
    built = list(package.built)
    for name in set(sys.modules) - before:
        if name.partition(".")[0] == "pending":
            del sys.modules[name]
    assert built == []


def values(module) -> dict[str, object]:
    """Return what a module holds by names of its own."""
    return {name: value for name, value in vars(module).items() if not name.startswith("__")}


def pending(module) -> dict[str, object]:
    """Return what of that is lazy."""
    return {name: value for name, value in values(module).items() if repr(value).startswith("<lazy ")}


def test_the_zoo_would_tell(zoo):
    """A use builds, and is seen; otherwise these tests could not fail."""
    host = zoo("host")
    with pytest.raises(lazyguard.ResolutionError):
        host.client.ping()
    assert sys.modules["pending"].built == ["client"]
    sys.modules["pending"].built.clear()
    assert len(pending(host)) >= 11


@pytest.mark.parametrize("name", ALL)
def test_dir_vars_repr(zoo, name):
    """dir and vars of the module and the package, repr, health, is_resolved, identity, weak references."""
    module = zoo(name)
    dir(module), vars(module), dir(sys.modules["pending"]), repr(values(module))
    lazyguard.health().to_dict()
    assert not any(map(is_resolved, pending(module).values()))
    assert all(value in [value] for value in values(module).values())


@pytest.mark.parametrize("name", ALL)
def test_getmembers(zoo, name):
    """inspect.getmembers of the module, and of a class that holds some; getmembers_static."""
    module = zoo(name)
    assert {"TestHolder", *pending(module)} - {"TestHolder"} <= dict(inspect.getmembers(module)).keys()
    if hasattr(inspect, "getmembers_static"):
        inspect.getmembers_static(module)


@pytest.mark.parametrize("predicate", PREDICATES)
def test_getmembers_with_a_predicate(zoo, predicate):
    """Every predicate of inspect, over a module and over a class, and by itself."""
    host = zoo("host")
    asked = getattr(inspect, predicate)
    found = dict(inspect.getmembers(host, asked))
    assert all(asked(value) == (name in found) for name, value in values(host).items())
    inspect.getmembers(host.TestHolder, asked)
    assert not found.keys() & {"client", "test_app", "live", "names", "attribute"}


def test_classes_that_hold_them(zoo):
    """What walks a class: classify_class_attrs, abc, dataclasses and enum-like scans."""
    import abc
    import dataclasses

    host = zoo("host")
    inspect.classify_class_attrs(host.TestHolder)
    held = dict(vars(host.TestHolder))
    abc.ABCMeta("Abstract", (), {name: held[name] for name in ("held", "held_live", "held_module")})()
    dataclasses.make_dataclass("Data", [("x", object, host.client), ("y", object, host.live)])()


@pytest.mark.parametrize("name", ALL)
def test_pydoc(zoo, name):
    """help() of a module, as text and as HTML."""
    module = zoo(name)
    assert module.__doc__.splitlines()[0] in pydoc.render_doc(module)
    pydoc.HTMLDoc().docmodule(module)


@pytest.mark.parametrize("name", ALL)
def test_doctest(zoo, name):
    """doctest finds the examples that are there, and runs them."""
    module = zoo(name)
    tests = [test for test in doctest.DocTestFinder().find(module) if test.examples]
    found = {"host": ["pending.host", "pending.host.Client.ping"], "jobs": ["pending.jobs.test_job"], "loose": []}
    assert [test.name for test in tests] == found[name]
    assert doctest.testmod(module).failed == 0
    doctest.DocTestFinder().find(sys.modules["pending"])


@pytest.mark.parametrize("name", ALL)
def test_unittest_loader(zoo, name):
    """unittest's loader finds no test, and builds nothing."""
    assert unittest.TestLoader().loadTestsFromModule(zoo(name)).countTestCases() == 0
    assert unittest.TestLoader().loadTestsFromName(f"pending.{name}").countTestCases() == 0


@pytest.mark.parametrize("name", ALL)
def test_assert_warns(zoo, name):
    """assertWarns, which asks every module of the process for its registry of warnings."""
    zoo(name)

    class Case(unittest.TestCase):
        def runTest(self):
            with self.assertWarns(UserWarning):
                warnings.warn("old", stacklevel=1)

    assert Case().run().wasSuccessful()


@pytest.mark.parametrize("name", ["host", "jobs"])
def test_mock_patch(zoo, name):
    """mock.patch of each, in its three forms; afterwards it is what it was."""
    module = zoo(name)
    for each, before in pending(module).items():
        with mock.patch(f"pending.{name}.{each}") as fake:
            assert vars(module)[each] is fake
            assert isinstance(fake, mock.MagicMock)
            assert not isinstance(fake, mock.AsyncMock)
        with mock.patch.object(module, each, 5):
            assert getattr(module, each) == 5
        with mock.patch.dict(vars(module), {each: 6}):
            assert getattr(module, each) == 6
        assert vars(module)[each] is before


def test_mock_specs(zoo):
    """create_autospec and patch(autospec=True, spec=True) take from the annotated class what is there to be called."""
    host = zoo("host")
    for each in ("client", "test_app", "test_called", "attribute", "live", "watched", "live_async"):
        for form in ({"autospec": True}, {"spec": True}):
            real = types.SimpleNamespace(it=host.Called() if each == "test_called" else host.Client())
            with mock.patch(f"pending.host.{each}", **form) as fake, mock.patch.object(real, "it", **form) as like:
                fake.ping()
                if sys.version_info < (3, 13):  # it looks past a proxy since, by getattr_static
                    assert type(fake.aping).__name__ == type(like.aping).__name__
                with pytest.raises(AttributeError):
                    fake.pong
        fake = mock.create_autospec(vars(host)[each])
        with pytest.raises(TypeError):
            fake.ping(1, 2)
    with mock.patch("pending.host.get_service", autospec=True):
        pass


def test_an_autospec_of_the_module(zoo):
    """create_autospec of a module that holds them."""
    fake = mock.create_autospec(zoo("host"))
    fake.client.ping()


@pytest.mark.parametrize("name", ALL)
def test_logging(zoo, name, caplog):
    """%r of each, and %s of a container of them; also as the only argument, which may be a mapping."""
    module = zoo(name)
    log = logging.getLogger("looking")
    for value in pending(module).values():
        log.error("%r", value)
        log.error("%r and %s", value, [value])
        log.error("%s", {"it": value})
        assert caplog.messages[-3:-1] == [repr(value), f"{value!r} and [{value!r}]"]


@pytest.mark.parametrize("name", ALL)
def test_printing(zoo, name):
    """pprint, reprlib and format of what holds them."""
    module = zoo(name)
    for value in (*values(module).values(), [*pending(module).values()], pending(module)):
        pprint.pformat(value), reprlib.repr(value), f"{[value]}", f"{value!r}"


@pytest.mark.parametrize("name", ALL)
def test_tracebacks(zoo, name):
    """A traceback with the values of locals, and the suggestions for a misspelled name."""
    module = zoo(name)

    def fail(value, values):
        raise ValueError

    for value in pending(module).values():
        try:
            fail(value, [value])
        except ValueError as error:
            told = traceback.TracebackException.from_exception(error, capture_locals=True)
            assert repr(value) in "".join(told.format())
    try:
        module.no_such_name
    except AttributeError as error:
        "".join(traceback.format_exception(type(error), error, error.__traceback__))


@pytest.mark.skipif(sys.version_info >= (3, 13), reason="cgitb is no more")
@pytest.mark.parametrize("name", ALL)
def test_cgitb(zoo, name):
    """cgitb, the father of error reporters that show locals."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        import cgitb
    for value in values(zoo(name)).values():
        try:
            value, 1 / 0
        except ZeroDivisionError as error:
            told = (type(error), error, error.__traceback__)
            cgitb.html(told), cgitb.text(told)


@pytest.mark.parametrize("name", ALL)
def test_what_frameworks_do(zoo, name):
    """typing.get_type_hints of a module, pickle's search for a name, pkgutil, gc with isinstance, importlib.reload."""
    module = zoo(name)
    typing.get_type_hints(module)
    orphan = type("Orphan", (), {"__module__": None})()
    try:
        assert pickle.whichmodule(orphan, "no_such_name") == "__main__"
    except pickle.PicklingError:  # since 3.15
        pass
    list(pkgutil.iter_modules(sys.modules["pending"].__path__))
    importlib.reload(module)


def test_what_frameworks_do_with_each(zoo):
    """unwrap, iscoroutinefunction, singledispatch, isinstance: of what is known nothing is built."""
    host = zoo("host")
    told = functools.singledispatch(lambda _: "object")
    told.register(host.Client, lambda _: "client")
    assert told(host.client) == "client"
    ours = set(map(id, values(host).values()))
    assert [each for each in gc.get_objects() if id(each) in ours and isinstance(each, host.Client)]
    for value in values(host).values():
        inspect.unwrap(value) if callable(value) else None
        isinstance(value, type), isinstance(value, (int, str, list)), isinstance(value, typing.Sized)


COLLECTED = """
import sys
import pending, pending.host, pending.jobs, pending.loose
for module in (pending.host, pending.jobs, pending.loose):
    globals().update({name: value for name, value in vars(module).items() if not name.startswith("__")})
del module, build

def test_it():
    assert sys.modules["pending"].built == []
"""


@pytest.mark.parametrize("mode", ["prepend", "importlib"])
def test_pytest(tmp_path, mode):
    """pytest's collection, of doctests too and of every file and every class, in a fresh process."""
    (tmp_path / "test_collected.py").write_text(COLLECTED)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--doctest-modules", "--noconftest"]
    command += ["-o", "python_files=*.py", "-o", "python_classes=*", f"--import-mode={mode}", f"--rootdir={tmp_path}"]
    result = subprocess.run(
        [*command, str(tmp_path), *(str(ZOO / "pending" / f"{name}.py") for name in ALL)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": path(), "LAZYGUARD_TRACE": "1", "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert "lazyguard: " not in result.stderr + result.stdout, result.stdout + result.stderr
    assert result.returncode == 0, result.stdout + result.stderr


def test_unittest_discover(tmp_path):
    """`python -m unittest discover`, in a fresh process, over modules that hold them."""
    (tmp_path / "test_collected.py").write_text(
        COLLECTED + "\nimport unittest\nclass Case(unittest.TestCase):\n    def test_it(self): test_it()\n"
    )
    result = subprocess.run(
        [sys.executable, "-m", "unittest", "discover", "-s", str(tmp_path)],
        env={**os.environ, "PYTHONPATH": path(), "LAZYGUARD_TRACE": "1", "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "Ran 1 test" in result.stderr, result.stderr
    assert "lazyguard: " not in result.stderr, result.stderr


def path() -> str:
    """Return the path on which a fresh process finds the zoo and lazyguard."""
    return os.pathsep.join((str(ZOO), str(Path(lazyguard.__file__).parents[1])))
