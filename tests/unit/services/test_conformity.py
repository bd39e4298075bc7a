"""Conformity: each way in which a fallback can differ from the real object is reported once, and rightly."""

from __future__ import annotations

import functools
import subprocess
import sys
import warnings
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Iterator
from contextlib import contextmanager
from typing import Any, Generic, Protocol, TypeVar

import pytest

import lazyguard
from lazyguard import errors
from lazyguard._services import conformity

T = TypeVar("T")


class Queue:
    """A real object with members of each kind."""

    limit: int = 10
    name: str

    def __init__(self) -> None:
        self.private = 1

    def put(self, item: str, *, priority: int = 0) -> None: ...
    def take(self, count: int = 1) -> list[str]: ...
    async def wait(self) -> str: ...
    def items(self) -> Iterator[str]:
        yield ""

    async def stream(self) -> AsyncIterator[str]:
        yield ""

    @property
    def size(self) -> int: ...
    @classmethod
    def made(cls, url: str) -> Queue: ...
    @staticmethod
    def parse(text: str) -> str: ...
    @contextmanager
    def lock(self, timeout: float = 1.0) -> Iterator[None]:
        yield

    def __len__(self) -> int: ...
    def __eq__(self, other: object) -> bool: ...
    def _own(self) -> None: ...


def differing(**changed: object) -> type:
    """Return a class like Queue, but for what is changed (None: missing)."""
    names = conformity.members(Queue)
    namespace = {name: value for name, value in vars(Queue).items() if name in names}
    namespace.setdefault("name", "")
    namespace.update(changed)
    return type("Other", (), {name: value for name, value in namespace.items() if value is not None})


def find(**changed: object) -> list[tuple[str, bool, bool]]:
    """Return name, missing and certain of each difference."""
    return [(one.name, one.missing, one.certain) for one in conformity.differences(differing(**changed), Queue)]


async def _async(self, *args: Any, **named: Any) -> Any: ...


def _generator(self):
    yield


async def _async_generator(self):
    yield


def _list(self) -> list[str]: ...
def _untyped(self): ...
def _awaitable(self) -> Awaitable[str]: ...
def _iterator(self) -> AsyncIterator[str]: ...
def _nothing(self) -> None: ...


def test_what_conforms():
    """The class itself, a subclass, its object and a class with equal members do not differ."""

    class Sub(Queue):
        def put(self, item: str, more: int = 0, *, priority: int = 0, other: int = 1) -> None: ...
        def _another(self) -> None: ...
        def further(self) -> None: ...

    for fallback in (Queue, Queue(), Sub, Sub(), differing()):
        lazyguard.testing.assert_conforms(fallback, Queue)


@pytest.mark.parametrize("name", ["put", "size", "made", "parse", "lock", "limit", "__len__", "stream"])
def test_missing(name):
    """Missing methods, properties, class attributes and special methods are reported."""
    assert find(**{name: None}) == [(name, True, False)]


def test_what_is_not_missed():
    """Additional names, those of `object`, and annotated names that are attributes of the object are no differences."""

    class Other(differing(name=None)):
        def __init__(self) -> None:
            self.name = "x"

    lazyguard.testing.assert_conforms(Other(), Queue)
    with pytest.raises(errors.ConformityError, match="name is missing"):
        lazyguard.testing.assert_conforms(Other, Queue)


@pytest.mark.parametrize(
    ("changed", "certain"),
    [
        ({"wait": _untyped}, False),
        ({"wait": _list}, True),
        ({"wait": _nothing}, True),
        ({"wait": _generator}, True),
        ({"wait": _async_generator}, True),
        ({"take": _async}, True),
        ({"take": _generator}, False),
        ({"items": _list}, False),
        ({"items": _untyped}, False),
        ({"items": _async_generator}, True),
        ({"stream": _async}, True),
        ({"stream": _list}, True),
        ({"__len__": _async}, True),
        ({"size": _list}, True),
        ({"put": 3}, True),
        ({"put": property(_list)}, False),
    ],
)
def test_kinds(changed, certain):
    """Async functions, generators, methods and attributes must be of the same kind; what may work is not certain."""
    ((name, _),) = changed.items()
    assert find(**changed) == [(name, False, certain)]


