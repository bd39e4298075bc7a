"""Option objects, and the checks of options.

Invariants: an option object is frozen, slotted and keyword-only, and its values are checked when it is made. A check
raises ConfigurationError with the option, its value and what to give.
"""

import sys
from _thread import TIMEOUT_MAX

from lazyguard._base import TYPE_CHECKING, Any, Callable, FrameType, NoReturn, TypeAlias, places
from lazyguard._base.places import misconfigured, misused, shown

if TYPE_CHECKING:
    from typing_extensions import Self

    # A number, or a function that is asked for it at the first use.
    Seconds: TypeAlias = float | Callable[[], float]
    Whole: TypeAlias = int | Callable[[], int]
    Kind: TypeAlias = type[BaseException] | str | Callable[[Exception], bool]
    Kinds: TypeAlias = tuple[type[BaseException] | str | Callable[[Any], bool], ...]
    Failures: TypeAlias = Kind | tuple[Kind, ...]


class Options:
    """Frozen options: equal when all values are equal, with a `repr` as they are written."""

    __slots__: "tuple[str, ...]" = ()
    _numbers: "tuple[str, ...]" = ()  # those that may be functions

    def _set(self, /, **values: "Any") -> None:
        for name in self.__slots__:
            object.__setattr__(self, name, values[name])

    def but(self, **values: "Any") -> "Self":
        """Return options with these values, and the others as they are."""
        return type(self)(**{name: getattr(self, name) for name in self.__slots__} | values)

    @property
    def is_late(self) -> bool:
        """Whether functions are to be asked for numbers."""
        return any(callable(getattr(self, name)) for name in self._numbers)

    def read(self, of: str) -> "Self":
        """Return the options with the numbers that their functions return.

        Raises:
            ConfigurationError: One cannot be right; it says what the options are `of`.
        """
        if not self.is_late:
            return self
        values = {name: read(name, getattr(self, name), of) for name in self._numbers}
        try:
            return self.but(**values)
        except ValueError as error:
            raise misconfigured(f"{of} has read from functions what cannot be right: {error}") from None

    def __setattr__(self, name: str, value: object) -> "NoReturn":
        raise AttributeError(f"{type(self).__name__} is frozen: make a new one with another {name}")

    def __delattr__(self, name: str) -> "NoReturn":
        raise AttributeError(f"{type(self).__name__} is frozen: make a new one without {name}")

    def _values(self) -> "tuple[Any, ...]":
        return tuple(getattr(self, name) for name in self.__slots__)

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and other._values() == self._values()

    def __hash__(self) -> int:
        return hash((type(self), self._values()))

    def __repr__(self) -> str:
        values = ", ".join(
            f"{name}={_shown(getattr(self, name))}" for name in self.__slots__ if getattr(self, name) is not None
        )
        return f"{type(self).__name__}({values})"


def _shown(value: object) -> str:
    """Return the `repr` of a value, and the name of an exception type."""
    if isinstance(value, tuple):
        return f"({', '.join(map(_shown, value))}{',' * (len(value) == 1)})"
    return value.__qualname__ if isinstance(value, type) else repr(value)


def read(name: str, value: "Any", of: str, check: "Callable[..., None] | None" = None, **how: bool) -> "Any":
    """Return a number; of a function what it returns, when that has been checked."""
    if not callable(value):
        return value
    try:
        found = value()
    except Exception as error:
        raise misconfigured(
            f"{name}= of {of} cannot be read: its function raised {type(error).__name__} (the cause)."
        ) from error
    if callable(found):
        raise misconfigured(f"{name}= of {of} cannot be read: its function returned another one, not a number.")
    try:
        if check is not None:
            check(name, found, **how)
    except ValueError as error:
        raise misconfigured(f"{of} has read from a function what cannot be right: {error}") from None
    return found


def is_late(value: "Any") -> bool:
    """Return whether this is a function that can be asked for a number: without arguments, and none that is async."""
    if not hasattr(value, "__code__"):
        return False
    from lazyguard._base import signatures

    return not signatures.late_kind(value) and not signatures.required_parameters(value)


def require(
    right: object, name: str, value: object, give: str, optional: bool = False, *, fault: str = "invalid"
) -> None:
    """Raise ConfigurationError unless a value is `right`, or None where that is allowed; it says what to `give`."""
    if not right and not (optional and value is None):
        raise misconfigured(
            f"{name}={shown(value)} is {fault}: give {give}{', or None' if optional else ''}."
        ) from None


def seconds(name: str, value: object, *, optional: bool = False, zero: bool = False, late: bool = False) -> None:
    """Raise ConfigurationError unless `value` is a number of seconds above zero (or None, or zero, where allowed).

    The most is what a thread can wait, `threading.TIMEOUT_MAX`: 292 years, on Windows 49 days. With `late` a function
    will do.
    """
    least = "zero or more" if zero else "more than zero"
    number = float("nan") if isinstance(value, bool) or not isinstance(value, int | float) else value
    right = 0 < number <= TIMEOUT_MAX or (zero and number == 0) or (late and is_late(value))
    require(right, name, value, f"{least} seconds, {TIMEOUT_MAX:.0f} at the most", optional, fault="out of range")


def alone(decorator: str, misplaced: "tuple[Any, ...]", frame: "FrameType", what: str) -> None:
    """Raise UsageError if a decorator that takes options only was given the `what` that it decorates."""
    if misplaced:
        place = places.of_callable(misplaced[0], places.of_frame(frame))
        raise misused(
            f"{decorator} ({place}) takes options only: write @lazyguard.{decorator}() above the {what}, with "
            "parentheses."
        )


