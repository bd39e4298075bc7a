"""The stack of a running attempt, from the factory inwards.

Invariant: a stack has places alone, `file:line function`; no argument, no local and no source line is read.
"""

from __future__ import annotations

import os
import sys

from lazyguard._base.places import of_frame

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType
    from typing import Any

    from lazyguard._core.state import Attempt

_OURS = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep


def of_attempt(attempt: Attempt) -> tuple[str, ...]:
    """Return the stack of the thread or task that runs an attempt; empty if it is not available, as for a greenlet."""
    if attempt.task is not None:
        frames = list(_awaiting(attempt.task.get_coro()))
    else:
        frames = list(_calling(sys._current_frames().get(attempt.thread or 0)))
        frames.reverse()
    while frames and not _is_ours(frames[0]):  # the thread's own frames
        del frames[0]
    while frames and _is_ours(frames[0]):
        del frames[0]
    return tuple(f"{of_frame(frame)} {frame.f_code.co_name}" for frame in frames)


def _is_ours(frame: FrameType) -> bool:
    return frame.f_code.co_filename.startswith(_OURS)


def _calling(frame: FrameType | None) -> Iterator[FrameType]:
    """Yield frames from the innermost outwards."""
    while frame is not None:
        yield frame
        frame = frame.f_back


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
