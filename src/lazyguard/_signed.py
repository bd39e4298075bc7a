"""The signature of a service's factory, as those see it who read it from the service: FastAPI's `Depends`.

Invariants: nothing is inspected before somebody asks; an async factory is never taken for what is called, since its
service returns no coroutine.
"""

from __future__ import annotations

from lazyguard._typing import final

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar

    Method = TypeVar("Method", bound=Callable[..., Any])

    def like_factory(method: Method) -> Method:
        """Let an async method of a service have the signature of its factory."""
        return method

else:

    @final
    class like_factory:  # noqa: N801  # used as the decorator that it stands for
        """Let an async method of a service have the signature of its factory."""

        __slots__ = ("_method",)

        def __init__(self, method):
            self._method = method

        def __get__(self, service, owner=None):
            if service is None:
                return self._method
            factory = service._factory
            if factory is None:
                return type(service.of)(self._method, service)
            from _functools import partial

            # A partial, and not a bound method, since that has the signature of its function. Kept, so that who asks
            # twice has the same: FastAPI calls one dependency once a request, and finds its override.
            bound = vars(service)[self._method.__name__] = partial(self._method, service)
            for name in ("__module__", "__name__", "__qualname__", "__doc__"):
                setattr(bound, name, getattr(self._method, name))
            bound.__signature__ = signature_of(factory)
            bound.__globals__ = getattr(factory, "__globals__", {})  # where its annotations are looked up
            return bound


@final
class Signature:
    """What `__signature__` of a service is: its factory's, found out when somebody asks."""

    __slots__ = ()

    def __get__(self, service: Any, owner: object = None) -> Any:
        if service is None or service._factory is None:
            raise AttributeError("__signature__")
        return signature_of(service._factory)


def signature_of(factory: Callable[..., Any]) -> Any:
    """Return how a factory is called."""
    import inspect

    return inspect.signature(factory)
