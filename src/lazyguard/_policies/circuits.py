"""The circuits of a guarded function with `key=`: one for each key, within a bound.

Invariants: a key's circuit is the same as long as it is kept; of too many those go first that are closed and were not
asked since some went last; keys are shown nowhere. No lock is held while keys are compared, which runs user code.
"""

from __future__ import annotations

from lazyguard._base import final
from lazyguard._base.places import misused
from lazyguard._policies.circuit import Circuit

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lazyguard._base.places import Place
    from lazyguard._policies.breaker import Breaker

# How many keys are kept.
MOST = 1000


@final
class Circuits:
    """The circuits of one function.

    Attributes:
        breaker: The options of each.
        known: The circuits by their keys.
    """

    used = True

    def __init__(self, breaker: Breaker, name: str, place: Place) -> None:
        self.breaker = breaker
        self._name = name
        self._place = place
        self.known: dict[object, Circuit] = {}
        self._isolated = False

    def of(self, key: object) -> Circuit:
        """Return the circuit of a key.

        Raises:
            UsageError: It cannot be a key, since it is not hashable.
        """
        try:
            found = self.known.get(key)
        except TypeError as error:
            raise misused(
                f"key= of {self._name} ({self._place}) returned an object of type {type(key).__name__}, which cannot "
                "be a key: return a string, a number or a tuple."
            ) from error
        if found is None:
            if len(self.known) >= MOST:
                self._evict()
            new = Circuit(self.breaker, name=self._name, place=self._place)
            self.breaker = new.breaker  # whose functions were asked
            if self._isolated:
                new.isolate()
            found = self.known.setdefault(key, new)
        found.asked = True
        return found

    def all(self) -> list[Circuit]:
        """Return the circuits of all keys that are kept."""
        return list(self.known.copy().values())

    def isolate(self) -> None:
        """Open all, those of keys to come too, until they are reset."""
        self._isolated = True
        for circuit in self.all():
            circuit.isolate()

    def reset(self) -> None:
        """Begin anew, closed and without counts."""
        self._isolated = False
        for circuit in self.all():
            circuit.reset()

    def _evict(self) -> None:
        kept = sorted(self.known.copy().items(), key=lambda one: (one[1].now.state != "closed", one[1].asked))
        for key, _ in kept[: MOST // 10]:
            self.known.pop(key, None)
        for _, circuit in kept:
            circuit.asked = False
