"""`lazyguard.testing.chaos` injects faults like a service's own, by seed and clock, and leaves none behind."""

from __future__ import annotations

import asyncio
import inspect
import threading

import pytest

import lazyguard
import lazyguard.testing as chaos_module
from lazyguard import errors
from lazyguard.testing import chaos

pytestmark = pytest.mark.usefixtures("limited")


@pytest.fixture(autouse=True)
def _nothing_is_left():
    """Check that each test leaves no site of faults."""
    yield
    assert chaos_module._sites == {}


def mirror_of(get):
    return get._cell.mirror


class Client:
    """An object with everything that can be called, sync and async."""

    colour = "red"

    def __init__(self) -> None:
        self.calls: list[str] = []

    def get(self, key: str) -> str:
        self.calls.append(key)
        return key.upper()

    def __len__(self) -> int:
        return 2

    def __call__(self, key: str) -> str:
        return self.get(key)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None: ...

    async def aget(self, key: str) -> str:
        return self.get(key)

    async def each(self):
        yield "a"
        yield "b"

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(self, *_: object) -> None: ...


@pytest.fixture
def get():
    """Return a service of a Client, without retries or recovery."""

    @lazyguard.service(recovery=None)
    def get_client() -> Client:
        return Client()

    return get_client


def test_attempts_fail(plant):
    """An affected attempt fails before the factory runs; after the block the service builds as ever."""
    get = lazyguard.service(name="db", recovery=None, retry=lazyguard.Retry(attempts=3, initial=0.0))(plant.make)
    with chaos(get, error=ConnectionError("on purpose")) as faults:
        with pytest.raises(errors.ResolutionError) as caught:
            get().name
        assert isinstance(caught.value.__cause__, ConnectionError)
        assert (faults.hits, plant.runs) == (3, 0)
        assert get.health().state == "failed"
    assert get().name == "thing 1"
    assert get._cell.factory == plant.make


def test_calls_fail(get):
    """Methods and special methods of the live reference raise without running; attributes and `repr` do not."""
    client = get()
    assert client.get("a") == "A"
    with chaos(get, error=ConnectionError) as faults:
        for call in (lambda: client.get("b"), lambda: len(client), lambda: client("c")):
            with pytest.raises(ConnectionError):
                call()
        with pytest.raises(ConnectionError), client:
            pass
        assert faults.hits == 4
        assert client.colour == "red"
        assert client == client
        assert hash(client) == hash(lazyguard.resolve(client))
        assert bool(repr(client) and str(client) and dir(client))
        assert isinstance(client, Client)
        assert get.require_real().get("real") == "REAL"
        assert faults.hits == 4
    assert client.get("d") == "D"
    assert client.calls == ["a", "real", "d"]


def test_nothing_is_left(get):
    """After the block the factory, the view and what is served are the former ones."""
    client = get()
    assert len(client) == 2
    before = get._cell.factory, mirror_of(get).flavour, get._cell.now
    shown = type(client)
    with chaos(get, error=OSError):
        method = client.get
        assert type(client) is not shown
    assert (get._cell.factory, mirror_of(get).flavour, get._cell.now) == before
    assert type(client).__name__ == shown.__name__
    assert method("late") == "LATE"


def test_a_service_that_is_built_inside(get):
    """If a pending service is built in the block, its calls are affected there, and not after it."""
    client = get()
    with chaos(get, error=OSError, latency=0.0, rate=0.0) as faults:
        assert client.get("a") == "A"
        with chaos(get, error=OSError):
            with pytest.raises(OSError):
                client.get("b")
        assert client.get("c") == "C"
    assert client.get("d") == "D"
    assert client.calls == ["a", "c", "d"]
    assert faults.hits == 0


def test_a_reset_inside(get):
    """The end of the block does not undo a reset in it."""
    client = get()
    assert client.get("a") == "A"
    first = lazyguard.resolve(client)
    with chaos(get, error=OSError, rate=0.0):
        get.reset()
    assert not lazyguard.is_resolved(client)
    assert client.get("b") == "B"
    assert lazyguard.resolve(client) is not first


