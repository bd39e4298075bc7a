"""Typed fallbacks for production: `mock_service` makes one for a class, an ABC or a Protocol.

Invariants: a fallback runs no code of the class. It answers what `returns` has and nothing else, and takes no call that
the class would not take. It is no object of `unittest.mock`. Its own class is made once for a class, and a member of it
at that one's first use: a fallback may be made on an event loop.
"""

from __future__ import annotations

from _weakref import ref

from lazyguard._base import TYPE_CHECKING, Any, Callable, NoReturn, Record, T, dress, places, validation
from lazyguard._base.places import ASYNC_GENERATOR, COROUTINE, GENERATOR
from lazyguard._proxies.special_methods import SPECIAL, UNIVERSAL
from lazyguard._services import conformity
from lazyguard.errors import ConfigurationError, ServiceUnavailable, UsageError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from lazyguard._base.places import Place

_FUNCTIONS = (type(lambda: None), type(len), type((lambda self: None).__get__(0)))


# Callable, since mypy refuses an abstract class where type[T] is expected.
def mock_service(kind: Callable[..., T], /, *, returns: Mapping[str, object] | None = None) -> T:
    """Return a fallback for an object of a class, which answers what `returns` has and nothing else.

    Its methods take the arguments of the class's methods, and are async where those are; a plain method that returns an
    awaitable, by its annotation, does so here. Where that says that it may return either, as with redis-py, it does if
    the class can be entered by `async with` alone. A member that is not in
    `returns` raises ServiceUnavailable when it is called or read. Nothing can be set on it. A name that the class lacks
    raises AttributeError. `isinstance` takes it for an object of the class, whose code it never runs. (Before Python
    3.12, `isinstance` reads the attributes of a runtime Protocol: `returns` then needs them.)

    Args:
        kind: A class, an ABC or a Protocol, with `async def` for methods that are awaited.
        returns: The answers, by the names of methods, attributes and special methods ("__len__"). If a method's value
            is a function (a `def`, a `lambda` or a method), it is called with the call's arguments for each answer. Any
            other value is the answer itself. For generators and "__iter__" the value is what is iterated.

    Raises:
        UsageError: `kind` is no class.
        ConfigurationError: `returns` has a name that the class lacks.

    Threads and tasks can share the fallback: it has no state.

    Example:
        >>> import lazyguard
        >>> class Transcriber:
        ...     def transcribe(self, recording: bytes) -> str: ...
        ...     def languages(self) -> list[str]: ...
        >>> offline = lazyguard.mock_service(Transcriber, returns={"languages": lambda: []})
        >>> offline.languages(), isinstance(offline, Transcriber)
        ([], True)
        >>> offline.transcribe(b"...")
        Traceback (most recent call last):
        lazyguard.errors.ServiceUnavailable: transcribe is not available from the fallback for Transcriber that ...
    """
    place = places.of_frame(places.caller())
    if not isinstance(kind, type):
        raise UsageError(
            f"mock_service() ({place}) takes a class, an ABC or a Protocol, not one of type {type(kind).__name__}."
        )
    answers = validation.mapping("returns", returns)
    made = _class_for(kind)
    for name in sorted(answers):
        if name in UNIVERSAL and hasattr(kind, name):
            made = _class_for(kind, *(one for one in sorted(answers) if one in UNIVERSAL))
        elif not _has(kind, name):
            raise ConfigurationError(
                f"returns={{{name!r}: ...}} ({place}) names no member of {kind.__name__}{_like(name, kind) or '.'}"
            )
    instance: Any = object.__new__(made)
    object.__setattr__(instance, "_answers", _Answers(kind=kind, answers=answers, place=place))
    return instance  # type: ignore[no-any-return]


# By the class and the special methods of every object that are answered.
_made: dict[tuple[ref[type], tuple[str, ...]], type] = {}


def _class_for(kind: type, *universal: str) -> type:
    """Return the class of all fallbacks for a class. It does not hold that one, so that both can go."""
    key = ref(kind, lambda gone: [_made.pop(one, None) for one in list(_made) if one[0] is gone]), universal
    if key not in _made:
        namespace: dict[str, Any] = {
            "__slots__": ("_answers",),
            "__class__": property(lambda self: self._answers.kind),
            "__repr__": lambda self: f"<{self._answers}>",
            "__setattr__": lambda self, name, *_: self._answers.refuse(name),
            "__delattr__": lambda self, name: self._answers.refuse(name),
            "__getattr__": _getattr,
            "__dir__": lambda self: sorted(_members(self._answers.kind)),
            "__module__": kind.__module__,
            "__doc__": kind.__doc__,
            "_stands_for": staticmethod(ref(kind)),
        }
        names = {name for base in kind.__mro__ if base is not object for name in base.__dict__}
        for name in (*names & SPECIAL - UNIVERSAL, *universal):
            value = conformity.found_in(kind, name)
            if value is not None:
                namespace[name] = _member(kind, name, value)
        _made[key] = type(f"FallbackFor{kind.__name__}", (), namespace)
    return _made[key]


def _getattr(fallback: Any, name: str) -> Any:
    """Make a member at its first use."""
    answers: _Answers = object.__getattribute__(fallback, "_answers")
    if not _has(answers.kind, name):
        answers.unknown(name)
    if name not in vars(type(fallback)):
        value = conformity.found_in(answers.kind, name)
        setattr(type(fallback), name, _member(answers.kind, name, value))
    elif type(vars(type(fallback))[name]) is property:
        answers.missing(name)  # a property's AttributeError has led here
    return object.__getattribute__(fallback, name)


