"""Retry: try again after a failure, with exponential waits and full jitter; the only module that imports tenacity.

Invariants: the first attempt is bare; tenacity is loaded and entered after the first failure only. A BaseException that
is no Exception, and a `CircuitOpen`, are never tried again. Tenacity's callbacks run as user code does.
"""

from __future__ import annotations

from lazyguard._base import validation
from lazyguard._base.typing import final
from lazyguard._core import clock, mode
from lazyguard._core.effects import Call, Sleep
from lazyguard._core.state import Outcome
from lazyguard.errors import CircuitOpen, ConfigurationError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from tenacity import BaseRetrying

    from lazyguard._core.effects import Steps

    Failures = type[BaseException] | tuple[type[BaseException] | str, ...]


@final
class Retry(validation.Options):
    """Try a failed attempt again.

    Waits grow exponentially with full jitter: before attempt n + 1 a random time between zero and
    `min(maximum, initial * 2 ** (n - 1))` (Brooker, "Exponential Backoff And Jitter", 2015). Only failures are tried
    again. These are not: a wait that has ended, what is no Exception (KeyboardInterrupt, SystemExit, CancelledError),
    and a `CircuitOpen`, by which a breaker spares its dependency. If the wait would pass the caller's deadline, the
    failure is raised at once.

    Args:
        attempts: How often to try, the first attempt included; 3 if left out.
        initial: The longest first wait, in seconds; 0.1 if left out.
        maximum: The longest wait of all, in seconds; 5 if left out.
        on: The exception types after which to try again; (Exception,) if left out. Name those of a library that must
            not be imported for it: "redis:RedisError".
        stop: A tenacity `stop` object, in place of `attempts`.
        wait: A tenacity `wait` object, in place of `initial` and `maximum`.
        retry: A tenacity `retry` object, in place of `on`. It is called for failures, never for results.
        retrying: A whole `tenacity.Retrying` object in place of all others; for async factories and functions a
            `tenacity.AsyncRetrying`. Its callbacks are called from the first failure on, and `stop_after_delay` counts
            from there. In the end the failure itself is raised, as with `reraise=True`, unless the object has its own
            `retry_error_cls`. Its `sleep` is not used.

    Raises:
        ConfigurationError: A value is out of range, or two values exclude each other.

    Example:
        >>> import lazyguard
        >>> lazyguard.Retry(attempts=3, on=(ConnectionError,))
        Retry(attempts=3, initial=0.1, maximum=5.0, on=(ConnectionError,))
        >>> import tenacity
        >>> lazyguard.Retry(stop=tenacity.stop_after_delay(10)).attempts is None
        True
    """

    __slots__ = ("attempts", "initial", "maximum", "on", "retry", "retrying", "stop", "wait")
    attempts: int | None
    initial: float | None
    maximum: float | None
    on: tuple[type[BaseException] | str, ...] | None
    stop: Callable[[Any], Any] | None
    wait: Callable[[Any], Any] | None
    retry: Callable[[Any], Any] | None
    retrying: BaseRetrying | None

    def __init__(
        self,
        *,
        attempts: int | None = None,
        initial: float | None = None,
        maximum: float | None = None,
        on: Failures | None = None,
        stop: Callable[[Any], Any] | None = None,
        wait: Callable[[Any], Any] | None = None,
        retry: Callable[[Any], Any] | None = None,
        retrying: BaseRetrying | None = None,
    ) -> None:
        if retrying is not None:
            _check_exclusive("retrying", attempts=attempts, initial=initial, maximum=maximum, on=on)
            _check_exclusive("retrying", stop=stop, wait=wait, retry=retry)
            _check_retrying(retrying)
            self._set(**{**dict.fromkeys(self.__slots__), "retrying": retrying})
            return
        for name, value in (("stop", stop), ("wait", wait), ("retry", retry)):
            if value is not None and not callable(value):
                raise ConfigurationError(f"{name}={value!r} is invalid: give a tenacity {name} object.")
        if stop is not None:
            _check_exclusive("stop", attempts=attempts)
        else:
            attempts = 3 if attempts is None else attempts
            validation.whole("attempts", attempts)
        if wait is not None:
            _check_exclusive("wait", initial=initial, maximum=maximum)
        else:
            initial, maximum = 0.1 if initial is None else initial, 5.0 if maximum is None else maximum
            validation.seconds("initial", initial, zero=True)
            validation.seconds("maximum", maximum, zero=True)
        if retry is not None:
            _check_exclusive("retry", on=on)
            _check_predicate("retry", retry)
        self._set(
            attempts=attempts,
            initial=initial,
            maximum=maximum,
            on=None if retry is not None else validation.failure_types("on", (Exception,) if on is None else on),
            stop=stop,
            wait=wait,
            retry=retry,
            retrying=None,
        )

    @property
    def awaits(self) -> bool:
        """Whether it works for async factories and functions only."""
        return _is_tenacitys(self.retrying, "AsyncRetrying")

    def begin(self) -> Retries:
        """Return the retries of one attempt or call, after its first failure."""
        return Retries(self)


