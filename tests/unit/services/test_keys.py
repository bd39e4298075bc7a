"""A service whose factory has parameters: one object for each set of arguments, within a bound."""

from __future__ import annotations

import asyncio
import gc
import inspect
import sys
import threading

import pytest

import lazyguard
from lazyguard import errors
from lazyguard._core import declaration


class Client:
    """The object that the factories below build."""

    def __init__(self, *key: object) -> None:
        self.key = key
        self.closed = 0

    def work(self) -> tuple[object, ...]:
        return self.key

    def close(self) -> None:
        self.closed += 1


class Shop:
    """A service with keys, and all objects that it has built."""

    def __init__(self, recovery: lazyguard.Recovery | None = None, **options) -> None:
        self.made: list[Client] = []
        self.fate: dict[str, BaseException] = {}

        @lazyguard.service(name="shop", close=Client.close, recovery=recovery, **options)
        def get(tenant: str, region: str = "eu", *, size: int = 1) -> Client:
            if tenant in self.fate:
                raise self.fate[tenant]
            self.made.append(Client(tenant, region, size))
            return self.made[-1]

        self.get = get


def test_one_object_a_key():
    """Each set of arguments has its own object and live reference; a second call gives the same one."""
    shop = Shop()
    one, two = shop.get("one"), shop.get("two")
    assert not shop.made
    assert one is not two
    assert one is shop.get("one")
    assert (one.work(), two.work()) == (("one", "eu", 1), ("two", "eu", 1))
    assert len(shop.made) == 2


def test_arguments_that_mean_the_same():
    """Arguments by position, by name, in any order or left out make the same key."""
    get = Shop().get
    live = get("one")
    assert live is get(tenant="one")
    assert live is get("one", "eu")
    assert live is get("one", region="eu")
    assert live is get(size=1, region="eu", tenant="one")
    assert live is not get("one", size=2)
    assert get("one", size=2) is get("one", "eu", size=2)


@pytest.mark.parametrize(
    "call",
    [
        lambda get: get(),
        lambda get: get("a", "b", "c"),
        lambda get: get("a", tenant="a"),
        lambda get: get("a", colour="red"),
        lambda get: get.of(),
        lambda get: asyncio.run(get.aget()),
    ],
)
def test_arguments_that_its_factory_does_not_take(call):
    """Bad arguments are refused at the call, not at the object's first use."""
    with pytest.raises(errors.UsageError, match="shop has one object for each set of arguments"):
        call(Shop().get)


@pytest.mark.parametrize("call", [lambda get: get(["secret"]), lambda get: get("one", size={"secret": 1})])
def test_what_is_no_key(call):
    """The error for an unhashable argument has the parameter and the type, and not the value."""
    with pytest.raises(errors.UsageError, match=r"its (tenant|size) is of type (list|dict).*give a string") as caught:
        call(Shop().get)
    assert "secret" not in str(caught.value)


def test_arguments_of_any_number():
    """A factory with *args and **kwargs is keyed by all of them."""
    get = lazyguard.service()(lambda *args, **named: Client(args, sorted(named.items())))
    assert get(1, 2) is get(1, 2)
    assert get(a=1, b=2) is get(b=2, a=1)
    assert get(("a", 1)) is not get(a=1)
    assert get() is get()
    assert get(1, a=2).work() == ((1,), [("a", 2)])


def test_the_service_of_one_key():
    """The service of one key has its own health, reset, override and require_real."""
    shop = Shop()
    one, two = shop.get("one"), shop.get("two")
    assert shop.get.of("one") is shop.get.of(tenant="one")
    assert shop.get.of("one")() is one
    assert shop.get.of("one").require_real() is shop.made[0]
    assert two.work()
    with shop.get.of("one").override(Client("fake")):
        assert (one.work(), two.work()) == (("fake",), ("two", "eu", 1))
    shop.get.of("one").reset()
    assert (shop.get.of("one").health().state, shop.get.of("two").health().state) == ("pending", "ready")
    assert [client.closed for client in shop.made] == [1, 0]


def test_what_is_done_to_all():
    """`reset` is for all keys, `health` shows the key in the worst state."""
    shop = Shop()
    assert shop.get.health().state == "pending"
    one, two = shop.get("one"), shop.get("two")
    assert one.work()
    shop.fate["two"] = OSError()
    with pytest.raises(errors.ResolutionError):
        two.work()
    told = shop.get.health()
    assert (told.state, told.status) == ("failed", "warn")
    assert told.cause.startswith("OSError at ")
    assert repr(shop.get).startswith("<service shop with 2 keys, failed, ")
    shop.get.reset()
    assert [cell.now.state for cell, _ in shop.get._keys.living()] == ["pending"] * 2
    assert [client.closed for client in shop.made] == [1]


