"""Conformity: the members of the real object's class that a fallback lacks, or has in another form.

Invariants: it reads classes, code objects and annotations. It calls nothing and loads neither inspect nor typing, so it
can run where a fallback is declared. A difference is certain only if a valid use of the real object must fail.
"""

from __future__ import annotations

import sys

from lazyguard._base import TYPE_CHECKING, Any, Record, validation
from lazyguard._base.places import ASYNC_GENERATOR, COROUTINE, GENERATOR, misused
from lazyguard._proxies.proxy import annotated_class, find_cell
from lazyguard._proxies.special_methods import SPECIAL, UNIVERSAL

if TYPE_CHECKING:
    from collections.abc import Collection

# Stand for an attribute that a class only annotates, and for one that it lacks.
ANNOTATED, _ABSENT = object(), object()
_KINDS = {
    0: "a plain function",
    GENERATOR: "a generator",
    COROUTINE: "an `async def`",
    ASYNC_GENERATOR: "an async generator",
}
_TYPING = ("typing", "typing_extensions")
# Classes whose instances have a `__get__` and are attributes all the same.
_DESCRIPTORS = ("cached_property", "member_descriptor", "getset_descriptor")


class Difference(Record):
    """One member that a fallback lacks, or has in another form.

    Attributes:
        name: The member's name.
        text: The difference, as the rest of a sentence that begins with the name.
        missing: Whether the fallback lacks the member; a partial fallback may.
        certain: Whether a use that is valid for the real object must fail.
    """

    name: str
    text: str
    missing: bool = False
    certain: bool = False

    def __repr__(self) -> str:
        return f"{self.name} {self.text}"


def assert_conforms(fallback: object, real: type, *, partial: bool = False) -> None:
    """Raise unless a fallback has all members of the real object's class, in the same form: for tests.

    Public names and special methods are compared: whether they exist, whether they are methods or attributes, their
    signatures, and whether they are async or generators. Attributes that only `__init__` sets cannot be seen.

    Args:
        fallback: The fallback or its class; of a live reference or a lazy object the target is compared.
        real: The class, ABC or Protocol of the real object.
        partial: Whether the fallback may lack members; their use raises ServiceUnavailable while it is served.

    Raises:
        ConformityError: The fallback differs; the message has all differences. It is an AssertionError.
        UsageError: `real` is no class.

    Example:
        >>> from lazyguard.testing import assert_conforms
        >>> class Queue:
        ...     def put(self, item: str, *, priority: int = 0) -> None: ...
        ...     def size(self) -> int: ...
        >>> class NoQueue:
        ...     def put(self, item: str) -> None: ...
        >>> assert_conforms(NoQueue(), Queue, partial=True)
        Traceback (most recent call last):
        lazyguard.errors.ConformityError: NoQueue does not conform to Queue: put takes (item), but the real one ...
    """
    if not issubclass(type(real), type):
        raise misused(
            f"assert_conforms() compares with the class of the real object, not with one of type {type(real).__name__}."
        )
    validation.flag("partial", partial)
    cell = find_cell(fallback)
    shown = fallback if cell is None else cell.now.target if cell.now.served else cell.resolve()
    kind, own = (shown, ()) if isinstance(shown, type) else (type(shown), vars_of(shown))
    found = [one for one in differences(kind, real, own) if not (partial and one.missing)]
    if found:
        from lazyguard.errors import ConformityError

        raise ConformityError(f"{kind.__name__} does not conform to {real.__name__}: {describe(found)}.")


def describe(found: list[Difference]) -> str:
    """Return the differences in words."""
    missing = [one.name for one in found if one.missing]
    texts = [repr(one) for one in found if not one.missing]
    return "; ".join(
        [*texts, f"{', '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing"] if missing else texts
    )


def vars_of(thing: object) -> Collection[str]:
    """Return the names of an object's own attributes."""
    return tuple(getattr(thing, "__dict__", ()))


def members(kind: type) -> dict[str, Any]:
    """Return the members of a class, unbound: its public names, and special methods that not every object has."""
    found: dict[str, Any] = {}
    for base in reversed(kind.__mro__):
        if base is object or base.__module__ in _TYPING:
            continue
        found.update(dict.fromkeys(_annotated(base), ANNOTATED))
        found.update(vars(base))
    return {name: value for name, value in found.items() if _is_promised(name, value)}


