"""`mock_service`: a fallback that answers what `returns` has, takes what the class takes, and no more."""

from __future__ import annotations

import asyncio
import gc
import inspect
import threading
import weakref
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Iterator
from typing import Protocol, Union, runtime_checkable

import pytest

import lazyguard
import lazyguard.testing
from lazyguard import errors


class Service:
    """A class with members of each kind, none of which must run."""

    version = "1"
    created: list[object] = []

    def __init__(self, url: str) -> None:
        self.url = url
        self.created.append(self)

    def __init_subclass__(cls) -> None:
        raise AssertionError("a subclass was made")

    def status(self) -> str:
        raise AssertionError("the real code ran")

    def send(self, text: str, /, to: str, *, retries: int = 0) -> str:
        """Send it."""
        raise AssertionError("the real code ran")

    async def fetch(self, key: str) -> str:
        raise AssertionError("the real code ran")

    def pages(self, size: int = 10) -> Iterator[str]:
        yield "real"

    async def stream(self) -> AsyncIterator[str]:
        yield "real"

    @property
    def size(self) -> int:
        raise AssertionError("the real code ran")

    @classmethod
    def from_url(cls, url: str) -> Service:
        raise AssertionError("the real code ran")

    @staticmethod
    def parse(text: str) -> str:
        raise AssertionError("the real code ran")

    def __len__(self) -> int:
        raise AssertionError("the real code ran")

    def __iter__(self) -> Iterator[str]:
        yield "real"

    def __getitem__(self, key: str) -> str:
        raise AssertionError("the real code ran")

    def __enter__(self) -> Service:
        raise AssertionError("the real code ran")

    def __exit__(self, *_: object) -> None:
        raise AssertionError("the real code ran")

    async def __aenter__(self) -> Service:
        raise AssertionError("the real code ran")

    async def __aexit__(self, *_: object) -> None:
        raise AssertionError("the real code ran")

    def __call__(self, text: str) -> str:
        raise AssertionError("the real code ran")

    def __await__(self):
        raise AssertionError("the real code ran")

    async def __anext__(self) -> str:
        raise AssertionError("the real code ran")

    def __aiter__(self) -> AsyncIterator[str]:
        raise AssertionError("the real code ran")

    def _own(self) -> None: ...


@runtime_checkable
class Port(Protocol):
    name: str

    def send(self, text: str) -> None: ...
    async def fetch(self) -> str: ...


class Plan(Protocol):
    def send(self, text: str) -> None: ...


class Abstract(ABC):
    @abstractmethod
    def send(self, text: str) -> str: ...


async def _collected(things) -> list[object]:
    return [thing async for thing in things]


def test_what_is_told_is_answered():
    """Methods of each kind, attributes and special methods answer with the value."""
    value = object()
    service = lazyguard.mock_service(
        Service,
        returns={
            "status": value,
            "fetch": "fetched",
            "pages": ["a", "b"],
            "stream": ["c"],
            "size": 3,
            "version": "2",
            "url": "nowhere",
            "from_url": value,
            "parse": "parsed",
            "__len__": 7,
            "__iter__": ["d"],
            "__getitem__": "item",
            "__call__": "called",
            "__await__": "awaited",
            "__aiter__": ["e"],
        },
    )
    assert service.status() is value
    assert asyncio.run(service.fetch("key")) == "fetched"
    assert list(service.pages(3)) == list(service.pages()) == ["a", "b"]
    assert asyncio.run(_collected(service.stream())) == ["c"]
    assert (service.size, service.version, service.url) == (3, "2", "nowhere")
    assert service.from_url("x") is value
    assert service.parse("x") == "parsed"
    assert (len(service), list(service), service["x"], service("x")) == (7, ["d"], "item", "called")
    assert asyncio.run(_awaited(service)) == "awaited"
    assert asyncio.run(_collected(service)) == ["e"]
    assert not Service.created


async def _awaited(thing) -> object:
    return await thing


async def _entered(thing) -> object:
    async with thing as entered:
        return entered


