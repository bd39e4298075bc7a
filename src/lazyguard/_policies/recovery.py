"""Recovery: when the real object is tried again in the background, and when it is served again. The options alone."""

from __future__ import annotations

from lazyguard._base import final, validation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lazyguard._core.cell import Cell


@final
class Recovery(validation.Options):
    """Try again in the background while a service is degraded or failed.

    Waits grow from `initial` to `maximum`, doubled after each failure and jittered to between half and the whole, so
    that many processes do not come back at the same moment. After a success the next wait is `initial` again. A try
    that hangs is replaced after the service's `abandon_after`; one beside it, never more.

    Args:
        initial: The first wait, in seconds.
        maximum: The longest wait, in seconds.
        success_threshold: How many tries in a row must succeed before the real object is served again. The first
            builds it; the further ones run the service's `probe` on it, or, without one, build it anew.

    Raises:
        ConfigurationError: A value is out of range.

    Example:
        >>> import lazyguard
        >>> lazyguard.Recovery(initial=0.5, maximum=30, success_threshold=2)
        Recovery(initial=0.5, maximum=30, success_threshold=2)
    """

    __slots__ = ("initial", "maximum", "success_threshold")
    initial: float
    maximum: float
    success_threshold: int

    def __init__(self, *, initial: float = 1.0, maximum: float = 60.0, success_threshold: int = 1) -> None:
        validation.seconds("initial", initial)
        validation.seconds("maximum", maximum)
        validation.whole("success_threshold", success_threshold)
        self._set(initial=initial, maximum=maximum, success_threshold=success_threshold)

    def begin(self, cell: Cell) -> None:
        """See to it that the cell's real object is tried again in the background; idempotent."""
        from lazyguard._core import loaded

        loaded(RUN, cell).begin(self, cell)


# Where the background tries are, which are loaded by this name.
RUN = "_policies.recovery_run"
