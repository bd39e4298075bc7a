"""The fast way through a guarded function: the code of a first attempt that its wrapper makes by itself.

Invariant: a call that ends well costs what its options need, and no more; what is not here is in `calls`.
"""

from lazyguard._base import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import CodeType

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


def take(guard: "Any", make: "Any") -> None:
    """Let the wrapper of a guard make first attempts by itself."""
    from lazyguard._core import clock

    cells(make, circuit=guard.circuit, clock=clock, key=guard.key, places=guard.places)
    cells(make, calls=getattr(guard.places, "calls", None), known=getattr(guard.circuit, "known", None))
    make.__code__ = _code(guard)


def cells(make: "Any", **values: "Any") -> None:
    """Set what a wrapper has."""
    for name, cell in zip(make.__code__.co_freevars, make.__closure__, strict=True):
        if name in values:
            cell.cell_contents = values[name]
