"""Modules that are loaded at first need: whole, or a word about why not."""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import sys
import types

import pytest

import lazyguard
from lazyguard import _core as loading
from lazyguard import errors
from lazyguard._core.cell import Cell
from lazyguard.errors import ResolutionError
from lazyguard.integrations.wsgi import Middleware

pytestmark = pytest.mark.usefixtures("limited")

NAME = "imported_late"


class Body(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds the one module `lazyguard.imported_late`, whose execution is a function of the test."""

    def __init__(self, run) -> None:
        self.run = run

    def find_spec(self, name, path=None, target=None):
        return importlib.machinery.ModuleSpec(name, self) if name == f"lazyguard.{NAME}" else None

    def exec_module(self, module) -> None:
        self.run()


@pytest.fixture
def body(monkeypatch):
    """Return a function that says what the execution of the module does; it is forgotten after the test."""

    def runs(run) -> None:
        monkeypatch.setattr(sys, "meta_path", [Body(run), *sys.meta_path])

    yield runs
    loading._whole.pop(NAME, None)
    sys.modules.pop(f"lazyguard.{NAME}", None)
    vars(sys.modules["lazyguard"]).pop(NAME, None)


def test_what_was_had_once_is_had_for_good(body, monkeypatch):
    """The module is executed once, and is at hand when nothing can be imported any more."""
    ran: list[int] = []
    body(lambda: ran.append(1))
    found = loading.loaded(NAME)
    with monkeypatch.context() as patch:
        patch.setattr(sys, "meta_path", None)
        patch.delitem(sys.modules, f"lazyguard.{NAME}")
        assert loading.loaded(NAME) is found
    assert ran == [1]


@pytest.mark.parametrize(("of", "named"), [(None, "a lazy object"), (Cell(object, name="c", place="p:1"), "c (p:1)")])
def test_nobody_gets_half_a_module(body, of, named):
    """Who asks while its own thread imports the module is told so and who it is; the import itself goes on."""
    told: list[str] = []

    def run() -> None:
        with pytest.raises(ResolutionError) as caught:
            loading.loaded(NAME, of)
        told.append(str(caught.value))

    body(run)
    assert loading.loaded(NAME, of).__name__ == f"lazyguard.{NAME}"
    assert told[0].startswith(f"{named} cannot be built now")


def test_what_is_just_being_imported_is_not_there_yet(body):
    """Who looks whether a module is loaded gets none that is half executed, whatever thread imports it."""
    seen: list[object] = []
    body(lambda: seen.append(loading.whole(NAME)))
    assert loading.whole(NAME) is None
    imported = __import__(f"lazyguard.{NAME}", fromlist=["*"])
    assert seen == [None]
    assert loading.whole(NAME) is imported


HALF = ("_services.preload", "_services.readiness", "_core.observers", "_core.scheduler")


@pytest.mark.parametrize("name", HALF)
def test_what_is_just_being_imported_breaks_nothing(monkeypatch, name):
    """While another thread imports a part of ours, services are built, and health is told."""
    half = types.ModuleType(f"lazyguard.{name}")
    half.__spec__ = importlib.machinery.ModuleSpec(half.__name__, None)
    half.__spec__._initializing = True  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, half.__name__, half)
    monkeypatch.delitem(loading._whole, name, raising=False)
    get = lazyguard.service(name="built meanwhile")(lambda: [1])
    assert list(get()) == [1]
    assert "built meanwhile" in {check.name for check in lazyguard.health().checks}
    statuses: list[str] = []
    for path in ("/readyz", "/startupz", "/healthz"):
        Middleware()({"REQUEST_METHOD": "GET", "PATH_INFO": path}, lambda status, _: statuses.append(status))
    assert {status[:3] for status in statuses} <= {"200", "503"}


@pytest.mark.parametrize("errors_loaded", [True, False])
def test_the_end_of_the_interpreter_is_told(monkeypatch, errors_loaded):
    """Where nothing can be imported any more, the error says so and names the object; the cause is chained.

    It is a RuntimeError, and a ResolutionError where that is loaded.
    """
    with monkeypatch.context() as patch:
        patch.setattr(loading, "_whole", {"errors": errors} if errors_loaded else {})
        patch.setattr(sys, "meta_path", None)
        with pytest.raises(RuntimeError, match=r"^c \(p:1\) cannot be built: the interpreter is ending") as caught:
            loading.loaded(NAME, Cell(object, name="c", place="p:1"))
    assert type(caught.value) is (ResolutionError if errors_loaded else RuntimeError)
    assert isinstance(caught.value.__cause__, ImportError)


def test_a_module_that_is_missing_is_an_import_error():
    """That is a broken installation, which Python's own error tells best."""
    with pytest.raises(ImportError, match=NAME):
        loading.loaded(NAME)
