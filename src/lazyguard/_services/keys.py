"""The keys of a service whose factory has parameters: one cell for each set of arguments, within a bound.

Invariants: two calls whose arguments mean the same reach the same cell as long as anybody holds it, so that a key never
has two real objects that are served; no lock is held while keys are compared, which runs the user's code; what is let
go of, because too many are kept, lives on for those who hold its live reference; a key costs the logarithm of the
others.
"""

from __future__ import annotations

import _thread
import os
from _weakref import ref
from heapq import heappop, heappush, heapreplace
from itertools import count

from lazyguard._base import signatures
from lazyguard._base.typing import final
from lazyguard._policies.bulkhead import DEFAULT, Bulkhead
from lazyguard.errors import UsageError
from lazyguard.events import describe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from lazyguard._core.cell import Cell
    from lazyguard._services.service import Service

_turns = count()
# Held for a heap alone, which compares numbers. Reentrant, since a finaliser may run on its holder's thread.
_lock = _thread.RLock()


def bulkhead(most: int | None) -> Bulkhead:
    """Return the places for the attempts of all keys of one service."""
    return Bulkhead(DEFAULT if most is None else most)


def _in_child() -> None:
    global _lock
    _lock = _thread.RLock()


if hasattr(os, "register_at_fork"):  # pragma: no branch (not on Windows)
    os.register_at_fork(after_in_child=_in_child)


@final
class Entry:
    """One key: its service while it is kept, and beyond that the way to it for as long as anybody else holds it."""

    __slots__ = ("cell", "given", "kept", "live", "used")

    def __init__(
        self, service: Service[[], Any], given: dict[str, Any], gone: Callable[[ref[Cell], object], object]
    ) -> None:
        cell = ref(service._cell)
        self.kept: Service[[], Any] | None = service
        self.given = given
        self.cell = cell
        self.live = ref(service._live, lambda dead: gone(cell, dead))
        self.used = next(_turns)


@final
class Keys:
    """The keys of one service.

    Args:
        of: The service.
        factory: Whose parameters make the key.
        most: How many keys are kept.
    """

    __slots__ = ("_entries", "_factory", "_kept", "_most", "_of", "_positional", "_signature")

    def __init__(self, of: Service[..., Any], factory: Callable[..., Any], most: int) -> None:
        self._of = of
        self._factory = factory
        self._most = most
        self._signature: Any = None
        self._positional = (
            len(signatures.positional_parameters(factory)) if signatures.only_positional(factory) else None
        )
        self._entries: dict[Any, Entry] = {}
        # Those that are kept, by when they were asked for last, as far as was looked: a heap.
        self._kept: list[tuple[int, Entry]] = []

    def service(self, arguments: tuple[Any, ...], named: dict[str, Any]) -> Service[[], Any]:
        """Return the service of one key.

        Raises:
            UsageError: The factory does not take these arguments, or they are no key.
        """
        if named or len(arguments) != self._positional:
            arguments, named = self._bound(arguments, named)
        key = arguments if self._positional is not None else (arguments, tuple(sorted(named.items())))
        while True:
            try:
                entry = self._entries.get(key)
            except TypeError as error:
                raise self._unhashable(arguments, named, error) from error
            if entry is None:
                new = self._new(key, arguments, named)
                entry = self._entries.setdefault(key, new)
                if entry is new and new.kept is not None:
                    self._of._begin(new.kept._cell)
                    self._keep(entry)
            entry.used = next(_turns)
            if (kept := entry.kept) is not None:
                return kept
            if (live := entry.live()) is not None:
                entry.kept = restored = self._of._around(live)
                self._keep(entry)
                return restored
            if self._entries.get(key) is entry:  # its last reference goes away at this moment
                self._entries.pop(key, None)

    def living(self) -> list[tuple[Cell, dict[str, Any]]]:
        """Return the cells of all keys that anybody holds, and what their factory is given, the oldest first."""
        found = [(entry.cell(), entry.given) for entry in list(self._entries.values())]
        return [(cell, given) for cell, given in found if cell is not None]

    def _new(self, key: Any, arguments: tuple[Any, ...], named: dict[str, Any]) -> Entry:
        factory, entries = self._factory, self._entries

        def build() -> Any:
            return factory(*arguments, **named)

        def gone(known: ref[Cell], live: object) -> None:
            cell = known()
            if cell is not None:
                cell.plan = cell.plan.changed(recovery=None)  # nobody waits for it any more
                cell.recovery_run = None
            entry = entries.get(key)
            if entry is not None and entry.live is live:
                entries.pop(key, None)

        build.__wrapped__ = factory  # type: ignore[attr-defined]
        given = self._by_name(arguments, named)
        return Entry(self._of._child(build, given), given, gone)

    def _keep(self, entry: Entry) -> None:
        """Keep one more, and no more than so many, those that were asked for last; an override is kept until it ends.

        Each costs the logarithm of the others: one that was asked for since the heap was looked at goes back into it.
        """
        dropped: list[Service[[], Any] | None] = []  # which may run finalisers: outside the lock
        with _lock:
            heappush(self._kept, (entry.used, entry))
            looks = len(self._kept)
            while len(self._kept) > self._most and looks:
                looks -= 1
                used, oldest = self._kept[0]
                cell = oldest.cell()
                if used != oldest.used or (cell is not None and cell.overridden):
                    heapreplace(self._kept, (next(_turns) if used == oldest.used else oldest.used, oldest))
                else:
                    heappop(self._kept)
                    dropped.append(oldest.kept)
                    oldest.kept = None

    def _bound(self, arguments: tuple[Any, ...], named: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        try:
            bound = self._signed().bind(*arguments, **named)
        except TypeError as error:
            raise UsageError(
                f"{self._of._cell.name} has one object for each set of arguments, and its factory does not take these: "
                f"{error}."
            ) from None
        bound.apply_defaults()
        return bound.args, bound.kwargs

    def _signed(self) -> Any:
        if self._signature is None:
            import inspect

            self._signature = inspect.signature(self._factory)
        return self._signature

    def _by_name(self, arguments: tuple[Any, ...], named: dict[str, Any]) -> dict[str, Any]:
        """Return what each of the factory's parameters is given."""
        return {**dict(zip(signatures.positional_parameters(self._factory), arguments, strict=False)), **named}

    def _unhashable(self, arguments: tuple[Any, ...], named: dict[str, Any], error: TypeError) -> UsageError:
        for name, value in self._by_name(arguments, named).items():
            try:
                hash(value)
            except TypeError:
                return UsageError(
                    f"{self._of._cell.name} has one object for each set of arguments, and its {name} is of type "
                    f"{type(value).__name__}, which is no key, since it is not hashable: give a text, a number, a "
                    "tuple or a frozen dataclass that says the same."
                )
        return UsageError(
            f"{self._of._cell.name} has one object for each set of arguments, and these cannot be a key: "
            f"comparing them raised {describe(error)}."
        )
