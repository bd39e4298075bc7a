"""The fallbacks of a guarded function: what they must be, which failures they answer, and that it is seen.

Invariants: what could not be called in need is refused where it is declared; a programmer's error is answered only
where `on=` names it; events come at the first answer and when the function works again, a pair a minute at the most.
"""

from __future__ import annotations

from lazyguard import events
from lazyguard._base import TYPE_CHECKING, Any, places, signatures, validation
from lazyguard._base.places import misconfigured
from lazyguard._core import clock, loaded, observers

if TYPE_CHECKING:
    from lazyguard._base.validation import Kinds
    from lazyguard._services.guarded import Args, Guard, Named

# Mistakes in the program, which an answer would hide.
_MISTAKES = (AttributeError, TypeError, NameError)
# Seconds between two reminders, and between two pairs of events of a function that fails and works by turns.
_REMIND_EVERY, _PAIR_EVERY = 300.0, 60.0


class GuardedFallback:
    """One of the functions that answer."""

    def __init__(self, guard: Guard, fallback: Any, on: Kinds | None) -> None:
        function: Any = fallback.__func__ if isinstance(fallback, classmethod | staticmethod) else fallback
        self.place, self.awaited = place, _ = validation.fallback_function(function, guard.name, guard.place)
        inside = places.flags_of(places.unwrapped(guard.function)) & places.COROUTINE  # below a decorator
        if self.awaited != guard.awaited and not (self.awaited and inside):
            raise misconfigured(
                f"of {guard.name} ({guard.place}) and its fallback ({place}) one is an `async def`: make both alike."
            )
        positional = signatures.positional_parameters(function)
        # where it takes the exception: a position, or -1 for by keyword
        self._cause_at = -1 if "cause" in signatures.all_parameters(function) else None
        if "cause" in positional[:2]:
            self._cause_at = positional.index("cause")
        _check_parameters(guard, function, [each for each in positional if each != "cause"], place)
        self.function = function
        self._on = on

    def is_for(self, error: Exception) -> bool:
        """Return whether it answers this failure; of an exception group, whether it answers all that is in it."""
        failures = loaded("_policies.failures", self)
        on: Kinds = (Exception,) if self._on is None else self._on
        if not failures.matches(error, on, inner=True):
            return False
        named = tuple(one for one in on if not isinstance(one, type) or issubclass(one, _MISTAKES))
        return not any(
            isinstance(leaf, _MISTAKES) and not failures.matches(leaf, named) for leaf in failures.leaves(error, on)
        )

    def arguments(self, cause: Exception, args: Args, named: Named) -> tuple[Args, Named]:
        """Return the arguments of the call for it."""
        at = self._cause_at
        if at is None:
            return args, named
        if at < 0 or at > len(args):
            return args, {**named, "cause": cause}
        return (*args[:at], cause, *args[at:]), named


class Answers:
    """The fallbacks of one function, and what they have answered.

    Attributes:
        fallbacks: In the order in which they are tried.
        times: How often they have answered: a statistic without a lock, so one may be lost.
        since: Since when they answer, by the clock; None while the function does.
        cause: The type and the place of the latest failure that they answered.
        by: Which of them has answered last.
    """

    times = 0
    since: float | None = None
    cause = ""
    by: GuardedFallback | None = None
    _told = _reminded = -_REMIND_EVERY

    def __init__(self) -> None:
        self.fallbacks: list[GuardedFallback] = []

    def answered(self, guard: Guard, by: GuardedFallback, cause: Exception) -> None:
        """Note an answer."""
        moment = clock.now()
        self.times += 1
        self.cause, self.by = events.describe(cause), by
        observers.called(guard.name, "fallback")
        if self.since is None:
            self.since = moment
            guard.reroute()
            if moment - self._told >= _PAIR_EVERY:
                self._told = self._reminded = moment
                events.tell(guard, "degraded", "ready", "degraded", cause=self.cause)
        elif moment - self._reminded >= _REMIND_EVERY:
            self._reminded = moment
            away = moment - self.since
            events.tell(guard, "reminder", "degraded", "degraded", cause=self.cause, seconds=away, _away=away)

    def ended(self, guard: Guard) -> None:
        """Note that the function has answered by itself."""
        since, self.since = self.since, None
        guard.reroute()
        if since is not None and self._told <= since <= self._reminded:
            away = clock.now() - since
            events.tell(guard, "recovered", "degraded", "ready", seconds=away, _away=away)


def declare(guard: Guard, fallback: Any, on: Any) -> Any:
    """Let a function answer where the guarded one fails in the end, and return it as it was given."""
    made = GuardedFallback(guard, fallback, None if on is None else validation.failure_types("on", on))
    guard.answers = guard.answers or Answers()
    if any(one.function is made.function for one in guard.answers.fallbacks):
        raise misconfigured(f"{guard.name} ({guard.place}) has this fallback already ({made.place}): remove one.")
    guard.answers.fallbacks.append(made)
    return fallback


def _check_parameters(guard: Guard, fallback: Any, positional: list[str], place: str) -> None:
    function = guard.function
    if not hasattr(function, "__code__"):
        return
    takes, star = signatures.positional_parameters(function), function.__code__.co_flags & 0xC  # *args, **kwargs
    keywords = set(signatures.required_parameters(fallback)) - {"cause"} - set(positional)
    needed = [each for each in signatures.required_parameters(fallback) if each in positional]
    must = [each for each in signatures.required_parameters(function) if each in takes]
    open_ended = fallback.__code__.co_flags & 0x4
    wrong = ""
    if not star and (len(needed) > len(takes) or not keywords <= set(signatures.all_parameters(function))):
        wrong = "needs arguments that the function does not take"
    elif not open_ended and len(positional) < len(must):
        wrong = "takes fewer arguments than the function"
    if wrong:
        raise misconfigured(
            f"the fallback of {guard.name} ({place}) {wrong}: it is called with the call's own, and with the exception "
            "where it has a parameter named cause."
        )
