"""Places: the file and the line where something was declared or happened, for errors, reprs, events and health."""

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lazyguard._base import Any, FrameType, Iterator


class Place(str):
    """A file and a line of it; as a text `file:line`."""

    __slots__ = ("file", "line")

    file: str
    line: int

    def __new__(cls, file: str, line: int) -> "Place":
        """Return the place at that line of the file; the same one where many objects are declared at one line."""
        global _latest
        latest = _latest
        if latest is not None and latest.line == line and latest.file == file:
            return latest
        place = str.__new__(cls, f"{file}:{line}")
        place.file = file
        place.line = line
        _latest = place
        return place

    def __reduce__(self) -> "tuple[type[Place], tuple[str, int]]":
        """Return what a copy is made of."""
        return Place, (self.file, self.line)


_latest: "Place | None" = None
# Where no line is known.
NOWHERE = Place("an unknown file", 0)


def caller(depth: int = 1) -> "FrameType":
    """Return the frame `depth` levels above the function that asks (1: whoever called it)."""
    return sys._getframe(depth + 1)


def outwards(frame: "FrameType | None") -> "Iterator[FrameType]":
    """Yield the frames from this one to the outermost."""
    while frame is not None:
        yield frame
        frame = frame.f_back


def declaring(frame: "FrameType", factory: object = None) -> "FrameType":
    """Return the frame that declares what `frame` makes: the first outside lazyguard, or the module that it is for.

    A module declares through functions of other modules too, such as a team's own decorator: while it is imported, or
    where the factory is a function of its own. What its own functions make, it does not declare.
    """
    while frame.f_back is not None and _package(frame) == "lazyguard" and not at_module_level(frame):
        frame = frame.f_back
    outer = frame
    between: list[dict[str, Any]] = []
    for _ in range(_WRAPPERS):
        if at_module_level(outer):
            own = outer.f_globals
            importing = getattr(own.get("__spec__"), "_initializing", False)
            is_own = any(names is own for names in between) or not (importing or _is_at_level_of(factory, own))
            return frame if is_own else outer
        between.append(outer.f_globals)
        if outer.f_back is None or _package(outer) == "importlib":
            break
        outer = outer.f_back
    return frame


# How many functions are looked at between a call and the module that declares.
_WRAPPERS = 10


def _is_at_level_of(factory: "Any", names: "dict[str, Any]") -> bool:
    """Return whether a function stands at the level of the module with these names, below no other function."""
    function = unwrapped(factory)
    nested = "<locals>" in getattr(function, "__qualname__", "<locals>")
    return getattr(function, "__globals__", None) is names and not nested


def unwrapped(function: "Any") -> "Any":
    """Return the function that decorators stand around, where they say so as `functools.wraps` does."""
    for _ in range(_WRAPPERS):
        inner = getattr(function, "__dict__", {}).get("__wrapped__")
        if not hasattr(inner, "__code__"):
            break
        function = inner
    return function


def of_declaration(factory: "Any", frame: "FrameType") -> "Place":
    """Return the place of what `frame` declares: its factory's, or the frame's where a wrapper made the factory."""
    function = unwrapped(factory)
    nested = "<locals>" in getattr(function, "__qualname__", "")
    of_wrapper = nested and at_module_level(frame) and getattr(function, "__globals__", None) is not frame.f_globals
    return of_frame(frame) if of_wrapper or not hasattr(function, "__code__") else of_callable(function, NOWHERE)


def _package(frame: "FrameType") -> str:
    """Return the first part of the name of the module whose code the frame executes; "" where it has none."""
    module = frame.f_globals.get("__name__")
    return module.partition(".")[0] if isinstance(module, str) else ""


def at_module_level(frame: "FrameType") -> bool:
    """Return whether the frame executes a module's own statements."""
    if frame.f_code.co_flags & 0x1:  # inspect.CO_OPTIMIZED: a function's, whose f_locals would be a copy that stays
        return False
    return frame.f_locals is frame.f_globals


def of_frame(frame: "FrameType") -> "Place":
    """Return the place of what the frame is executing."""
    return Place(frame.f_code.co_filename, frame.f_lineno)


def of_user(frame: "FrameType | None") -> "Place":
    """Return the place of the innermost frame that is neither lazyguard's nor the import system's."""
    found = (each for each in outwards(frame) if _package(each) not in ("lazyguard", "importlib"))
    return next(map(of_frame, found), NOWHERE)


def of_callable(function: object, otherwise: "Place") -> "Place":
    """Return the place of a Python function's first line; `otherwise` for what has no code."""
    code = getattr(unwrapped(function), "__code__", None)
    if code is None:
        return otherwise
    return Place(code.co_filename, code.co_firstlineno)


# The flags in `co_flags`, as inspect names them.
GENERATOR, COROUTINE, ASYNC_GENERATOR = 0x20, 0x80, 0x200
GENERATORS = GENERATOR | ASYNC_GENERATOR


def flags_of(function: "Any") -> int:
    """Return the `co_flags` of the code that a call of `function` runs; 0 if that is no Python code.

    Nothing but a `functools.partial` is unwrapped.
    """
    # by its class: an object that has every attribute (a mock) would be unwrapped for ever
    while any(f"{base.__module__}.{base.__name__}" == "functools.partial" for base in type(function).__mro__):
        function = function.func
    if not hasattr(function, "__code__"):
        function = getattr(type(function), "__call__", None)  # noqa: B004 (its code is needed, not whether it is callable)
    flags: int = getattr(getattr(function, "__code__", None), "co_flags", 0)
    return flags


def has_parameters(function: "Any") -> bool:
    """Return whether a Python function takes any argument, apart from a method's `self`."""
    code = getattr(function, "__code__", None)
    bound = getattr(function, "__self__", None) is not None
    return code is not None and bool(code.co_argcount > bound or code.co_kwonlyargcount or code.co_flags & 0x0C)


def name_in(frame: "FrameType", kind: str) -> str:
    """Return `module:kind`, for what has no name of its own, of a frame in that module."""
    return f"{frame.f_globals.get('__name__', '?')}:{kind}"


def name_of(function: object) -> str:
    """Return `module:qualname` of a callable, or its type's where it has none."""
    named = function if hasattr(function, "__qualname__") else type(function)
    return sys.intern(f"{getattr(named, '__module__', '?')}:{getattr(named, '__qualname__', '?')}")


def is_module_name(name: object) -> bool:
    """Tell whether this is an absolute module name, as far as one can see from it."""
    return isinstance(name, str) and all(part.isidentifier() for part in name.split("."))


def shown(value: object) -> str:
    """Return the `repr` of a value for an error's text: its beginning, and its type where it has none."""
    try:
        text = repr(value)
    except Exception:  # its own, or that of a number with thousands of digits
        return f"<{type(value).__name__}>"
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


_LONGEST = 200


def misconfigured(text: str) -> Exception:
    """Return a ConfigurationError: an option cannot be right."""
    from lazyguard.errors import ConfigurationError

    return ConfigurationError(text)


def misused(text: str) -> Exception:
    """Return a UsageError: something is used in a way that cannot work."""
    from lazyguard.errors import UsageError

    return UsageError(text)
