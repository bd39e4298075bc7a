"""Who counts calls and attempts: nobody, until a metrics integration does.

Invariants: where nobody counts, a call that ends well passes nothing of this, and any other one test; who counts is
given names and outcomes, and is called outside every lock.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Literal, Protocol, TypeAlias

    from lazyguard._core.flight import Flight
    from lazyguard._core.state import Outcome

    Count: TypeAlias = Callable[[bool], object]
    Ended = Literal["ok", "failed", "refused", "fallback"]

    class Observer(Protocol):
        """Who counts."""

        def counter(self, name: str, ended: Ended) -> Callable[[], object]:
            """Return what counts one call of that name with that end."""
            ...

        def attempted(self, name: str, ended: str, seconds: float) -> object:
            """Count one attempt: "ok", "failed", "late" or "interrupted"."""
            ...


observers: tuple[Observer, ...] = ()
# Told when the observers have changed.
changed: list[Callable[[], object]] = []


def observe(observer: Observer) -> Callable[[], None]:
    """Let somebody count from now on; return what ends it."""
    global observers
    observers = (*observers, observer)
    recount()

    def end() -> None:
        global observers
        observers = tuple(one for one in observers if one is not observer)
        recount()

    return end


def recount() -> None:
    """Let all that count calls ask the observers again for what to tell."""
    for told in changed:
        told()


def counting(name: str, count: Count) -> Count:
    """Return `count`, or where somebody counts a function that tells them too."""
    if not observers:
        return count
    well = [observer.counter(name, "ok") for observer in observers]
    failed = [observer.counter(name, "failed") for observer in observers]
    if len(observers) == 1:
        (one_well,), (one_failed,) = well, failed

        def both(ended_well: bool) -> None:
            count(ended_well)
            if ended_well:
                one_well()
            else:
                one_failed()

        return both

    def all_of_them(ended_well: bool) -> None:
        count(ended_well)
        for tell in well if ended_well else failed:
            tell()

    return all_of_them


def called(name: str, ended: Ended) -> None:
    """Count a call that was refused, or that a fallback has answered."""
    for observer in observers:
        observer.counter(name, ended)()


def landed(flight: Flight, outcome: Outcome, seconds: float, *, counts: bool) -> None:
    """Count an attempt that has ended."""
    if not observers:
        return
    ended = "interrupted" if outcome.interrupted else "failed" if not outcome.ok else "ok" if counts else "late"
    for observer in observers:
        observer.attempted(flight.cell.name, ended, seconds)