def _has(kind: type, name: str) -> bool:
    """Return whether it is a member of a class, or set by one of its methods."""
    if any(name in base.__dict__ for base in kind.__mro__ if base is not object):
        return not name.startswith("_") or (name in SPECIAL and name not in UNIVERSAL)
    return name in _members(kind)


def _members(kind: type) -> set[str]:
    return set(conformity.members(kind)) | _set_by(kind)


def _set_by(kind: type) -> set[str]:
    """Return the public attributes that methods of a class set."""
    import dis

    found = set()
    for base in kind.__mro__:
        for value in vars(base).values():
            function = conformity.function_of(value)
            if function is not None:
                for instruction in dis.get_instructions(function.__code__):
                    if instruction.opname == "STORE_ATTR":
                        found.add(instruction.argval)
    return {name for name in found if not name.startswith("_")}


def _like(name: object, kind: type) -> str:
    from difflib import get_close_matches

    near = get_close_matches(str(name), sorted(_members(kind)), n=1)
    return f": did you mean {near[0]!r}?" if near else ""


class _Answers(Record):
    """The answers and errors of one fallback, which all its members share."""

    kind: type
    answers: dict[str, object]
    place: Place

    def __str__(self) -> str:
        answered = ", ".join(self.answers) or "nothing"
        return f"fallback for {self.kind.__name__} that answers {answered}, made at {self.place}"

    def missing(self, name: str) -> NoReturn:
        """Raise ServiceUnavailable for a member without an answer."""
        raise ServiceUnavailable(f"{name} is not available from the {self}.")

    def refuse(self, name: str) -> NoReturn:
        """Raise ServiceUnavailable for an attribute that is set or deleted: the change would be lost."""
        raise ServiceUnavailable(f"{name} cannot be set or deleted on the {self}.")

    def unknown(self, name: str) -> NoReturn:
        """Raise AttributeError for a name that the class lacks."""
        like = "" if name.startswith("_") else _like(name, self.kind)
        raise AttributeError(f"{self.kind.__name__!r} object has no attribute {name!r}{like}")

    def value(self, name: str) -> Any:
        """Return the answer that is given for a member."""
        return self.answers[name] if name in self.answers else self.missing(name)

    def of_call(self, name: str, shape: Any, arguments: tuple[Any, ...], named: dict[str, Any]) -> Any:
        """Return the answer of a method's call."""
        wrong = "" if shape is None else shape.call_error(arguments, named)
        if wrong:
            raise UsageError(f"{self.kind.__name__}.{name}() {wrong}")
        if name in ("__exit__", "__aexit__") and name not in self.answers and f"{name[:-6]}enter__" in self.answers:
            return None
        result = self.value(name)
        return result(*arguments, **named) if isinstance(result, _FUNCTIONS) else result


def _member(kind: type, name: str, value: Any) -> Any:
    """Return the fallback's member for a member of the real class."""
    function = conformity.function_of(value)
    if function is None and (isinstance(value, type) or not callable(value)):
        return property(lambda self: self._answers.value(name))
    flags = 0 if function is None else function.__code__.co_flags
    if function is not None and not flags & (COROUTINE | GENERATOR | ASYNC_GENERATOR) and _awaits(kind, function):
        flags |= COROUTINE
    shape = None if function is None else conformity.shape_of(value)

    def answer(fallback: Any, arguments: tuple[Any, ...], named: dict[str, Any]) -> Any:
        return fallback._answers.of_call(name, shape, arguments, named)

    from functools import partial

    method = _method(name, flags, answer)
    if function is not None:
        dress(method, function)
        method.__name__ = name
    if type(value) is staticmethod:
        return property(lambda self: dress(partial(method, self), method))
    return method


_WORDS = ("Awaitable", "Coroutine", "Future", "Task")


def _awaits(kind: type, function: Any) -> bool:
    """Return whether a plain method's answer is awaited, by its annotation and what the class can be entered by."""
    annotation = conformity.returns(function)
    if isinstance(annotation, str):
        annotation = getattr(function, "__globals__", {}).get(annotation, annotation)
    text = str(annotation)
    if not any(word in text for word in _WORDS):
        return False
    alone = text.partition("[")[0].rpartition(".")[2] in _WORDS and "|" not in text.rpartition("]")[2]
    return alone or (hasattr(kind, "__aenter__") and not hasattr(kind, "__enter__"))


def _method(name: str, kind: int, answer: Callable[[Any, tuple[Any, ...], dict[str, Any]], Any]) -> Any:
    """Return a method that answers like one whose code has these flags."""

    iterated: Any = None
    if name == "__aiter__" or kind & ASYNC_GENERATOR:
        iterated = _one_by_one
    elif name in ("__iter__", "__reversed__") or kind & GENERATOR:
        iterated = iter

    def plain(self: Any, /, *arguments: Any, **named: Any) -> Any:
        value = answer(self, arguments, named)
        return value if iterated is None else iterated(value)

    async def awaited(self: Any, /, *arguments: Any, **named: Any) -> Any:
        value = answer(self, arguments, named)
        return await value if hasattr(type(value), "__await__") else value

    def waited_for(self: Any) -> Any:
        yield from ()  # makes it a generator, as `await` requires
        return answer(self, (), {})

    if name == "__await__":
        return waited_for
    return awaited if kind & COROUTINE and iterated is not _one_by_one else plain


async def _one_by_one(values: Any) -> AsyncIterator[Any]:
    if hasattr(type(values), "__aiter__"):
        async for value in values:
            yield value
        return
    for value in values:
        yield value
