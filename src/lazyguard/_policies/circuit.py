"""The state of one breaker: closed, open or half-open, as phases that follow each other.

Invariants: `follow` alone replaces a phase. It compares and sets under a lock, which is held for two statements and
never while user code runs; so at half-open one caller at most is let through. An outcome counts in the phase in which
its call began, and in no other; but a probe's success counts in all phases of its round, which ends when the circuit is
closed or open. A call that succeeds takes no lock, and none of the user's code runs where it is counted.
"""

from __future__ import annotations

from _weakref import ref

from lazyguard import events
from lazyguard._base import TYPE_CHECKING, Any, Callable, Literal, TypeAlias
from lazyguard._base.interpreter import deque, in_child
from lazyguard._base.places import misused
from lazyguard._core import clock, loaded, mode, observers, state
from lazyguard._policies import failures
from lazyguard.errors import CircuitOpen

if TYPE_CHECKING:
    from lazyguard._base.places import Place
    from lazyguard._core.causes import Kept
    from lazyguard._core.deadlines import Deadline
    from lazyguard._policies.breaker import Breaker
    from lazyguard._policies.failures import Haste

    Count: TypeAlias = "Callable[[bool], object]"
    State = Literal["closed", "open", "half-open"]

_circuits: set[ref[Circuit]] = set()
# How many keys of a function are kept.
MOST = 1000
# Until when an isolated one is open.
ISOLATED = float("inf")


def window_of(breaker: Breaker) -> CallWindow | TimeWindow:
    """Return an empty window by the breaker's options."""
    rate, least = breaker.failure_rate, breaker.minimum_calls or 0
    if rate is None:
        threshold = breaker.failure_threshold or 0
        return CallWindow(threshold, 1.0, threshold)
    if breaker.window_seconds is not None:
        return TimeWindow(breaker.window_seconds, rate, least)
    return CallWindow(breaker.window_calls or 0, rate, least)


class CallWindow:
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


class TimeWindow:
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


