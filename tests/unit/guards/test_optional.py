"""`require` and `optional_import` say what is missing and how to install it."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING

import pytest

from lazyguard import errors
from lazyguard._base import distributions
from lazyguard._guards.optional import optional_import, require

if TYPE_CHECKING:
    from pathlib import Path

USES = {
    "read": lambda it: it.emit,
    "hasattr": lambda it: hasattr(it, "emit"),
    "set": lambda it: setattr(it, "emit", 1),
    "delete": lambda it: delattr(it, "emit"),
    "version": lambda it: it.__version__,
}


def test_declaring_imports_nothing(program):
    """Neither the declaration nor introspection imports the module."""
    program({"lib.py": "x = 1"})
    lib = optional_import("lib")
    repr(lib), dir(lib), hasattr(lib, "__wrapped__"), hasattr(lib, "__test__")
    assert isinstance(lib, ModuleType)
    assert "lib" not in sys.modules
    assert f"'lib' (not imported yet, declared at {__file__}:" in repr(lib)
    assert lib
    assert lib.x == 1
    assert "(imported" in repr(lib)
    assert dir(lib) == dir(sys.modules["lib"])


def test_it_is_the_module_where_there_is_one(program):
    """Reading, setting and deleting go to the real module."""
    program({"lib.py": "__version__ = '1'\ny = 2"})
    lib = optional_import("lib")
    assert lib.__version__ == "1"
    lib.x = 3
    del lib.y
    real = sys.modules["lib"]
    assert real.x == 3
    assert not hasattr(real, "y")
    assert not hasattr(lib, "nothing")


@pytest.mark.parametrize("use", USES.values(), ids=USES.keys())
def test_a_missing_module_is_false_and_every_use_raises(use):
    """The error is an ImportError with the module, the place, the reason and the command."""
    lib = optional_import("no_such_lib", package="NoSuchLib", why="for the dashboard")
    assert not lib
    with pytest.raises(errors.MissingModuleError) as caught:
        use(lib)
    assert isinstance(caught.value, ImportError)
    assert caught.value.name == "no_such_lib"
    text = str(caught.value)
    assert "needed for the dashboard" in text
    assert f"{__file__}:" in text
    assert text.endswith("pip install NoSuchLib")


def test_absence_is_not_remembered(program):
    """A module that is installed meanwhile is found at the next use."""
    program({})
    lib = optional_import("lib")
    assert not lib
    program({"lib.py": "x = 1"})
    assert lib
    assert lib.x == 1


@pytest.mark.parametrize("name", ["no_such.lib", "json.nothing", "json.decoder.deep"])
def test_a_missing_parent_counts(name):
    """A dotted module is missing if it or its package is, or if the parent is no package."""
    assert not optional_import(name)
    with pytest.raises(errors.MissingModuleError):
        require(name)


def test_a_blocked_module_is_missing(monkeypatch):
    """None in `sys.modules`, by which tests hide a module, counts as missing."""
    monkeypatch.setitem(sys.modules, "json", None)
    assert not optional_import("json")


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ("import no_such_lib", ModuleNotFoundError),
        ("import lib.gone", ModuleNotFoundError),
        ("raise ImportError('of its own')", ImportError),
        ("raise ValueError", ValueError),
        ("raise AttributeError", AttributeError),
    ],
)
def test_a_broken_module_is_not_missing(program, body, error):
    """An exception of an installed module passes untouched, also from the truth test."""
    program({"lib.py": body})
    lib = optional_import("lib")
    for use in (bool, lambda it: it.x, lambda it: require("lib")):
        with pytest.raises(error) as caught:
            use(lib)
        assert type(caught.value) is error


def test_require_returns_the_module():
    """For a dotted name the innermost module is returned."""
    assert require("json.decoder") is importlib.import_module("json.decoder")


@pytest.mark.parametrize("name", ["", ".json", "a b", None, 3])
def test_names_that_cannot_be_right(name):
    """Bad names are refused where they are written."""
    for declare in (require, optional_import):
        with pytest.raises(errors.ConfigurationError, match=f"{__file__}.*not a module name"):
            declare(name)


@pytest.fixture
def host(program) -> Path:
    """A package `hostpkg` of an installed distribution `Host-Dist` with an extra `Dash.Board`."""
    return program(
        {
            "hostpkg/__init__.py": "from lazyguard._guards.optional import optional_import, require\n"
            "lib = optional_import('no_such_lib', extra='dash_board')\n",
            "hostpkg/sub.py": "import hostpkg\ndef use(): hostpkg.require('no_such_lib', extra='other')\n",
            "Host_Dist-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: Host-Dist\nVersion: 1.0\n"
            "Provides-Extra: Dash.Board\n",
            "Host_Dist-1.0.dist-info/top_level.txt": "hostpkg\n",
        }
    )


def test_the_extra_of_the_host(host):
    """The command names the caller's distribution if that has the extra, else the module's own."""
    hostpkg = importlib.import_module("hostpkg")
    with pytest.raises(ImportError, match=r"pip install 'Host-Dist\[dash_board\]'$"):
        hostpkg.lib.emit
    with pytest.raises(ImportError, match=r"which distribution has it is not known here$"):
        importlib.import_module("hostpkg.sub").use()


def test_an_editable_host(host):
    """Where no distribution lists the package, the one of the same name is tried."""
    (host / "Host_Dist-1.0.dist-info/top_level.txt").unlink()
    metadata = host / "Host_Dist-1.0.dist-info/METADATA"
    metadata.write_text(metadata.read_text().replace("Host-Dist", "hostpkg"))
    metadata.parent.rename(host / "hostpkg-1.0.dist-info")
    importlib.invalidate_caches()
    assert distributions.command("x", extra="dash-board", host="hostpkg.sub") == "pip install 'hostpkg[dash-board]'"
    assert distributions.command("x.y", extra="dash-board", host="json") is None