def _is_promised(name: str, value: object) -> bool:
    if not name.startswith("_"):
        return True
    return name in SPECIAL and name not in UNIVERSAL and value is not None


def _annotated(kind: type) -> Collection[str]:
    """Return the names that a class annotates, without evaluating the annotations."""
    if sys.version_info >= (3, 14):
        if getattr(kind, "__annotate__", None) is None and not vars(kind).get("__annotations__"):
            return ()
        annotationlib: Any = __import__("annotationlib")
        names: Collection[str] = annotationlib.get_annotations(kind, format=annotationlib.Format.STRING)
        return names
    named: Any = vars(kind).get("__annotations__", ())
    return named if isinstance(named, dict) else ()  # of `type` itself it is a descriptor


def found_in(kind: type, name: str) -> Any:
    """Return the member of a class by its name, unbound."""
    return next((base.__dict__[name] for base in kind.__mro__ if name in base.__dict__), _ABSENT)


def differences(kind: type, real: type, own: Collection[str] = ()) -> list[Difference]:
    """Return the differences of a fallback of class `kind`, with its `own` attributes, from an object of `real`."""
    stands_for = vars(kind).get("_stands_for")  # of what mock_service makes
    if stands_for is not None:
        kind = stands_for.__func__() or kind
    if kind is real:
        return []
    found = []
    promised = members(kind)
    answers_all = any("__getattr__" in base.__dict__ for base in kind.__mro__)
    for name, wanted in members(real).items():
        has = promised.get(name, _ABSENT)
        if has is wanted or has is ANNOTATED or (has is _ABSENT and name in own):
            continue
        if has is _ABSENT:
            if name in SPECIAL or not answers_all:
                found.append(Difference(name=name, text="is missing", missing=True))
        elif wanted is not ANNOTATED:
            difference = _compared(name, has, wanted)
            if difference is not None:
                found.append(difference)
    return found


def _compared(name: str, has: Any, wanted: Any) -> Difference | None:
    function, real = function_of(has), function_of(wanted)
    if function is None or real is None:
        if real is not None and is_attribute(has):
            certain = not hasattr(has, "__get__")
            return Difference(name=name, text="is an attribute, but the real one is a method", certain=certain)
        if function is not None and is_attribute(wanted):
            return Difference(name=name, text="is a method, but the real one is an attribute", certain=True)
        return None
    difference = _kinds(name, function, real)
    if difference is not None or (name in SPECIAL and name != "__call__"):
        return difference  # Python itself calls the other special methods, always in the same way
    shape, real_shape = shape_of(has), shape_of(wanted)
    if shape is None or real_shape is None:
        return None
    return shape.difference(name, real_shape)


def function_of(value: Any) -> Any:
    """Return the Python function of a member, or None."""
    if type(value) in (classmethod, staticmethod):
        value = value.__func__
    return value if hasattr(value, "__code__") else None


def is_attribute(value: Any) -> bool:
    """Return whether a member is an attribute for the users of the object."""
    if isinstance(value, property) or type(value).__name__ in _DESCRIPTORS:
        return True
    return not callable(value) and not hasattr(type(value), "__get__")


def kind_of(function: Any) -> int | None:
    """Return the flag of an async function or a generator, 0 for a plain function; None for a decorated one."""
    if "__wrapped__" in vars(function):
        return None
    flags: int = function.__code__.co_flags
    return flags & (GENERATOR | COROUTINE | ASYNC_GENERATOR)


def _kinds(name: str, function: Any, real: Any) -> Difference | None:
    is_, should = kind_of(function), kind_of(real)
    if is_ is None or should is None or is_ == should:
        return None
    text = f"is {_KINDS[is_]}, but the real one is {_KINDS[should]}"
    if is_ and should:
        return Difference(name=name, text=text, certain=True)
    if name in SPECIAL and GENERATOR in (is_, should):
        return None  # __iter__ returns an iterator in both forms
    plain, other = (function, should) if should else (real, is_)
    words = (
        ("Iter", "Generator") if other & (GENERATOR | ASYNC_GENERATOR) else ("Awaitable", "Coroutine", "Future", "Task")
    )
    annotation = returns(plain)
    if annotation is None:
        return Difference(name=name, text=text)
    if any(word in str(annotation) for word in (*words, "Any", "object")):
        return None
    kind = annotated_class(plain)
    nothing = annotation in ("None", type(None))
    return Difference(name=name, text=text, certain=other != GENERATOR and (nothing or kind is not None))


