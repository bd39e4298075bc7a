"""The machine's clocks, as they are when this is loaded, whatever a test puts in their place later.

Invariants: what freezes time (freezegun) looks for the functions of `time` in the globals of all modules, and finds
none here; a call runs no Python frame.
"""

from __future__ import annotations

import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from functools import partial
else:
    from _functools import partial  # without what functools loads

# Where time is frozen already, a function of Python stands in the module; that one of the system is left alone.
_FROZEN: bool = hasattr(time.monotonic, "__code__") and hasattr(time, "CLOCK_MONOTONIC")

monotonic: Callable[[], float] = (
    partial(time.clock_gettime, time.CLOCK_MONOTONIC) if _FROZEN else partial(time.monotonic)
)
perf_counter: Callable[[], float] = monotonic if _FROZEN else partial(time.perf_counter)