def test_what_needs_a_key():
    """A method for one object refuses to guess the key, unless the factory has defaults for all."""
    get = Shop().get
    for call in (
        lambda: get.require_real(),
        lambda: get.override(Client()),
        lambda: lazyguard.reset(get),
        lambda: lazyguard.is_fallback(get),
    ):
        with pytest.raises(errors.UsageError, match=r"one object for each tenant: name it, of"):
            call()
    defaulted = lazyguard.service()(lambda tenant="main": Client(tenant))
    assert defaulted.require_real() is defaulted.of("main").require_real()
    assert lazyguard.is_resolved(defaulted)


def test_arguments_stay_secret():
    """Errors, health and reprs have no argument."""
    shop = Shop()
    shop.fate["secret"] = OSError()
    with pytest.raises(errors.ResolutionError) as caught:
        shop.get("secret").work()
    told = [str(caught.value), repr(shop.get), repr(shop.get.of("secret")), repr(lazyguard.health().to_dict())]
    assert "secret" not in " ".join(told)


def test_a_fallback_knows_the_key():
    """A fallback can take the cause and then the factory's parameters by name; each key has its own."""
    shop = Shop()
    shop.fate = {"one": OSError("1"), "two": OSError("2")}

    @shop.get.fallback
    def offline(cause: Exception, tenant: str, region: str = "us", *, size: int = 9) -> Client:
        return Client("offline", str(cause), tenant, region, size)

    assert shop.get("one").work() == ("offline", "1", "one", "eu", 1)
    assert shop.get("two", size=2).work() == ("offline", "2", "two", "eu", 2)
    assert lazyguard.is_fallback(shop.get("one"))
    assert not lazyguard.is_fallback(shop.get("three"))


@pytest.mark.parametrize(
    "fallback", [lambda: Client("offline"), lambda cause: Client("offline"), lambda *, size: Client("offline")]
)
def test_a_fallback_for_all_keys(fallback):
    """A fallback without parameters, or with the cause alone, is for every key, also for earlier ones."""
    shop = Shop()
    shop.fate["one"] = OSError()
    live = shop.get("one")
    if inspect.signature(fallback).parameters.keys() == {"size"}:
        with pytest.raises(errors.ConfigurationError, match="with the cause and after that tenant, region, size"):
            shop.get.fallback(fallback)
        return
    shop.get.fallback(fallback)
    assert live.work() == ("offline",)


@pytest.mark.parametrize("fallback", [lambda tenant: 1, lambda cause, colour: 1, lambda cause, tenant, colour: 1])
def test_a_fallback_with_other_parameters(fallback):
    """A fallback whose parameters would get other arguments is refused where it is declared."""
    with pytest.raises(errors.ConfigurationError, match="with the cause and after that tenant, region, size"):
        Shop().get.fallback(fallback)


def test_a_fallback_of_one_key():
    """One key cannot have a fallback of its own: it is declared for all."""
    with pytest.raises(errors.UsageError, match="for all keys, not for one"):
        Shop().get.of("one").fallback(lambda: Client())


def test_the_bound(limited, eventually):
    """No more than `max_keys` keys are kept: those used last stay, and the others are closed."""
    shop = Shop(max_keys=2, grace=0.0)
    for tenant in ("one", "two", "one", "three"):
        assert shop.get(tenant).work()
    gc.collect()
    assert {cell.now.target.key[0] for cell, _ in shop.get._keys.living()} == {"one", "three"}
    assert shop.get("one").work()
    assert len(shop.made) == 3
    eventually(lambda: [client.closed for client in shop.made] == [0, 1, 0])


def test_evicted_and_held(limited, eventually):
    """A live reference of an evicted key works on, and a call for its key returns it."""
    shop = Shop(max_keys=1, grace=0.0)
    one = shop.get("one")
    assert one.work()
    for number in range(20):
        assert shop.get(f"other {number}").work()
    gc.collect()
    assert one.work()
    assert shop.get("one") is one
    assert shop.get.of("one").health().state == "ready"
    assert [client.key[0] for client in shop.made].count("one") == 1
    assert shop.made[0].closed == 0
    del one
    shop.get("last")
    gc.collect()
    eventually(lambda: [client.closed for client in shop.made] == [1] * 21)


def test_evicted_and_overridden():
    """An override lasts until it ends, however many other keys are used."""
    shop = Shop(max_keys=1)
    with shop.get.of("one").override(Client("fake")):
        for number in range(5):
            shop.get(f"other {number}")
        gc.collect()
        assert shop.get("one").work() == ("fake",)


def test_an_evicted_key_is_not_recovered(clock, limited, eventually):
    """The recovery of a key ends with its last reference."""
    # with a timeout: else the traceback of what failed leads to the caller, and to what that one held
    shop = Shop(max_keys=1, timeout=30.0, recovery=lazyguard.Recovery(initial=1.0, maximum=1.0))
    shop.fate["one"] = OSError()
    with pytest.raises(errors.ResolutionError):
        shop.get("one").work()
    (watched,) = [cell for cell, _ in shop.get._keys.living()]
    eventually(lambda: watched.recovery_run is not None)
    shop.get("two")
    gc.collect()
    assert watched.recovery_run is None
    watched.recover()
    assert watched.recovery_run is None


