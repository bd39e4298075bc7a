"""`once`: registration code that runs at most once a process, under whatever names its module is imported.

Invariants: there is one cell a key, for all module objects. The caller's own thread runs the function, with no lock
held. An exception of the function passes to the caller untouched, and the key can be tried again.
"""

from __future__ import annotations

import os
import sys

from lazyguard import errors
from lazyguard._base import TYPE_CHECKING, Any, Callable, P, T, dress, overload, places, signatures
from lazyguard._base.places import shown
from lazyguard._core import forks as forks  # a forked child must not wait for an attempt of its parent
from lazyguard._core import threads
from lazyguard._core.cell import Cell
from lazyguard._core.effects import Call, Join
from lazyguard._core.state import FAILED, PENDING, READY

if TYPE_CHECKING:
    from lazyguard._core.effects import Steps
    from lazyguard._core.state import Attempt, Outcome, Snapshot

_CELLS: dict[object, Cell] = {}


if TYPE_CHECKING:

    @overload
    def once(function: Callable[P, T], /) -> Callable[P, T]: ...
    @overload
    def once(*, key: str) -> Callable[[Callable[P, T]], Callable[P, T]]: ...


def once(function: Callable[P, T] | None = None, /, *, key: str | None = None) -> Any:
    """Run the decorated function at most once a process, and return the result of that run to every caller.

    Args:
        function: A plain function. The arguments of later calls are ignored.
        key: The name of what happens once. Left out, the key is the function's file and line: it stays the same when
            the module is executed again, reloaded or under a second name (`models` and `core.models`, `__main__`).
            So a function that is made anew at each call of another one runs once in all: give each a key of its own.

    Raises:
        ConfigurationError: The function is async or a generator; or it is no Python function, and there is no key.

    A caller that comes during the first run waits for its end. An exception of the function passes untouched; the next
    caller, also one that has waited, runs the function again. A call from inside the function, or in a wait cycle with
    other threads, raises CircularResolutionError. In a forked child a run that the parent had finished counts; a run
    of another thread begins anew.

    Example:
        >>> import lazyguard
        >>> @lazyguard.once
        ... def register():
        ...     print("registered")
        ...     return 42
        >>> register(), register()
        registered
        (42, 42)
    """
    if function is None:
        if not isinstance(key, str) or not key:
            raise errors.ConfigurationError(f"once(key={shown(key)}): give a string that names what happens once")

        def decorate(decorated: Callable[P, T]) -> Any:
            return _guard(decorated, key)

        return decorate
    return _guard(function, None)


def _guard(function: Any, key: str | None) -> Any:
    code = getattr(function, "__code__", None)
    name = places.name_of(function)
    if not callable(function) or (code is None and key is None):
        what = f"{shown(function)} is not a Python function"
        raise errors.ConfigurationError(f"once: {what}: decorate the function itself, or give once(key=...)")
    kind = signatures.late_kind(function)
    if kind:
        raise errors.ConfigurationError(f"once: {name} is {kind}: give a plain function, whose result is shared")
    place = places.of_callable(function, places.of_user(sys._getframe()))
    cell = _CELLS.setdefault(key or _identity(function), Cell(function, name=name, place=place))

    def call(*args: Any, **kwargs: Any) -> Any:
        while True:
            now = cell.now
            if now.state == READY:
                return now.target
            try:
                attempt, new, now = cell.find_attempt(now)
                if attempt is None:
                    continue
                if not new:
                    threads.drive(_join(attempt, now))
                    continue
                threads.run_attempt(attempt, _run(lambda: function(*args, **kwargs)))
            except BaseException:
                cell.end_unlaunched()
                raise
            outcome = attempt.outcome
            if outcome is not None and outcome.error is not None:
                cell.change(_not_failed)
                try:
                    raise outcome.error
                finally:
                    del attempt, outcome, now  # else a cycle: the error, its traceback, this frame

    return dress(call, function)


def _identity(function: Any) -> object:
    """Return what stays the same when a file is executed again; without a file it is new each time."""
    code = function.__code__
    if code.co_filename.startswith("<"):
        return object()
    return f"{os.path.realpath(code.co_filename)}:{code.co_firstlineno}:{function.__qualname__}"


def _not_failed(now: Snapshot) -> Snapshot:
    """Keep no failure: it goes to those who called."""
    return now.changed(state=PENDING, cause=None) if now.state == FAILED else now


def _join(attempt: Attempt, seen: Snapshot) -> Steps[None]:
    yield Join(attempt, None, seen)


def _run(function: Callable[[], object]) -> Steps[Outcome]:
    outcome: Outcome = yield Call(function)
    return outcome
