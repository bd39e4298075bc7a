"""`fallback(answers_failed_calls=True)`: the plain call that met the failure is answered too, and never silently."""

import asyncio
import contextlib

import pytest

import lazyguard
from lazyguard.errors import ConfigurationError


class Store:
    """The real object: each method fails with `fate`."""

    fate = ConnectionError

    def size(self, more=0):
        raise self.fate

    def rows(self):
        yield 1
        raise self.fate

    def items(self):
        raise self.fate

    @contextlib.contextmanager
    def block(self):
        raise self.fate
        yield

    async def asize(self, more=0):
        raise self.fate


class Empty:
    """Its fallback."""

    def size(self, more=0):
        return more

    def rows(self):
        return iter(())

    def items(self):
        return iter(())

    @contextlib.contextmanager
    def block(self):
        yield self

    async def asize(self, more=0):
        return more


@pytest.fixture
def declare():
    """Return a function that declares the service, and gives it and its reference."""

    def make(threshold=3, *, cause=False, awaited=False, **options):
        def factory():
            return Store()

        async def afactory():
            return Store()

        service = lazyguard.service(
            failures=(ConnectionError,), breaker=lazyguard.Breaker(failure_threshold=threshold), recovery=None
        )(afactory if awaited else factory)
        made = []

        def fallback():
            made.append(None)
            return Empty()

        def of_cause(cause):
            made.append(cause)
            return Empty()

        service.fallback(answers_failed_calls=True, partial=True, **options)(of_cause if cause else fallback)
        service.made = made
        return service, service()

    return make


@pytest.mark.parametrize("cause", [False, True])
def test_a_plain_call_is_answered(declare, cause):
    """Each one that fails by `failures`, before the breaker opens and when it opens; one fallback is made for all."""
    service, store = declare(cause=cause)
    heard = []
    undo = lazyguard.subscribe(lambda event: heard.append(event.kind))
    try:
        assert [store.size(more=number) for number in range(5)] == [0, 1, 2, 3, 4]
    finally:
        undo()
    assert heard.count("answered") == 1
    assert "degraded" in heard
    assert len(service.made) == 1
    assert isinstance(service.made[0], ConnectionError if cause else type(None))
    assert service.health().answered == {"size": 5}


def test_it_is_real_meanwhile(declare):
    """An answered call changes nothing but what the breaker counts."""
    service, store = declare()
    assert store.size(7) == 7
    assert not lazyguard.is_fallback(store)
    assert service.health().state == "ready"
    assert service._cell.kept is None


@pytest.mark.parametrize("fate", [ValueError, KeyboardInterrupt, AttributeError])
def test_what_is_no_failure_is_raised(declare, fate):
    """What `failures` does not mean, and what is no exception."""
    service, store = declare()
    assert len(repr(lazyguard.resolve(store)))
    lazyguard.resolve(store).fate = fate
    with pytest.raises(fate):
        store.size()
    assert service.made == []


def test_never_what_works_late(declare):
    """Neither a generator nor an iterator, nor a block: part of it may have been used."""
    _, store = declare(threshold=9)
    rows = store.rows()
    assert next(rows) == 1
    with pytest.raises(ConnectionError):
        next(rows)
    with pytest.raises(ConnectionError):
        store.block().__enter__()
    with pytest.raises(ConnectionError):
        with store.block():
            pass


def test_where_no_fallback_may_be_served(declare):
    """There it is raised."""
    service, store = declare()
    with lazyguard.fallbacks("deny"), pytest.raises(ConnectionError):
        store.size()
    assert service.made == []


def test_async(declare):
    """A coroutine that fails is answered when it is awaited."""
    service, store = declare(awaited=True)

    async def use():
        await service.aget()
        return [await store.asize(more=number) for number in range(5)]

    assert asyncio.run(use()) == [0, 1, 2, 3, 4]


def test_what_the_fallback_raises_is_raised(declare):
    """It has the failure as its context."""
    _, store = declare()
    with pytest.raises(TypeError):
        store.size(1, 2, 3)  # the call itself is wrong
    lazyguard.resolve(store)
    original = Empty.size
    Empty.size = lambda self, more=0: 1 / 0
    try:
        with pytest.raises(ZeroDivisionError) as caught:
            store.size()
        assert isinstance(caught.value.__context__, ConnectionError)
    finally:
        Empty.size = original


def test_it_needs_failures():
    """Without them no call fails."""
    with pytest.raises(ConfigurationError, match="failures="):
        lazyguard.service(lambda: [1]).fallback(answers_failed_calls=True)
