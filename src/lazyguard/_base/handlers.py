"""What a signal handler raises: it is the program's own affair, so it is no failure of the code that it interrupts."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal
else:
    import _signal  # without the enums that signal makes of it


def is_a_handlers(error: BaseException) -> bool:
    """Return whether a signal handler has raised it, or code that a handler has called."""
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
