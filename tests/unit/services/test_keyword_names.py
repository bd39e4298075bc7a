"""A call goes to the user's function with all of its keywords, whatever we call our own parameters."""

from __future__ import annotations

import asyncio

import pytest

import lazyguard

# What parameters of ours are called, or might be.
NAMES = (
    "self cls proxy target name named args kwargs arguments function wrapped instance key cell of view method fetch "
    "operation attempt record result answer timeout first"
).split()
KEYWORDS = {name: number for number, name in enumerate(NAMES)}


def given(**named: int) -> dict[str, int]:
    """Return what it was called with."""
    return named


class Client:
    """Takes any keyword in each of its methods."""

    def plain(this, /, **named: int) -> dict[str, int]:
        return named

    @classmethod
    def of_class(this, /, **named: int) -> dict[str, int]:
        return named

    def __call__(this, /, **named: int) -> dict[str, int]:
        return named


def proxies():
    """Yield proxies of `Client` objects, each before its first use."""
    yield lazyguard.lazy(Client)
    yield lazyguard.lazy(lambda: Client())

    @lazyguard.service(failures=(ConnectionError,))
    def counted() -> Client:
        return Client()

    @lazyguard.service(recovery=lazyguard.Recovery(initial=1000, maximum=1000))
    def degraded() -> Client:
        raise ConnectionError

    @degraded.fallback
    def offline() -> Client:
        return Client()

    yield from (counted(), degraded())
    yield lazyguard.mock_service(Client, returns=dict.fromkeys(("plain", "of_class", "__call__"), KEYWORDS))


@pytest.mark.parametrize(
    "use", [lambda p: p(**KEYWORDS), lambda p: p.plain(**KEYWORDS), lambda p: p.of_class(**KEYWORDS)]
)
def test_proxies(use):
    """The first use of a proxy, and further ones."""
    for proxy in proxies():
        assert [use(proxy), use(proxy)] == [KEYWORDS] * 2


def test_by_class():
    """The special method that the class shows."""
    for proxy in (lazyguard.lazy(Client), lazyguard.lazy(lambda: Client())):
        assert type(proxy).__call__(proxy, **KEYWORDS) == KEYWORDS


def test_functions():
    """What stands around a function."""
    policies = {"retry": lazyguard.Retry(attempts=2), "breaker": lazyguard.Breaker(), "timeout": 9}
    for wrapped in (
        lazyguard.guarded(**policies)(given),
        lazyguard.guarded()(given),
        lazyguard.once(given),
        lazyguard.import_guard(timeout=9)(given),
        lazyguard.lazy(lambda: given),
    ):
        assert wrapped(**KEYWORDS) == KEYWORDS
    failing = lazyguard.guarded(breaker=lazyguard.Breaker())(lambda **_: int("x"))
    failing.fallback(given)
    assert failing(**KEYWORDS) == KEYWORDS

    @lazyguard.guarded(**policies)
    async def awaited(**named: int) -> dict[str, int]:
        return named

    assert asyncio.run(awaited(**KEYWORDS)) == KEYWORDS


def test_keys():
    """The keys of a service."""

    @lazyguard.service
    def keyed(**named: int) -> dict[str, int]:
        return dict(named)

    assert dict(keyed(**KEYWORDS)) == KEYWORDS
    assert dict(keyed.of(**KEYWORDS)()) == KEYWORDS
    assert dict(asyncio.run(keyed.aget(**KEYWORDS))) == KEYWORDS


def test_recorded():
    """A recorded decorator's options, and the function that it decorates."""

    class App:
        def task(this, /, *functions, **options):
            return functions[0] if functions else lambda function: lambda **named: (options, function(**named))

    app = lazyguard.lazy(App, record=("task",))
    job = app.task(given)
    other = app.task(**KEYWORDS)(given)
    assert job(**KEYWORDS) == KEYWORDS
    assert other(**KEYWORDS) == (KEYWORDS, KEYWORDS)