class Phase:
    """The time from one transition to the next. A call that is let in keeps its phase, and reports its outcome to it.

    Attributes:
        state: "closed", "open" or "half-open".
        since: When it began, by the clock.
        count: Counts one call, True for a success: the fast way around `ended`. None in a phase that counts nothing.
        until: When the next call is let in at the earliest, unless the phase is closed.
        rounds: How often the circuit has opened since it was last closed.
        slow: Seconds after which a call counts as a failure, if any.
        probed: One entry for each probe of its round that has succeeded.
        cause: The failure that opened the circuit; kept until it is closed.
    """

    count: Count | None = None
    until = 0.0
    rounds = 0
    cause: BaseException | None = None
    _window: CallWindow | TimeWindow | None = None
    _span: failures.Span | None = None

    def __init__(self, circuit: Circuit, state: State, since: float, **more: Any) -> None:
        self._circuit = circuit
        self.slow: float | None = circuit.breaker.slow_call_duration
        self.state: State = state
        self.since = since
        self.probed: list[bool] = []
        vars(self).update(more)
        if state == "closed":
            self._window = window_of(circuit.breaker)
            self.recount()

    @property
    def why(self) -> str:
        """Why the circuit is not closed: the type and the place of an exception, or that it was isolated."""
        return "isolate()" if self.until == ISOLATED else events.describe(self.cause)

    def recount(self) -> None:
        """Renew `count`, so that it reports to the present observers."""
        if self._window is not None:
            self.count = observers.counting(self._circuit.name, self._window.count)

    def ended(
        self, error: BaseException | None = None, own: Deadline | None = None, began: float | None = None
    ) -> None:
        """Record the outcome of the call: success, or `error`. If the outcome does not count, release the place.

        `own` is the deadline of the call itself, if it has one: any other is its caller's. `began` is when it began.
        """
        if not mode.is_active():
            self.released()
            return
        failed, hasty = False if error is None else self._circuit.counts(error), None
        if error is not None:
            hasty = failures.haste(error, failed, self.slow, own, began)
        if failed is False and (slow := self._slow(began)) is not None:
            failed, error = True, slow
        if hasty is not None:
            self._hurried(hasty)
        elif failed is None:
            self.released()
        elif self._window is None:
            self._probed(error if failed else None)
        else:
            self._counted(self._window, error if failed else None)

    def _counted(self, window: CallWindow | TimeWindow, error: BaseException | None) -> None:
        (self.count or window.count)(error is None)
        if error is not None and window.tripped():
            self._circuit.follow(self, self._opened(error))

    def _hurried(self, hasty: Haste) -> None:
        """Record a hasty attempt: nothing by itself, but a span of them is a failure; a probe has shown nothing."""
        if self._window is not None:
            span = self._span = self._span or failures.Span(self.since)
            if span.has_failed(hasty, goes_on=self._window.unchanged()):
                self._counted(self._window, hasty.cause)
                self._window.unchanged()
        elif self.state == "half-open":
            self._circuit.follow(self, self._opened(self.cause, rounds=self.rounds - 1))

    def _slow(self, began: float | None) -> BaseException | None:
        if self.slow is None or began is None or (took := clock.now() - began) <= self.slow:
            return None
        return TimeoutError(
            f"a call of {self._circuit.name} took {took:.3g} s, longer than slow_call_duration={self.slow:g}."
        )

    def probing(self, until: float) -> Phase:
        """Return the phase of the next probe, which has its place until then; of a vacant place, if that is now."""
        same = self.state == "half-open"
        since, probed = (self.since, self.probed) if same else (clock.now(), [])
        circuit, rounds = self._circuit, self.rounds
        return Phase(circuit, "half-open", since, until=until, rounds=rounds, cause=self.cause, probed=probed)

    def released(self) -> None:
        """Give back the place of a probe whose outcome does not count: it was cancelled, or never called."""
        if self.state == "half-open":
            self._circuit.follow(self, self.probing(clock.now()))

    def _probed(self, error: BaseException | None) -> None:
        if self.state != "half-open":
            return
        circuit = self._circuit
        observers.called(circuit.name, "ok" if error is None else "failed")
        if error is not None:
            circuit.follow(self, self._opened(error))
            return
        self.probed.append(True)  # atomic, with and without a GIL
        if len(self.probed) < circuit.breaker.success_threshold:
            self.released()
            return
        while (now := circuit.now).probed is self.probed:  # another probe may have begun since
            circuit.follow(now, Phase(circuit, "closed", clock.now()))

    def _opened(self, cause: BaseException | None, rounds: int | None = None) -> Phase:
        breaker, moment = self._circuit.breaker, clock.now()
        rounds = self.rounds if rounds is None else rounds
        until = moment + clock.jittered(breaker.open_time, breaker.max_open_time, rounds)
        return Phase(self._circuit, "open", moment, until=until, rounds=rounds + 1, cause=cause)


