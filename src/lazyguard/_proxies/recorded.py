"""Recorded decorators: what is asked of an object that is not there yet, replayed inside its one build.

Invariants: only the attributes that `record` names are recorded, anything else builds the object; the replay keeps the
order and swallows nothing; a record that comes when the object is there is done at once; after a reset all are replayed
on the new object, and what they had returned follows.
"""

from __future__ import annotations

import _thread
import sys

from lazyguard._base import TYPE_CHECKING, Any, Callable, Record, Sequence, places
from lazyguard._core import loaded
from lazyguard._core.declaration import declared
from lazyguard._proxies import proxy

if TYPE_CHECKING:
    from lazyguard._base.places import Place
    from lazyguard._core.cell import Cell
    from lazyguard._proxies.proxy import Flavour, Home, Proxy


class Call(Record):
    """One recorded call, on the way from the future object to a decorator's result.

    `parent` is the call that returned what this one is made on, None for the object itself; `result` the lazy object
    that stands for what a decorator makes.
    """

    parent: Call | None
    names: tuple[str, ...]
    arguments: tuple[Any, ...]
    named: dict[str, Any]
    place: Place
    result: Cell | None = None


class Recorder:
    """The recorded calls of one lazy object, in order, and what the last build made of them."""

    def __init__(self, cell: Cell) -> None:
        self.cell = cell
        self.factory = cell.factory
        self.calls: list[Call] = []
        self.results: dict[Call, Any] = {}

    def build(self) -> Any:
        """Run the factory and replay all calls on what it returns."""
        target = self.factory()
        if target is None:
            return None
        results: dict[Call, Any] = {}
        self.results = results
        for call in self.calls:  # a replay, or a module that the factory imports, may bring further ones
            self.replay(call, target, results)
            if call.result is not None and call.result.now.state == "ready":
                call.result.reset()  # of the object before: what it had returned follows
        return target

    def replay(self, call: Call, target: Any, results: dict[Call, Any]) -> None:
        """Make a recorded call on the target and keep what it returns."""
        try:
            done = target if call.parent is None else results[call.parent]
            for name in call.names:
                done = getattr(done, name)
            arguments = [_real(argument, results) for argument in call.arguments]
            named = {name: _real(argument, results) for name, argument in call.named.items()}
            results[call] = done(*arguments, **named)
        except Exception as error:
            from lazyguard.errors import ResolutionError
            from lazyguard.events import describe

            raise ResolutionError(
                f"{self.cell.name}: the call recorded at {call.place} raised {describe(error)} when it was replayed."
            ) from error

    def add(self, call: Call) -> None:
        """Keep a call; where the object is there already, make it now."""
        self.calls.append(call)
        if not self.cell.used:
            return
        now = self.cell.now
        # inside the build, which comes to it
        inside = now.attempt is not None and now.attempt.thread == _thread.get_ident()
        if now.state == "ready" or (now.state == "resolving" and not inside):
            self.result(call)

    def result(self, call: Call) -> Any:
        """Return what a recorded call returned, building the object if need be."""
        target = self.cell.resolve()
        if call not in self.results:
            self.replay(call, target, self.results)
        return self.results[call]


def _real(argument: Any, results: dict[Call, Any]) -> Any:
    """Put the result in the place of the lazy object that stood for it, in stacked decorators."""
    if not issubclass(type(argument), proxy.Proxy):
        return argument
    cell = proxy.cell_of(argument)
    return next((result for call, result in results.items() if call.result is cell), argument)


class Recording:
    """What a recorded attribute is while its object is pending."""

    __slots__ = ("_names", "_parent", "_recorder")

    def __init__(self, recorder: Recorder, parent: Call | None, names: tuple[str, ...]) -> None:
        self._recorder = recorder
        self._parent = parent
        self._names = names

    def __getattr__(self, name: str) -> Recording:
        if name.startswith("__"):
            raise AttributeError(name)
        return Recording(self._recorder, self._parent, (*self._names, name))

    def __call__(self, /, *arguments: Any, **named: Any) -> Any:
        place = places.of_frame(places.caller())
        call = Call(parent=self._parent, names=self._names, arguments=arguments, named=named, place=place)
        decorates = len(arguments) == 1 and not named and _is_decorated(arguments[0])
        made = _decorated(self._recorder, call, arguments[0]) if decorates else Recording(self._recorder, call, ())
        self._recorder.add(call)
        return made

    def __repr__(self) -> str:
        return f"<recorded {'.'.join(self._names)} of {self._recorder.cell.name}>"


def _is_decorated(argument: Any) -> bool:
    """Return whether a call with this argument decorates it. An exception type is no function: `errorhandler(X)`."""
    if issubclass(type(argument), type):  # not isinstance, which would build a lazy object
        return not issubclass(argument, BaseException)
    return callable(argument)


_ABOUT_FUNCTION = ("__name__", "__qualname__", "__doc__", "__module__")


def _decorated(recorder: Recorder, call: Call, function: Callable[..., Any]) -> Any:
    """Return the lazy object for what the decorator makes of `function`; it tells the function's name and docs."""
    cell = declared(lambda: recorder.result(call), name=places.name_of(function), place=call.place)
    call.result = cell
    about = {name: getattr(function, name) for name in _ABOUT_FUNCTION if hasattr(function, name)}

    # a proxy, in stacked decorators, would be built for the answer
    awaited = not issubclass(type(function), proxy.Proxy) and bool(places.flags_of(function) & places.COROUTINE)

    def getattribute(self: Proxy, name: str) -> Any:
        if name in about:
            return about[name]
        if loaded(proxy.INSPECTION, cell).skims(sys._getframe().f_back, awaited=awaited):
            if name == "__class__":
                return type(self)
            raise AttributeError(f"{cell.name} is pending, so it has no {name!r}", name=name, obj=self)
        return proxy.Pending.__getattribute__(self, name)

    pending = proxy.pending_without("lazy result", "__await__")
    return proxy.make(cell, proxy.bound, getattribute, pending, home=(about.get("__module__"), ""))


def make(cell: Cell, record: Sequence[str], flavour: Flavour, home: Home | None = None) -> Any:
    """Return the proxy of a lazy object whose decorators are recorded."""
    recorder = Recorder(cell)
    recorded = frozenset(record)

    def build() -> Any:
        return recorder.build()

    def getattribute(self: Proxy, name: str) -> Any:
        if name in recorded:
            return Recording(recorder, None, (name,))
        return proxy.Pending.__getattribute__(self, name)

    build.__wrapped__ = cell.factory  # type: ignore[attr-defined]
    cell.factory = build
    return proxy.make(cell, flavour, getattribute, home=home)