def test_a_proxy_is_its_target_meanwhile():
    """With a rate of zero operators and builtins answer as ever."""
    numbers, extra = lazyguard.service()(lambda: [1, 2, 3]), [4]
    live = numbers()
    with chaos(numbers, error=OSError, rate=0.0):
        assert (len(live), live[0], list(live), 2 in live, live + extra, live == [1, 2, 3]) == (
            *(3, 1, [1, 2, 3], True),
            *([1, 2, 3, 4], True),
        )
        match live:
            case [first, *_]:
                assert first == 1
        assert live.index(3) == 2
        assert inspect.signature(lambda key: 0) is not None
        live += [4]
        assert len(live) == 4
    assert live == [1, 2, 3, 4]
    with chaos(numbers, error=OSError):
        for use in (lambda: live[0], lambda: list(live), lambda: live + extra, lambda: 1 in live):
            with pytest.raises(OSError):
                use()


def test_the_breaker_and_the_fallback_take_part(plant, clock, story):
    """Affected calls count as failures; the fallback takes over unaffected, and the service recovers."""
    get = lazyguard.service(
        name="db",
        failures=(ConnectionError,),
        breaker=lazyguard.Breaker(failure_threshold=3),
        recovery=lazyguard.Recovery(initial=1.0, maximum=1.0),
    )(plant.make)

    @get.fallback(partial=True)
    def offline() -> str:
        return "a fallback"

    live = get()
    assert live.work() == "done"
    with chaos(get, error=ConnectionError):
        for _ in range(3):
            with pytest.raises(ConnectionError):
                live.work()
        assert live.upper() == "A FALLBACK"
        assert lazyguard.is_fallback(live)
        assert plant.runs == 1
    while lazyguard.is_fallback(live):
        clock.advance(1.0)
        threading.Event().wait(0.001)
    assert live.work() == "done"
    assert plant.runs == 2
    get.reset()


def test_what_is_injected_counts_as_the_targets_own_failures(plant):
    """Failures before a block and faults in it count in one row."""
    get = lazyguard.service(
        name="db", failures=(OSError,), breaker=lazyguard.Breaker(failure_threshold=3), recovery=None
    )(plant.make)
    live = get()
    live.work()
    thing = lazyguard.resolve(live)

    def fail():
        with pytest.raises(OSError):
            live.work()

    thing.fate = OSError()
    fail()
    fail()
    assert get.health().state == "ready"
    with chaos(get, error=OSError):
        fail()
    assert get.health().state == "failed"


def test_an_override_is_not_hit(get):
    """An override is not affected."""
    client = get()
    with chaos(get, error=OSError):
        with get.override(Client()):
            assert client.get("a") == "A"
        with pytest.raises(errors.ResolutionError):
            client.get("b")


def test_one_key_is_hit_and_no_other():
    """Faults of one key do not affect the others."""

    @lazyguard.service(recovery=None)
    def get_client(tenant: str) -> Client:
        return Client()

    one, other = get_client("a"), get_client("b")
    with chaos(get_client.of("a"), error=OSError):
        with pytest.raises(errors.ResolutionError):
            one.get("x")
        assert other.get("x") == "X"
    with chaos(other, error=OSError), pytest.raises(OSError):
        other.get("y")
    assert one.get("x") == "X"


def test_latency_is_the_clocks(get, clock):
    """Latency is by the test's clock; a caller's timeout ends its wait, as with a slow server."""
    client = get()
    client.get("a")
    answers: list[str] = []
    with chaos(get, latency=30.0) as faults:
        began = clock.now()
        thread = threading.Thread(target=lambda: answers.append(client.get("b")))
        thread.start()
        while thread.is_alive():
            if faults.hits:
                assert not answers or clock.now() - began >= 30.0
                clock.advance(10.0)
            thread.join(0.005)
    assert answers == ["B"]
    assert clock.now() - began >= 30.0


