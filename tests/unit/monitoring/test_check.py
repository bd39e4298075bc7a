"""A check shows the true state of a service, without changing it and without secrets."""

from __future__ import annotations

import json
import threading

import pytest

import lazyguard

SECRET = "redis://user:password@host"


@pytest.fixture
def get(plant):
    """Return a service without a recovery, declared at a known place."""
    return lazyguard.service(name="db", recovery=None)(plant.make)


def test_pending_and_ready(get, plant, clock):
    """A check builds nothing; `since` is the begin of the state."""
    check = get.health()
    assert (check.name, check.kind, check.state, check.status) == ("db", "service", "pending", "pass")
    assert (check.since, check.cause, check.generation, check.running) == (None, "", 0, 0)
    assert not plant.runs
    get().name
    clock.advance(60.0)
    check = get.health()
    assert (check.state, check.status) == ("ready", "pass")
    assert check.since == pytest.approx(clock.date() - 60.0)
    assert check.place.endswith(f"conftest.py:{plant.make.__code__.co_firstlineno}")
    get.reset()
    assert (get.health().state, get.health().generation) == ("pending", 1)


@pytest.mark.parametrize(("critical", "status"), [(False, "warn"), (True, "fail")])
def test_failed(plant, clock, critical, status):
    """Only a critical service fails the total status; the cause is a type and a place, never a text."""
    plant.fate = ConnectionError(SECRET)
    get = lazyguard.service(name="db", recovery=None, critical=critical)(plant.make)
    with pytest.raises(lazyguard.ResolutionError):
        get().name
    check = get.health()
    assert (check.state, check.status) == ("failed", status)
    assert check.kind == ("critical service" if critical else "service")
    assert check.cause.startswith("ConnectionError at ")
    assert lazyguard.health().status == status
    get.reset()
    assert get.health().status == "pass"


@pytest.mark.parametrize("critical", [False, True])
def test_degraded(plant, critical):
    """A served fallback gives "warn", for a critical service too."""
    plant.fate = ConnectionError(SECRET)
    get = lazyguard.service(name="db", recovery=None, critical=critical)(plant.make)
    get.fallback(lambda: plant)
    get().runs
    check = get.health()
    assert (check.state, check.status) == ("degraded", "warn")
    assert check.cause.startswith("ConnectionError at ")
    with get.override(plant):
        assert (get.health().state, get.health().status, get.health().cause) == ("ready", "pass", "")
    assert get.health().status == "warn"


@pytest.mark.parametrize(("critical", "status"), [(False, "warn"), (True, "fail")])
def test_beyond_max_degraded(plant, clock, critical, status):
    """A critical service whose fallback is no longer served fails the total status, and the cause says so."""
    plant.fate = ConnectionError(SECRET)
    get = lazyguard.service(name="db", recovery=None, critical=critical)(plant.make)
    get.fallback(max_degraded=300)(lambda: plant)
    get().runs
    clock.advance(299.0)
    assert get.health().status == "warn"
    clock.advance(2.0)
    check = get.health()
    assert (check.state, check.status) == ("degraded", status)
    assert check.cause.startswith("ConnectionError at ")
    assert check.cause.endswith("; its fallback was served for 301 s, longer than max_degraded=300")
    plant.fate = None
    get.require_real()
    assert get.health().status == "pass"


def test_where_fallbacks_are_forbidden(plant, monkeypatch):
    """A critical service whose fallback the process refuses to all fails; a denial in one context changes nothing."""
    plant.fate = ConnectionError(SECRET)
    get = lazyguard.service(name="db", recovery=None, critical=True)(plant.make)
    get.fallback(lambda: plant)
    get().runs
    with lazyguard.fallbacks("deny"):
        assert get.health().status == "warn"
    monkeypatch.setenv("LAZYGUARD_FALLBACK", "deny")
    assert get.health().status == "fail"


