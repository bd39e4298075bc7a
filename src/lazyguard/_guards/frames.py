"""Summarize a stack: the innermost line of the program itself, what runs below it, and what led there.

Invariants: frames are read, never kept. A frame is the program's own where its file is not installed, or belongs to the
package that has the guard.
"""

from __future__ import annotations

import os
import sys

from lazyguard._base import TYPE_CHECKING, FrameType, places

if TYPE_CHECKING:
    from lazyguard._base.places import Place

_LAZYGUARD = os.path.dirname(os.path.dirname(__file__)) + os.sep
_STANDARD_LIBRARY = os.path.dirname(os.__file__) + os.sep
# Wherever they are: of the interpreter, the user or another environment.
_INSTALLED = (f"{os.sep}site-packages{os.sep}", f"{os.sep}dist-packages{os.sep}")


class StackSummary:
    """What a guarded block is executing.

    Attributes:
        place: The innermost line of the program itself, `file:line`; without one, the same as `leaf`.
        leaf: The innermost line of all.
        chain: The program's own lines, from the block to `place`.
        module: The first module that the block executes; "" if it executes none.
    """

    def __init__(self, frames: list[FrameType], package: str) -> None:
        own = [frame for frame in frames if is_own(frame, package)]
        self.leaf = places.of_frame(frames[-1]) if frames else places.NOWHERE
        self.chain = tuple(places.of_frame(frame) for frame in own)
        self.place = self.chain[-1] if own else self.leaf
        bodies = (frame for frame in frames[1:] if frame.f_code.co_name == "<module>")
        body = next(bodies, None)
        self.module = "" if body is None else str(body.f_globals.get("__name__", ""))

    def __str__(self) -> str:
        leaf = f", in {self.leaf}" if self.leaf != self.place else ""
        return f"{self.place}{leaf}"

    @property
    def chained(self) -> str:
        """The chain as a line of a message."""
        return f"\n  reached by {' > '.join(self.chain) or self.leaf}"


def stack(frame: FrameType | None, until: FrameType | None) -> list[FrameType] | None:
    """Return the frames from `until` to `frame`, outermost first, without those of the import system and lazyguard.

    Return None if `frame` is not below `until`: the block does not run it.
    """
    found: list[FrameType] = []
    for each in places.outwards(frame):
        if not is_machinery(each):
            found.append(each)
        if each is until:
            return found[::-1]
    return None


def importing() -> Place | None:
    """Return the importing line: the innermost outside the import system and lazyguard; None if there is no other."""
    found = (frame for frame in places.outwards(sys._getframe(1)) if not is_machinery(frame))
    frame = next(found, None)
    return None if frame is None else places.of_frame(frame)


def warn(text: str, category: type[Warning], place: Place) -> None:
    """Issue a warning that points at a place."""
    import warnings

    warnings.warn_explicit(text, category, place.file, place.line)


def is_machinery(frame: FrameType) -> bool:
    """Return whether a frame belongs to the import system or to lazyguard."""
    file = frame.f_code.co_filename
    return is_lazyguards(frame) or file.startswith("<frozen ") or file.endswith("/importlib/__init__.py")


def is_lazyguards(frame: FrameType) -> bool:
    """Return whether a frame belongs to lazyguard."""
    return frame.f_code.co_filename.startswith(_LAZYGUARD)


def is_own(frame: FrameType, package: str) -> bool:
    """Return whether a frame runs code of the program itself."""
    name = frame.f_globals.get("__name__")
    if package and isinstance(name, str) and name.partition(".")[0] == package:
        return True
    return not is_installed(frame.f_code.co_filename)


def is_installed(file: str) -> bool:
    """Return whether a file belongs to the interpreter or to an installed package."""
    return file.startswith(("<", _STANDARD_LIBRARY)) or any(part in file for part in _INSTALLED)


def package_of(frame: FrameType) -> str:
    """Return the top-level package of the code that a frame runs; "" for a script."""
    name = str(frame.f_globals.get("__name__", "")).partition(".")[0]
    return "" if name == "__main__" else name