@pytest.mark.parametrize(
    ("name", "use"),
    [
        ("status", lambda service: service.status()),
        ("fetch", lambda service: asyncio.run(service.fetch("x"))),
        ("pages", lambda service: service.pages()),
        ("stream", lambda service: service.stream()),
        ("size", lambda service: service.size),
        ("version", lambda service: service.version),
        ("url", lambda service: service.url),
        ("from_url", lambda service: service.from_url("x")),
        ("parse", lambda service: service.parse("x")),
        ("__len__", len),
        ("__len__", bool),
        ("__iter__", list),
        ("__getitem__", lambda service: service["x"]),
        ("__enter__", lambda service: service.__enter__()),
        ("__aenter__", lambda service: asyncio.run(_entered(service))),
        ("__call__", lambda service: service("x")),
        ("__await__", lambda service: asyncio.run(_awaited(service))),
        ("__aiter__", lambda service: asyncio.run(_collected(service))),
    ],
)
def test_what_is_not_told_is_not_to_be_had(name, use):
    """The error names the member, what the fallback answers, and where it was made."""
    service = lazyguard.mock_service(Service, returns={"send": 1})
    with pytest.raises(errors.ServiceUnavailable) as caught:
        use(service)
    assert str(caught.value).startswith(f"{name} is not available from the fallback for Service that answers send, ")
    assert f"made at {__file__}:" in str(caught.value)


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda service: service.send(), "missing required arguments: 'text', 'to'"),
        (lambda service: service.send("x"), "missing required arguments: 'to'"),
        (lambda service: service.send("x", "y", "z"), "takes 2 positional arguments but 3 were given"),
        (lambda service: service.send("x", "y", to="z"), "got multiple values for argument 'to'"),
        (lambda service: service.send(text="x", to="z"), "got an unexpected keyword argument 'text'"),
        (lambda service: service.send("x", "y", other=1), "got an unexpected keyword argument 'other'"),
        (lambda service: service.from_url(), "missing required arguments: 'url'"),
        (lambda service: service.parse("x", "y"), "takes 1 positional arguments but 2 were given"),
        (lambda service: service.pages(1, 2), "takes 1 positional arguments but 2 were given"),
        (lambda service: asyncio.run(service.fetch()), "missing required arguments: 'key'"),
        (lambda service: service(), "missing required arguments: 'text'"),
    ],
)
@pytest.mark.parametrize("with_an_answer", [False, True])
def test_calls_that_the_class_would_not_take(call, told, with_an_answer):
    """Calls that the class would not take raise TypeErrors, with any answer."""
    names = ("send", "from_url", "parse", "pages", "fetch", "__call__")
    service = lazyguard.mock_service(Service, returns=dict.fromkeys(names, ()) if with_an_answer else {})
    with pytest.raises(errors.UsageError) as caught:
        call(service)
    assert isinstance(caught.value, TypeError)
    assert str(caught.value).startswith("Service.")
    assert str(caught.value).endswith(told)


def test_functions_make_the_answer():
    """An answer that is a def, a lambda or a method is called with the arguments; an async one is awaited."""

    async def fetch(key: str) -> str:
        await asyncio.sleep(0)
        return key.upper()

    def refuse(*_: object, **__: object) -> str:
        raise ConnectionRefusedError

    service = lazyguard.mock_service(
        Service,
        returns={
            "send": refuse,
            "fetch": fetch,
            "pages": lambda size=10: ["page"] * size,
            "__getitem__": "abc".index,
            "status": lambda: object(),
            "size": len,
            "parse": int,
        },
    )
    with pytest.raises(ConnectionRefusedError):
        service.send("x", "y", retries=2)
    assert asyncio.run(service.fetch("key")) == "KEY"
    assert list(service.pages(2)) == ["page", "page"]
    assert service["b"] == 1
    assert service.status() is not service.status()
    assert service.size is len, "what is read is the value itself"
    assert service.parse("3") is int, "a class is an answer like another"


def test_with_blocks():
    """If `__enter__` has an answer, `__exit__` needs none."""
    service = lazyguard.mock_service(Service, returns={"__enter__": "in", "__aenter__": "in too"})
    with service as entered:
        assert entered == "in"
    assert asyncio.run(_entered(service)) == "in too"
    with pytest.raises(KeyError), service:
        raise KeyError