@pytest.mark.parametrize(
    "changed",
    [
        {"wait": _awaitable},
        {"stream": _iterator},
        {"items": lambda self: iter(())},
        {"size": functools.cached_property(_list)},
        {"size": 3},
        {"lock": lambda self, timeout=1.0: None},
        {"put": functools.wraps(Queue.put)(lambda *args, **named: None)},
        {"put": lambda self, *args, **named: None},
        {"put": functools.partialmethod(_async)},
        {"put": len},
        {"take": lambda self, count=2, **more: []},
        {"parse": staticmethod(lambda text: text)},
        {"parse": lambda self, text: text},
        {"made": lambda self, url: url},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_what_may_be_otherwise(changed):
    """What callers cannot distinguish from the real one, or what cannot be read, is no difference."""
    found = find(**changed)
    if changed.keys() == {"items"}:  # an unannotated function may return anything
        assert found == [("items", False, False)]
    else:
        assert found == []


@pytest.mark.parametrize(
    ("fallback", "real", "certain"),
    [
        (lambda self: 0, lambda self, a: 0, True),
        (lambda self, a, b: 0, lambda self, a: 0, True),
        (lambda self, a: 0, lambda self, a=1: 0, True),
        (lambda self, a=1: 0, lambda self, a: 0, None),
        (lambda self, a, b=1: 0, lambda self, a: 0, None),
        (lambda self, b: 0, lambda self, a: 0, False),
        (lambda self, b, a: 0, lambda self, a, b: 0, False),
        (lambda self, _a: 0, lambda self, a, /: 0, None),
        (lambda self, a, /: 0, lambda self, a: 0, False),
        (lambda self, a: 0, lambda self, a, *, b=1: 0, True),
        (lambda self, a, *, b: 0, lambda self, a: 0, True),
        (lambda self, a, *, b: 0, lambda self, a, *, b: 0, None),
        (lambda self, a, *, b=1: 0, lambda self, a, *, b: 0, None),
        (lambda self, a, *, b: 0, lambda self, a, *, b=1: 0, True),
        (lambda self, a, b=1: 0, lambda self, a, *, b=1: 0, None),
        (lambda self, *args: 0, lambda self, a: 0, False),
        (lambda self, *args, **named: 0, lambda self, a, *, b: 0, None),
        (lambda self, a: 0, lambda self, a, *args: 0, True),
        (lambda self, a: 0, lambda self, a, **named: 0, True),
        (lambda self, a: 0, lambda self, *args, **named: 0, None),
        (lambda *args: 0, lambda self: 0, None),
    ],
)
def test_signatures(fallback, real, certain):
    """Calls that are valid for the real one are valid for the fallback (None), fail (True), or may fail (False)."""
    other, wanted = type("Other", (), {"do": fallback}), type("Real", (), {"do": real})
    told = [one.certain for one in conformity.differences(other, wanted)]
    assert told == ([] if certain is None else [certain])


def test_signatures_of_special_methods():
    """Special methods that Python calls itself can have any signature."""
    real = type("Real", (), {"__exit__": lambda self, *_: None, "__call__": lambda self, a: None})
    other = type("Other", (), {"__exit__": lambda self, a, b, c: None, "__call__": lambda self: None})
    assert [one.name for one in conformity.differences(other, real)] == ["__call__"]


class Port(Protocol):
    name: str

    def send(self, text: str) -> None: ...


class Channel(ABC, Generic[T]):
    @abstractmethod
    async def send(self, thing: T) -> None: ...


@pytest.mark.parametrize(("kind", "names"), [(Port, {"name", "send"}), (Channel, {"send"}), (dict, None)])
def test_members(kind, names):
    """Members of `typing` in a protocol, an ABC or a generic class do not count."""
    found = set(conformity.members(kind))
    assert found == names if names else {"keys", "__getitem__"} <= found


def test_a_fallback_that_answers_all():
    """With `__getattr__` only special methods can be missing: Python does not call it for them."""

    class All:
        def __getattr__(self, name: str) -> Any: ...

    assert {one.name for one in conformity.differences(All, Queue)} == {"__len__"}


def test_assert_conforms():
    """One error names all differences; `partial` permits missing names."""

    class Less:
        def put(self, item: str) -> None: ...

    with pytest.raises(AssertionError) as caught:
        lazyguard.testing.assert_conforms(Less(), Queue)
    assert type(caught.value) is errors.ConformityError
    text = str(caught.value)
    assert text.startswith(
        "Less does not conform to Queue: put takes (item), but the real one (item, *, priority=...);"
    )
    assert "take, wait, items" in text
    with pytest.raises(errors.ConformityError) as caught:
        lazyguard.testing.assert_conforms(Less(), Queue, partial=True)
    assert "missing" not in str(caught.value)
    with pytest.raises(errors.UsageError, match="not with one of type Queue"):
        lazyguard.testing.assert_conforms(Less(), Queue())


def test_assert_conforms_of_a_reference(plant):
    """Of a live reference the target is compared, also a fallback."""
    plant.fate = OSError()
    get = lazyguard.service(name="db", recovery=None)(lambda: plant.make())
    get.fallback(lambda: Queue())
    lazyguard.testing.assert_conforms(get(), Queue)
    lazyguard.testing.assert_conforms(lazyguard.lazy(Queue), Queue)


# told of fallbacks


class Sync:
    def put(self, item: str, *, priority: int = 0) -> None: ...
    def wait(self) -> str: ...


class Short:
    def put(self, item: str, *, priority: int = 0) -> None: ...


@pytest.fixture
def get():
    """Return a service with a return annotation, whose factory fails."""

    @lazyguard.service(name="queue", recovery=None)
    def get_queue() -> Queue:
        raise ConnectionError

    return get_queue


def test_an_error_where_it_is_declared(get):
    """A certain difference is an error at the declaration, with the method, both classes and the place."""

    def fallback() -> Sync: ...

    with pytest.raises(errors.ConfigurationError) as caught:
        get.fallback(fallback)
    text = str(caught.value)
    assert f"({__file__}:{fallback.__code__.co_firstlineno}), a Sync, does not conform to Queue" in text
    assert "wait is a plain function, but the real one is an `async def`" in text
    assert "missing" not in text
    get.fallback(Queue.made)


def test_a_warning_where_it_is_declared(get):
    """A missing member is a warning at the fallback's place, which `partial=True` prevents."""

    def fallback() -> Short: ...

    with pytest.warns(errors.ConformityWarning, match=r"take, wait, .* are missing.*partial=True") as told:
        get.fallback(fallback)
    assert told[0].filename == __file__
    assert told[0].lineno == fallback.__code__.co_firstlineno

    def meant() -> Short: ...

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        get.fallback(partial=True)(meant)


@pytest.mark.parametrize("value", [1, "yes", None])
def test_bad_partial(get, value):
    """`partial` must be a bool."""
    with pytest.raises(errors.ConfigurationError, match="partial="):
        get.fallback(partial=value)


def test_an_event_at_first_use(get, story, caplog):
    """Without annotations the object is compared: an event and one log line, and it is served."""
    get.fallback(lambda: Sync())
    for _ in range(3):
        get().put("x")
        get.reset()
    ((event),) = [event for event in story.events if event.kind == "differs"]
    assert event.name == "the fallback of queue"
    assert event.cause.startswith("Sync: wait is a plain function, but the real one is an `async def`; ")
    assert "are missing" in event.cause
    assert len([record for record in caplog.records if "differs" in record.message]) == 1


def test_no_event_at_first_use(get, story):
    """A subclass, a class that was compared before, and what a partial fallback lacks are not reported."""

    class Offline(Queue): ...

    get.fallback(lambda: Offline())
    get().put("x")
    get.reset()
    get = lazyguard.service(name="queue", recovery=None)(get.__wrapped__)
    get.fallback(partial=True)(lambda: Short())
    get().put("x")
    assert "differs" not in [event.kind for event in story.events]


def test_declaring_loads_no_inspect():
    """The comparison at a declaration imports nothing dear."""
    program = """
import sys
before = set(sys.modules)
import lazyguard
class Real:
    size: int
    async def wait(self, a, *, b=1) -> str: ...
    def put(self) -> str: ...
class Less:
    size: int
    async def wait(self, a, *, b=1) -> str: ...
    def put(self) -> str: ...
@lazyguard.service()
def get() -> Real: ...
@get.fallback
def _() -> Less: ...
print(*set(sys.modules) - before)
"""
    options = [sys.executable, "-S", "-c", f"import sys; sys.path.insert(0, {_source()!r})\n{program}"]
    loaded = subprocess.run(options, capture_output=True, text=True, timeout=60, check=True).stdout.split()
    assert "lazyguard._services.conformity" in loaded
    assert not {"inspect", "typing", "re", "dataclasses", "wrapt"} & set(loaded)


def _source() -> str:
    from pathlib import Path

    return str(Path(lazyguard.__file__).parents[1])
