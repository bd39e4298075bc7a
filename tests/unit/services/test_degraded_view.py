"""A live reference while a fallback is served: nothing is swallowed, and answers are counted."""

from __future__ import annotations

import asyncio
import inspect
import logging

import pytest

import lazyguard
from lazyguard import errors


class Store:
    """A real object with nearly all special methods."""

    def get(self, key: str) -> str: ...

    def __len__(self) -> int: ...
    def __iter__(self): ...
    def __getitem__(self, key: str) -> str: ...
    def __contains__(self, key: str) -> bool: ...
    def __enter__(self) -> Store: ...
    def __exit__(self, *_: object) -> None: ...
    async def __aenter__(self) -> Store: ...
    async def __aexit__(self, *_: object) -> None: ...
    def __call__(self) -> str: ...
    def __add__(self, other: object) -> Store: ...
    def __await__(self): ...


class Less:
    """A fallback with methods of each kind, some of which fail."""

    answer = "attribute"

    def get(self, key: str = "key") -> str:
        return f"no {key}"

    async def aget(self) -> str:
        await asyncio.sleep(0)
        return "later"

    def broken(self) -> str:
        return self.no_such_name

    async def abroken(self) -> str:
        raise KeyError

    @property
    def failing(self) -> str:
        raise AttributeError("its own")

    @property
    def misspelt(self) -> str:
        return self.misspelled

    @staticmethod
    def static() -> str:
        return "static"

    def __reversed__(self):
        return iter("ba")


def service(fallback: object, **options):
    """Return a degraded service of a Store, which serves the fallback."""

    @lazyguard.service(**{"name": "store", "recovery": None, **options})
    def get() -> Store:
        raise ConnectionError

    get.fallback(lambda: fallback)
    return get


@pytest.fixture
def svc():
    """Return a live reference that serves a Less."""
    reference = service(Less())()
    assert reference.get() == "no key"
    return reference


@pytest.mark.parametrize(
    ("name", "use"),
    [
        ("__len__", len),
        ("__iter__", list),
        ("__getitem__", lambda svc: svc["x"]),
        ("__contains__", lambda svc: "x" in svc),
        ("__enter__", lambda svc: entered(svc)),
        ("__call__", lambda svc: svc()),
        ("__add__", lambda svc: svc + 1),
        ("__aenter__", lambda svc: asyncio.run(aentered(svc))),
        ("__await__", lambda svc: asyncio.run(awaited(svc))),
    ],
)
def test_special_methods_that_it_lacks(svc, name, use):
    """A special method that the fallback lacks raises ServiceUnavailable, not a TypeError about an unknown type."""
    with pytest.raises(errors.ServiceUnavailable, match=rf"store, .* does not implement '{name}'"):
        use(svc)
    with lazyguard.fallbacks("deny"), pytest.raises(errors.ServiceUnavailable, match="forbids"):
        use(svc)


def entered(svc) -> None:
    with svc:
        pass


async def aentered(svc) -> None:
    async with svc:
        pass


async def awaited(svc) -> None:
    await svc


def test_special_methods_that_neither_has(svc):
    """Special methods that neither has raise TypeErrors as ever."""
    for use in (lambda: svc - 1, lambda: next(svc), lambda: int(svc)):
        with pytest.raises(TypeError):
            use()


def test_special_methods_of_its_own(svc):
    """Special methods that only the fallback has work."""
    assert list(reversed(svc)) == ["b", "a"]


def test_missing_methods_after_the_recovery():
    """After the recovery the reference has the real object's special methods again."""
    away = [OSError()]

    @lazyguard.service(name="store", recovery=None)
    def get() -> list[int]:
        if away:
            raise away.pop()
        return [1, 2]

    get.fallback(lambda: Less())
    with pytest.raises(errors.ServiceUnavailable):
        len(get())
    get.require_real()
    assert len(get()) == 2


@pytest.mark.parametrize(
    ("use", "text"),
    [
        (lambda svc: svc.broken(), "'no_such_name'"),
        (lambda svc: svc.failing, "^its own$"),
        (lambda svc: svc.misspelt, "'misspelled'"),
    ],
)
def test_its_own_attribute_errors(svc, use, text):
    """An AttributeError from inside the fallback passes untouched: no name is missing."""
    with pytest.raises(AttributeError, match=text) as caught:
        use(svc)
    assert not isinstance(caught.value, errors.LazyguardError)


