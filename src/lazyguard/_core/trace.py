"""`LAZYGUARD_TRACE=1`: one line on stderr for each object that was built and each import that was made, and by whom.

Invariants: a line has names, places, seconds and exception types, and nothing else; where the variable is not set, an
object that is there costs nothing for it, and a build one look at the environment.
"""

from __future__ import annotations

import os
import sys

from lazyguard._base import TYPE_CHECKING, Callable, T, places
from lazyguard._core import clock
from lazyguard.events import describe

if TYPE_CHECKING:
    from lazyguard._base.places import Place
    from lazyguard._core.state import Attempt, Outcome


def wanted() -> bool:
    """Return whether the environment asks for it."""
    return os.environ.get("LAZYGUARD_TRACE", "") not in ("", "0")


def began(attempt: Attempt) -> None:
    """Keep who asked for an attempt: it may be another thread that runs it."""
    if wanted():
        attempt.asked_by = "the recovery" if attempt.recovery else places.of_user(places.caller())


def ended(attempt: Attempt, outcome: Outcome, seconds: float, *, counts: bool) -> None:
    """Tell of an attempt that has ended, once."""
    asked_by, attempt.asked_by = attempt.asked_by, ""
    if asked_by:
        if outcome.ok:
            end = "ok" if counts else "ok, but too late to count"
        else:
            end = describe(outcome.error) or "no result"
        _tell(attempt.cell.name, attempt.cell.place, asked_by, seconds, end)


def traced(what: str, place: Place, work: Callable[[], T]) -> T:
    """Do an import that has no cell, and tell of it."""
    if not wanted():
        return work()
    asked_by, begun, end = places.of_user(places.caller()), clock.now(), "ok"
    try:
        return work()
    except BaseException as error:
        end = describe(error)
        raise
    finally:
        _tell(what, place, asked_by, clock.now() - begun, end)


def _tell(what: str, place: Place, asked_by: str, seconds: float, end: str) -> None:
    line = f"lazyguard: {what}, declared at {place}, asked for by {asked_by}: {seconds:.3f} s, {end}\n"
    try:
        sys.stderr.write(line)
    except Exception:
        pass  # None, closed, or in use by what a signal handler has interrupted: no reason for the build to fail
