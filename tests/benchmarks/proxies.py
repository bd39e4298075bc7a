"""What a resolved proxy costs: an attribute, a method, a call, isinstance, `+`; on a local name, beside the peers."""

from __future__ import annotations

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


def subjects(target: Any, ours: Any) -> dict[str, Any]:
    """Return the target itself, and resolved proxies of it."""
    found = {"the target itself": target, "lazyguard.lazy": ours}
    found["lazyguard.lazy in a function"] = lazyguard.lazy(lambda: target, name="local")
    if target is THING:
        found["lazyguard.service"] = get_thing()
    found.update((name, make(lambda: target)) for name, make in peers().items())
    for subject in found.values():
        str(subject)  # resolve
    return found


def main() -> None:
    """Measure; a program of pyperf's."""
    runner = pyperf.Runner(program_args=("-m", "tests.benchmarks.proxies"))
    for table, statement, target, ours in (
        ("an instance attribute", "x.attribute", THING, lazy_thing),
        ("a method without arguments", "x.method()", THING, lazy_thing),
        ("a call", "x()", function, lazy_function),
        ("isinstance", "isinstance(x, int)", NUMBER, lazy_number),
        ("+ on an int", "x + 1", NUMBER, lazy_number),
    ):
        for name, subject in subjects(target, ours).items():
            if statement == "x()" and not callable(subject):
                continue  # django's has no __call__
            runner.timeit(
                f"{table} | {name} | the target itself", statement, setup="x = subject", globals={"subject": subject}
            )


if __name__ == "__main__":
    main()