class Delegating:
    """A fallback that answers by `__getattr__`, which can fail."""

    def __getattr__(self, name: str) -> object:
        if name == "bug":
            return object().nothing
        if name == "known":
            return 42
        raise AttributeError(name)


def test_a_fallback_with_getattr():
    """A name that the `__getattr__` does not have is missing; an error inside it passes untouched."""
    svc = service(Delegating())()
    assert svc.known == 42
    with pytest.raises(errors.ServiceUnavailable, match="does not implement 'unknown'"):
        svc.unknown
    with pytest.raises(AttributeError, match="nothing"):
        svc.bug


@pytest.mark.parametrize("change", [lambda svc: setattr(svc, "limit", 3), lambda svc: delattr(svc, "answer")])
def test_nothing_is_set(svc, change):
    """Setting an attribute on a fallback is refused with its name: it would be lost at the recovery."""
    with pytest.raises(errors.ServiceUnavailable, match="would be lost at the recovery: '(limit|answer)'"):
        change(svc)
    assert svc.answer == "attribute"


def test_introspection_is_no_use(svc, caplog):
    """Where fallbacks are denied, `repr`, logging and `isinstance` still work."""
    with lazyguard.fallbacks("deny"):
        assert repr(svc).startswith("<tests.unit.services.test_degraded_view.Less")
        assert "get" in dir(svc)
        assert isinstance(svc, Less)
        assert svc.__doc__ == Less.__doc__
        logging.getLogger("test").warning("%r", svc)


# what is counted


def test_what_is_counted():
    """Each answer is counted by name: methods, special methods, attributes; neither refusals nor failures."""
    get = service(Less())
    svc = get()
    assert get.health().answered == {}
    for _ in range(3):
        svc.get("x")
    kept = svc.get
    assert (kept(), kept("y")) == ("no key", "no y")
    assert (svc.answer, svc.static(), asyncio.run(svc.aget())) == ("attribute", "static", "later")
    list(reversed(svc))
    for fails in (svc.broken, lambda: svc.missing, lambda: len(svc), lambda: asyncio.run(svc.abroken())):
        with pytest.raises(Exception):
            fails()
    with lazyguard.fallbacks("deny"), pytest.raises(errors.ServiceUnavailable):
        svc.get()
    expected = {"get": 5, "answer": 1, "static": 1, "aget": 1, "__reversed__": 1}
    assert get.health().answered == expected
    assert get.health().to_dict()["answeredByFallback"] == expected


def test_the_count_stays(plant):
    """The count lasts for the program's life, through recovery, reset and the next failure."""
    plant.fate = OSError()
    get = lazyguard.service(name="db", recovery=None)(plant.make)
    get.fallback(lambda: Less())
    get().get()
    plant.fate = None
    get.require_real()
    get().work()
    assert get.health().answered == {"get": 1}
    plant.fate = OSError()
    get.reset()
    get().get()
    assert get.health().answered == {"get": 2}


def test_the_count_of_a_child(in_child):
    """A forked child has counts of its own."""
    get = service(Less())
    get().get()

    def child() -> None:
        assert get.health().answered == {}
        get().get()
        assert get.health().answered == {"get": 1}

    assert in_child(child) == 0
    assert get.health().answered == {"get": 1}


def test_so_many_names():
    """A fallback that answers every name does not let the counts grow without end."""

    class Everything:
        def __getattr__(self, name: str) -> str:
            return name

    get = service(Everything())
    for number in range(100):
        assert getattr(get(), f"n{number}") == f"n{number}"
    answered = get.health().answered
    assert len(answered) == 33
    assert answered["(others)"] == 68
    assert sum(answered.values()) == 100


def test_counted_methods_look_like_themselves(svc):
    """The counting wrapper looks like the method."""
    assert inspect.iscoroutinefunction(svc.aget)
    assert inspect.signature(svc.get) == inspect.signature(Less().get)
    assert svc.get.__name__ == "get"


def test_a_reminder_without_a_recovery(clock, story):
    """Without a recovery the use of a fallback emits a reminder every five minutes, not at each call."""
    get = service(Less())
    for _ in range(5):
        get().get()
    clock.advance(301.0)
    for _ in range(5):
        get().get()
    clock.advance(301.0)
    get().get()
    assert story.kinds("store") == ["failed", "degraded", "reminder", "reminder"]
    assert [round(event.seconds) for event in story.events if event.kind == "reminder"] == [301, 602]
