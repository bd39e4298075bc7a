"""Who counts calls and attempts: nobody, until a metrics integration does.

Invariants: where nobody counts, a call that ends well passes nothing of this, and any other one test; who counts is
given names and outcomes, and is called outside every lock.
"""

from __future__ import annotations

from lazyguard._base import TYPE_CHECKING, Callable, Literal, Protocol, TypeAlias

if TYPE_CHECKING:
    from lazyguard._core.state import Attempt, Outcome

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


# By an entry of its own each, in their order: threads add and remove without a lock, and lose none.
observers: dict[object, Observer] = {}
# Told when the observers have changed.
changed: list[Callable[[], object]] = []


def observe(observer: Observer) -> Callable[[], None]:
    """Let somebody count from now on; return what ends it."""
    entry = object()
    observers[entry] = observer
    recount()

    def end() -> None:
        observers.pop(entry, None)
        recount()

    return end


def recount() -> None:
    """Let all that count calls ask the observers again for what to tell."""
    for told in changed:
        told()


def counting(name: str, count: Count) -> Count:
    """Return `count`, or where somebody counts a function that tells them too."""
    found = list(observers.values())
    if not found:
        return count
    well = [observer.counter(name, "ok") for observer in found]
    failed = [observer.counter(name, "failed") for observer in found]

    def both(ended_well: bool) -> None:
        count(ended_well)
        for tell in well if ended_well else failed:
            tell()

    return both


def called(name: str, ended: Ended) -> None:
    """Count a call that was refused, or that a fallback has answered."""
    for observer in list(observers.values()):
        observer.counter(name, ended)()


def ended(attempt: Attempt, outcome: Outcome, seconds: float, *, counts: bool) -> None:
    """Count an attempt that has ended."""
    if not observers:
        return
    ended = "interrupted" if outcome.interrupted else "failed" if not outcome.ok else "ok" if counts else "late"
    for observer in list(observers.values()):
        observer.attempted(attempt.cell.name, ended, seconds)
