"""`health` shows the state of all services and lazy objects."""

from __future__ import annotations

import importlib
import sys

import pytest

import lazyguard
from lazyguard._core import declaration
from lazyguard._lazy_imports import package
from lazyguard._services import preload


@pytest.fixture(autouse=True)
def known(monkeypatch):
    """Hide what other tests have declared."""
    monkeypatch.setattr(declaration, "_registered", {})
    monkeypatch.setattr(package, "_known", {})
    monkeypatch.setattr(preload, "_latest", {})


def test_nothing():
    """A process that declares nothing passes."""
    assert lazyguard.health().status == "pass"
    assert lazyguard.health().checks == ()
    told = lazyguard.health().to_dict()
    told.pop("schedulerLate", None)  # what other tests have left
    assert told == {"status": "pass", "checks": {}}


def test_the_worst_counts(plant):
    """The total is the worst status; the order is that of declaration."""
    good = lazyguard.service(name="good")(plant.make)
    bad = lazyguard.service(name="bad", recovery=None)(plant.make)
    worse = lazyguard.service(name="worse", recovery=None, critical=True)(plant.make)
    good().name
    assert lazyguard.health().status == "pass"
    plant.fate = OSError()
    for get, status in ((bad, "warn"), (worse, "fail")):
        with pytest.raises(lazyguard.ResolutionError):
            get().name
        assert lazyguard.health().status == status
    assert [check.name for check in lazyguard.health().checks] == ["good", "bad", "worse"]
    assert repr(lazyguard.health()) == "<Health fail, 3 checks>"
    worse.reset()
    bad.reset()
    assert lazyguard.health().status == "pass"


def test_to_dict(plant):
    """The dict lists checks by name; two of one name stand in one list."""
    kept = [lazyguard.service(name="db")(plant.make) for _ in range(2)]
    told = lazyguard.health().to_dict()
    assert told["status"] == "pass"
    assert list(told["checks"]) == ["db"]
    assert len(told["checks"]["db"]) == len(kept) == 2


def test_what_is_seen(plant):
    """Services and lazy objects of modules have checks; lazy objects of functions have none."""
    scope = {"lazyguard": lazyguard, "make": plant.make}
    exec("thing = lazyguard.lazy(make, name='thing')\nget = lazyguard.service(name='get')(make)", scope)
    kept = lazyguard.lazy(plant.make, name="of a function")
    assert not lazyguard.is_resolved(kept)
    assert [(check.name, check.kind) for check in lazyguard.health().checks] == [
        ("thing", "lazy object"),
        ("get", "service"),
    ]
    assert not plant.runs


def test_what_packages_attach(program):
    """A package has one check with its resolved names; a failed one warns until it is resolved. Nothing is imported."""
    root = program(
        {
            "attaching/__init__.py": "import lazyguard\n__getattr__, __dir__, __all__ = "
            "lazyguard.attach(__name__, ['a'], {'b': ['broken']})\n",
            "attaching/a.py": "",
            "attaching/b.py": "raise ValueError('secret')",
        }
    )
    attaching = importlib.import_module("attaching")

    def check():
        return next(check for check in lazyguard.health().checks if check.name == "attaching")

    assert (check().state, check().counts, check().status) == ("pending", (0, 2), "pass")
    assert not {"attaching.a", "attaching.b"} & set(sys.modules)
    attaching.a
    assert check().counts == (1, 2)
    with pytest.raises(lazyguard.ResolutionError):
        attaching.broken
    assert check().cause == f"broken: ValueError at {root}/attaching/b.py:1"
    assert lazyguard.health().to_dict()["checks"]["attaching"] == [
        {
            "componentType": "lazy attributes",
            "status": "warn",
            "observedValue": 1,
            "observedUnit": "of 2 names",
            "output": check().cause,
        }
    ]
    program({"attaching/b.py": "broken = 'mended'"})
    assert attaching.broken == "mended"
    assert (check().state, check().counts, check().status) == ("ready", (2, 2), "pass")
