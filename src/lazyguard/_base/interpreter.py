"""The interpreter's own clocks, locks, context variables, containers and signal handlers, without their traps.

Invariants: the clocks are the machine's, whatever a test puts in their place later: what freezes time (freezegun) looks
for the functions of `time` in the globals of all modules, and finds none here; a call of one runs no Python frame. A
block lets go of the lock that it took, whatever a signal handler raises there; in a forked child locks are free. No
garbage collection begins amid the set of a context variable. Up to Python 3.11 collections run at allocations, and a
set makes several while it reads the context's mapping. A finaliser that sets a variable then frees that mapping, and
the interpreter crashes. Lazy objects can be used in finalisers, and their resolution sets a variable.
"""

from __future__ import annotations

import os
import sys
import time
from _weakref import ref

from lazyguard._base import TYPE_CHECKING, Any, Callable, T

if TYPE_CHECKING:
    import signal as _signal
    from collections import defaultdict as defaultdict
    from collections import deque as deque
    from contextvars import ContextVar
    from functools import partial as partial

    class RLock:
        """What the types of the standard library say of it, and what they leave out."""

        def acquire(self, blocking: bool = True, timeout: float = -1) -> bool: ...
        def release(self) -> None: ...
        def __enter__(self) -> None: ...
        def __exit__(self, *raised: object) -> None: ...
        def _is_owned(self) -> bool: ...
        def _at_fork_reinit(self) -> None: ...
        def _release_save(self) -> object: ...
        def _acquire_restore(self, held: object) -> None: ...

else:
    import _signal  # without the enums that signal makes of it
    from _collections import defaultdict as defaultdict  # without what collections and functools load
    from _collections import deque as deque
    from _functools import partial as partial
    from _thread import RLock

# Where time is frozen already, a function of Python stands in the module; that one of the system is left alone.
_FROZEN: bool = hasattr(time.monotonic, "__code__") and hasattr(time, "CLOCK_MONOTONIC")

monotonic: Callable[[], float] = (
    partial(time.clock_gettime, time.CLOCK_MONOTONIC) if _FROZEN else partial(time.monotonic)
)
perf_counter: Callable[[], float] = monotonic if _FROZEN else partial(time.perf_counter)


class Lock(RLock):
    """A lock for a `with` statement, reentrant: a signal handler or a finaliser may run on its holder's thread."""

    __slots__ = ()
    # To read an attribute is one instruction, after which no handler runs; after a call one may. Python 3.14 calls
    # `__enter__` before the block begins, and a handler that raised there would leave the lock taken for ever.
    _taken = property(RLock.acquire)

    def __init__(self) -> None:
        _locks[ref(self, _locks.pop)] = None

    def __enter__(self) -> None:
        self._taken  # noqa: B018

    def renew(self) -> None:
        """Be free, unless this thread has it: in the child of a fork there is no other one to let go of it."""
        if not self._is_owned():
            self._at_fork_reinit()


_locks: dict[ref[Any], None] = {}


def in_child(do: Callable[[], object]) -> None:
    """Call this in the child of every fork, if there are forks."""
    if hasattr(os, "register_at_fork"):  # pragma: no branch (not on Windows)
        os.register_at_fork(after_in_child=do)


@in_child
def _in_child() -> None:
    for known in list(_locks):
        lock = known()
        if lock is not None:
            lock.renew()


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