@pytest.mark.parametrize("kind", [Service, Port, Abstract])
def test_isinstance(kind):
    """`isinstance` takes it for an object of the class, the ABC or the runtime protocol."""
    service = lazyguard.mock_service(kind, returns={"name": "x"} if kind is Port else {})
    assert isinstance(service, kind)
    assert service.__class__ is kind
    assert not isinstance(service, dict)


def test_a_protocol():
    """A Protocol's annotated names are attributes; it need not be a runtime protocol."""
    port = lazyguard.mock_service(Port, returns={"name": "x", "fetch": "fetched"})
    assert (port.name, asyncio.run(port.fetch())) == ("x", "fetched")
    with pytest.raises(errors.ServiceUnavailable):
        port.send("x")
    lazyguard.testing.assert_conforms(port, Port)
    assert lazyguard.mock_service(Plan, returns={"send": None}).send("x") is None


@pytest.mark.parametrize("kind", [Service, Port, Plan, Abstract, dict])
def test_it_conforms(kind):
    """The fallback conforms to its class."""
    lazyguard.testing.assert_conforms(lazyguard.mock_service(kind), kind)


def test_it_looks_like_the_class():
    """Signatures, docstrings and async functions are those of the class; the repr says that it is a fallback."""
    service = lazyguard.mock_service(Service, returns={"status": "x"})
    assert inspect.signature(service.send) == inspect.signature(Service("u").send)
    assert inspect.signature(service.parse) == inspect.signature(Service.parse)
    assert service.send.__doc__ == "Send it."
    assert inspect.iscoroutinefunction(service.fetch)
    assert callable(service)
    assert repr(service).startswith("<fallback for Service that answers status, made at ")
    assert service.__doc__ == Service.__doc__
    Service.created.clear()


@pytest.mark.parametrize(
    ("name", "near"),
    [("statsu", ": did you mean 'status'?"), ("__lne__", ": did you mean '__len__'?"), ("zzz", "."), (3, ".")],
)
def test_names_that_the_class_lacks(name, near):
    """Unknown names are refused at once, with the nearest name."""
    with pytest.raises(errors.ConfigurationError) as caught:
        lazyguard.mock_service(Service, returns={name: 1})
    assert f"returns={{{name!r}: ...}} ({__file__}:" in str(caught.value)
    assert str(caught.value).endswith(f"names no member of Service{near}")


@pytest.mark.parametrize("name", ["statsu", "zzz", "_own", "__no_such__"])
def test_asking_for_what_the_class_lacks(name):
    """A name that the class lacks raises AttributeError, so that `hasattr` is right."""
    service = lazyguard.mock_service(Service)
    assert not hasattr(service, name)
    with pytest.raises(AttributeError, match=f"'Service' object has no attribute '{name}'"):
        getattr(service, name)


def test_nothing_is_set():
    """Setting and deleting attributes is refused, since it would be lost."""
    service = lazyguard.mock_service(Service, returns={"version": "2"})
    for change in (lambda: setattr(service, "version", "3"), lambda: delattr(service, "version")):
        with pytest.raises(errors.ServiceUnavailable, match="version cannot be set or deleted"):
            change()
    assert service.version == "2"


@pytest.mark.parametrize("kind", [3, "Service", Service.status, None])
def test_what_is_no_class(kind):
    """Anything but a class is refused, with what to give."""
    with pytest.raises(errors.UsageError, match="takes a class, an ABC or a Protocol"):
        lazyguard.mock_service(kind)


def test_what_every_object_has():
    """Comparison, hash and str are those of `object`, unless `returns` has them."""
    service = lazyguard.mock_service(Service)
    assert service == service
    assert service != lazyguard.mock_service(Service)
    assert {service: 1}[service] == 1
    told = lazyguard.mock_service(Service, returns={"__eq__": True, "__hash__": 3, "__str__": "told"})
    assert told == 5
    assert (hash(told), str(told)) == (3, "told")