def of(value: Any) -> Retry | None:
    """Return a Retry, or a whole Retrying object of tenacity, as a Retry; None for any other object."""
    if isinstance(value, Retry):
        return value
    return Retry(retrying=value) if _is_tenacitys(value, "BaseRetrying") else None


def _is_tenacitys(thing: object, name: str) -> bool:
    """Return whether an object is of a class of tenacity of that name; load nothing."""
    return any(kind.__name__ == name and kind.__module__.startswith("tenacity") for kind in type(thing).__mro__)


def _check_exclusive(name: str, **others: object) -> None:
    for other, value in others.items():
        if value is not None:
            raise ConfigurationError(f"{name}= replaces {other}=: give one of them.")


def _check_retrying(value: Any) -> None:
    if not _is_tenacitys(value, "BaseRetrying"):
        raise ConfigurationError(f"retrying={value!r} is invalid: give a tenacity.Retrying or AsyncRetrying object.")
    if value.retry_error_callback is not None:
        raise ConfigurationError("retrying= has a retry_error_callback, which hides the failure: give a fallback.")
    _check_predicate("retrying", value.retry)


def _check_predicate(name: str, value: Any) -> None:
    for one in (value, *getattr(value, "retries", ())):
        if _is_tenacitys(one, "retry_if_result") or _is_tenacitys(one, "retry_if_not_result"):
            raise ConfigurationError(f"{name}= checks results, and only failures are tried again: raise an error.")


@final
class Retries:
    """The retries of one attempt or call: tenacity's state machine, driven from outside."""

    __slots__ = ("_awaits", "_before", "_retrying", "_state")

    def __init__(self, retry: Retry) -> None:
        import tenacity

        if retry.retrying is None:
            self._retrying: Any = tenacity.Retrying(
                stop=retry.stop or tenacity.stop_after_attempt(retry.attempts or 1),
                wait=retry.wait
                or tenacity.wait_random_exponential(multiplier=retry.initial or 0.0, max=retry.maximum or 0.0),
                retry=retry.retry or tenacity.retry_if_exception(lambda error: _is_one_of(error, retry)),
            )
        else:
            self._retrying = retry.retrying.copy()  # its state belongs to one thread
        self._before = None if self._retrying.before is tenacity.before_nothing else self._retrying.before
        self._awaits = retry.awaits
        self._retrying.begin()
        self._state = tenacity.RetryCallState(self._retrying, None, (), {})

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
            or isinstance(error, CircuitOpen)
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
        raised, decided.error = decided.error, None
        if raised is error:
            error.__traceback__ = raised_at
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


def _is_one_of(error: BaseException, retry: Retry) -> bool:
    return isinstance(error, validation.loaded(retry.on or ()))