def returns(function: Any) -> object:
    """Return a function's return annotation; None if it has none, or one that only a type checker can evaluate."""
    try:
        annotations = function.__annotations__
    except Exception:
        return None
    annotation: object = annotations.get("return")
    return type(None) if annotation is None and "return" in annotations else annotation


def shape_of(value: Any) -> Shape | None:
    """Return the parameters of a method as its callers see them; None if they cannot be read."""
    bound = type(value) is not staticmethod
    function = function_of(value)
    for _ in range(100):  # decorators; a cycle of them has no end
        own = getattr(function, "__dict__", {})
        if "__signature__" in own:
            return None
        if "__wrapped__" not in own:
            break
        function = own["__wrapped__"]
    return Shape(function, bound=bound) if hasattr(function, "__code__") else None


class Shape:
    """The parameters of a function, without annotations.

    Attributes:
        names: The positional parameters, without a method's `self`.
        only: How many of these are positional-only.
        required: How many of these have no default.
        named: The keyword-only parameters, and whether they are required.
        more, more_named: Whether it takes `*args`, and `**kwargs`.
    """

    def __init__(self, function: Any, *, bound: bool) -> None:
        code = function.__code__
        skip = 1 if bound else 0
        names = code.co_varnames[: code.co_argcount]
        defaults = len(function.__defaults__ or ())
        self.names: tuple[str, ...] = names[skip:]
        self.only: int = max(0, code.co_posonlyargcount - skip)
        self.required: int = max(0, len(self.names) - defaults)
        keyword_defaults = function.__kwdefaults__ or {}
        named = code.co_varnames[code.co_argcount : code.co_argcount + code.co_kwonlyargcount]
        self.named: dict[str, bool] = {name: name not in keyword_defaults for name in named}
        self.more = bool(code.co_flags & 0x04)
        self.more_named = bool(code.co_flags & 0x08)

    def __repr__(self) -> str:
        shown = [name if at < self.required else f"{name}=..." for at, name in enumerate(self.names)]
        if self.only:
            shown.insert(self.only, "/")
        if self.more or self.named:
            shown.append("*args" if self.more else "*")
        shown += [name if must else f"{name}=..." for name, must in self.named.items()]
        if self.more_named:
            shown.append("**kwargs")
        return f"({', '.join(shown)})"

    def takes(self, name: str) -> bool:
        """Return whether an argument can be given by this name."""
        return self.more_named or name in self.named or name in self.names[self.only :]

    def difference(self, name: str, real: Shape) -> Difference | None:
        """Return how calls that are valid for the `real` shape fail on this one."""
        if real.more and real.more_named:
            return None  # it passes its arguments on, and its code does not show to which function
        text = f"takes {self!r}, but the real one {real!r}"
        fails = (
            (len(self.names) < len(real.names) and not self.more)
            or self.required > real.required
            or any(not self.takes(other) for other in real.named)
            or any(must and not real.named.get(other) for other, must in self.named.items())
            or (real.more and not self.more)
            or (real.more_named and not self.more_named)
        )
        if fails:
            return Difference(name=name, text=text, certain=True)
        by_name = real.names[real.only :]
        if all(self.takes(other) for other in by_name) and self._keeps_order(real):
            return None
        return Difference(name=name, text=text)  # valid for callers that give their arguments by position

    def _keeps_order(self, real: Shape) -> bool:
        shared = [other for other in self.names if other in real.names]
        return shared == [other for other in real.names if other in self.names]

    def call_error(self, arguments: tuple[Any, ...], named: dict[str, Any]) -> str:
        """Return what is wrong with a call, in Python's words; "" if it is valid."""
        by_position = self.names[: len(arguments)]
        if len(arguments) > len(self.names) and not self.more:
            return f"takes {len(self.names)} positional arguments but {len(arguments)} were given"
        for other in named:
            if other in by_position[self.only :]:
                return f"got multiple values for argument {other!r}"
            if not self.takes(other):
                return f"got an unexpected keyword argument {other!r}"
        left = self.names[len(arguments) : self.required]
        missing = [other for other in left if other not in named or other in self.names[: self.only]]
        missing += [other for other, must in self.named.items() if must and other not in named]
        return f"missing required arguments: {', '.join(map(repr, missing))}" if missing else ""
