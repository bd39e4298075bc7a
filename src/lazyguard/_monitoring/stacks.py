"""The stack of a running attempt, from the factory inwards.

Invariant: a stack has places alone, `file:line function`; no argument, no local and no source line is read.
"""

from __future__ import annotations

import sys
from itertools import dropwhile

from lazyguard._base import TYPE_CHECKING, places
from lazyguard._guards import frames

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType
    from typing import Any

    from lazyguard._core.state import Attempt


def of_attempt(attempt: Attempt) -> tuple[str, ...]:
    """Return the stack of the thread or task that runs an attempt; empty if it is not available, as for a greenlet."""
    if attempt.task is not None:
        stack = list(_awaiting(attempt.task.get_coro()))
    else:
        stack = [*places.outwards(sys._current_frames().get(attempt.thread or 0))][::-1]
    below = dropwhile(lambda frame: not frames.is_lazyguards(frame), stack)  # without the thread's own frames
    inwards = dropwhile(frames.is_lazyguards, below)
    return tuple(f"{places.of_frame(frame)} {frame.f_code.co_name}" for frame in inwards)


def _awaiting(waits: Any) -> Iterator[FrameType]:
    """Yield the frames of a suspended coroutine inwards, to what it waits for."""
    while waits is not None:
        for kind in ("cr", "gi", "ag"):
            frame = getattr(waits, f"{kind}_frame", None)
            if frame is not None:
                yield frame
                break
        else:
            return
        waits = getattr(waits, "gi_yieldfrom" if kind == "gi" else f"{kind}_await", None)
