"""The keys of a service whose factory has parameters: one cell for each set of arguments, within a bound.

Invariants: calls with equal arguments reach the same cell while there is a reference to it, so a key never has two real
objects that are served. No lock is held while keys are compared, which runs user code. An evicted key lives on while
there is a reference to its live reference. A new key costs the logarithm of the others.
"""

from __future__ import annotations

import _weakref
from _weakref import ref
from heapq import heappop, heappush, heapreplace
from itertools import count

from lazyguard._base import TYPE_CHECKING, Any, Callable, places, signatures
from lazyguard._base.interpreter import Lock
from lazyguard._core import declaration
from lazyguard.errors import UsageError
from lazyguard.events import describe

if TYPE_CHECKING:
    from lazyguard._core.cell import Cell


# Takes a weak reference that is dead out of a dict, in one step; `WeakValueDictionary` has it from there too.
_remove_if_dead: Callable[[dict[Any, Any], object], None] = _weakref._remove_dead_weakref  # type: ignore[attr-defined]
_uses = count()
# Held for a heap alone, which compares numbers. Reentrant, since a finaliser may run on its holder's thread.
_lock = Lock()


class Entry(ref):  # type: ignore[type-arg]  # a subscript would cost each program that declares keys
    """One key: a weak reference to its live reference, and its service while the key is kept.

    It is one, and not has one, since CPython can take a dead weak reference out of a dict in one step: between a look
    and a `pop` another thread could begin the key anew.
    """

    __slots__ = ("by_name", "cell", "kept", "used")
    by_name: dict[str, Any]
    cell: ref[Cell]
    kept: Any | None
    used: int

    def __new__(cls, service: Any, by_name: dict[str, Any], on_dead: Callable[[Any], object]) -> Entry:
        entry = super().__new__(cls, service._live, on_dead)
        entry.kept = service
        entry.by_name = by_name
        entry.cell = ref(service._cell)
        entry.used = next(_uses)
        return entry

    def __init__(self, *_: object) -> None:
        pass


class Keys:
    """The keys of one service.

    Args:
        of: The service that has them.
        most: How many keys are kept.
    """

    def __init__(self, of: Any, most: int) -> None:
        self._of = of
        self._factory = of._factory
        self._like = places.unwrapped(of._factory)  # which has the parameters
        self._most = most
        self._signature: Any = None
        self._positional = (
            len(signatures.positional_parameters(self._like)) if signatures.only_positional(self._like) else None
        )
        self._entries: dict[Any, Entry] = {}
        # Those that are kept, by when they were asked for last, as far as was looked: a heap.
        self._kept: list[tuple[int, Entry]] = []

    def service(self, arguments: tuple[Any, ...], named: dict[str, Any]) -> Any:
        """Return the service of one key.

        Raises:
            UsageError: The factory does not take these arguments, or they are not hashable.
        """
        if named or len(arguments) != self._positional:
            arguments, named = self._bind(arguments, named)
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
                    declaration.register(new.kept._cell, self._of._kind)
                    self._keep(entry)
            entry.used = next(_uses)
            if (kept := entry.kept) is not None:
                return kept
            if (live := entry()) is not None:
                entry.kept = restored = self._of._around(live)
                self._keep(entry)
                return restored
            _remove_if_dead(self._entries, key)  # its last reference has just gone

    def living(self) -> list[tuple[Cell, dict[str, Any]]]:
        """Return the cells of all keys that are referenced, and the arguments of their factory, the oldest first."""
        found = [(entry.cell(), entry.by_name) for entry in list(self._entries.values())]
        return [(cell, by_name) for cell, by_name in found if cell is not None]

    def _new(self, key: Any, arguments: tuple[Any, ...], named: dict[str, Any]) -> Entry:
        factory, entries = self._factory, self._entries

        def build() -> Any:
            return factory(*arguments, **named)

        def on_dead(entry: Entry) -> None:
            cell = entry.cell()
            if cell is not None:
                cell.plan = cell.plan.changed(recovery=None)  # there is no user left to recover for
                cell.recovery_run = None
            _remove_if_dead(entries, key)

        build.__wrapped__ = factory  # type: ignore[attr-defined]
        by_name = self._by_name(arguments, named)
        return Entry(self._of._child(build, by_name), by_name, on_dead)

    def _keep(self, entry: Entry) -> None:
        """Keep one more key, and evict those beyond the bound that were used least recently; not an overridden one.

        A key that was used since the heap was looked at goes back into it.
        """
        evicted: list[Any] = []  # dropping one may run finalisers: outside the lock
        with _lock:
            heappush(self._kept, (entry.used, entry))
            looks = len(self._kept)
            while len(self._kept) > self._most and looks:
                looks -= 1
                used, oldest = self._kept[0]
                cell = oldest.cell()
                if used != oldest.used or (cell is not None and cell.now.overrides):
                    heapreplace(self._kept, (next(_uses) if used == oldest.used else oldest.used, oldest))
                    continue
                heappop(self._kept)
                evicted.append(oldest.kept)
                oldest.kept = None
                if cell is not None and cell.kept is not None:
                    cell.kept.again()  # it may lead to a caller that has raised it, and by that to the cell

    def _bind(self, arguments: tuple[Any, ...], named: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        if self._signature is None:
            self._signature = signatures.signature_of(self._factory)
        try:
            bound = self._signature.bind(*arguments, **named)
        except TypeError as error:
            raise UsageError(
                f"{self._of._cell.name} has one object for each set of arguments, and its factory does not take these: "
                f"{error}."
            ) from None
        bound.apply_defaults()
        return bound.args, bound.kwargs

    def _by_name(self, arguments: tuple[Any, ...], named: dict[str, Any]) -> dict[str, Any]:
        """Return the arguments by the names of the factory's parameters."""
        return {**dict(zip(signatures.positional_parameters(self._like), arguments, strict=False)), **named}

    def _unhashable(self, arguments: tuple[Any, ...], named: dict[str, Any], error: TypeError) -> UsageError:
        why = f"these cannot be a key: comparing them raised {describe(error)}. Give arguments that can be compared."
        for name, value in self._by_name(arguments, named).items():
            try:
                hash(value)
            except TypeError:
                why = (
                    f"its {name} is of type {type(value).__name__}, which cannot be a key, since it is not hashable: "
                    "give a string, a number, a tuple or a frozen dataclass instead."
                )
        return UsageError(f"{self._of._cell.name} has one object for each set of arguments, and {why}")
