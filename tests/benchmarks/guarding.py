"""What a guarded call costs when it succeeds: retry, breaker and fallback around a function that does nothing."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pyperf
from tests.benchmarks.rows import installed

import lazyguard

BASE = "the bare call"
# What is added to retry, breaker and fallback.
OPTIONS: dict[str, dict[str, Any]] = {
    "key=": {"key": lambda: "one"},
    "max_concurrent=": {"max_concurrent": 20},
    "slow_call_duration=": {},
    "all": {"key": lambda: "one", "max_concurrent": 20},
}


def function() -> int:
    """Do nothing."""
    return 1


def by_hand() -> Callable[[], int]:
    """Return what all options ask for and no policy: a look-up by a key, a place in a dict, two looks at the clock."""
    breakers, calls, key = {"one": 60.0}, dict[int, None](), lambda: "one"

    def call(*args: Any, **named: Any) -> int:
        entered = id(named)
        calls[entered] = None
        try:
            if len(calls) > 20:
                raise RuntimeError("refused")
            slow = breakers[key(*args, **named)]
            began = time.monotonic()
            result = function(*args, **named)
            if time.monotonic() - began > slow:
                raise RuntimeError("slow")
            return result
        finally:
            del calls[entered]

    return call


def guards() -> dict[str, Callable[[], int]]:
    """Return the function under each guard that is installed; each is given what it can do of the three."""
    plain = lazyguard.Breaker(failure_threshold=5)
    ours = lazyguard.guarded(retry=lazyguard.Retry(), breaker=plain)(lambda: 1)
    ours.fallback(lambda: 2)
    rate = lazyguard.Breaker(failure_rate=0.5, window_calls=100)
    window = lazyguard.Breaker(failure_rate=0.5, window_seconds=30)
    found: dict[str, Callable[[], int]] = {
        BASE: function,
        "lazyguard: retry, breaker, fallback": ours,
        "lazyguard: breaker alone": lazyguard.guarded(breaker=plain)(lambda: 1),
        "lazyguard: breaker with a window of calls": lazyguard.guarded(breaker=rate)(lambda: 1),
        "lazyguard: breaker with a window of time": lazyguard.guarded(breaker=window)(lambda: 1),
    }
    for name, options in OPTIONS.items():
        slow = lazyguard.Breaker(failure_threshold=5, slow_call_duration=60.0)
        given: Any = {"retry": lazyguard.Retry(), "breaker": slow if "slow" in name or name == "all" else plain}
        found[f"lazyguard: the three, and {name}"] = more = lazyguard.guarded(**given, **options)(lambda: 1)
        more.fallback(lambda: 2)
    found["by hand, no policy: a key, a place, the clock"] = by_hand()
    if installed("circuitbreaker"):
        import circuitbreaker

        found["circuitbreaker: breaker, fallback"] = circuitbreaker.circuit(fallback_function=lambda: 2)(function)
    if installed("pybreaker"):
        import pybreaker

        found["pybreaker: breaker"] = pybreaker.CircuitBreaker()(function)
    if installed("nopanic"):
        import nopanic

        three = nopanic.compose(nopanic.fallback(2), nopanic.retry(3), nopanic.circuit_breaker())
        found["nopanic: retry, breaker, fallback"] = three(function)
        found["nopanic: breaker"] = nopanic.circuit_breaker()(function)
    if installed("pyresilience"):
        import pyresilience

        found["pyresilience: retry, breaker, fallback"] = pyresilience.resilient(
            retry=pyresilience.RetryConfig(),
            circuit_breaker=pyresilience.CircuitBreakerConfig(),
            fallback=pyresilience.FallbackConfig(handler=2),
        )(function)
    if installed("stamina"):
        import stamina

        found["stamina: retry"] = stamina.retry(on=ValueError)(function)
    import tenacity

    found["tenacity: retry"] = tenacity.retry(stop=tenacity.stop_after_attempt(3))(function)
    return found


def main() -> None:
    """Measure; a program of pyperf's."""
    runner = pyperf.Runner(program_args=("-m", "tests.benchmarks.guarding"))
    for name, guarded in guards().items():
        assert guarded() == 1
        runner.timeit(
            f"a call that succeeds | {name} | {BASE}", "x()", setup="x = guarded", globals={"guarded": guarded}
        )


if __name__ == "__main__":
    main()
