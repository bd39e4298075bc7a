"""The lines that a child writes, read as events.

Invariants: whatever a line is, it gives an event of a known shape or none: an audited module can write to descriptors
that are not its own. Numbers are finite. Nothing here raises.
"""

from __future__ import annotations

import json
from typing import Any

SHAPES = {
    "setup": "ni",
    "start": "nib",
    "begin": "nitTTITITI",
    "end": "nitb",
    "effect": "nittTITITI",
    "circular": "nittIN",
    "state": "ntTIt",
    "result": "nEn",
    "threads": "W",
    "memory": "i",
    "stage": "t",
    "note": "t",
    "left": "",
    "doubtful": "t",
    "unseen": "i",
}
"""By the first field: the shapes of those that follow, as `_fits` reads them."""
MOST = 1e9


def read(line: bytes) -> list[Any] | None:
    """Return the event in a line; None where there is none."""
    found = fields(line)
    if not found or not isinstance(found[0], str) or found[0] not in SHAPES:
        return None
    return found if fit(found[1:], SHAPES[found[0]]) else None


def fields(line: bytes) -> list[Any] | None:
    """Return the array in a line of JSON; None where there is none."""
    try:
        found: Any = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, list) else None  # pyright: ignore[reportUnknownVariableType]


def fit(values: list[Any], shape: str) -> bool:
    """Return whether values have a shape, a letter each."""
    return len(values) == len(shape) and all(map(_fits, values, shape))


def _fits(value: Any, letter: str) -> bool:
    """Return whether a value is of the kind of a letter.

    n: a number, i: a whole one, b: a truth value, t: a text; T and I: also null. N: texts, W: threads with their
    places, E: null or what was raised, F: a frame.
    """
    if value is None:
        return letter in "TIE"
    if letter in "ni":
        numbers = (int, float) if letter == "n" else int
        return isinstance(value, numbers) and not isinstance(value, bool) and (-MOST < value < MOST or letter == "i")
    if letter == "I":
        return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < MOST
    if letter in "tT":
        return isinstance(value, str)
    if letter == "b":
        return isinstance(value, bool)
    if not isinstance(value, list):
        return False
    members: list[Any] = value  # pyright: ignore[reportUnknownVariableType]
    if letter == "E":
        return fit(members, "ttbKAT")
    if letter == "A":  # what lacks a name: its name, its file, its names
        return not members or fit(members, "tTN")
    each = {"N": "t", "W": "tTITI", "K": "tIt"}[letter]
    return all(_fits(one, each) if letter == "N" else isinstance(one, list) and fit(one, each) for one in members)
