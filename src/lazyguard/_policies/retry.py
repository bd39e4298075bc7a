"""Retry: try again after a failure, with exponential waits and full jitter; the only importer of tenacity.

Invariant: the first attempt is bare; tenacity is loaded and entered after the first failure only.
"""

from __future__ import annotations

from lazyguard._core import mode
from lazyguard._policies import options
from lazyguard._typing import final

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


@final
class Retry(options.Options):
    """Try a failed attempt again.

    Waits grow exponentially with full jitter: before attempt n + 1 a random time between zero and
    `min(maximum, initial * 2 ** (n - 1))` (Brooker, "Exponential Backoff And Jitter", 2015). Only failures are tried
    again, never a wait that has ended, and never what is no Exception: KeyboardInterrupt, SystemExit, CancelledError.

    Args:
        attempts: How often to try, the first attempt included.
        initial: The longest first wait, in seconds.
        maximum: The longest wait of all, in seconds.
        on: The exception types after which to try again.

    Raises:
        ConfigurationError: A value is out of range.

    Example:
        >>> import lazyguard
        >>> lazyguard.Retry(attempts=3, on=(ConnectionError,))
        Retry(attempts=3, initial=0.1, maximum=5.0, on=(ConnectionError,))
    """

    __slots__ = ("attempts", "initial", "maximum", "on")
    attempts: int
    initial: float
    maximum: float
    on: tuple[type[BaseException], ...]

    def __init__(
        self,
        *,
        attempts: int = 3,
        initial: float = 0.1,
        maximum: float = 5.0,
        on: type[BaseException] | tuple[type[BaseException], ...] = (Exception,),
    ) -> None:
        options.whole("attempts", attempts)
        options.seconds("initial", initial, zero=True)
        options.seconds("maximum", maximum, zero=True)
        self._set(attempts=attempts, initial=initial, maximum=maximum, on=options.exception_types("on", on))

    def after(self, error: BaseException) -> Retries:
        """Return the retries of one flight, whose first attempt has failed with `error`."""
        return Retries(self)


@final
class Retries:
    """The retries of one flight: tenacity's own state machine, driven from outside."""

    __slots__ = ("_retrying", "_state")

    def __init__(self, retry: Retry) -> None:
        import tenacity

        self._retrying = tenacity.Retrying(
            stop=tenacity.stop_after_attempt(retry.attempts),
            wait=tenacity.wait_random_exponential(multiplier=retry.initial, max=retry.maximum),
            retry=tenacity.retry_if_exception_type(retry.on),
            reraise=False,
        )
        self._retrying.begin()
        self._state = tenacity.RetryCallState(self._retrying, None, (), {})

    def delay(self, error: BaseException) -> float | None:
        """Return the seconds until the next attempt, or None to give up."""
        import tenacity

        if not isinstance(error, Exception):
            return None
        most = mode.attempts()
        if most is not None and self._state.attempt_number >= most:
            return None
        self._state.set_exception((type(error), error, error.__traceback__))
        try:
            decided: Any = self._retrying.iter(self._state)
        except tenacity.RetryError:
            return None
        except BaseException as refused:
            if refused is error:  # what is not to be retried comes back as it was
                return None
            raise
        if not isinstance(decided, tenacity.DoSleep):
            return None
        self._state.prepare_for_next_attempt()
        return float(decided) if most is None else 0.0
