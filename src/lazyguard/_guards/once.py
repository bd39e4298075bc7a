"""`once`: registration code that runs at most once a process, whatever names its module goes by.

Invariants: one cell a key, whichever module object asks; the caller's own thread runs the function, and no lock is
held meanwhile; what it raises is the caller's, untouched, and leaves the key as it was.
"""

from __future__ import annotations

import os

from lazyguard import errors
from lazyguard._base import places
from lazyguard._core import forks as forks  # the child of a fork waits for nothing that only the parent runs
from lazyguard._core import threads
from lazyguard._core.cell import Cell
from lazyguard._core.effects import Call, Join
from lazyguard._core.state import READY

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, overload

    from lazyguard._base.typing import P, T
    from lazyguard._core.effects import Steps
    from lazyguard._core.state import Attempt, Outcome, Snapshot
else:

    def overload(function):
        return None


_CELLS: dict[object, Cell] = {}
# co_flags of what gives something to be consumed, which cannot be handed to every caller.
_KINDS = {0x20: "a generator", 0x80: "an async function", 0x200: "an async generator"}


@overload
def once(function: Callable[P, T], /) -> Callable[P, T]: ...
@overload
def once(*, key: str) -> Callable[[Callable[P, T]], Callable[P, T]]: ...  # noqa: F811 (ruff looks for typing's own)
def once(  # noqa: F811
    function: Callable[P, T] | None = None, /, *, key: str | None = None
) -> Any:
    """Run the decorated function at most once a process, and give every caller what its first run returned.

    Args:
        function: A plain function. The arguments of later calls are ignored.
        key: What is to happen once. Without it that is the function at this line of this file: the same one although
            the module runs again, reloaded or under a second name (`models` and `core.models`, `__main__`).

    Raises:
        ConfigurationError: An async function or a generator; or what is no Python function and has no key.

    A caller that comes during the first run waits for its end. What the function raises passes untouched, and the next
    caller, also one that has waited, runs it again. Called from inside itself, or in a ring with other threads, it
    raises CircularResolutionError. In the child of a fork what had run in the parent has run; a run that another
    thread was at begins anew.

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
            raise errors.ConfigurationError(f"once(key={key!r}): a key is a text that says what is to happen once")

        def decorate(decorated: Callable[P, T]) -> Any:
            return _guard(decorated, key)

        return decorate
    return _guard(function, None)


def _guard(function: Any, key: str | None) -> Any:
    code = getattr(function, "__code__", None)
    name = places.name_of(function)
    if not callable(function) or (code is None and key is None):
        what = f"{function!r} is no Python function"
        raise errors.ConfigurationError(f"once: {what}: decorate the function itself, or give once(key=...)")
    for flag, kind in _KINDS.items():
        if code is not None and code.co_flags & flag:
            raise errors.ConfigurationError(f"once: {name} is {kind}, whose result serves one caller only")
    place = places.of_callable(function, name)
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
                    threads.drive(_waiting(attempt, now))
                    continue
                threads.run_attempt(attempt, _running(lambda: function(*args, **kwargs)))
            except BaseException:
                cell.end_unlaunched()
                raise
            outcome = attempt.outcome
            if outcome is not None and outcome.error is not None:
                raise outcome.error

    # Since 3.14 annotations are evaluated when they are asked for, and not by copying them.
    annotations = "__annotate__" if hasattr(function, "__annotate__") else "__annotations__"
    for attribute in ("__module__", "__name__", "__qualname__", "__doc__", "__type_params__", annotations):
        if hasattr(function, attribute):
            setattr(call, attribute, getattr(function, attribute))
    vars(call).update(getattr(function, "__dict__", {}), __wrapped__=function)
    return call


def _identity(function: Any) -> object:
    """Return what stays the same when a file runs again; what comes from no file is itself each time."""
    code = function.__code__
    if code.co_filename.startswith("<"):
        return object()
    return f"{os.path.realpath(code.co_filename)}:{code.co_firstlineno}:{function.__qualname__}"


def _waiting(attempt: Attempt, seen: Snapshot) -> Steps[None]:
    yield Join(attempt, None, seen)


def _running(function: Callable[[], object]) -> Steps[Outcome]:
    outcome: Outcome = yield Call(function)
    return outcome
