"""What a live reference shows: the real object, the fallback, and the way from one to the other."""

from __future__ import annotations

import asyncio
import logging
import threading

import pytest

import lazyguard
from lazyguard import errors


class Bag:
    """A container with a with block and an async one."""

    def __init__(self, *items: str) -> None:
        self.items = list(items)
        self.entered: list[str] = []

    def __iter__(self):
        yield from self.items

    def __getitem__(self, index: int) -> str:
        return self.items[index]

    def __enter__(self) -> Bag:
        self.entered.append("in")
        return self

    def __exit__(self, *_: object) -> None:
        self.entered.append("out")

    async def __aenter__(self) -> Bag:
        return self.__enter__()

    async def __aexit__(self, *_: object) -> None:
        self.__exit__()

    def boom(self) -> None:
        raise ConnectionError


@pytest.fixture(params=["plain", "watched", "degraded"])
def shown(request):
    """Return a live reference that shows a Bag in each of its three ways, and the Bag."""
    bag = Bag("a", "b")
    failures = (ConnectionError,) if request.param == "watched" else ()

    @lazyguard.service(name="bag", failures=failures, recovery=None)
    def get() -> Bag:
        if request.param == "degraded":
            raise OSError
        return bag

    get.fallback(lambda: bag)
    lazyguard.is_fallback(get) or list(get())
    assert lazyguard.is_fallback(get) == (request.param == "degraded")
    return get(), bag


def test_it_is_like_its_target(shown):
    """Attributes, special methods, classes and repr are the target's, whichever way it is shown."""
    svc, bag = shown
    assert list(svc) == ["a", "b"]
    assert svc[1] == "b"
    assert isinstance(svc, Bag)
    assert svc.items is bag.items
    assert repr(svc) == repr(bag)
    assert dir(svc) == dir(bag)
    assert svc.__doc__ == Bag.__doc__
    if lazyguard.is_fallback(svc):
        with pytest.raises(errors.ServiceUnavailable, match="would be lost"):
            svc.more = 3
    else:
        svc.more = 3
        assert bag.more == 3
        del svc.more
    assert not hasattr(bag, "more")
    assert svc == svc
    assert svc == bag
    assert not callable(svc)
    with pytest.raises(TypeError):
        len(svc)
    with pytest.raises(ConnectionError):
        svc.boom()


def test_with_blocks(shown):
    """A with block enters and leaves one object, sync and async."""
    svc, bag = shown
    with svc as entered:
        assert entered is bag

    async def use() -> None:
        async with svc as entered:
            assert entered is bag

    asyncio.run(use())
    assert bag.entered == ["in", "out"] * 2


def test_a_block_and_an_iterator_keep_their_target(plant, clock, story, limited):
    """Both end on the object that they began with, though the service recovers meanwhile."""
    real, fallback = Bag("real"), Bag("1", "2")
    away = [OSError()]

    @lazyguard.service(name="db", recovery=lazyguard.Recovery(initial=1.0))
    def get() -> Bag:
        if away:
            raise away.pop()
        return real

    get.fallback(lambda: fallback)
    svc = get()
    with svc as entered:
        iterator = iter(svc)
        assert next(iterator) == "1"
        clock.advance(1.0)
        story.until("failed", "degraded", "recovered")
        assert list(svc) == ["real"]
        assert list(iterator) == ["2"]
        assert entered is fallback
    assert list(svc) == ["real"]


def test_swaps_under_load(limited):
    """While many threads call it, it goes over from one object to the next without an error of its own."""
    made: list[Bag] = []

    @lazyguard.service(name="bag", failures=(ConnectionError,), recovery=None)
    def get() -> Bag:
        made.append(Bag(str(len(made))))
        return made[-1]

    svc = get()
    told: list[object] = []
    over = threading.Event()

    def use() -> None:
        try:
            while not over.is_set():
                assert svc[0].isdigit()
                assert isinstance(svc.items, list)
                assert len(list(svc)) == 1
        except BaseException as error:
            told.append(error)

    threads = [threading.Thread(target=use) for _ in range(4)]
    for thread in threads:
        thread.start()
    for number in range(200):
        if number % 2:
            get.reset()
        else:
            with get.override(Bag("7")):
                pass
    over.set()
    for thread in threads:
        thread.join(30)
    assert not told
    assert 1 <= len(made) <= 101


