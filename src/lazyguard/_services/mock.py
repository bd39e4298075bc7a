"""Typed fallbacks for production: `mock_service` makes one for a class, an ABC or a Protocol.

Invariants: a fallback runs no code of the class. It answers what `returns` has and nothing else, and takes no call that
the class would not take. It is no object of `unittest.mock`.
"""

from __future__ import annotations

from lazyguard._base import T, final, places, validation
from lazyguard._base.signatures import ASYNC_GENERATOR, COROUTINE, GENERATOR
from lazyguard._proxies.special_methods import UNIVERSAL
from lazyguard._services import conformity
from lazyguard.errors import ConfigurationError, ServiceUnavailable, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Mapping
    from typing import Any, NoReturn

    from lazyguard._base.places import Place

_FUNCTIONS = (type(lambda: None), type(len), type((lambda self: None).__get__(0)))


# Callable, since mypy refuses an abstract class where type[T] is expected.
def mock_service(kind: Callable[..., T], /, *, returns: Mapping[str, object] | None = None) -> T:
    """Return a fallback for an object of a class, which answers what `returns` has and nothing else.

    Its methods take the arguments of the class's methods, and are async where those are. A member that is not in
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
    members = conformity.members(kind)
    for name in sorted(_set_by(kind) - members.keys()):
        members[name] = conformity.ANNOTATED
    members.update(
        {name: conformity.found_in(kind, name) for name in answers if name in UNIVERSAL and hasattr(kind, name)}
    )
    _check_names(kind, answers, members, place)
    fallback = _Answers(kind, answers, place)
    namespace: dict[str, Any] = {
        "__slots__": (),
        "__class__": property(lambda _: kind),
        "__repr__": lambda _: f"<{fallback}>",
        "__setattr__": lambda _, name, *value: fallback.refuse(name),
        "__delattr__": lambda _, name: fallback.refuse(name),
        "__getattr__": lambda _, name: fallback.unknown(name, members),
        "__module__": kind.__module__,
        "__doc__": kind.__doc__,
    }
    namespace.update({name: fallback.member(name, value) for name, value in members.items()})
    instance: Any = type(f"FallbackFor{kind.__name__}", (), namespace)()
    return instance  # type: ignore[no-any-return]


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


def _check_names(kind: type, answers: dict[str, object], members: dict[str, Any], place: Place) -> None:
    for name in answers:
        if name not in members:
            raise ConfigurationError(
                f"returns={{{name!r}: ...}} ({place}) names no member of {kind.__name__}{_like(name, members) or '.'}"
            )


def _like(name: object, members: dict[str, Any]) -> str:
    from difflib import get_close_matches

    near = get_close_matches(str(name), members, n=1)
    return f": did you mean {near[0]!r}?" if near else ""


@final
class _Answers:
    """The answers and errors of one fallback, which all its members share."""

    __slots__ = ("answers", "kind", "place")

    def __init__(self, kind: type, answers: dict[str, object], place: Place) -> None:
        self.kind = kind
        self.answers = answers
        self.place = place

    def __str__(self) -> str:
        answered = ", ".join(self.answers) or "nothing"
        return f"fallback for {self.kind.__name__} that answers {answered}, made at {self.place}"

    def missing(self, name: str) -> NoReturn:
        """Raise ServiceUnavailable for a member without an answer."""
        raise ServiceUnavailable(f"{name} is not available from the {self}.")

    def refuse(self, name: str) -> NoReturn:
        """Raise ServiceUnavailable for an attribute that is set or deleted: the change would be lost."""
        raise ServiceUnavailable(f"{name} cannot be set or deleted on the {self}.")

    def unknown(self, name: str, members: dict[str, Any]) -> NoReturn:
        """Raise AttributeError for a name that the class lacks."""
        like = "" if name.startswith("_") else _like(name, members)
        raise AttributeError(f"{self.kind.__name__!r} object has no attribute {name!r}{like}")

    def member(self, name: str, value: Any) -> Any:
        """Return the fallback's member for a member of the real class."""
        function = conformity.function_of(value)
        if function is None and (isinstance(value, type) or not callable(value)):
            return property(lambda _: self.answers[name] if name in self.answers else self.missing(name))
        kind = 0 if function is None else function.__code__.co_flags
        shape = None if function is None else conformity.shape_of(value)

        def answer(arguments: tuple[Any, ...], named: dict[str, Any]) -> Any:
            wrong = "" if shape is None else shape.call_error(arguments, named)
            if wrong:
                raise UsageError(f"{self.kind.__name__}.{name}() {wrong}")
            if name not in self.answers:
                if name in ("__exit__", "__aexit__") and f"{name[:-6]}enter__" in self.answers:
                    return None
                self.missing(name)
            result: Any = self.answers[name]
            return result(*arguments, **named) if isinstance(result, _FUNCTIONS) else result

        method = _method(name, kind, answer, 0 if type(value) is staticmethod else 1)
        if function is not None:
            method.__wrapped__ = function
            method.__name__, method.__qualname__, method.__doc__ = name, function.__qualname__, function.__doc__
            method.__module__ = function.__module__
        return staticmethod(method) if type(value) is staticmethod else method


def _method(name: str, kind: int, answer: Callable[[tuple[Any, ...], dict[str, Any]], Any], skip: int) -> Any:
    """Return a method that answers like one whose code has these flags; `skip` its first argument if that is `self`."""

    def plain(*arguments: Any, **named: Any) -> Any:
        return answer(arguments[skip:], named)

    async def awaited(*arguments: Any, **named: Any) -> Any:
        value = answer(arguments[skip:], named)
        return await value if hasattr(type(value), "__await__") else value

    def iterated(*arguments: Any, **named: Any) -> Iterator[Any]:
        return iter(answer(arguments[skip:], named))

    def iterated_async(*arguments: Any, **named: Any) -> AsyncIterator[Any]:
        return _one_by_one(answer(arguments[skip:], named))

    def waited_for(*_: Any) -> Any:
        if skip:
            return answer((), {})
        yield  # makes it a generator, as `await` requires

    if name == "__await__":
        return waited_for
    if name == "__aiter__" or kind & ASYNC_GENERATOR:
        return iterated_async
    if kind & COROUTINE:
        return awaited
    return iterated if name in ("__iter__", "__reversed__") or kind & GENERATOR else plain


async def _one_by_one(values: Any) -> AsyncIterator[Any]:
    if hasattr(type(values), "__aiter__"):
        async for value in values:
            yield value
        return
    for value in values:
        yield value


__all__ = ["mock_service"]
