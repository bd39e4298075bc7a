"""What does its work after the call has returned: guarded where it can be, and refused with what to write instead."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import itertools
import sqlite3
import threading
import warnings
from concurrent.futures import Future

import pytest

import lazyguard
from lazyguard import errors

AGAIN = lazyguard.Retry(attempts=3, initial=0.0)


class Tries:
    """Fails until it has been tried so often."""

    def __init__(self, well_at: int = 9) -> None:
        self.made, self.well_at = 0, well_at

    def fail(self) -> str:
        self.made += 1
        if self.made < self.well_at:
            raise ConnectionError
        return "well"

    async def fetch(self) -> str:
        await asyncio.sleep(0)
        return self.fail()


def timed(function):
    @functools.wraps(function)
    def inner(*args, **named):
        return function(*args, **named)

    return inner


class Called:
    """An object that is called."""

    def __init__(self, function) -> None:
        self._function = function

    def __call__(self):
        return self._function()


class Awaitable:
    """An awaitable that is no coroutine."""

    def __init__(self, make) -> None:
        self._make = make

    def __await__(self):
        return self._make().__await__()


DRESSES = {
    "a decorated function": timed,
    "a lambda": lambda function: lambda: function(),
    "a partial": lambda function: functools.partial(lambda _: function(), 1),
    "a callable": Called,
    "an awaitable": lambda function: lambda: Awaitable(function),
}


@pytest.mark.parametrize("dress", DRESSES.values(), ids=DRESSES)
def test_coroutines_of_plain_functions(dress):
    """They are tried again, counted and answered by the fallback when they are awaited, the first one too."""
    tries = Tries(well_at=3)
    fetch = lazyguard.guarded(retry=AGAIN, breaker=lazyguard.Breaker(failure_threshold=5))(dress(tries.fetch))
    assert asyncio.run(fetch()) == "well"
    assert tries.made == 3
    for _ in range(2):
        tries.made, tries.well_at = 0, 9
        with pytest.raises(ConnectionError):
            asyncio.run(fetch())
    assert fetch.health().state == "open"
    assert tries.made == 2
    with pytest.raises(lazyguard.CircuitOpen):
        asyncio.run(fetch())
    fetch.fallback(lambda: "answered")
    assert asyncio.run(fetch()) == "answered"
    assert tries.made == 2


def test_a_first_coroutine_counts_once():
    """The call that finds out that a function returns coroutines counts when its own is awaited, and not before."""
    tries = Tries()
    fetch = lazyguard.guarded(breaker=lazyguard.Breaker(failure_threshold=2))(lambda: tries.fetch())
    first = fetch()
    assert fetch.health().state == "closed"
    for coroutine in (first, fetch()):
        with pytest.raises(ConnectionError):
            asyncio.run(coroutine)
    assert fetch.health().state == "open"


def test_coroutines_are_cancelled_in_time():
    """`timeout=` of a function that returns coroutines cancels these."""

    @lazyguard.guarded(timeout=0.01)
    def wait():
        return asyncio.Event().wait()

    async def twice() -> None:
        for _ in range(2):
            with pytest.raises(lazyguard.DeadlineExceeded):
                await wait()

    asyncio.run(twice())


@contextlib.contextmanager
def block():
    yield


@contextlib.asynccontextmanager
async def ablock():
    yield


class Block:
    """A context manager by hand."""

    def __enter__(self) -> None: ...
    def __exit__(self, *_: object) -> None: ...


class AsyncIterable:
    """What makes an async generator whenever it is iterated."""

    async def __aiter__(self):
        yield 1


class Iterator:
    """An iterator by hand."""

    def __iter__(self):
        return self

    def __next__(self) -> int:
        return 1


async def agenerator():
    yield 1


async def coroutine():
    return 1


REFUSED = {
    "a @contextmanager": (block, "context manager"),
    "an @asynccontextmanager": (ablock, "context manager"),
    "a context manager": (Block, "context manager"),
    "a generator": (lambda: (one for one in ()), "generator"),
    "an async generator": (lambda: agenerator(), "generator"),
    "a map": (lambda: map(int, ()), "iterator"),
    "an iterator": (Iterator, "iterator"),
    "an endless one": (itertools.count, "iterator"),
    "a chain": (lambda: itertools.chain(()), "iterator"),
    "an async iterable": (AsyncIterable, "iterator"),
    "a future": (Future, "future"),
}


@pytest.mark.parametrize(("make", "told"), REFUSED.values(), ids=REFUSED)
@pytest.mark.parametrize("timeout", [None, 9.0])
@pytest.mark.parametrize("awaited", [False, True])
def test_what_cannot_be_guarded(make, told, timeout, awaited):
    """It is refused with what to write, at each call; the breaker counts nothing, and the fallback does not answer."""
    breaker = lazyguard.Breaker(failure_threshold=1)
    guard = lazyguard.guarded(name="work", timeout=timeout, retry=AGAIN, breaker=breaker)
    made = []

    def plain():
        made.append(1)
        return make()

    async def acall():
        return plain()

    guarded = guard(acall if awaited else plain)
    guarded.fallback(acall if awaited else plain)
    for times in (1, 2):
        with pytest.raises(
            errors.UsageError, match=rf"work \(.*\) returned .*{told}.*: its work is done after the call"
        ):
            asyncio.run(guarded()) if awaited else guarded()
        assert len(made) == times
        assert guarded.health().state == "closed"


def test_an_unawaited_coroutine():
    """A coroutine that an async function returns in place of what it gives is refused, and closed."""

    @lazyguard.guarded()
    async def fetch():
        return coroutine()

    with warnings.catch_warnings(), pytest.raises(errors.UsageError, match="Await it there"):
        warnings.simplefilter("error")
        asyncio.run(fetch())
    gc.collect()


def test_objects_that_are_more_than_late(tmp_path):
    """Files, connections, locks, cursors, lists' iterators, mocks and live references are what they are."""
    connection = sqlite3.connect(":memory:")
    service = lazyguard.service()(lambda: [1])
    for make in (
        lambda: (tmp_path / "file").open("w"),
        lambda: connection,
        lambda: connection.execute("select 1"),
        lambda: contextlib.closing(connection),
        threading.Lock,
        lambda: iter([1]),
        service,
        lambda: None,
    ):
        made = lazyguard.guarded(retry=AGAIN)(make)()
        if hasattr(type(made), "write"):
            made.close()
    connection.close()


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: coroutine(), "make it an `async def`"),
        (lambda: (one for one in ()), "use `return`"),
        (lambda: agenerator(), "use `return`"),
        (block, "give close="),
        (ablock, "give close="),
        (Future, "return the future's result"),
    ],
)
def test_factories_of_services(make, told):
    """The factory of a service that returns what is of use but once is told so; no retry tries it again."""
    made = []

    def factory():
        made.append(1)
        return make()

    async def afactory():
        return factory()

    with pytest.raises(lazyguard.ResolutionError, match=told):
        lazyguard.resolve(lazyguard.service(retry=AGAIN, recovery=None)(factory)())
    with pytest.raises(lazyguard.ResolutionError, match=told):
        asyncio.run(lazyguard.service(retry=AGAIN, recovery=None)(afactory).aget())
    assert len(made) == 2


def test_services_that_are_blocks_or_iterators():
    """What can be used again and again is an object like any other."""
    for make in (Block, Iterator, itertools.count, threading.Lock):
        assert type(lazyguard.resolve(lazyguard.service()(make)())) is not None
