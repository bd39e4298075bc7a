"""The options of a retry: how often, when and after which failures to try again; `retries` makes the attempts."""

from lazyguard._base import TYPE_CHECKING, Any, Callable, final, validation
from lazyguard._base.places import misconfigured
from lazyguard._core import loaded

if TYPE_CHECKING:
    from tenacity import BaseRetrying

    from lazyguard._base.validation import Failures, Kinds, Seconds, Whole


@final
class Retry(validation.Options):
    """Try a failed attempt again.

    Waits grow exponentially with full jitter: before attempt n + 1 a random time between zero and
    `min(maximum, initial * 2 ** (n - 1))` (Brooker, "Exponential Backoff And Jitter", 2015). Only failures are tried
    again. These are not: a wait that has ended, what is no Exception (KeyboardInterrupt, SystemExit, CancelledError),
    and a `CircuitOpen`, by which a breaker spares its dependency. If the wait would pass the caller's deadline, the
    failure is raised at once.

    The three numbers may be functions without arguments, which are asked at the first use.

    Args:
        attempts: How often to try, the first attempt included; 3 if left out.
        initial: The longest first wait, in seconds; 0.1 if left out.
        maximum: The longest wait of all, in seconds; 5 if left out.
        on: The exception types after which to try again; (Exception,) if left out. Name those of a library that must
            not be imported for it: "redis:RedisError". A function that takes an exception and returns a bool will do.
            After an exception group, if all that are in it are meant.
        stop: A tenacity `stop` object, in place of `attempts`.
        wait: A tenacity `wait` object, in place of `initial` and `maximum`.
        retry: A tenacity `retry` object, in place of `on`. It is called for failures, never for results.
        retrying: A whole `tenacity.Retrying` object in place of all others; for async factories and functions a
            `tenacity.AsyncRetrying`. Its callbacks are called from the first failure on, and `stop_after_delay` counts
            from there. They find the function and the arguments of the call in their state. In the end the failure
            itself is raised, as with `reraise=True`, unless the object has its own `retry_error_cls`. Its `sleep` is
            not used.

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

    attempts: "int | None"
    initial: "float | None"
    maximum: "float | None"
    on: "Kinds | None"
    stop: "Callable[[Any], Any] | None"
    wait: "Callable[[Any], Any] | None"
    retry: "Callable[[Any], Any] | None"
    retrying: "BaseRetrying | None"
    __slots__ = tuple("attempts initial maximum on stop wait retry retrying".split())
    _numbers = __slots__[:3]

    def __init__(
        self,
        *,
        attempts: "Whole | None" = None,
        initial: "Seconds | None" = None,
        maximum: "Seconds | None" = None,
        on: "Failures | None" = None,
        stop: "Callable[[Any], Any] | None" = None,
        wait: "Callable[[Any], Any] | None" = None,
        retry: "Callable[[Any], Any] | None" = None,
        retrying: "BaseRetrying | None" = None,
    ) -> None:
        self._set(**locals())
        for name, others in _REPLACED.items():
            for other in others.split() if getattr(self, name) is not None else ():
                if getattr(self, other) is not None:
                    raise misconfigured(f"{name}= replaces {other}=: give one of them.")
        if retrying is not None:
            right = _is_tenacitys(retrying, "BaseRetrying")
            validation.require(right, "retrying", retrying, "a tenacity.Retrying or AsyncRetrying object")
            if retrying.retry_error_callback is not None:
                raise misconfigured("retrying= has a retry_error_callback, which hides the failure: give a fallback.")
            _check_predicate("retrying", retrying.retry)
            return
        for name, value in (("stop", stop), ("wait", wait), ("retry", retry)):
            validation.require(value is None or callable(value), name, value, f"a tenacity {name} object")
        if stop is None and attempts is None:
            attempts = 3
        if wait is None:
            initial, maximum = 0.1 if initial is None else initial, 5.0 if maximum is None else maximum
        if retry is None:
            on = validation.failure_types("on", (Exception,) if on is None else on)
        else:
            _check_predicate("retry", retry)
        validation.whole("attempts", attempts, optional=True, late=True)
        validation.seconds("initial", initial, optional=True, zero=True, late=True)
        validation.seconds("maximum", maximum, optional=True, zero=True, late=True)
        self._set(**locals())

    @property
    def awaits(self) -> bool:
        """Whether it works for async factories and functions only."""
        return _is_tenacitys(self.retrying, "AsyncRetrying")

    def check(self, awaited: bool, of: str, what: str) -> None:
        """Raise ConfigurationError where it works for async ones only, and the function or factory is none."""
        if self.awaits and not awaited:
            raise misconfigured(
                f"retry= of {of} has a tenacity.AsyncRetrying, and the {what} is not async: give a tenacity.Retrying."
            )

    def begin(self, function: "Any" = None, args: "Any" = (), named: "Any" = {}) -> "Any":  # noqa: B006  (never changed)
        """Return the retries of one attempt or call, after its first failure; with these it is called."""
        return loaded("_policies.retries").Retries(self, function, args, named)


def of(value: "Any") -> "Retry":
    """Return a Retry, or a whole Retrying object of tenacity, as a Retry; refuse anything else."""
    if _is_tenacitys(value, "BaseRetrying"):
        return Retry(retrying=value)
    right, give = isinstance(value, Retry), "a lazyguard.Retry, a tenacity.Retrying object"
    validation.require(right, "retry", value, give, optional=True)
    retry: Retry = value
    return retry


def _is_tenacitys(thing: object, name: str) -> bool:
    """Return whether an object is of a class of tenacity of that name; load nothing."""
    return any(kind.__name__ == name and kind.__module__.startswith("tenacity") for kind in type(thing).__mro__)


def _check_predicate(name: str, value: "Any") -> None:
    if _is_tenacitys(value, "retry_if_result") or _is_tenacitys(value, "retry_if_not_result"):
        raise misconfigured(f"{name}= checks results, and only failures are tried again: raise an error.")
    for inner in getattr(value, "retries", ()):
        _check_predicate(name, inner)


# What takes the place of others.
_REPLACED = {
    "retrying": "attempts initial maximum on stop wait retry",
    "stop": "attempts",
    "wait": "initial maximum",
    "retry": "on",
}
