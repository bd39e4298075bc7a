"""What is called in the place of a guarded function: the fastest that its policies allow.

Invariants: a call that ends well costs what its options need, and no more; what is not in a wrapper is in `calls`. A
wrapper begins with code that takes the whole way, so that declaring compiles nothing; `route` gives it the fast one.
"""

from _weakref import ref

from lazyguard._base import TYPE_CHECKING, Any, dress

if TYPE_CHECKING:
    from types import CodeType

    from lazyguard._core.state import Outcome

# What a guarded function has beside the attributes of its own.
HANDLES = ("fallback", "health", "isolate", "reset")
# By its descriptor: the class of an exception may refuse to have attributes set.
_set_context = BaseException.__dict__["__context__"].__set__


def unwrapped(outcome: "Outcome") -> "Any":
    """Return what a call has returned, or raise what it has raised."""
    error = outcome.error
    if error is None:
        return outcome.value
    outcome.error = None  # else a cycle: the error, its traceback, a frame that has this outcome
    context = error.__context__
    try:
        raise error
    finally:
        # What raises it here handles the first attempt's failure, of which it may be the cause.
        _set_context(error, context)
        del error, context


def wrapped(guard: "Any") -> "Any":
    """Return the function to call, dressed as the one that it guards."""
    make = dress((_async_wrapper if guard.awaited else _wrapper)(guard, guard.function), guard.function)
    for handle in HANDLES:
        setattr(make, handle, getattr(guard, handle))
    guard.wrapper = ref(make)
    return make


def _wrapper(guard: "Any", function: "Any") -> "Any":
    calls = circuit = clock = key = known = places = None

    def whole(*args: "Any", **named: "Any") -> "Any":
        nonlocal calls, circuit, clock, function, key, known, places  # since the fast one has them
        return unwrapped(guard.run(args, named))

    return whole


def _async_wrapper(guard: "Any", function: "Any") -> "Any":
    calls = circuit = clock = key = known = places = None

    async def whole(*args: "Any", **named: "Any") -> "Any":
        nonlocal calls, circuit, clock, function, key, known, places
        return unwrapped(await guard.arun(args, named))

    return whole


# The fast way: a line with a mark is there where the guard has that, one with "-" where it has not.
_FAST = """
def make(calls, circuit, clock, function, guard, key, known, places):
    async def fast(*args, **named):
        nonlocal calls, circuit, clock, function, guard, key, known, places
        entered = id(named)  #limited
        calls[entered] = None  #limited
        try:  #limited
        if True:  #-limited
            if len(calls) > places.most and not places.has(entered):  #limited
                return unwrapped(await guard.arun(args, named))  #limited
            asked = known.get(key(*args, **named)) or guard.circuit_of(args, named)  #keyed
            asked.asked = True  #keyed
            phase = asked.now  #keyed
            phase = circuit.now  #single
            count = phase.count  #broken
            if count is None:  #broken
                return unwrapped(await guard.arun(args, named, None, ENTERED))  #broken
            began = clock.now()  #timed
            try:
                result = await function(*args, **named)
            except Exception as error:
                phase.ended(error, None, BEGAN)  #broken
                return unwrapped(await guard.arun(args, named, error, ENTERED))
            if clock.now() - began > phase.slow:  #timed
                phase.ended(None, None, began)  #timed
                return result  #timed
            count(True)  #broken
            return result
        finally:  #limited
            try:  #limited
                del calls[entered]  #limited
            except KeyError:  #limited
                pass  #limited
    return fast
"""
# By their marks; shared, so that the code of a call under way outlives what replaces it.
_codes: "dict[tuple[bool, ...], CodeType]" = {}


def _code(guard: "Any") -> "CodeType":
    """Return the code of the fast way through a guard."""
    has = {
        "limited": guard.places is not None,
        "keyed": guard.key is not None,
        "single": guard.breaker is not None and guard.key is None,
        "broken": guard.breaker is not None,
        "timed": guard.circuit is not None and guard.circuit.breaker.slow_call_duration is not None,
    }
    kind = (guard.awaited, *has.values())
    if kind not in _codes:
        lines = [line.split("  #") for line in _FAST.splitlines()]
        marked = [text if not mark or has.get(mark[0], not has.get(mark[0][1:])) else "" for text, *mark in lines]
        source = "\n" * _ABOVE + "\n".join(marked)  # on the lines of this file, as tracebacks show them
        source = source.replace("ENTERED", "entered" if has["limited"] else "None")
        source = source.replace("BEGAN", "began" if has["timed"] else "None")
        if not guard.awaited:
            source = source.replace("async ", "").replace("await ", "").replace(".arun", ".run")
        made: dict[str, Any] = {}
        exec(compile(source, __file__, "exec"), made)
        _codes[kind] = made["make"](*[None] * 8).__code__
    return _codes[kind]


# The lines of this file above the text.
_ABOVE = _code.__code__.co_firstlineno - _FAST.count("\n") - 6


def route(guard: "Any", *, fast: bool) -> None:
    """Let the wrapper make first attempts by itself, or the whole of `calls` see every call."""
    make = guard.wrapper()
    if make is None or guard.timeout is not None:
        return
    if not fast:
        make.__code__ = (_async_wrapper if guard.awaited else _wrapper)(guard, None).__code__
        return
    from lazyguard._core import clock

    cells(make, circuit=guard.circuit, clock=clock, key=guard.key, places=guard.places)
    cells(make, calls=getattr(guard.places, "calls", None), known=getattr(guard.circuit, "known", None))
    make.__code__ = _code(guard)


def cells(make: "Any", **values: "Any") -> None:
    """Set what a wrapper has."""
    for name, cell in zip(make.__code__.co_freevars, make.__closure__, strict=True):
        if name in values:
            cell.cell_contents = values[name]
