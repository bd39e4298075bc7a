"""Retry: how often and when to try again after a failure. The options alone; `retries` makes the attempts."""

from __future__ import annotations

from lazyguard._base import final, validation
from lazyguard._base.places import misconfigured

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from tenacity import BaseRetrying

    Failures = type[BaseException] | tuple[type[BaseException] | str, ...]


@final
class Retry(validation.Options):
    """Try a failed attempt again.

    Waits grow exponentially with full jitter: before attempt n + 1 a random time between zero and
    `min(maximum, initial * 2 ** (n - 1))` (Brooker, "Exponential Backoff And Jitter", 2015). Only failures are tried
    again, never a wait that has ended, never what is no Exception (KeyboardInterrupt, SystemExit, CancelledError), and
    never a `CircuitOpen`, which asks to leave the other side alone. Where the wait would pass a caller's deadline, the
    failure is raised at once.

    Args:
        attempts: How often to try, the first attempt included; 3 if left out.
        initial: The longest first wait, in seconds; 0.1 if left out.
        maximum: The longest wait of all, in seconds; 5 if left out.
        on: The exception types after which to try again, (Exception,) if left out. Those of a library that is not to be
            imported for it are given by name: "redis:RedisError".
        stop: A tenacity `stop` object, in place of `attempts`.
        wait: A tenacity `wait` object, in place of `initial` and `maximum`.
        retry: A tenacity `retry` object, in place of `on`. It is asked about failures, never about results.
        retrying: A whole `tenacity.Retrying` object, or, for what is async, a `tenacity.AsyncRetrying`, in place of all
            others. Its callbacks are called from the first failure on, and `stop_after_delay` counts from there. The
            failure itself is raised in the end, as with `reraise=True`, unless it has a `retry_error_cls` of its own.
            Its `sleep` is not used.

    Raises:
        ConfigurationError: A value is out of range, or two do not go together.

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
            _alone("retrying", attempts=attempts, initial=initial, maximum=maximum, on=on)
            _alone("retrying", stop=stop, wait=wait, retry=retry)
            _check_retrying(retrying)
            self._set(**{**dict.fromkeys(self.__slots__), "retrying": retrying})
            return
        for name, given in (("stop", stop), ("wait", wait), ("retry", retry)):
            if given is not None and not callable(given):
                raise misconfigured(f"{name}={given!r} is not right: give a tenacity {name} object.")
        if stop is not None:
            _alone("stop", attempts=attempts)
        else:
            attempts = 3 if attempts is None else attempts
            validation.whole("attempts", attempts)
        if wait is not None:
            _alone("wait", initial=initial, maximum=maximum)
        else:
            initial, maximum = 0.1 if initial is None else initial, 5.0 if maximum is None else maximum
            validation.seconds("initial", initial, zero=True)
            validation.seconds("maximum", maximum, zero=True)
        if retry is not None:
            _alone("retry", on=on)
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
        """Whether it is for what is async only."""
        return _is_tenacitys(self.retrying, "AsyncRetrying")

    def begin(self) -> Any:
        """Return the retries of one attempt or call, whose first attempt has failed."""
        from lazyguard._core import loaded

        return loaded(RETRIES).Retries(self)


def of(given: Any) -> Retry | None:
    """Return what was given as a Retry, a whole Retrying object of tenacity among them; None for anything else."""
    if isinstance(given, Retry):
        return given
    return Retry(retrying=given) if _is_tenacitys(given, "BaseRetrying") else None


def _is_tenacitys(thing: object, name: str) -> bool:
    """Return whether a thing is of a class of tenacity of that name; loads nothing."""
    return any(kind.__name__ == name and kind.__module__.startswith("tenacity") for kind in type(thing).__mro__)


def _alone(name: str, **others: object) -> None:
    for other, given in others.items():
        if given is not None:
            raise misconfigured(f"{name}= stands in the place of {other}=: give one of them.")


def _check_retrying(given: Any) -> None:
    if not _is_tenacitys(given, "BaseRetrying"):
        raise misconfigured(f"retrying={given!r} is not right: give a tenacity.Retrying or AsyncRetrying object.")
    if given.retry_error_callback is not None:
        raise misconfigured("retrying= has a retry_error_callback, which answers in the end: give a fallback.")
    _check_predicate("retrying", given.retry)


def _check_predicate(name: str, given: Any) -> None:
    for one in (given, *getattr(given, "retries", ())):
        if _is_tenacitys(one, "retry_if_result") or _is_tenacitys(one, "retry_if_not_result"):
            raise misconfigured(f"{name}= looks at results, and only failures are tried again: raise an error.")


# Where the retries are, which are loaded by this name.
RETRIES = "_policies.retries"