def test_a_race_for_one_key(race):
    """However many threads call at once, there is one live reference and one object, and health shows one."""
    shop = Shop(timeout=30.0)
    answers = race(*[lambda: shop.get("one").work() and shop.get("one")] * 16)
    assert all(answer is shop.get("one") for answer in answers)
    assert len(shop.made) == 1
    (cell,) = [cell for cell, _ in shop.get._keys.living()]
    assert [known for known, _ in declaration.cells()].count(cell) == 1


class Watched:
    """A key that lets something happen when it is hashed for the n-th time from now."""

    def __init__(self) -> None:
        self.at, self.between = 0, None

    def __hash__(self) -> int:
        self.at -= 1
        if self.at == 0 and self.between is not None:
            self.between()
        return 1


@pytest.mark.parametrize("at", range(1, 8))
def test_a_key_that_goes_while_another_thread_begins_it_anew(limited, at):
    """Wherever the other comes, what it was given stays the one object of its key."""
    shop, key = Shop(max_keys=1), Watched()
    old = shop.get(key)
    shop.get("another")  # evicts it: only `old` keeps it
    given = []

    def elsewhere() -> None:
        thread = threading.Thread(target=lambda: given.append(shop.get(key)))
        thread.start()
        thread.join(30)

    key.at, key.between = at, elsewhere
    del old
    gc.collect()
    now = shop.get(key)
    assert all(one is now for one in given)
    assert shop.get(key) is now


def test_a_race_within_the_bound(limited):
    """While many threads use more keys than are kept, each gets the object of its own key."""
    shop = Shop(max_keys=3)
    told: list[object] = []

    def use(seed: int) -> None:
        try:
            for number in range(150):
                tenant = str((number * seed) % 7)
                live = shop.get(tenant)
                if live.work()[0] != tenant or shop.get(tenant) is not live:
                    told.append(tenant)
        except BaseException as error:
            told.append(error)

    threads = [threading.Thread(target=use, args=(seed,)) for seed in (1, 2, 3, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(50)
    assert not told
    kept = [entry for entry in shop.get._keys._entries.values() if entry.kept is not None]
    assert len(kept) <= 3


def test_a_key_that_is_dropped(limited):
    """A service and its keys leave nothing behind when their last references are gone."""
    gc.collect()
    shop = Shop()
    assert shop.get("one").work()
    name = shop.get.health().name

    def checks() -> int:  # not all of them: services of other tests may go meanwhile
        return [check.name for check in lazyguard.health().checks].count(name)

    before = checks()
    assert before >= 1
    del shop
    gc.collect()
    assert checks() == before - 1


def test_an_async_factory():
    """`aget` takes the arguments and awaits that key's object."""
    made: list[str] = []

    @lazyguard.service()
    async def get(tenant: str, *, region: str = "eu") -> Client:
        await asyncio.sleep(0)
        made.append(tenant)
        return Client(tenant, region)

    async def use() -> None:
        one, again, two = await asyncio.gather(get.aget("one"), get.aget(tenant="one"), get.aget("two", region="us"))
        assert one is again
        assert (one.work(), two.work()) == (("one", "eu"), ("two", "us"))
        assert get("one") is one

    asyncio.run(use())
    assert sorted(made) == ["one", "two"]


def test_in_a_class_body():
    """A factory without `self` can be declared in a class, and is reached through the class and its instances."""

    class Container:
        @lazyguard.service()
        def client() -> Client:
            return Client("of the class")

    assert Container.client() is Container().client()
    assert Container.client().work() == ("of the class",)


def test_max_keys_without_keys():
    """`max_keys` without parameters is refused."""
    with pytest.raises(errors.ConfigurationError, match=r"max_keys=3 of .*no parameters"):
        lazyguard.service(max_keys=3)(lambda: 1)


def test_arguments_that_cannot_be_compared():
    """The error of a failing comparison has its type and place; its text is in the cause alone."""

    class Tenant:
        def __hash__(self) -> int:
            return 1

        def __eq__(self, other: object) -> bool:
            raise TypeError("secret")

    @lazyguard.service()
    def get(tenant: Tenant) -> list[Tenant]:
        return [tenant]

    kept = get(Tenant())
    with pytest.raises(
        lazyguard.errors.UsageError, match=r"comparing them raised TypeError at .*test_keys\.py"
    ) as caught:
        get(Tenant())
    assert "secret" not in str(caught.value)
    assert "secret" in str(caught.value.__cause__)
    assert lazyguard.is_resolved(kept) is False


@pytest.mark.skipif(sys.version_info < (3, 14), reason="annotations are evaluated where the function is")
def test_what_an_annotation_names_need_not_be_there():
    """As where it is imported for checkers only: keys by name, and `aget`, ask for nothing that is not there."""
    names: dict = {}
    exec("def make(n: Missing) -> list[Missing]: return [n]", names)
    get = lazyguard.service()(names["make"])
    assert list(get(n=1)) == [1]
    assert asyncio.run(get.aget(2)) == [2]
    assert list(inspect.signature(get).parameters) == ["n"]
