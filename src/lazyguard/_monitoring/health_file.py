"""`health_file`: the state of a process as a file, for processes without an HTTP server.

Invariants: a reader finds a complete file at each moment. Changes are written on a daemon thread, never on the thread
that caused the change or the scheduler's. The content is that of `health`.
"""

from __future__ import annotations

import _thread
import os

from lazyguard import events
from lazyguard._base import Any, Callable, validation
from lazyguard._base.interpreter import in_child
from lazyguard._core import clock, daemons, loaded
from lazyguard._monitoring import health


def health_file(path: str | os.PathLike[str], *, every: float = 10.0) -> Callable[[], None]:
    """Write the state of this process to a file: when it changes, and every so often as a sign of life.

    It is for workers and schedulers without a server: `lazyguard status FILE --max-age 30` reads it, and imports
    nothing of the application.

    Args:
        path: The file. "{pid}" in it stands for the number of the process, so that each forked child has a file of its
            own. Without it only this process has one.
        every: Seconds between two signs of life.

    Returns:
        A function that ends this and removes the file, as the exit of the interpreter does.

    Raises:
        ConfigurationError: An option is invalid, or the folder of the file does not exist.

    The file is JSON, in the form of health+json, with "pid", "time" (seconds since the epoch) and "every". It is
    replaced in one step, so a reader never sees half of it. Where it cannot be written nothing is raised: its age shows
    that.

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
    given: Any = os.fspath(value) if isinstance(value, str | os.PathLike) else ""
    whole: str = os.path.abspath(given) if isinstance(given, str) and given and "\0" not in given else ""
    right = os.path.isdir(os.path.dirname(whole)) and not os.path.isdir(whole)
    validation.require(right, "path", path, "the path of a file in a folder that exists")
    written = _File(whole, every)
    written.begin()
    return written.end


class _File:
    """One file, from `begin` to `end`."""

    def __init__(self, given: str, every: float) -> None:
        self._given, self._every = given, every

    def begin(self) -> None:
        """Write it now, and from now on."""
        import atexit

        self._path = self._given.replace("{pid}", str(os.getpid()))
        self._lock = _thread.allocate_lock()  # held while it is written
        self._due = False
        self._undo = events.subscribe(self._changed)
        _files.append(self)
        atexit.register(self.end)
        self.write()
        self._wait()

    def end(self) -> None:
        """Write it no more, and remove it."""
        if self in _files:
            _files.remove(self)
            self._undo()
            ours = self._lock.acquire(True, _PATIENCE)
            for path in (self._path, self._beside()):
                try:
                    os.unlink(path)
                except OSError:
                    pass  # it was never written
            if ours:
                self._lock.release()

    def in_child(self) -> None:
        """Go on in a forked child, if it is to have a file of its own."""
        self._undo()
        _files.remove(self)
        if "{pid}" in self._given:
            self.begin()

    def write(self) -> None:
        """Write it beside, and put it in its place."""
        import json

        with self._lock:
            self._due = False
            if self not in _files:
                return
            content = {
                **health.health().to_dict(),
                "pid": os.getpid(),
                "time": clock.current.date(),
                "every": self._every,
            }
            try:
                with open(self._beside(), "w", encoding="utf-8") as file:
                    file.write(json.dumps(content))
                os.replace(self._beside(), self._path)
            except OSError:
                pass  # its age shows it

    def _beside(self) -> str:
        return f"{self._path}.{os.getpid()}.part"

    def _changed(self, _: object) -> None:
        if not self._due:
            self._due = True
            _writers.add(self)

    def _wait(self) -> None:
        loaded("_core.scheduler").at(clock.now() + self._every, self._renew)

    def _renew(self) -> None:
        if self in _files:
            _writers.add(self)
            self._wait()


# One thread at a time writes all files, so that the last one is the newest.
_writers = daemons.Crew("health-file", _File.write, most=1, hangs=float("inf"))
# Seconds for which the end of a file waits for a write that is under way.
_PATIENCE = 1.0
_files: list[_File] = []


@in_child
def _in_child() -> None:
    for file in _files.copy():
        file.in_child()