def test_latency_of_attempts_meets_the_timeout(plant, clock):
    """An attempt that exceeds the timeout by its latency is adopted when it ends."""
    get = lazyguard.service(name="db", timeout=2.0, recovery=None)(plant.make)
    seen: list[BaseException] = []

    def use() -> None:
        try:
            get().name
        except BaseException as error:
            seen.append(error)

    with chaos(get, latency=5.0) as faults:
        thread = threading.Thread(target=use)
        thread.start()
        while thread.is_alive():
            if faults.hits:
                clock.advance(0.5)
            thread.join(0.005)
        assert isinstance(seen[0], errors.ResolutionTimeout)
        while not lazyguard.is_resolved(get):
            clock.advance(1.0)
            threading.Event().wait(0.001)
    assert plant.runs == 1


def test_blocks_nest_and_end_in_any_order(get):
    """Nested blocks add their faults, the outer one first; each removes its own, and the last one the wrappers."""
    client = get()
    client.get("a")
    before = get._cell.factory
    first, second = chaos(get, error=OSError), chaos(client, error=ValueError)
    first.__enter__()
    second.__enter__()
    with pytest.raises(OSError):
        client.get("b")
    first.__exit__(None, None, None)
    with pytest.raises(ValueError):
        client.get("c")
    with second:
        pass
    with pytest.raises(ValueError):
        client.get("d")
    second.__exit__(None, None, None)
    assert client.get("e") == "E"
    assert get._cell.factory is before


@pytest.mark.parametrize("seed", [7, "seven", b"seven"])
def test_the_same_seed_hits_the_same(get, seed):
    """`rate` is the share of affected calls; the seed alone selects them."""
    client = get()
    client.get("a")

    def pattern(rate: float) -> list[bool]:
        hit = []
        with chaos(get, error=OSError, rate=rate, seed=seed) as faults:
            for _ in range(200):
                before = faults.hits
                try:
                    client.get("x")
                except OSError:
                    pass
                hit.append(faults.hits > before)
        return hit

    assert pattern(0.3) == pattern(0.3)
    assert 20 < sum(pattern(0.3)) < 100
    assert not any(pattern(0.0))
    assert all(pattern(1.0))
    assert all(more or not less for less, more in zip(pattern(0.3), pattern(0.6), strict=True))


@pytest.mark.parametrize("error", [OSError, OSError("on purpose"), lambda: OSError("on purpose"), lambda: OSError])
def test_errors_of_all_forms(get, error):
    """`error` is a type, an exception or a function of either; a repeated exception's traceback does not grow."""
    client = get()
    client.get("a")
    lengths = set()
    with chaos(get, error=error):
        for _ in range(3):
            with pytest.raises(OSError) as caught:
                client.get("b")
            lengths.add(len(caught.traceback))
    assert len(lengths) == 1


def test_an_error_that_is_none(get):
    """A function that returns no exception is refused when it is called."""
    client = get()
    client.get("a")
    with (
        chaos(get, error=lambda: "oops"),
        pytest.raises(errors.ConfigurationError, match="returned .oops.: let"),
    ):
        client.get("b")


@pytest.mark.parametrize(
    "options",
    [
        {"latency": -1},
        {"latency": "1"},
        {"latency": float("nan")},
        {"error": "OSError"},
        {"error": int},
        {"error": OSError, "rate": 1.1},
        {"error": OSError, "rate": -0.1},
        {"error": OSError, "rate": True},
        {"error": OSError, "rate": float("nan")},
        {"error": OSError, "seed": 1.5},
        {"error": OSError, "seed": object()},
        {},
    ],
)
def test_wrong_options(get, options):
    """Each bad option is refused by its name."""
    with pytest.raises(errors.ConfigurationError, match=list(options)[-1] if options else "injects nothing"):
        chaos(get, **options)


@pytest.mark.parametrize("of", [None, "core:app", print, Client(), lazyguard.lazy(list)])
def test_wrong_objects(of):
    """A lazy object is refused, and is not built for it."""
    with pytest.raises(errors.UsageError, match=r"chaos\(\) takes a service"):
        chaos(of, error=OSError)


