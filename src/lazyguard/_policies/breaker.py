"""Breaker: take a service out of use when calls on it keep failing.

Invariant: the count is a statistic of one generation, kept without a lock; a stale failure never counts.
"""

from __future__ import annotations

from lazyguard._policies import options
from lazyguard._typing import final


@final
class Breaker(options.Options):
    """Open after so many failures in a row.

    A call on a service that raises one of its `failures` counts; one that ends well begins the count anew. When the
    breaker opens, the fallback takes over and the recovery builds the real object again.

    Args:
        failure_threshold: How many calls in a row must fail.

    Raises:
        ConfigurationError: The threshold is not a whole number of at least one.

    Example:
        >>> import lazyguard
        >>> lazyguard.Breaker(failure_threshold=5)
        Breaker(failure_threshold=5)
    """

    __slots__ = ("failure_threshold",)
    failure_threshold: int

    def __init__(self, *, failure_threshold: int = 3) -> None:
        options.whole("failure_threshold", failure_threshold)
        self._set(failure_threshold=failure_threshold)
