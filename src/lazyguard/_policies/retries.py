"""The retries of one attempt or call, with exponential waits and full jitter; the only module that imports tenacity.

Invariants: the first attempt is bare; tenacity is loaded and entered after the first failure only. A BaseException that
is no Exception, and a `CircuitOpen`, are never tried again. Tenacity's callbacks run as user code does.
"""

from __future__ import annotations

from lazyguard._base import TYPE_CHECKING, Any
from lazyguard._core import clock, mode
from lazyguard._core.effects import Call, Sleep
from lazyguard._core.state import Outcome
from lazyguard._policies.failures import leaves, matches
from lazyguard.errors import CircuitOpen

if TYPE_CHECKING:
    from lazyguard._core.effects import Steps
    from lazyguard._policies.retry import Retry


class Retries:
    """The retries of one attempt or call: tenacity's state machine, driven from outside."""

    def __init__(self, retry: Retry, function: Any, args: Any, named: Any) -> None:
        import tenacity

        if retry.retrying is None:
            self._retrying: Any = tenacity.Retrying(
                stop=retry.stop or tenacity.stop_after_attempt(retry.attempts or 1),
                wait=retry.wait
                or tenacity.wait_random_exponential(multiplier=retry.initial or 0.0, max=retry.maximum or 0.0),
                retry=retry.retry or tenacity.retry_if_exception(lambda error: matches(error, retry.on or ())),
            )
        else:
            self._retrying = retry.retrying.copy()  # its state belongs to one thread
        self._before = None if self._retrying.before is tenacity.before_nothing else self._retrying.before
        self._awaits = retry.awaits
        self._retrying.begin()
        self._state = tenacity.RetryCallState(self._retrying, function, args, named)

    def again(self, outcome: Outcome, until: float | None = None) -> Steps[Outcome | None]:
        """Wait for the next attempt after a failed one.

        Args:
            outcome: The outcome of the failed attempt.
            until: The latest begin of the next attempt, by the clock.

        Returns:
            None when the next attempt is due; else the final outcome.
        """
        import tenacity

        error = outcome.error
        if (
            not isinstance(error, Exception)
            or any(isinstance(leaf, CircuitOpen) for leaf in leaves(error))
            or not getattr(self._retrying, "enabled", True)
        ):
            return outcome
        limit = mode.attempts()  # set by lazyguard.testing.set_testing
        if limit is not None and self._state.attempt_number >= limit:
            return outcome
        raised_at = error.__traceback__
        self._state.set_exception((type(error), error, raised_at))
        decided: Outcome = yield Call(self._retrying.iter, self._state, awaited=self._awaits)
        # Keep nothing of this: tenacity's frames hold what they raise, which would be a reference cycle.
        self._state.outcome = None
        iteration = getattr(self._retrying, "iter_state", None)
        if iteration is not None:  # since tenacity 8.4
            iteration.reset()
        raised, decided.error = decided.error, None
        if raised is error:
            error.with_traceback(raised_at)
            return outcome
        if raised is not None:
            if isinstance(raised, tenacity.RetryError):
                raised.__traceback__ = None  # it has no line of the user's
            return outcome if type(raised) is tenacity.RetryError else Outcome(error=raised)
        if not isinstance(decided.value, tenacity.DoSleep):
            return outcome
        delay = float(decided.value) if limit is None else 0.0
        if until is not None and clock.now() + delay >= until:
            return outcome
        self._state.prepare_for_next_attempt()
        yield Sleep(delay)
        if self._before is not None:
            before: Outcome = yield Call(self._before, self._state, awaited=self._awaits)
            if before.error is not None:
                return before
        return None
