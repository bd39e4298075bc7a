"""Fallbacks of guarded functions: chains, which failures they answer, and that it is seen."""

from __future__ import annotations

import asyncio
import builtins
import gc
import itertools
from typing import Any

import pytest

import lazyguard
from lazyguard import errors
from lazyguard._core import observers

numbers = itertools.count()
ExceptionGroup: Any = getattr(builtins, "ExceptionGroup", None)  # since 3.11


class Fate:
    """What a guarded function raises."""

    error: BaseException | None = None

    def meet(self) -> str:
        if self.error is not None:
            raise self.error
        return "real"


@pytest.fixture
def fate():
    return Fate()


@pytest.fixture(params=["sync", "async"])
def price(request, fate):
    """Return a guarded function without arguments, and what declares a fallback of it; both as if it were sync."""
    name = f"price {next(numbers)}"  # the log knows what it has told of a name
    if request.param == "sync":
        guarded = lazyguard.guarded(name=name)(lambda: fate.meet())
        return guarded, guarded.fallback

    @lazyguard.guarded(name=name)
    async def aprice():
        return fate.meet()

    def declare(function=None, **options):
        if function is None:
            return lambda given: declare(given, **options)
        takes_cause = "cause" in function.__code__.co_varnames

        async def with_cause(cause):
            return function(cause)

        async def without():
            return function()

        chosen = with_cause if takes_cause else without
        return aprice.fallback(**options)(chosen) if options else aprice.fallback(chosen)

    def call():
        return asyncio.run(aprice())

    call.health = aprice.health
    return call, declare


def test_chains(price, fate):
    """Fallbacks are tried in their order, each with the function's own failure; the last failure is raised."""
    call, declare = price
    fate.error, seen, fails = ConnectionError(), [], []

    def one(cause):
        seen.append(cause)
        if fails:
            raise fails[0]
        return "one"

    def two(cause):
        seen.append(cause)
        if len(fails) > 1:
            raise fails[1]
        return "two"

    declare(one)
    declare(two)
    assert call() == "one"
    fails.append(KeyError())
    assert call() == "two"
    fails.append(ValueError())
    with pytest.raises(ValueError) as caught:
        call()
    assert caught.value is fails[1]
    assert seen == [fate.error] * 5


def test_which_failures(price, fate):
    """`on=` takes types, names and predicates; the next fallback of the chain may be for another failure."""
    call, declare = price
    declare(on=(ConnectionError, "json:JSONDecodeError"))(lambda: "away")
    declare(on=lambda error: getattr(error, "status", 0) == 503)(lambda: "busy")
    fate.error = ConnectionResetError()
    assert call() == "away"
    fate.error = RuntimeError()
    with pytest.raises(RuntimeError):
        call()
    fate.error.status = 503  # type: ignore[attr-defined]
    assert call() == "busy"
    for error in (errors.ServiceUnavailable(), lazyguard.CircuitOpen()):
        fate.error = error
        assert call() == "away"
    if ExceptionGroup is not None:
        fate.error = ExceptionGroup("", [ConnectionError(), ExceptionGroup("", [OSError()])])
        with pytest.raises(ExceptionGroup):
            call()
        fate.error = ExceptionGroup("", [ConnectionError(), ExceptionGroup("", [ConnectionError()])])
        assert call() == "away"


@pytest.mark.parametrize("mistake", [AttributeError, TypeError, NameError, UnboundLocalError])
def test_mistakes_are_not_hidden(price, fate, mistake):
    """A mistake in the program is answered only where `on=` names it, or a predicate means it."""
    call, declare = price
    declare(lambda: "answered")
    declare(on=(Exception,))(lambda: "all")
    fate.error = mistake()
    with pytest.raises(mistake):
        call()
    if ExceptionGroup is not None:
        fate.error = ExceptionGroup("", [ConnectionError(), mistake()])
        with pytest.raises(ExceptionGroup):
            call()
        fate.error = mistake()
    declare(on=(mistake,))(lambda: "named")
    assert call() == "named"
    declare(on=lambda error: True)(lambda: "meant")
    fate.error = type("Own", (mistake,), {})()
    assert call() == "named"


def test_answers_are_seen(price, fate, told, clock, caplog):
    """An event at the first answer and when the function works again; health warns meanwhile, and counts."""
    call, declare = price
    assert call() == "real"
    declare(lambda: "answered")
    assert call.health().status == "pass"
    fate.error = ConnectionError("secret")
    for _ in range(100):
        assert call() == "answered"
    check = call.health()
    assert (check.status, check.state, check.answered) == ("warn", "closed", {"__call__": 100})
    assert check.cause.startswith("ConnectionError at ")
    assert [one["state"] for one in check.fallbacks] == ["served"]
    assert "secret" not in str(check.to_dict())
    assert [(event.kind, event.name) for event in told] == [("degraded", check.name)]
    assert lazyguard.health().status == "warn"
    clock.advance(301.0)
    call()
    call()
    assert [event.kind for event in told] == ["degraded", "reminder"]
    fate.error = None
    assert call() == "real"
    assert [event.kind for event in told] == ["degraded", "reminder", "recovered"]
    assert told[-1].seconds == pytest.approx(301.0)
    check = call.health()
    assert (check.status, check.cause, check.fallbacks, check.since) == ("pass", "", (), None)
    assert check.answered == {"__call__": 102}
    lines = [record.getMessage() for record in caplog.records if record.name == "lazyguard" and record.levelno >= 30]
    assert len(lines) == 3
    assert all("price" in line and "secret" not in line for line in lines)


def test_turns_do_not_flood(price, fate, told, clock):
    """A function that fails and works by turns makes a pair of events a minute at the most, and each pair is whole."""
    call, declare = price
    declare(lambda: "answered")
    for step in range(200):
        fate.error = ConnectionError() if step % 2 == 0 else None
        call()
        clock.advance(1.0)
    kinds = [event.kind for event in told]
    assert kinds == ["degraded", "recovered"] * 4
    assert call.health().status == "pass"


def test_answers_are_metered(fate):
    """Who counts is told of each answer."""
    counted = []

    class Observer:
        def counter(self, name, ended):
            return lambda: counted.append((name, ended))

        def attempted(self, *_):
            raise AssertionError

    price = lazyguard.guarded(name="price")(lambda: fate.meet())
    price.fallback(lambda: "answered")
    fate.error = ConnectionError()
    end = observers.observe(Observer())
    try:
        price()
    finally:
        end()
    assert counted == [("price", "fallback")]


def test_nothing_is_kept_of_a_failure(price, fate):
    """What was answered is not kept alive by what is shown of it."""
    call, declare = price
    declare(lambda: "answered")

    class Away(ConnectionError):
        """None but this test's."""

    fate.error = Away()
    call()
    fate.error = None
    gc.collect()
    assert not [one for one in gc.get_objects() if type(one) is Away and one.__traceback__ is not None]