def test_which_fallback_is_served(plant, clock, race, limited):
    """Each fallback has its place and its state: served, failed or hanging with the cause, or unused."""
    plant.fate = ConnectionError(SECRET)
    gate = threading.Event()
    begun = threading.Event()
    get = lazyguard.service(name="db", timeout=10.0, recovery=None)(plant.make)
    assert get.health().fallbacks == ()

    @get.fallback
    def failing() -> object:
        raise KeyError(SECRET)

    @get.fallback(timeout=2.0)
    def hanging() -> object:
        begun.set()
        return gate.wait(60)

    @get.fallback
    def served() -> object:
        return plant

    get.fallback(lambda: object())
    try:
        assert race(lambda: get().runs, lambda: (begun.wait(30), clock.advance(2.0)))[0] == 1
        told = get.health().to_dict()["fallbacks"]
        assert [one["state"] for one in told] == ["failed", "hangs", "served", "unused"]
        assert told[0]["cause"].startswith("KeyError at ")
        assert told[1]["cause"] == "not made within 2 s"
        assert told[2]["place"] == f"{__file__}:{served.__code__.co_firstlineno}"
        assert SECRET not in json.dumps(told)
    finally:
        gate.set()
    get.reset()
    assert get.health().fallbacks == ()
    assert "fallbacks" not in get.health().to_dict()


def test_failed_and_tried_again(plant, limited):
    """While a caller builds it again, a failed service still fails."""
    plant.fate = OSError()
    get = lazyguard.service(name="db", recovery=None, critical=True)(plant.make)
    with pytest.raises(lazyguard.ResolutionError):
        get().name
    plant.fate, plant.hanging = None, True
    user = threading.Thread(target=lambda: get().name)
    user.start()
    plant.until(2)
    check = get.health()
    assert (check.state, check.status, check.running) == ("resolving", "fail", 1)
    assert check.cause.startswith("OSError at ")
    plant.let_go()
    user.join(30)
    assert (get.health().state, get.health().status, get.health().cause) == ("ready", "pass", "")


def test_overdue(plant, clock, story, race, limited):
    """A service that hangs past its timeout has a cause, although no attempt has failed."""
    plant.hanging = True
    get = lazyguard.service(name="db", timeout=2.5, critical=True)(plant.make)

    def wait() -> str:
        plant.until(1)
        before = get.health().status
        clock.advance(3.0)
        return before

    told, before = race(lambda: get().name, wait)
    assert type(told) is lazyguard.errors.ResolutionTimeout
    assert before == "pass"
    check = get.health()
    assert (check.state, check.status, check.cause) == ("resolving", "fail", "not built within 2.5 s")
    plant.let_go()
    story.until("timeout", "ready")
    assert get.health().status == "pass"


def test_health_json(get, plant, clock):
    """The dict has the form of health+json: a pending check has no time, a passing one no output."""
    assert get.health().to_dict() == {"componentType": "service", "status": "pass", "observedValue": "pending"}
    plant.fate = ConnectionError(SECRET)
    with pytest.raises(lazyguard.ResolutionError):
        get().name
    told = get.health().to_dict()
    assert told.pop("time").endswith("Z")
    assert told.pop("output").startswith("ConnectionError at ")
    assert told == {"componentType": "service", "status": "warn", "observedValue": "failed"}
    json.dumps(told)


def test_it_gives_nothing_away(plant):
    """Neither an exception's text nor an argument is in a check, its repr, its dict, an event or a service's repr."""
    heard: list[object] = []
    undo = lazyguard.subscribe(heard.append)
    plant.fate = ConnectionError(SECRET)
    get = lazyguard.service(name="db", recovery=None, failures=(KeyError,))(lambda url=SECRET: plant.make())
    get.fallback(lambda url=SECRET: plant)
    get().runs
    undo()
    check = get.health()
    shown = [repr(check), json.dumps(check.to_dict()), repr(get), check.cause, repr(lazyguard.health())]
    shown += [json.dumps(lazyguard.health().to_dict())]
    shown += [" ".join(str(getattr(event, name)) for name in vars(event)) for event in heard]
    assert len(heard) >= 2
    assert not [text for text in shown if "password" in text]