class Circuit:
    """The circuit of one service or function.

    Args:
        breaker: Its options.
        name: Its name in errors and events.
        place: Where it was declared.

    Attributes:
        now: The present phase.
        error: What a call that is not let in raises.

    Threads and tasks can share it. In a forked child it begins anew, closed.
    """

    asked = False  # one of a key: since some of them were let go of
    answered = float("-inf")  # when it was told that a fallback answers calls that fail
    error: type[CircuitOpen] = CircuitOpen
    _kept: Kept | None = None  # what keeps the cause of the present phase

    def __init__(self, breaker: Breaker, *, name: str, place: Place) -> None:
        self.breaker: Breaker = breaker.read(f"{name} ({place})")
        self.name: str = name
        self.place: Place = place
        self.now: Phase = Phase(self, "closed", clock.now())
        _circuits.add(ref(self, _circuits.discard))

    def all(self) -> list[Circuit]:
        """Return it alone: what has one for each key returns these."""
        return [self]

    def admit(self) -> Phase:
        """Let a call in, and return the phase that records its outcome.

        Raises:
            CircuitOpen: The breaker is open, or another caller is the probe.
        """
        while True:
            phase = self.now
            if phase.count is not None:
                return phase
            moment = clock.now()
            if moment < phase.until:
                observers.called(self.name, "refused")
                raise self._refusal(phase, moment) from loaded("_core.causes").again(phase.cause)
            probe = phase.probing(moment + self.breaker.half_open_timeout)
            if self.follow(phase, probe):
                return probe

    def counts(self, error: BaseException) -> bool | None:
        """Return whether a call that raised `error` has failed; None if its outcome does not count."""
        if not isinstance(error, Exception):
            return None
        meant = {self._means(leaf) for leaf in failures.leaves(error, (*self.breaker.on, *self.breaker.ignore))}
        return meant.pop() if len(meant) == 1 else None

    def _means(self, error: BaseException) -> bool | None:
        if (isinstance(error, CircuitOpen) and error._of == id(self)) or failures.matches(error, self.breaker.ignore):
            return None
        return failures.matches(error, self.breaker.on, inner=True)

    def follow(self, old: Phase, new: Phase) -> bool:
        """Replace `old` by `new` if `old` is still the present phase; return whether it was."""
        kept = None if new.cause is None else loaded("_core.causes").keep(new.cause)
        with state.lock:
            # Fall through, not jump: no signal handler runs between comparing and setting (3.10 runs them at jumps).
            if self.now is old:
                self.now = new
                self._kept, kept = kept, self._kept
            else:
                return False
        del kept  # outside the lock: what it has may have a finaliser
        if old.state != new.state:
            self.announce(old, new)
        return True

    def reset(self) -> None:
        """Begin anew, closed and without counts."""
        while not self.follow(self.now, Phase(self, "closed", clock.now())):
            pass

    def isolate(self) -> None:
        """Open it until it is reset: whatever was let in before does not count."""
        while not self.follow(self.now, Phase(self, "open", clock.now(), until=ISOLATED, rounds=self.now.rounds)):
            pass

    def announce(self, old: Phase, new: Phase) -> None:
        """Emit the event of a transition, outside the lock: "opened", "half-open" or "closed"."""
        kind, seconds = "opened" if new.state == "open" else new.state, max(0.0, new.since - old.since)
        events.tell(self, kind, old.state, new.state, generation=new.rounds, cause=new.why, seconds=seconds)

    def _refusal(self, phase: Phase, moment: float) -> CircuitOpen:
        left = min(phase.until - moment, self.breaker.max_open_time)
        said = f"its breaker is {phase.state}: it failed with {phase.why}. "
        if phase.until == ISOLATED:
            said = "isolate() has opened its breaker. reset() closes it."
        elif phase.state == "open":
            said += f"It is tried again in {left:.3g} s. Give it a fallback, or wait for retry_after seconds."
        else:
            said += "One call probes whether it has recovered. Give it a fallback, or wait for retry_after seconds."
        error = self.error(f"{self.name}, declared at {self.place}, is not called, since {said}")
        error.retry_after, error._of = left, id(self)
        return error


class Circuits:
    """The circuits of a guarded function with `key=`: one for each key, within a bound.

    A key's circuit is the same as long as it is kept. Of too many those go first that are closed and were not asked
    since some went last. Keys are shown nowhere, and no lock is held while they are compared, which runs user code.

    Attributes:
        breaker: The options of each.
        known: The circuits by their keys.
    """

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


def _recount() -> None:
    for reference in list(_circuits):
        circuit = reference()
        if circuit is not None:
            circuit.now.recount()


@in_child
def _in_child() -> None:
    """Begin anew in a forked child, unless isolated: the calls and the probe are the parent's."""
    for reference in list(_circuits):
        circuit = reference()
        if circuit is not None and circuit.now.until != ISOLATED:
            circuit.now = Phase(circuit, "closed", clock.now())


observers.changed.append(_recount)
