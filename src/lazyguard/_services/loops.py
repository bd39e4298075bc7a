"""The event loops of one async service: where a second one uses it, each has an object and a cell of its own.

Invariants: with one loop nothing of this is loaded, and the live reference shows its target as ever. With several, the
live reference looks up its caller's loop at each use, and hands on to a reference which that loop alone has; so what a
loop sees is what a service with one loop shows. No loop is given another one's object. A loop that has closed is
forgotten by whoever looks next, and its object closed in the background.
"""

from __future__ import annotations

import sys
from itertools import count

from lazyguard._base import TYPE_CHECKING, Any, Callable
from lazyguard._base.places import misused
from lazyguard._core import clock, closing, declaration
from lazyguard._core.state import PENDING, READY, lock
from lazyguard._core.wait_cycles import current_loop
from lazyguard._proxies import proxy as proxies
from lazyguard._proxies import views
from lazyguard._proxies.proxy import Proxy, cell_of
from lazyguard.events import deliver

if TYPE_CHECKING:
    from lazyguard._core.cell import Cell
    from lazyguard._proxies.proxy import ProxyMirror


# How many uses of a reference look once whether a loop has closed.
_LOOK_EVERY = 64


def of(cell: Cell, mirror: ProxyMirror) -> Loops:
    """Return the loops of a service whose object another loop has; they are several from now on."""
    loops = Loops(cell, mirror)
    with lock:
        if cell.loops is None:
            cell.loops = loops
            live = mirror()
            if live is not None:
                proxies.set_class(loops.first, type(live))
                proxies.set_class(live, loops.view)
    known: Loops = cell.loops
    return known


class Loops:
    """The references of the loops that use one service.

    Attributes:
        first: The reference of the loop whose object the service's own cell holds.
        mirror: What shows that one's cell.
        view: The class of the live reference, as long as there are several.
    """

    def __init__(self, cell: Cell, mirror: ProxyMirror) -> None:
        self._cell = cell
        self.mirror = mirror
        live: Any = mirror()
        self.first: Proxy = object.__new__(type(live))
        proxies.set_cell(self.first, cell)
        # Copied before it is walked, since other threads change it.
        self._references: dict[Any, Proxy] = {cell.home: self.first}
        self._numbers = count(2)
        self._names: dict[Any, str] = {cell.home: "loop 1"}
        like = cell.now.target if cell.now.served else self.first
        self.view: type[Proxy] = views.forwarding(like, lambda _: self._find(), self._attributes(), views.perform)
        kind: Any = self.view
        kind.__repr__ = lambda _: repr(self._any())
        kind.__dir__ = lambda _: dir(self._any())

    def cells(self) -> list[Cell]:
        """Return the cells of all loops."""
        return [cell_of(reference) for reference in self._references.copy().values()]

    def others(self, cell: Cell) -> list[Cell]:
        """Return the cells of all loops but the service's own; of another cell none."""
        return [other for other in self.cells() if other is not cell] if cell is self._cell else []

    def here(self, *, strict: bool = True) -> Cell:
        """Return the cell of the caller's loop, which is new where that one has none.

        Without a loop it is that of the only loop that runs; `strict`: raise UsageError where there are several.
        """
        found = cell_of(self._find() if strict else self._any())
        return found if found.loops is self else self._cell.here(strict=strict)

    def name_of(self, cell: Cell) -> str:
        """Return what health calls the loop of a cell: its number, in the order of their first use."""
        return next((self._names[loop] for loop, one in self._references.copy().items() if cell_of(one) is cell), "")

    def prune(self) -> None:
        """Forget the loops that have closed; where one is left, let the live reference show its object itself."""
        for loop in self._references.copy():
            if loop.is_closed():
                self._drop(loop)
        if len(self._references) == 1:
            self._end()

    def end(self) -> None:
        """Have one cell from now on, the service's own: all others' loops have gone."""
        for cell in self.others(self._cell):
            declaration.forget(cell)
            cell.loops = None
        with lock:
            if self._cell.loops is self:
                self._cell.loops = None
                live = self.mirror()
                if live is not None:
                    proxies.set_class(live, type(self.first))

    def _attributes(self) -> Callable[[Proxy, str], Any]:
        """Return what answers for attributes, at each use of the live reference: so it is short."""
        reference_of, running_loop = self._references.get, sys.modules["asyncio"]._get_running_loop
        uses = count(1)

        def attribute(_: Proxy, name: str) -> Any:
            reference = reference_of(running_loop())
            if reference is None or not next(uses) % _LOOK_EVERY:
                reference = self._any() if name.startswith("__") else self._find()
            return getattr(reference, name)

        return attribute

    def _any(self) -> Proxy:
        """Return the caller's reference, or any: to look is no use."""
        found = self._references.get(current_loop())
        return next(iter(self._references.copy().values())) if found is None else found

    def _find(self) -> Proxy:
        here = current_loop()
        if here is not None and here not in self._references:
            self._add(here)
        self.prune()
        if here is not None:
            live = self.mirror()
            assert live is not None  # who uses it holds it
            return self._references.get(here, live)
        running = [reference for loop, reference in self._references.copy().items() if loop.is_running()]
        possible = running or list(self._references.copy().values())
        if len(possible) > 1:
            raise misused(
                f"{self._cell.name}, declared at {self._cell.place}, has one object for each of {len(possible)} event "
                "loops, and no loop runs here that tells which is meant: use it in a task of its loop, as with "
                "asyncio.run_coroutine_threadsafe(...)."
            )
        return possible[0]

    def _add(self, loop: Any) -> None:
        like, mirror = self._cell, self.mirror
        if all(reference is not self.first for reference in self._references.copy().values()):
            reference = self.first  # the loop of the service's own cell has gone
        else:
            cell: Cell = declaration.declared(like.factory, name=like.name, place=like.place, plan=like.plan)
            reference = proxies.make(cell, mirror.flavour, home=mirror.home, tells=False)
            for fallback in like.fallbacks:
                fallback.factory.join(cell)
            cell.loops = self
            declaration.register(cell, declaration.kind_of(like))
        with lock:
            if like.loops is self:  # else another thread has seen that the others' loops have gone
                cell_of(reference).home = loop
                self._names[loop] = f"loop {next(self._numbers)}"
                self._references[loop] = reference

    def _drop(self, loop: Any) -> None:
        """Forget a loop that has closed, and its cell, unless that is the service's own."""
        reference = self._references.pop(loop, None)
        if reference is None:
            return  # another thread has
        self._names.pop(loop, None)
        cell = cell_of(reference)
        for pending in cell.begin_anew():
            closing.after_grace(pending, clock.now())
        deliver()
        if cell is not self._cell:
            declaration.forget(cell)
            cell.loops = cell.recovery_run = None

    def _end(self) -> None:
        """Do `end` where one loop is left: the service's own cell takes over what that one holds.

        That is done on this loop alone, since no other code of its own can use the object meanwhile.
        """
        ((loop, reference),) = self._references.copy().items()
        cell, own = cell_of(reference), self._cell
        if cell is not own:
            now = cell.now
            quiet = not now.running and not now.overrides and not own.now.overrides and now.state in (PENDING, READY)
            if current_loop() is not loop or not quiet or not cell.swap(now, now.fresh(clock.now())):
                return
            declaration.forget(cell)
            own.home, cell.loops = loop, None
            if now.state == READY:
                own.change(lambda before: now.changed(generation=before.generation + 1, abandoned=before.running))
            self._references[loop] = self.first
        self.end()
