"""What works late: results that do their work after the call that has returned them.

Invariant: the type decides; nothing of the result is run or changed.
"""

from __future__ import annotations

from lazyguard._core import whole

# Nothing in these can fail later.
ENDED = frozenset((type(None), bool, int, float, str, bytes, list, tuple, dict, set))
# The methods of generators and coroutines; an object with others is one to be used, not work that waits.
OF_ITERATORS = frozenset(("send", "throw", "close", "asend", "athrow", "aclose", "from_iterable"))
AWAITABLE, FUTURE, BLOCK, ITERATOR = "an awaitable", "a future", "a context manager", "a generator or an iterator"
# How to write it so that it is guarded.
INSTEAD = {
    AWAITABLE: "Await it there, and return what comes of it.",
    FUTURE: "Guard the function that is submitted, or return the future's result.",
    BLOCK: "Guard the functions that are called in its block, or one that has the block in it and returns a value.",
    ITERATOR: "Guard the function that makes one step, or one that returns a list.",
}


def kind_of(result: object) -> str | None:
    """Return what a result is that works late; None for any other."""
    kind = type(result)
    if kind in ENDED or (kind.__module__ == "contextlib" and not kind.__name__.startswith("_")):
        return None  # such as closing(...): the work was done
    proxies = whole("_proxies.proxy")  # not loaded: there is none
    if proxies is not None and issubclass(kind, proxies.Proxy):
        return None
    if hasattr(kind, "add_done_callback"):
        return FUTURE
    if any(callable(getattr(kind, name, None)) for name in dir(kind) if name[0] != "_" and name not in OF_ITERATORS):
        return None
    if hasattr(kind, "__enter__") or hasattr(kind, "__aenter__"):
        return BLOCK
    if hasattr(kind, "__await__"):
        return AWAITABLE
    if kind.__module__ == "builtins" and kind.__name__.endswith("iterator"):
        return None  # of a list, or of another container
    return ITERATOR if hasattr(kind, "__next__") or hasattr(kind, "__aiter__") else None


def refusal(name: str, place: str, kind: str) -> str:
    """Return why such a result is refused, and how to write it."""
    return (
        f"{name} ({place}) returned {kind}: its work is done after the call has returned, where nothing guards it. "
        f"{INSTEAD[kind]}"
    )


# What to do where the factory of a service returns such a thing, which is of use but once.
_MAKE = {
    AWAITABLE: "make it an `async def`, and await it there.",
    FUTURE: "return the future's result.",
    BLOCK: "return the object that it is about, and give close= for what is to be done in the end.",
    ITERATOR: "use `return`, and give close= for what is to be done in the end.",
}


def made(result: object) -> str | None:
    """Return what a factory has returned that works late and is of use but once, and how to write it; else None."""
    if type(result).__module__ not in ("builtins", "contextlib") and not hasattr(result, "add_done_callback"):
        return None  # a class of the same name
    kind = kind_of(result)
    if kind == AWAITABLE:
        getattr(result, "close", bool)()  # else Python tells that nothing has awaited it
    return None if kind is None else f"{kind}, and not the object of the service: {_MAKE[kind]}"
