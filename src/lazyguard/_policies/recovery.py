"""The options of a recovery: when the real object is tried again in the background; `recovery_run` makes the tries."""

from __future__ import annotations

from lazyguard._base import TYPE_CHECKING, final, validation
from lazyguard._core import loaded

if TYPE_CHECKING:
    from lazyguard._base.validation import Seconds, Whole
    from lazyguard._core.cell import Cell


@final
class Recovery(validation.Options):
    """Try again in the background while a service is degraded or failed.

    Waits grow from `initial` to `maximum`. A wait is doubled after each failure, and jittered to between its half and
    its whole, so that many processes do not try at the same moment. After a success the next wait is `initial` again.
    If a try hangs, one other try begins after the service's `abandon_after`, and no third.

    Each number may be a function without arguments, which is asked at the service's first use.

    Args:
        initial: The first wait, in seconds.
        maximum: The longest wait, in seconds.
        success_threshold: How many tries in a row must succeed before the real object is served again. The first try
            builds the object; each further one runs the service's `probe` on it, or builds it anew without a probe.

    Raises:
        ConfigurationError: A value is out of range.

    Example:
        >>> import lazyguard
        >>> lazyguard.Recovery(initial=0.5, maximum=30, success_threshold=2)
        Recovery(initial=0.5, maximum=30, success_threshold=2)
    """

    initial: float
    maximum: float
    success_threshold: int
    __slots__ = tuple("initial maximum success_threshold".split())
    _numbers = __slots__

    def __init__(self, *, initial: Seconds = 1.0, maximum: Seconds = 60.0, success_threshold: Whole = 1) -> None:
        validation.seconds("initial", initial, late=True)
        validation.seconds("maximum", maximum, late=True)
        validation.whole("success_threshold", success_threshold, late=True)
        self._set(**locals())

    def wait(self, times: int) -> float:
        """Return a wait after so many failures, jittered."""
        from lazyguard._core import clock  # loaded by then: what fails has one

        return clock.jittered(self.initial, self.maximum, times)

    def begin(self, cell: Cell) -> None:
        """Begin the recovery run of the cell's present generation, unless there is one."""
        loaded("_policies.recovery_run", cell).begin(self, cell)


# That of a service which says nothing about it.
USUAL = Recovery()
