"""`health_file`: the state of a process as a file, for processes that nobody can ask over HTTP.

Invariants: whoever reads the file finds a whole one at each moment. It is written on a daemon thread, never on that of
whoever caused a change or that of the scheduler. It tells what `health` tells.
"""

from __future__ import annotations

import _thread
import os

from lazyguard import events
from lazyguard._base import final, validation
from lazyguard._base.places import misconfigured, shown
from lazyguard._core import clock, daemons, loaded
from lazyguard._monitoring import health

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


def health_file(path: str | os.PathLike[str], *, every: float = 10.0) -> Callable[[], None]:
    """Write the state of this process to a file: when it changes, and every so often as a sign of life.

    It is for workers and schedulers without a server: `lazyguard status FILE --max-age 30` reads it, and imports
    nothing of the application.

    Args:
        path: Where. "{pid}" in it is the number of the process; then a forked child has a file of its own, and else
            none.
        every: Seconds between two signs of life.

    Returns:
        A function that ends it, and removes the file. The exit of the interpreter does so, too.

    Raises:
        ConfigurationError: An option is invalid, or the folder of the file does not exist.

    The file is JSON, in the form of health+json, with "pid", "time" (seconds since the epoch) and "every". It is
    written beside, and put in its place at once. Where it cannot be written, nothing is raised, and its age tells.

    Example:
        >>> import lazyguard, os, tempfile
        >>> folder = tempfile.mkdtemp()
        >>> end = lazyguard.health_file(os.path.join(folder, "{pid}.json"))
        >>> os.listdir(folder) == [f"{os.getpid()}.json"]
        True
        >>> end()
        >>> os.listdir(folder)
        []
    """
    validation.seconds("every", every)
    value: Any = path
    given: str = os.fspath(value) if isinstance(value, str | os.PathLike) else ""
    if not given or not os.path.isdir(os.path.dirname(os.path.abspath(given))):
        raise misconfigured(f"path={shown(path)} is invalid: give the path of a file in a folder that exists.")
    written = _File(given, every)
    written.begin()
    return written.end


@final
class _File:
    """One file, and what sees to it."""

    __slots__ = ("_again", "_due", "_every", "_given", "_path", "_undo", "_writing")

    def __init__(self, given: str, every: float) -> None:
        self._given, self._every, self._due, self._again = given, every, False, False
        self._path = ""
        self._undo: Callable[[], None] | None = None

    def begin(self) -> None:
        """Write it now, and from now on."""
        import atexit

        self._path, self._due = self._given.replace("{pid}", str(os.getpid())), False
        self._writing = _thread.allocate_lock()
        self._undo = events.subscribe(self._changed)
        _files.append(self)
        atexit.register(self.end)
        self._write()
        self._wait()

    def end(self) -> None:
        """Write it no more, and remove it."""
        if self._undo is not None and self in _files:
            self._undo()
            _files.remove(self)
            try:
                os.unlink(self._path)
            except OSError:
                pass

    def in_child(self) -> None:
        """Go on in a forked child, if it is to have a file of its own."""
        if self._undo is not None:
            self._undo()
        _files.remove(self)
        if "{pid}" in self._given:
            self.begin()

    def _changed(self, _: object) -> None:
        if not self._due:  # one that begins between the two lines is seen by the writing, too
            self._due = True
            self._schedule(0.0)

    def _wait(self) -> None:
        self._schedule(self._every, again=True)

    def _schedule(self, seconds: float, *, again: bool = False) -> None:
        def work() -> None:
            if self in _files:
                daemons.daemon(self._write, "lazyguard-health-file", again=True)
                if again:
                    self._wait()

        loaded("_core.scheduler").at(clock.now() + seconds, work)

    def _write(self) -> None:
        """Write it, unless another thread does: that one then does it once more, so that the last one is the newest."""
        self._due, self._again = False, True
        while self._again and self._writing.acquire(False):
            try:
                self._again = False
                self._put()
            finally:
                self._writing.release()

    def _put(self) -> None:
        import json

        told: dict[str, Any] = health.health().to_dict()
        told.update(pid=os.getpid(), time=clock.current.date(), every=self._every)
        beside = f"{self._path}.{os.getpid()}.part"
        try:
            with open(beside, "w", encoding="utf-8") as file:
                file.write(json.dumps(told))
            os.replace(beside, self._path)
        except OSError:
            pass  # its age tells


_files: list[_File] = []


def _in_child() -> None:
    for file in _files.copy():
        file.in_child()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
