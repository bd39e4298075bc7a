"""The interpreter's own clocks, context variables and signal handlers, without their traps.

Invariants: the clocks are the machine's, whatever a test puts in their place later: what freezes time (freezegun) looks
for the functions of `time` in the globals of all modules, and finds none here; a call of one runs no Python frame. No
garbage collection begins amid the set of a context variable. Up to Python 3.11 collections run at allocations, and a
set makes several while it reads the context's mapping. A finaliser that sets a variable then frees that mapping, and
the interpreter crashes. Lazy objects can be used in finalisers, and their resolution sets a variable.
"""

from __future__ import annotations

import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal
    from collections.abc import Callable
    from contextvars import ContextVar
    from functools import partial
    from typing import TypeVar

    T = TypeVar("T")
else:
    import _signal  # without the enums that signal makes of it
    from _functools import partial  # without what functools loads

# Where time is frozen already, a function of Python stands in the module; that one of the system is left alone.
_FROZEN: bool = hasattr(time.monotonic, "__code__") and hasattr(time, "CLOCK_MONOTONIC")

monotonic: Callable[[], float] = (
    partial(time.clock_gettime, time.CLOCK_MONOTONIC) if _FROZEN else partial(time.monotonic)
)
perf_counter: Callable[[], float] = monotonic if _FROZEN else partial(time.perf_counter)

if sys.version_info >= (3, 12):

    def assign(variable: ContextVar[T], value: T) -> None:
        """Set the variable, also where a finaliser may set one too."""
        variable.set(value)

else:  # pragma: no cover (before Python 3.12, where the same tests reach all of it)
    import gc

    def assign(variable: ContextVar[T], value: T) -> None:
        """Set the variable, also where a finaliser may set one too."""
        if not gc.isenabled():
            variable.set(value)
            return
        try:
            gc.disable()
            variable.set(value)
        finally:
            gc.enable()


def is_a_handlers(error: BaseException) -> bool:
    """Return whether a signal handler has raised it, or code that a handler has called: the program's own affair."""
    handlers = [_signal.getsignal(number) for number in _signal.valid_signals()]
    codes = {_code_of(handler) for handler in handlers} - {None}
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code not in codes:
        trace = trace.tb_next
    return trace is not None


def _code_of(handler: object) -> object:
    function = getattr(handler, "func", handler)  # a partial
    called = function if hasattr(function, "__code__") else type(function).__call__
    return getattr(called, "__code__", None)
