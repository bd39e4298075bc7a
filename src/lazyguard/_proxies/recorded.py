"""Recorded decorators: what is asked of an object that is not there yet, replayed inside its one build.

Invariants: only the attributes that `record` names are recorded, anything else builds the object; the replay keeps the
order and swallows nothing; a record that comes when the object is there is done at once; after a reset all are replayed
on the new object, and what they had returned follows.
"""

from __future__ import annotations

import _thread
import sys

from lazyguard._base import final, places
from lazyguard._core import loaded
from lazyguard._core.declaration import declared
from lazyguard._proxies import proxy

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from lazyguard._base.places import Place
    from lazyguard._core.cell import Cell
    from lazyguard._proxies.proxy import Flavour, Home, Proxy


@final
class Record:
    """One call that was made on the way from the future object to a decorator's result."""

    __slots__ = ("arguments", "named", "names", "parent", "place", "result")

    def __init__(
        self,
        parent: Record | None,
        names: tuple[str, ...],
        arguments: tuple[Any, ...],
        named: dict[str, Any],
        place: Place,
    ) -> None:
        self.parent = parent
        self.names = names
        self.arguments = arguments
        self.named = named
        self.place = place
        self.result: Cell | None = None


@final
class Recorder:
    """The records of one lazy object, in order, and what the last build made of them."""

    __slots__ = ("cell", "factory", "records", "results")

    def __init__(self, cell: Cell) -> None:
        self.cell = cell
        self.factory = cell.factory
        self.records: list[Record] = []
        self.results: dict[Record, Any] = {}

    def build(self) -> Any:
        """Run the factory and replay all records on what it returns."""
        target = self.factory()
        if target is None:
            return None
        results: dict[Record, Any] = {}
        self.results = results
        done = 0
        while done < len(self.records):  # a replay, or a module that the factory imports, may bring further ones
            record = self.records[done]
            self.replay(record, target, results)
            if record.result is not None and record.result.now.state == "ready":
                record.result.reset()  # of the object before: what it had returned follows
            done += 1
        return target

    def replay(self, record: Record, target: Any, results: dict[Record, Any]) -> None:
        """Make a recorded call on the target and keep what it returns."""
        try:
            done = target if record.parent is None else results[record.parent]
            for name in record.names:
                done = getattr(done, name)
            arguments = [self._real(argument, results) for argument in record.arguments]
            named = {name: self._real(argument, results) for name, argument in record.named.items()}
            results[record] = done(*arguments, **named)
        except Exception as error:
            from lazyguard.errors import ResolutionError
            from lazyguard.events import describe

            raise ResolutionError(
                f"{self.cell.name}: the call recorded at {record.place} raised {describe(error)} when it was replayed."
            ) from error

    def add(self, record: Record) -> None:
        """Keep a record; where the object is there already, make its call now."""
        self.records.append(record)
        if not self.cell.used:
            return
        now = self.cell.now
        if now.state == "resolving" and now.attempt is not None and now.attempt.thread == _thread.get_ident():
            return  # made inside the build, which comes to it
        if now.state in ("resolving", "ready"):
            target = self.cell.resolve()
            if record not in self.results:
                self.replay(record, target, self.results)

    def result(self, record: Record) -> Any:
        """Return what a recorded call returned, building the object if need be."""
        target = self.cell.resolve()
        if record not in self.results:
            self.replay(record, target, self.results)
        return self.results[record]

    def _real(self, argument: Any, results: dict[Record, Any]) -> Any:
        """Put the result in the place of the lazy object that stood for it, in stacked decorators."""
        if issubclass(type(argument), proxy.Proxy):
            cell = proxy.cell_of(argument)
            for record in results:
                if record.result is cell:
                    return results[record]
        return argument


@final
class Recording:
    """What a recorded attribute is while its object is pending."""

    __slots__ = ("_names", "_parent", "_recorder")

    def __init__(self, recorder: Recorder, parent: Record | None, names: tuple[str, ...]) -> None:
        self._recorder = recorder
        self._parent = parent
        self._names = names

    def __getattr__(self, name: str) -> Recording:
        if name.startswith("__"):
            raise AttributeError(name)
        return Recording(self._recorder, self._parent, (*self._names, name))

    def __call__(self, /, *arguments: Any, **named: Any) -> Any:
        record = Record(self._parent, self._names, arguments, named, places.of_frame(places.caller()))
        if len(arguments) == 1 and not named and _is_decorated(arguments[0]):
            decorated = _decorated(self._recorder, record, arguments[0])
            self._recorder.add(record)
            return decorated
        self._recorder.add(record)
        return Recording(self._recorder, record, ())

    def __repr__(self) -> str:
        return f"<recorded {'.'.join(self._names)} of {self._recorder.cell.name}>"


def _is_decorated(argument: Any) -> bool:
    """Return whether a call with this argument decorates it. An exception type is no function: `errorhandler(X)`."""
    if issubclass(type(argument), type):  # not isinstance, which would build a lazy object
        return not issubclass(argument, BaseException)
    return callable(argument)


def _decorated(recorder: Recorder, record: Record, function: Callable[..., Any]) -> Any:
    """Return the lazy object for what the decorator makes of `function`; it tells the function's name and docs."""
    cell = declared(lambda: recorder.result(record), name=places.name_of(function), place=record.place)
    record.result = cell
    about = {
        name: getattr(function, name)
        for name in ("__name__", "__qualname__", "__doc__", "__module__")
        if hasattr(function, name)
    }

    # a proxy, in stacked decorators, would be built for the answer
    code = None if issubclass(type(function), proxy.Proxy) else getattr(function, "__code__", None)
    awaited = bool(getattr(code, "co_flags", 0) & places.COROUTINE)

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
