"""The windows in which a breaker counts: the last calls, or the last seconds.

Invariant: counting one call takes no lock, and no code of the user's runs.
"""

from __future__ import annotations

from lazyguard._base import TYPE_CHECKING, Callable, TypeAlias
from lazyguard._base.interpreter import deque
from lazyguard._core import clock

if TYPE_CHECKING:
    from lazyguard._policies.breaker import Breaker

    Count: TypeAlias = "Callable[[bool], object]"


def window_of(breaker: Breaker) -> Calls | Seconds:
    """Return an empty window by the breaker's options."""
    rate, least = breaker.failure_rate, breaker.minimum_calls or 0
    if rate is None:
        threshold = breaker.failure_threshold or 0
        return Calls(threshold, 1.0, threshold)
    if breaker.window_seconds is not None:
        return Seconds(breaker.window_seconds, rate, least)
    return Calls(breaker.window_calls or 0, rate, least)


class Calls:
    """The outcomes of the last calls; so many failures in a row are a failure rate of 1 in as many calls.

    `count` is a deque's append, which is atomic with and without a GIL: no outcome is lost.
    """

    __slots__ = ("_minimum", "_outcomes", "_rate", "count")

    def __init__(self, calls: int, rate: float, minimum: int) -> None:
        self._outcomes: deque[int] = deque(maxlen=calls)
        self._rate = rate
        self._minimum = minimum
        self.count: Count = self._outcomes.append

    def unchanged(self) -> bool:
        """Return whether nothing has been counted since this was last asked."""
        outcomes = self._outcomes
        same = not outcomes or type(outcomes[-1]) is int
        if not same:
            outcomes[-1] = int(outcomes[-1])  # it counts as before, and what comes after it is a bool
        return same

    def tripped(self) -> bool:
        """Return whether too many calls have failed."""
        failed, made = self._outcomes.count(False), len(self._outcomes)
        return made >= self._minimum and failed / made >= self._rate


class Seconds:
    """The outcomes of the last seconds, by tenths of the window.

    The counts have no lock and are statistics: of two calls that end at the same moment one may be lost. A call that
    ends in the same tenth as the call before costs one reading of the clock and one addition.
    """

    __slots__ = ("_latest", "_minimum", "_rate", "_seen", "_tenths", "_width")

    def __init__(self, seconds: float, rate: float, minimum: int) -> None:
        self._width = seconds / 10
        self._rate = rate
        self._minimum = minimum
        self._tenths: dict[int, list[int]] = {}  # number of the tenth -> failures, successes
        self._latest: tuple[float, list[int]] = (0.0, [])  # when the latest tenth ends, and its counts
        self._seen: tuple[float, ...] = (0.0,)

    def count(self, ok: bool) -> None:
        """Count one call, True for a success."""
        moment = clock.now()
        ends, counts = self._latest
        if moment >= ends:
            counts = self._counts_at(moment)
        if ok:
            counts[1] += 1  # a bool as the index is slower
        else:
            counts[0] += 1

    def unchanged(self) -> bool:
        """Return whether nothing has been counted since this was last asked."""
        before, self._seen = self._seen, (self._latest[0], *self._latest[1])
        return before == self._seen

    def _counts_at(self, moment: float) -> list[int]:
        """Return the counts of the present tenth, which `moment` is in; drop those outside the window."""
        tenth = int(moment / self._width)
        for old in list(self._tenths):
            if old <= tenth - 10:
                self._tenths.pop(old, None)
        counts = self._tenths.setdefault(tenth, [0, 0])
        self._latest = ((tenth + 1) * self._width, counts)
        return counts

    def tripped(self) -> bool:
        """Return whether too many calls have failed."""
        counts = self._tenths.copy().values()  # `count` has dropped what is outside the window
        failed, ok = sum(count[False] for count in counts), sum(count[True] for count in counts)
        return failed + ok >= self._minimum and failed / (failed + ok) >= self._rate
