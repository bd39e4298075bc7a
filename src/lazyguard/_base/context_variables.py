"""Setting context variables where a finaliser may set one too.

Invariants: no collection of garbage begins in the middle of a set. Up to Python 3.11 collections run at allocations, of
which a set makes several while it reads the context's mapping; a finaliser that sets a variable frees that mapping, and
the interpreter crashes. Lazy objects may be used in finalisers, and their resolution sets a variable.
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
        """Set the variable, and return what `restore` takes."""
        return variable.set(value)

    def restore(variable: ContextVar[T], token: Token[T]) -> None:
        """Put back what the variable was before `assign`."""
        variable.reset(token)

else:  # pragma: no cover (before Python 3.12, where the same tests reach all of it)
    import gc

    def assign(variable: ContextVar[T], value: T) -> Token[T]:
        """Set the variable, and return what `restore` takes."""
        if not gc.isenabled():
            return variable.set(value)
        gc.disable()
        try:
            return variable.set(value)
        finally:
            gc.enable()

    def restore(variable: ContextVar[T], token: Token[T]) -> None:
        """Put back what the variable was before `assign`."""
        if not gc.isenabled():
            variable.reset(token)
            return
        gc.disable()
        try:
            variable.reset(token)
        finally:
            gc.enable()