def test_async_calls(clock):
    """An async call is affected when it is awaited, without blocking the loop."""

    @lazyguard.service(recovery=None)
    async def get_client() -> Client:
        return Client()

    async def main():
        with chaos(get_client, error=ConnectionError), pytest.raises(errors.ResolutionError):
            await get_client.aget()
        with chaos(get_client, latency=5.0) as faults:
            task = asyncio.ensure_future(get_client.aget())
            while not task.done():
                clock.advance(1.0 if faults.hits else 0.0)
                await asyncio.sleep(0.001)
            client = task.result()
            assert inspect.iscoroutinefunction(client.aget)
            task = asyncio.ensure_future(client.aget("a"))
            while faults.hits < 2:
                await asyncio.sleep(0.001)
            assert not task.done()
            clock.advance(5.0)
            assert await task == "A"
        with chaos(get_client, error=ConnectionError):
            for call in (lambda: client.aget("b"), lambda: anext(client.each())):
                with pytest.raises(ConnectionError):
                    await call()
            with pytest.raises(ConnectionError):
                async with client:
                    pass
        assert await client.aget("c") == "C"
        assert [item async for item in client.each()] == ["a", "b"]
        with chaos(get_client, error=ConnectionError, rate=0.0):
            async with client:
                assert [item async for item in client.each()] == ["a", "b"]
        assert lazyguard.resolve(client).calls == ["a", "c"]

    asyncio.run(main())


def test_guarded_functions():
    """Each attempt of a guarded function is affected, so that retries and fallback work; then it is restored."""
    runs: list[int] = []

    @lazyguard.guarded(retry=lazyguard.Retry(attempts=3, initial=0.0))
    def price(article: str) -> int:
        runs.append(1)
        return len(article)

    @lazyguard.guarded(breaker=lazyguard.Breaker(failure_threshold=2))
    def stock(article: str) -> int:
        return 1

    @lazyguard.guarded(timeout=60.0)
    def slow(article: str) -> int:
        return 2

    for function, right in ((price, 3), (stock, 1), (slow, 2)):
        before = getattr(function, "__func__", function).fallback.__self__.function
        assert function("tea") == right
        with chaos(function, error=ConnectionError) as faults:
            with pytest.raises(ConnectionError):
                function("tea")
            assert faults.hits == (3 if function is price else 1)
        assert function("tea") == right
        assert getattr(function, "__func__", function).fallback.__self__.function is before
    assert len(runs) == 2

    @price.fallback
    def _(article: str) -> int:
        return 0

    with chaos(price, error=ConnectionError):
        assert price("tea") == 0
    with chaos(stock, error=ConnectionError):
        for expected in (ConnectionError, ConnectionError, errors.CircuitOpen):
            with pytest.raises(expected):
                stock("tea")


def test_guarded_methods_and_async_functions():
    """Methods are affected for all objects, class methods and async functions as well."""

    class Shop:
        @lazyguard.guarded(retry=lazyguard.Retry(attempts=2, initial=0.0))
        def price(self, article: str) -> int:
            return len(article)

        @lazyguard.guarded(retry=lazyguard.Retry(attempts=2, initial=0.0))
        @classmethod
        def open(cls) -> bool:
            return True

        @lazyguard.guarded(retry=lazyguard.Retry(attempts=2, initial=0.0))
        async def order(self, article: str) -> str:
            return article

    shop = Shop()
    for of in (Shop.price, shop.price):
        with chaos(of, error=OSError) as faults, pytest.raises(OSError):
            shop.price("tea")
        assert faults.hits == 2
    with chaos(Shop.open, error=OSError), pytest.raises(OSError):
        shop.open()
    assert shop.open()
    assert shop.price("tea") == 3
    with chaos(shop.order, error=OSError) as faults, pytest.raises(OSError):
        asyncio.run(shop.order("tea"))
    assert faults.hits == 2
    assert asyncio.run(shop.order("tea")) == "tea"


def test_threads_enter_and_leave(get, race):
    """However threads enter and leave, calls inside a block are affected, and nothing is left."""
    client = get()
    client.get("a")
    before = type(client)

    def work():
        for _ in range(50):
            with chaos(get, error=OSError):
                try:
                    client.get("b")
                except OSError:
                    continue
                return "not hit"
        return "hit"

    assert race(work, work, work) == ["hit"] * 3
    assert client.get("c") == "C"
    assert type(client).__name__ == before.__name__
    assert get._cell.factory.__name__ == "get_client"
    assert not hasattr(get._cell.factory, "__wrapped__")
