"""What `health` tells of all services and lazy objects."""

from __future__ import annotations

import pytest

import lazyguard
from lazyguard._core import registry


@pytest.fixture(autouse=True)
def known(monkeypatch):
    """What other tests declared is not seen here."""
    monkeypatch.setattr(registry, "_known", {})


def test_nothing():
    """A process that declares nothing is well."""
    assert lazyguard.health().status == "pass"
    assert lazyguard.health().checks == ()
    assert lazyguard.health().to_dict() == {"status": "pass", "checks": {}}


def test_the_worst_counts(plant):
    """fail before warn before pass; the order is that of declaration."""
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
    """Checks are listed by name; two of one name stand side by side."""
    kept = [lazyguard.service(name="db")(plant.make) for _ in range(2)]
    told = lazyguard.health().to_dict()
    assert told["status"] == "pass"
    assert list(told["checks"]) == ["db"]
    assert len(told["checks"]["db"]) == len(kept) == 2


def test_what_is_seen(plant):
    """Services and lazy objects of modules are; lazy objects of functions are not."""
    scope = {"lazyguard": lazyguard, "make": plant.make}
    exec("thing = lazyguard.lazy(make, name='thing')\nget = lazyguard.service(name='get')(make)", scope)
    kept = lazyguard.lazy(plant.make, name="of a function")
    assert not lazyguard.is_resolved(kept)
    assert [(check.name, check.kind) for check in lazyguard.health().checks] == [
        ("thing", "lazy object"),
        ("get", "service"),
    ]
    assert not plant.runs
