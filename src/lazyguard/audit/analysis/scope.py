"""Which files are first-party, what they are called in a report, and which frames a dump of faulthandler has.

Invariants: first-party is what lies below the audited paths, and the audited packages, nothing that is installed below
them. A first-party file is named relative to the audited path that it lies below. Any other one is named relative to
the longest entry of the target's sys.path that it lies below.
"""

from __future__ import annotations

import os
import re
import sys
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING

from lazyguard.audit.report.modules import Place
from lazyguard.audit.target.recorder import is_first_party, is_machinery

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from lazyguard.audit.processes.plan import Plan

_THREAD = re.compile(r"^(?:Thread|Current thread) 0x([0-9a-f]{1,16})\b")
_FRAME = re.compile(r'^  File "(.*)", line ([0-9]{1,9}|\?\?\?) in (.*)$')
_ESCAPE = re.compile(r"\\(?:x([0-9a-f]{2})|u([0-9a-f]{4})|U([0-9a-f]{8}))")


BODY = "<module>"
"""The function of a frame in the body of a module."""


@dataclass(frozen=True)
class Frame:
    """One frame of a stack, its file as the interpreter names it."""

    file: str
    line: int | None
    function: str


@dataclass(frozen=True)
class Dump:
    """One dump of faulthandler: what it was written for, and the stack of the importing thread, innermost first."""

    reason: str
    frames: tuple[Frame, ...]


@dataclass(frozen=True)
class Scope:
    """The audited paths (parted by colons), the roots of what is first-party, and the target's sys.path."""

    path: str
    roots: tuple[str, ...]
    sys_path: tuple[str, ...] = ()
    _names: dict[str, str] = field(default_factory=dict[str, str], compare=False)
    _own: dict[str, bool] = field(default_factory=dict[str, bool], compare=False)

    def owns(self, file: str | None) -> bool:
        """Return whether a file is first-party."""
        if file is None:
            return False
        own = self._own.get(file)
        if own is None:
            own = self._own[file] = is_first_party(file, self.roots)
        return own

    def name(self, file: str) -> str:
        """Return what the file is called in a report."""
        name = self._names.get(file)
        if name is None:
            paths = [real for path in self.path.split(os.pathsep) for real in (path, os.path.realpath(path))]
            lengths = [len(base) for base in _ending(paths) if file.startswith(base)]
            if not (lengths and self.owns(file)):
                lengths += [len(base) for base in _ending(self.sys_path) if file.startswith(base)]
            longest = max(lengths, default=0)
            name = self._names[file] = file[longest:]
        return name

    def place(self, file: str, line: int | None) -> Place:
        """Return a line as a report names it."""
        return Place(self.name(file), line)

    def innermost(self, frames: Sequence[Frame]) -> Frame | None:
        """Return the innermost first-party frame of a stack that has its innermost frame first."""
        return next((frame for frame in frames if self.owns(frame.file)), None)

    def body(self, frames: Sequence[Frame]) -> Frame | None:
        """Return the innermost frame of a stack that is in the body of a first-party module."""
        return next((frame for frame in frames if frame.function == BODY and self.owns(frame.file)), None)


def scope_of(plan: Plan, module: str) -> Scope:
    """Return the scope of one module of a plan."""
    return _scope(plan.path, plan.first_party(module), plan.sys_path)


def _ending(paths: Iterable[str]) -> list[str]:
    return [path.rstrip(os.sep) + os.sep for path in paths]


@lru_cache(maxsize=64)
def _scope(path: str, roots: tuple[str, ...], sys_path: tuple[str, ...]) -> Scope:
    """Return a scope, the same one for the same roots: it keeps the names that it has found."""
    return Scope(path, roots, sys_path)


def read_dumps(text: str, thread: int) -> list[Dump]:
    """Return the dumps in a file that faulthandler wrote, each with the stack of the given thread.

    Where no thread has its number (the target may have been a forked copy), the last stack counts, which is that of the
    main thread.
    """
    dumps: list[Dump] = []
    reason = ""
    whole: dict[int, list[Frame]] = {}
    frames: list[Frame] | None = None
    for line in [*text.splitlines(), "Timeout ("]:
        header = _THREAD.match(line)
        found = _FRAME.match(line)
        if line.startswith(("Timeout (", "Fatal Python error:")):
            if whole:
                chosen = whole.get(thread) or list(whole.values())[-1]
                dumps.append(Dump(reason, tuple(frame for frame in chosen if not is_machinery(frame.file))))
            reason, whole, frames = line, {}, None
        elif header is not None:
            frames = whole.setdefault(int(header[1], 16), [])
        elif found is not None and frames is not None:
            number = None if found[2] == "???" else int(found[2])
            frames.append(Frame(_ESCAPE.sub(_unescape, found[1]), number, found[3]))
        elif line.startswith("Current thread's C stack"):
            frames = None
    return dumps


def _unescape(match: re.Match[str]) -> str:
    """Return a character that faulthandler has escaped; a dump is written without the GIL, and a name can be torn."""
    number = int(match[1] or match[2] or match[3], 16)
    return chr(number) if number <= sys.maxunicode else "\ufffd"
