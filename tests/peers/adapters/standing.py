"""How lazyguard stands in: what makes a lazy object in each of its forms, and a class that a test can call.

The forms: what is declared in a function (its class is shared), the same once it is used often (it gets a class of its
own), at module level, and the live reference of a service, plain and with the failures of its calls counted.
"""

from __future__ import annotations

import contextlib
import inspect
import os
from collections.abc import Callable
from typing import Any

import lazyguard
from lazyguard._proxies.proxy import Proxy

FORM = os.environ.get("LAZYGUARD_FORM", "function")
if FORM == "hot":
    from lazyguard._proxies import views

    views.COLD_USES = 1


class Rare(Exception):
    """A failure that no test raises."""


def lazy(factory: Callable[[], Any]) -> Any:
    """Return what lazyguard has for an object that `factory` returns; of an `async def` that is its coroutine."""
    if inspect.iscoroutinefunction(factory):
        of_coroutine = factory

        def factory() -> Any:
            return of_coroutine()

    if FORM == "module":
        namespace: dict[str, Any] = {"__name__": __name__, "lazyguard": lazyguard, "factory": factory}
        exec("made = lazyguard.lazy(factory)", namespace)
        return namespace["made"]
    if FORM == "service":
        return lazyguard.service(factory)()
    if FORM == "counted":
        return lazyguard.service(failures=(Rare,))(factory)()
    made = lazyguard.lazy(factory)
    if FORM == "hot":  # built at once, and used until it has a class of its own
        with contextlib.suppress(Exception):
            _ = [made.__class__ for _ in range(4)]
    return made


_assigned: list[Any] = []


def assign(one: Any, value: Any) -> None:
    """Let a lazy object show another value from now on."""
    _assigned.append(lazyguard.override(one, value))
    _assigned[-1].__enter__()


class Looks(type):
    """So that every lazy object is an instance of what stands for their class."""

    def __instancecheck__(cls, one: object) -> bool:
        return issubclass(type(one), Proxy)

    def __subclasscheck__(cls, kind: type) -> bool:
        return issubclass(kind, Proxy) or super().__subclasscheck__(kind)


class OfFactory(metaclass=Looks):
    """Stands for a class that is called with a factory."""

    def __new__(cls, factory: Callable[[], Any], *_: Any, **__: Any) -> Any:
        """Return a lazy object."""
        return lazy(factory)


class OfObject(metaclass=Looks):
    """Stands for a class that is called with an object."""

    def __new__(cls, wrapped: Any, *_: Any, **__: Any) -> Any:
        """Return a lazy object; what it is of is there already, so it is resolved, except in the first form."""
        made = lazy(lambda: object() if wrapped is None else wrapped)
        if wrapped is None:
            assign(made, None)
        elif FORM != "function":
            lazyguard.resolve(made)
        return made