def test_each_state_has_its_view(plant):
    """Whoever may not be served the fallback is told at each use, by special methods too."""
    get = lazyguard.service(name="db", recovery=None)(lambda: plant.make())
    get.fallback(lambda: Bag("x"))
    plant.fate = OSError()
    svc = get()
    assert svc[0] == "x"
    with lazyguard.fallbacks("deny"):
        for use in (lambda: svc[0], lambda: svc.items, lambda: list(svc), lambda: setattr(svc, "x", 1)):
            with pytest.raises(errors.ServiceUnavailable):
                use()
        assert isinstance(svc, Bag)  # looking is no use


def test_one_line_a_transition(plant, clock, story, caplog, limited):
    """The log has one line that it is away, and one that it is back and after how long, whatever was called."""
    caplog.set_level(logging.INFO, "lazyguard")
    plant.fate = OSError("secret")
    get = lazyguard.service(name="db", recovery=lazyguard.Recovery(initial=1.0))(lambda: plant.make())
    get.fallback(lambda: Bag("x"))
    for _ in range(50):
        assert get()[0] == "x"
        with lazyguard.fallbacks("deny"), pytest.raises(errors.ServiceUnavailable):
            get()[0]
    plant.fate = None
    clock.advance(1.0)
    story.until("failed", "degraded", "recovered")
    for _ in range(50):
        assert get().work() == "done"
    lines = [(record.levelname, record.message) for record in caplog.records if record.message.startswith("db ")]
    assert [level for level, _ in lines] == ["WARNING", "WARNING"]
    for (_, line), words in zip(lines, ["degraded (", "ready again after 1.0 s (recovered"], strict=True):
        assert line.startswith(f"db is {words}")
        assert "secret" not in line


def test_no_line_a_call_without_a_fallback(plant, caplog):
    """A service that stays failed is told of once, not at every call that tries it again."""
    plant.fate = OSError()
    get = lazyguard.service(name="tried", recovery=None)(plant.make)
    for _ in range(20):
        with pytest.raises(errors.ResolutionError):
            get().work()
    assert plant.runs == 20
    assert len([record for record in caplog.records if record.message.startswith("tried ")]) == 1


def test_no_line_a_try(plant, clock, story, eventually, caplog, limited):
    """A recovery that goes on failing is no transition of a service that has failed."""
    plant.fate = OSError()
    # a factory of its own: what fails at the same place as another test's is not logged again
    get = lazyguard.service(name="db", recovery=lazyguard.Recovery(initial=1.0, maximum=1.0))(lambda: plant.make())
    with pytest.raises(errors.ResolutionError):
        get().work()
    for number in range(2, 6):
        clock.advance(1.0)
        eventually(lambda number=number: plant.runs >= number or clock.advance(1.0))
        eventually(lambda: get.health().running == 0)
    # one whose thread was slow to begin is told as abandoned, since the clock went on
    lines = [record.message for record in caplog.records if record.message.startswith("db is failed (")]
    assert len([line for line in lines if "(stuck" not in line]) == 1


def test_a_reminder(plant, monkeypatch, caplog):
    """Now and then a failure that goes on is told again; and a new one after a success at once."""
    get = lazyguard.service(name="db", recovery=None)(plant.make)

    def use(fate: BaseException | None) -> int:
        plant.fate = fate
        get.reset()
        caplog.clear()
        for _ in range(3):
            with pytest.raises(errors.ResolutionError):
                get().work()
        return len([record for record in caplog.records if record.message.startswith("db ")])

    assert use(OSError()) == 1
    plant.fate = None
    assert get().work() == "done"
    assert use(OSError()) == 1
    monkeypatch.setattr("lazyguard.events._REMIND", 0.0)
    assert use(OSError()) == 3