def text(name: str, value: object, *, optional: bool = False) -> None:
    """Raise ConfigurationError unless `value` is a string (or None, where allowed)."""
    require(isinstance(value, str), name, value, "a string", optional)


def mapping(name: str, value: object) -> "dict[Any, Any]":
    """Return the content of a mapping, or of None; raise ConfigurationError for anything else."""
    content: Any = {} if value is None else value
    is_mapping = hasattr(type(content), "keys") and hasattr(type(content), "__getitem__")
    require(is_mapping, name, value, "a dict", optional=True)
    return dict(content)


def names(name: str, value: object, what: str = 'a tuple of strings, ("one",)') -> "tuple[str, ...]":
    """Return the strings of an iterable; raise ConfigurationError for anything else."""
    found: list[Any] = []
    content: Any = None if isinstance(value, str) else value
    try:
        for one in content:
            require(isinstance(one, str), name, value, what)  # at once: it may have no end
            found.append(one)
    except TypeError:  # it cannot be iterated
        require(False, name, value, what)
    return tuple(found)


def choice(name: str, value: object, *choices: str) -> None:
    """Raise ConfigurationError unless `value` is one of these."""
    right = isinstance(value, str) and value in choices
    require(right, name, value, f"one of {', '.join(map(repr, choices))}")


def flag(name: str, value: object) -> None:
    """Raise ConfigurationError unless `value` is True or False."""
    require(isinstance(value, bool), name, value, "True or False")


def whole(name: str, value: object, *, least: int = 1, optional: bool = False, late: bool = False) -> None:
    """Raise ConfigurationError unless `value` is a whole number of at least `least`, or what else is allowed."""
    right = isinstance(value, int) and not isinstance(value, bool) and least <= value <= sys.maxsize
    right = right or (late and is_late(value))
    require(right, name, value, f"a whole number of at least {least}", optional, fault="out of range")


def policy(name: str, value: object) -> None:
    """Raise ConfigurationError unless `value` is the policy of that name, or None; its module need not be loaded."""
    kind = name.capitalize()
    given = f"{type(value).__module__}.{type(value).__qualname__}"
    require(given == f"lazyguard._policies.{name}.{kind}", name, value, f"a lazyguard.{kind}", optional=True)


def function_of(name: str, value: object, what: str = "object") -> None:
    """Raise ConfigurationError unless `value` is callable, or None."""
    require(callable(value), name, value, f"a function of the {what}", optional=True)


def plain(name: str, function: object, of: str, maker: str) -> None:
    """Raise ConfigurationError if `function` is async, and `maker` is not."""
    if places.flags_of(function) & places.COROUTINE:
        raise misconfigured(
            f"{name}= of {of} is an `async def`, and nothing would await it: make {maker} one too, or give a plain "
            "function."
        )


def fallback_function(function: "Any", of: str, at: "places.Place") -> "tuple[places.Place, bool]":
    """Return the place of a fallback's function, and whether it is async; raise ConfigurationError if it is none."""
    place = places.of_callable(function, at)
    if not hasattr(function, "__code__"):
        raise misconfigured(
            f"the fallback of {of} ({at}) must be a function, not one of type {type(function).__name__}: wrap it in a "
            "function that returns the fallback."
        )
    flags = places.flags_of(function)
    if flags & places.GENERATORS:
        raise misconfigured(f"the fallback of {of} ({place}) is a generator: use `return` for the fallback.")
    return place, bool(flags & places.COROUTINE)


def failure_types(name: str, value: object) -> "Kinds":
    """Return `value` as a tuple of exception types, of names "module:Name" of such types, and of predicates."""
    kinds: tuple[Any, ...] = value if isinstance(value, tuple) else (value,)
    for kind in kinds:
        if isinstance(kind, str):
            module, colon, attribute = kind.partition(":")
            right: object = colon and attribute.isidentifier() and places.is_module_name(module)
        elif isinstance(kind, type):
            right = issubclass(kind, BaseException)
        else:
            # what a late one returns would always be true
            right = callable(kind) and not places.flags_of(kind) & (places.COROUTINE | places.GENERATORS)
        require(
            right,
            name,
            value,
            "exception types, their names where the library must not be imported for it, or a plain function that "
            'takes an exception and returns True for one that is meant, (ConnectionError, "redis:RedisError", is_busy)',
        )
    return kinds


def loaded(types: "Kinds") -> "tuple[type[BaseException], ...]":
    """Return those of the exception types whose modules are loaded; no other can have been raised."""
    named = [kind.partition(":") if isinstance(kind, str) else kind for kind in types]
    found: list[Any] = [
        getattr(sys.modules.get(kind[0]), kind[2], None) if isinstance(kind, tuple) else kind for kind in named
    ]
    return tuple(kind for kind in found if isinstance(kind, type) and issubclass(kind, BaseException))


def check_loaded(name: str, types: "Kinds") -> None:
    """Raise ConfigurationError if the module of a name among these is loaded and has no such exception type."""
    for kind in types:
        if isinstance(kind, str):
            module, _, attribute = kind.partition(":")
            found = sys.modules.get(module)
            initializing = getattr(getattr(found, "__spec__", None), "_initializing", False)
            if found is not None and not initializing and not loaded((kind,)):
                raise misconfigured(
                    f"{name}={kind!r} names nothing: module {module} is loaded and has no exception type "
                    f"{attribute!r}. Give the name by which it is imported from there."
                )