def test_as_a_fallback(plant, story):
    """It can be a fallback in production: it is no mock, and conforms."""
    plant.fate = OSError()
    kind = plant.make.__globals__["Thing"]
    get = lazyguard.service(name="db", recovery=None)(plant.make)
    get.fallback(lambda: lazyguard.mock_service(kind, returns={"work": "offline"}))
    with lazyguard.testing.set_testing(False):
        assert get().work() == "offline"
    with pytest.raises(errors.ServiceUnavailable, match="awork is not available"):
        asyncio.run(get().awork())
    with pytest.raises(errors.ServiceUnavailable, match="__len__ is not available"):
        len(get())
    assert isinstance(get(), kind)
    assert get.health().answered == {"work": 1}
    assert "differs" not in [event.kind for event in story.events]


def test_many_threads(race):
    """Calls share no state."""
    service = lazyguard.mock_service(Service, returns={"send": lambda text, to, retries=0: (text, to)})
    met = threading.Barrier(4)

    def use(name: str):
        met.wait(30)
        return {service.send(name, str(number)) for number in range(200)}

    for name, answers in zip("abcd", race(*[lambda name=name: use(name) for name in "abcd"]), strict=True):
        assert answers == {(name, str(number)) for number in range(200)}


class Async:
    """As a client of the field: plain methods that return awaitables, by annotations of each kind."""

    async def __aenter__(self) -> Async: ...
    async def __aexit__(self, *_: object) -> None: ...

    def sure(self, key: str) -> Awaitable[str]: ...
    def future(self) -> asyncio.Future[int]: ...
    def either(self, key: str) -> str | Awaitable[str | None] | None: ...
    def named(self) -> EitherT: ...
    def plain(self) -> str: ...
    def several(self) -> list[Awaitable[str]]: ...


class Sync:
    """The sync twin, of the same annotations."""

    def __enter__(self) -> Sync: ...
    def __exit__(self, *_: object) -> None: ...

    def sure(self, key: str) -> Awaitable[str]: ...
    def either(self, key: str) -> str | Awaitable[str | None] | None: ...


EitherT = Union[Awaitable[int], int]  # noqa: UP007


def test_methods_that_return_awaitables():
    """By what the annotation says, and where that leaves it open by how the class is entered."""
    made = lazyguard.mock_service(
        Async,
        returns={"sure": "s", "future": 1, "either": lambda key: key, "named": 2, "plain": "p"},
    )

    async def main() -> tuple[object, ...]:
        return await made.sure("k"), await made.future(), await made.either("k"), await made.named(), made.plain()

    assert asyncio.run(main()) == ("s", 1, "k", 2, "p")
    with pytest.raises(errors.UsageError, match="missing required arguments: 'key'"):
        asyncio.run(awaiting(made.sure))
    with pytest.raises(errors.ServiceUnavailable):
        asyncio.run(awaiting(lazyguard.mock_service(Async).sure, "k"))
    twin = lazyguard.mock_service(Sync, returns={"sure": "s", "either": "e"})
    assert twin.either("k") == "e"
    assert inspect.isawaitable(pending := twin.sure("k"))
    assert asyncio.run(awaiting(lambda: pending)) == "s"


async def awaiting(method, *arguments: object) -> object:
    return await method(*arguments)


def test_the_class_is_made_once():
    """All fallbacks for a class have one class of theirs, whatever they answer; it goes when that goes."""

    class Local:
        def work(self) -> str: ...

        def other(self) -> str: ...

    first = lazyguard.mock_service(Local, returns={"work": "a"})
    second = lazyguard.mock_service(Local, returns={"other": "b"})
    assert type(first) is type(second)
    assert (first.work(), second.other()) == ("a", "b")
    with pytest.raises(errors.ServiceUnavailable):
        second.work()
    gone = weakref.ref(Local)
    del first, second, Local
    gc.collect()
    assert gone() is None


def test_a_fallback_for_another_class_is_compared():
    """What that class lacks, or has otherwise, is told as of any fallback."""

    class Other:
        def status(self) -> str: ...

        def send(self) -> str: ...

    with pytest.raises(errors.ConformityError, match=r"send takes \(\), but the real one .*fetch.*missing"):
        lazyguard.testing.assert_conforms(lazyguard.mock_service(Other), Service)
