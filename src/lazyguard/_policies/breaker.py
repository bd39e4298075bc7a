"""The options of a circuit breaker; `circuit` has its state.

Invariants: a Breaker has no state. Many functions and services can share one; each has a circuit of its own.
"""

from lazyguard._base import TYPE_CHECKING, Any, final, validation
from lazyguard._base.places import misconfigured, shown

if TYPE_CHECKING:
    from lazyguard._base.validation import Failures, Kinds, Seconds, Whole


@final
class Breaker(validation.Options):
    """Stop calling a dependency that keeps failing, and probe later whether it has recovered.

    The breaker opens after `failure_threshold` failures in a row. With `failure_rate` it opens when that share of the
    calls in a window has failed: the last `window_calls`, or those that ended within `window_seconds`. While it is
    open, each call raises `CircuitOpen` at once. After `open_time` it is half-open: one call, the probe, is let
    through. When `success_threshold` probes have succeeded, the breaker closes. If one fails, the breaker opens for
    twice as long, up to `max_open_time`. Each open time is jittered to between its half and its whole, so that many
    processes do not probe together.

    A probe that is cancelled gives its place back at once. A probe that does not end loses its place after
    `half_open_timeout`; when it succeeds later it counts all the same, as long as the breaker is half-open. The outcome
    of a call counts only in the state in which the call began.

    A call fails when it raises one of `on`, or what an inner service or guarded function raises because it is not
    there. With `slow_call_duration` one that takes longer fails as well. These do not count at all: what is in
    `ignore`, and what is no Exception (KeyboardInterrupt, SystemExit, CancelledError). Any other exception counts as a
    success: a dependency that answers "not found" is up. An exception group counts as its leaves do, if all do alike.

    A call whose caller was in haste counts for nothing: its deadline was shorter than the call's own limit. Where all
    calls were hasty, and have waited for that limit in sum, they are one failure.

    Each number may be a function without arguments, which is asked when the first call is made.

    Args:
        failure_threshold: How many calls in a row must fail; 3 if neither this nor `failure_rate` is given.
        failure_rate: The share of calls that must fail, above 0 and at most 1. It needs one of the two windows.
        window_calls: How many of the last calls the window holds.
        window_seconds: How long the window holds a call after its end. It moves by tenths, so that a call counts for
            nine tenths of this time at the least.
        minimum_calls: How many calls the window must hold before the rate counts; 10 if left out, or `window_calls` if
            that is less.
        open_time: The first open time, in seconds.
        max_open_time: The longest open time, in seconds.
        half_open_timeout: Seconds after which a probe that has not ended loses its place to the next caller.
        success_threshold: How many probes must succeed before the breaker closes. A service's breaker has one; its
            `Recovery` has a threshold of its own.
        slow_call_duration: Seconds after which a call counts as a failure, however it ends; None: never.
        on: The exception types that count as failures. Name those of a library that must not be imported for it:
            "redis:RedisError". Or give a function that takes an exception and returns a bool, to tell 503 from 404.
        ignore: The exceptions that do not count, given alike.

    Raises:
        ConfigurationError: A value is out of range, or two values exclude each other.

    The pattern is Nygard's (Release It!, 2nd edition, 2018, chapter 5).

    Example:
        >>> import lazyguard
        >>> lazyguard.Breaker(failure_threshold=5).failure_threshold
        5
        >>> half = lazyguard.Breaker(failure_rate=0.5, window_seconds=30.0, on=(ConnectionError,))
        >>> half.failure_rate, half.minimum_calls
        (0.5, 10)
    """

    failure_threshold: "int | None"
    failure_rate: "float | None"
    window_calls: "int | None"
    window_seconds: "float | None"
    minimum_calls: "int | None"
    open_time: float
    max_open_time: float
    half_open_timeout: float
    success_threshold: int
    slow_call_duration: "float | None"
    on: "Kinds"
    ignore: "Kinds"
    __slots__ = tuple(
        "failure_threshold failure_rate window_calls window_seconds minimum_calls open_time max_open_time "
        "half_open_timeout success_threshold slow_call_duration on ignore".split()
    )
    _numbers = __slots__[:-2]

    def __init__(
        self,
        *,
        failure_threshold: "Whole | None" = None,
        failure_rate: "Seconds | None" = None,
        window_calls: "Whole | None" = None,
        window_seconds: "Seconds | None" = None,
        minimum_calls: "Whole | None" = None,
        open_time: "Seconds" = 10.0,
        max_open_time: "Seconds" = 120.0,
        half_open_timeout: "Seconds" = 30.0,
        success_threshold: "Whole" = 1,
        slow_call_duration: "Seconds | None" = None,
        on: "Failures" = (Exception,),
        ignore: "Failures" = (),
    ) -> None:
        if failure_rate is not None:
            if minimum_calls is None and (window_calls is None or isinstance(window_calls, int)):
                minimum_calls = min(10, window_calls or 10)
        elif failure_threshold is None:
            failure_threshold = 3
        on, ignore = validation.failure_types("on", on), validation.failure_types("ignore", ignore)
        self._set(**locals())
        for name in ("failure_threshold", "window_calls", "minimum_calls"):
            validation.whole(name, getattr(self, name), optional=True, late=True)
        for name in ("window_seconds", "slow_call_duration"):
            validation.seconds(name, getattr(self, name), optional=True, late=True)
        for name in ("open_time", "max_open_time", "half_open_timeout"):
            validation.seconds(name, getattr(self, name), late=True)
        validation.whole("success_threshold", success_threshold, late=True)
        self._check_window()
        if _exceeds(open_time, max_open_time):
            raise misconfigured(f"max_open_time={shown(max_open_time)} is less than open_time={shown(open_time)}.")

    def _check_window(self) -> None:
        rate: Any = self.failure_rate
        calls = self.window_calls
        if rate is None:
            for name in ("window_calls", "window_seconds", "minimum_calls"):
                if (value := getattr(self, name)) is not None:
                    raise misconfigured(f"{name}={shown(value)} has no effect without failure_rate=: give both.")
            return
        if self.failure_threshold is not None:
            raise misconfigured("failure_threshold= counts failures in a row, failure_rate= a share: give one of them.")
        number = isinstance(rate, int | float) and not isinstance(rate, bool)
        right = validation.is_late(rate) or (number and 0 < rate <= 1)
        validation.require(right, "failure_rate", rate, "a share above 0 and at most 1", fault="out of range")
        if (calls is None) == (self.window_seconds is None):
            raise misconfigured(
                "failure_rate= is a share of the calls in a window: give window_calls= or window_seconds=."
            )
        if _exceeds(self.minimum_calls, calls):
            raise misconfigured(
                f"minimum_calls={shown(self.minimum_calls)} is more than window_calls={calls} can hold."
            )


def _exceeds(one: "Any", other: "Any") -> bool:
    """Return whether a number is more than another one, where both are known."""
    return isinstance(one, int | float) and isinstance(other, int | float) and one > other
