"""Set context variables safely where a finaliser may set one too.

Invariant: no garbage collection begins amid a set. Up to Python 3.11 collections run at allocations, and a set makes
several while it reads the context's mapping. A finaliser that sets a variable then frees that mapping, and the
interpreter crashes. Lazy objects can be used in finalisers, and their resolution sets a variable.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from contextvars import ContextVar, Token
    from typing import TypeVar

    T = TypeVar("T")

if sys.version_info >= (3, 12):

    def assign(variable: ContextVar[T], value: T) -> Token[T]:
        """Set the variable, and return the token for `restore`."""
        return variable.set(value)

    def restore(variable: ContextVar[T], token: Token[T]) -> None:
        """Restore the value before `assign`."""
        variable.reset(token)

else:  # pragma: no cover (before Python 3.12, where the same tests reach all of it)
    import gc

    def assign(variable: ContextVar[T], value: T) -> Token[T]:
        """Set the variable, and return the token for `restore`."""
        if not gc.isenabled():
            return variable.set(value)
        try:
            gc.disable()
            return variable.set(value)
        finally:
            gc.enable()

    def restore(variable: ContextVar[T], token: Token[T]) -> None:
        """Restore the value before `assign`."""
        if not gc.isenabled():
            variable.reset(token)
            return
        try:
            gc.disable()
            variable.reset(token)
        finally:
            gc.enable()
