"""What a resolved proxy costs: an attribute, a method, a call, isinstance, `+`; on a local name, beside the peers.

A lazy object that is made in a function is *cold* in its first 100 uses, and *hot* after 1,000, the conversion to a
class of its own among them.
"""

from __future__ import annotations

import timeit
from collections.abc import Callable
from typing import Any

import pyperf
from tests.benchmarks.rows import installed

import lazyguard


class Thing:
    """What the proxies stand for."""

    def __init__(self) -> None:
        self.attribute = 1

    def method(self) -> None:
        """Do nothing."""

    def __call__(self) -> None:
        """Do nothing."""


def function() -> None:
    """Do nothing."""


def peers() -> dict[str, Callable[[Callable[[], Any]], Any]]:
    """Return the makers of proxies that are installed."""
    found: dict[str, Callable[[Callable[[], Any]], Any]] = {}
    if installed("lazy_object_proxy"):
        import lazy_object_proxy

        found["lazy_object_proxy.Proxy (C)"] = lazy_object_proxy.Proxy
    import wrapt

    if hasattr(wrapt, "LazyObjectProxy"):
        found["wrapt.LazyObjectProxy (C)"] = wrapt.LazyObjectProxy
    if installed("werkzeug"):
        import werkzeug.local

        found["werkzeug LocalProxy"] = werkzeug.local.LocalProxy
    if installed("django"):
        from django.utils.functional import SimpleLazyObject

        found["django SimpleLazyObject"] = SimpleLazyObject
    if installed("celery"):
        import celery.local

        found["celery PromiseProxy"] = celery.local.PromiseProxy
    return found


THING, NUMBER = Thing(), 5
# At module level, as a program declares them: each gets a class for its one target.
lazy_thing = lazyguard.lazy(lambda: THING, name="thing")
lazy_number = lazyguard.lazy(lambda: NUMBER, name="number")
lazy_function = lazyguard.lazy(lambda: function, name="function")


@lazyguard.service()
def get_thing() -> Thing:
    """Make the thing."""
    return THING


COLD, HOT = 100, 1000


def hot(target: Any) -> Any:
    """Return a lazy object that was made in a function and has been used often."""
    made = lazyguard.lazy(lambda: target, name="local")
    for _ in range(HOT):
        isinstance(made, int)
    return made


def subjects(target: Any, ours: Any) -> dict[str, Any]:
    """Return the target itself, and resolved proxies of it."""
    found = {"the target itself": target, "lazyguard.lazy": ours, "lazyguard.lazy in a function, hot": hot(target)}
    if target is THING:
        found["lazyguard.service"] = get_thing()
    found.update((name, make(lambda: target)) for name, make in peers().items())
    for subject in found.values():
        str(subject)  # resolve
    return found


def cold(loops: int, statement: str, target: Any) -> float:
    """Return the seconds of so many times a statement, on lazy objects in their first uses."""
    seconds = 0.0
    timer = timeit.Timer(statement, setup="x = made()", globals={"made": lambda: first(target)})
    for _ in range(-(-loops // COLD)):
        seconds += timer.timeit(COLD)
    return seconds * loops / (-(-loops // COLD) * COLD)


def first(target: Any) -> Any:
    """Return a lazy object that is made in a function and has been used once."""
    made = lazyguard.lazy(lambda: target, name="local")
    str(made)
    return made


def main() -> None:
    """Measure; a program of pyperf's."""
    runner = pyperf.Runner(program_args=("-m", "tests.benchmarks.proxies"))
    for table, statement, target, ours in (
        ("an instance attribute", "x.attribute", THING, lazy_thing),
        ("a method without arguments", "x.method()", THING, lazy_thing),
        ("a call of an object", "x()", THING, lazy_thing),
        ("a call of a function", "x()", function, lazy_function),
        ("isinstance", "isinstance(x, int)", NUMBER, lazy_number),
        ("+ on an int", "x + 1", NUMBER, lazy_number),
    ):
        for name, subject in subjects(target, ours).items():
            if statement == "x()" and not callable(subject):
                continue  # django's has no __call__
            runner.timeit(
                f"{table} | {name} | the target itself", statement, setup="x = subject", globals={"subject": subject}
            )
            if name.endswith("hot"):
                beside = f"{table} | {name[:-3]}cold | the target itself"
                runner.bench_time_func(beside, cold, statement, target)


if __name__ == "__main__":
    main()
