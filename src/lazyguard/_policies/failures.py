"""Which exceptions a policy means: by their type, by the name of a type, or by a predicate; a group by its leaves.

Invariants: no module is imported to look for a type in it; what a predicate raises is told in the log, once, and takes
the place of no failure.
"""

from __future__ import annotations

import sys

from lazyguard._base import TYPE_CHECKING, places, validation
from lazyguard.errors import CircuitOpen, ResolutionError, ResolutionTimeout, ServiceUnavailable
from lazyguard.events import describe

if TYPE_CHECKING:
    from typing import Any

    from lazyguard._base.validation import Kinds

# What a predicate raised, and which: told already.
_told: set[tuple[str, str]] = set()


def leaves(error: BaseException, named: Kinds = ()) -> list[BaseException]:
    """Return the exceptions in a group, at any depth; of what is no group, or one that is `named`, that alone."""
    kind: Any = getattr(sys.modules["builtins"], "BaseExceptionGroup", None)  # since 3.11
    kind = kind or getattr(sys.modules.get("exceptiongroup"), "BaseExceptionGroup", None)
    if kind is None or not isinstance(error, kind):
        return [error]
    if isinstance(error, tuple(one for one in validation.loaded(named) if issubclass(one, kind))):
        return [error]
    group: Any = error
    return [leaf for one in group.exceptions for leaf in leaves(one, named)]


def matches(error: BaseException, kinds: Kinds, *, inner: bool = False) -> bool:
    """Return whether these mean the exception; of a group, whether they mean all its leaves.

    With `inner` they also mean what an inner service or guarded function raises because it is not there.
    """
    return all(_is_one(leaf, kinds) or (inner and _failed_inside(leaf, kinds)) for leaf in leaves(error, kinds))


def _failed_inside(error: BaseException, kinds: Kinds) -> bool:
    """Return whether it says that an inner service, or what a guarded function calls, is not there."""
    if isinstance(error, ServiceUnavailable | CircuitOpen | ResolutionTimeout):
        return True
    return isinstance(error, ResolutionError) and error.__cause__ is not None and matches(error.__cause__, kinds)


def _is_one(error: BaseException, kinds: Kinds) -> bool:
    if isinstance(error, validation.loaded(kinds)):
        return True
    for kind in kinds:
        if not isinstance(kind, str | type):
            try:
                if kind(error):
                    return True
            except Exception as raised:
                _tell(kind, raised)
    return False


def _tell(predicate: object, raised: Exception) -> None:
    said = places.name_of(predicate), describe(raised)
    if said not in _told and len(_told) < 1000:
        _told.add(said)
        import logging

        logging.getLogger("lazyguard").error("the predicate %s raised %s, and so it means nothing", *said)
