"""The views of what a counted call has returned and what does its work later: it counts when that is done.

Invariants: a view has those special methods that its object's class has; `isinstance` holds, and other attributes are
the object's own. The calls of its public methods count, and so do those on what its block gives. A success of entering
or awaiting what can be entered counts for nothing, since the work is done inside.
"""

from __future__ import annotations

import wrapt

from lazyguard._proxies import proxy as proxies
from lazyguard._services.counted_view import Counting, counted_result, failed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from typing import Any

    from lazyguard._policies.circuit import Phase

# By the special methods that they have.
_classes: dict[frozenset[str], type[View]] = {}


def shown(phase: Phase, result: Any) -> Any:
    """Return the view of an object."""
    kind = type(result)
    if issubclass(kind, View):
        return result
    names = frozenset(name for name in _SPECIAL if hasattr(kind, name))
    if names not in _classes:
        _classes[names] = type("CountedView", (View,), {name: _SPECIAL[name] for name in names})
    return _classes[names](phase, result)


class View(wrapt.ObjectProxy):  # type: ignore[misc,type-arg,unused-ignore]
    """A transparent wrapper of what works late."""

    def __init__(self, phase: Phase, wrapped: Any) -> None:
        super().__init__(wrapped)
        self._self_phase = phase

    def __getattr__(self, name: str) -> Any:
        value = getattr(self.__wrapped__, name)
        if name.startswith("_") or not callable(value) or isinstance(value, type):
            return value

        def call(wrapped: Any, _: object, arguments: tuple[Any, ...], named: dict[str, Any]) -> Any:
            phase = self._self_phase._circuit.now
            with Counting(phase):
                result = wrapped(*arguments, **named)
            return self if result is self.__wrapped__ else counted_result(phase, result)

        return wrapt.FunctionWrapper(value, call)


def _given(view: View, given: Any) -> Any:
    """Return what a block gives: the view itself for its object, and a view of any other object with methods."""
    if given is view.__wrapped__:
        return view
    if type(given).__module__ == "builtins" or issubclass(type(given), proxies.Proxy):
        return given
    return shown(view._self_phase, given)


def _await(self: View) -> Generator[Any, Any, Any]:
    with Counting(self._self_phase):
        result = yield from self.__wrapped__.__await__()
    if result is self.__wrapped__:
        return self
    return counted_result(self._self_phase, result, ok=not hasattr(type(self), "__aenter__"))


async def _aenter(self: View) -> Any:
    with Counting(self._self_phase):
        return _given(self, await self.__wrapped__.__aenter__())


async def _aexit(self: View, *raised: Any) -> Any:
    try:
        return await self.__wrapped__.__aexit__(*raised)
    except BaseException as error:
        if error is not raised[1]:  # else it was counted where it was raised, if it was the object's
            failed(self._self_phase, error)
        raise


def _calling(name: str) -> Callable[[View], Any]:
    def call(self: View) -> Any:
        with Counting(self._self_phase):
            return getattr(self.__wrapped__, name)()

    return call


async def _anext(self: View) -> Any:
    with Counting(self._self_phase):
        return await self.__wrapped__.__anext__()


def _iterating(name: str) -> Callable[[View], Any]:
    def iterate(self: View) -> Any:
        iterator = getattr(self.__wrapped__, name)()
        return self if iterator is self.__wrapped__ else counted_result(self._self_phase, iterator)

    return iterate


_SPECIAL: dict[str, Callable[..., Any]] = {
    "__await__": _await,
    "__aenter__": _aenter,
    "__aexit__": _aexit,
    "__enter__": _calling("__enter__"),
    "__next__": _calling("__next__"),
    "__iter__": _iterating("__iter__"),
    "__anext__": _anext,
    "__aiter__": _iterating("__aiter__"),
}
