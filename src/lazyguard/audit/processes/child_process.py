"""One child as its parent sees it: its life, and what it reported (`Trace`).

Invariants: the result message decides, never an end of file and never an exit: a grandchild may hold either back.
Every state has a deadline. When `finish` returns, the child and all that came from it are gone, and so are its files.
Whatever a line of its is, it gives an event of a known shape or none, and raises nothing: an audited module can write
to descriptors that are not its own. Numbers are finite.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lazyguard.audit.processes import programs
from lazyguard.audit.target import CHILD

if TYPE_CHECKING:
    from collections.abc import Sequence
    from subprocess import Popen

    from lazyguard.audit.processes.plan import Plan, Settings

# By the first field: the shapes of those that follow, as `_fits` reads them.
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
LARGEST = 1e9
PLAIN: dict[str, Any] = {"n": (int, float), "i": int, "I": int, "b": bool, "t": str, "T": str}


def event_in(line: bytes) -> list[Any] | None:
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
    if letter in PLAIN:
        if not isinstance(value, PLAIN[letter]) or isinstance(value, bool) != (letter == "b"):
            return False
        return letter not in "nI" or (-LARGEST if letter == "n" else -1) < value < LARGEST
    if not isinstance(value, list):
        return False
    members: list[Any] = value  # pyright: ignore[reportUnknownVariableType]
    if letter == "E":
        return fit(members, "ttbKAT")
    if letter == "A":  # what lacks a name: its name, its file, its names
        return not members or fit(members, "tTN")
    each = {"N": "t", "W": "tTITI", "K": "tIt"}[letter]
    return all(_fits(one, each) if letter == "N" else isinstance(one, list) and fit(one, each) for one in members)


# Seconds for the interpreter to reach the import, beside the time limit.
STARTUP_LIMIT = 30.0
# Seconds for threads and exit functions to end after the import; more is `cannot-exit`.
LEAVING_LIMIT = 2.0
DUMP_GRACE = 0.2
REAP_LIMIT = 5.0
SURVIVAL_GRACE = 0.3
LARGEST_OUTPUT = 16 << 20
LARGEST_DUMP = 1 << 20
# Kinds of events that are kept, each with its time first.
TIMED = ("begin", "end", "effect", "circular", "state")
MOST_CHUNKS = 256
# How many time limits a child may wait for a processor.
MOST_QUEUED = 10
TAIL = 4000
# Bounds the memory, and each file that is written, of the command behind two numbers, where there are such limits.
LIMITED = '{ ulimit -d "$1"; ulimit -f "$2"; } 2>/dev/null; shift 2; exec "$@"'


@dataclass
class Trace:
    """What a child reported and how it ended. Times are seconds on the child's clock."""

    module: str
    events: list[list[Any]] = field(default_factory=list[list[Any]])
    result: list[Any] | None = None
    thread: int = 0
    started: float | None = None
    # Whether the module was loaded before its import began.
    loaded: bool = False
    start_seconds: float = 0.0
    waited_seconds: float = 0.0
    threads: list[list[Any]] = field(default_factory=list[list[Any]])
    stage: str = "threads"
    left: bool = False
    status: int | None = None
    replaced: bool = False
    dump: str = ""
    leaving_dump: str = ""
    output: str = ""
    survivors: dict[int, str] = field(default_factory=dict[int, str])
    cpu_seconds: float = 0.0
    memory: int | None = None
    # How many modules a fork got at no cost worth a line.
    unseen: int = 0
    # Whether a fork cannot be certain, or what it reported cannot be read.
    doubtful: bool = False

    @property
    def missed(self) -> str | None:
        """The module that is missing, where that made the import fail."""
        return self.result[2][5] if self.result and self.result[2] else None


class Pipes:
    """Two named pipes in a directory: what a socket is between a child and the audit, for one that is forked."""

    def __init__(self, directory: Path) -> None:
        for name in ("up", "down"):
            os.mkfifo(directory / name, 0o600)
        self._up = os.open(directory / "up", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        self._down = os.open(directory / "down", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)

    def fileno(self) -> int:
        return self._up

    def recv(self, most: int, /) -> bytes:
        return os.read(self._up, most)

    def send(self, answer: bytes, /) -> int:
        return os.write(self._down, answer)

    def close(self) -> None:
        os.close(self._up)
        os.close(self._down)


class Child:
    """A running child: `pump` reads what it reports, `due` says when to look again, `over` when to finish."""

    def __init__(self, module: str, plan: Plan, settings: Settings, *, timeout: float, period: float) -> None:
        self.plan: Plan = plan
        self.settings: Settings = settings
        self.timeout: float = timeout
        self.period: float = period
        self.trace: Trace = Trace(module)
        self.token: str = secrets.token_hex(8)
        self.directory: Path = Path(tempfile.mkdtemp(prefix="lazyguard-audit-"))
        self.over: bool = False
        self._rest, self._dumped = b"", 0
        self._read_to = {"spill": 0, "events": 0}
        self._candidates: dict[int, str] = {}
        self._released = self._eof = False
        self.began: float = time.monotonic()
        self._deadline = self.began + STARTUP_LIMIT + timeout
        try:
            self.pid: int = self._launch()
        except BaseException:
            shutil.rmtree(self.directory, ignore_errors=True)
            raise
        try:
            self.exit_descriptor: int | None = os.pidfd_open(self.pid)
        except (AttributeError, OSError):
            self.exit_descriptor = None

    def _launch(self) -> int:
        """Start the process, open the channel to it, and return its number."""
        ours, theirs = socket.socketpair()
        self.channel: socket.socket | Pipes = ours
        settings, directory, up = self.settings, self.directory, theirs.fileno()
        given = (str(up), str(directory), self.plan.path, repr(self.timeout), repr(self.period), settings.setup)
        command = [settings.python, CHILD, *given, self.trace.module, *self.plan.first_party(self.trace.module)]
        if settings.memory:  # before its start-up runs anything
            most = min(settings.memory << 10, 1 << 50)  # in KB, and files in blocks of 512 bytes
            command = ["/bin/sh", "-c", LIMITED, "sh", str(most), str(most * 2), *command]
        try:
            ours.setblocking(False)
            with open(directory / "out", "ab") as out, open(directory / "err", "ab") as err:
                self.process: Popen[bytes] = programs.start(command, settings.environment, self.token, out, err, (up,))
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        return self.process.pid

    @property
    def descriptors(self) -> Sequence[int]:
        """What to wait on: the channel until it ends, and the end of the process."""
        channel = [] if self._eof else [self.channel.fileno()]
        return channel if self.exit_descriptor is None else [*channel, self.exit_descriptor]

    def pump(self) -> None:
        """Read what has arrived, and check the deadline. Never block."""
        gone = self._has_exited()
        self._receive()
        self.trace.waited_seconds = time.monotonic() - self.began - self.trace.start_seconds
        if self.trace.left and not self._released and not gone:
            self._release()
        now = time.monotonic()
        if gone or now > self._deadline + self._queued() or (self.trace.replaced and self.trace.result is None):
            self.over = True
        self._bound_output()

    def _queued(self) -> float:
        """Return how long the child has waited for a processor when its deadline is over: load ends no import."""
        if time.monotonic() <= self._deadline or self.trace.result is not None:
            return 0.0
        try:
            waited = int(Path(f"/proc/{self.pid}/schedstat").read_text().split()[1]) / 1e9
        except (OSError, ValueError, IndexError):
            return 0.0
        return min(waited, MOST_QUEUED * self.timeout)

    def due(self) -> float:
        """Return in how many seconds to look again when nothing has arrived."""
        soon = 0.02 if self.exit_descriptor is None or self._eof else 0.1
        left = self._deadline - time.monotonic() + 0.001
        return min(soon, left) if left > 0 else soon

    def _has_exited(self) -> bool:
        try:
            return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
        except (AttributeError, ChildProcessError):
            return self.process.poll() is not None

    def _receive(self) -> None:
        chunks = [self._rest]
        while not self._eof and len(chunks) < MOST_CHUNKS:  # a child that writes without end is ended at its deadline
            try:
                chunk = self.channel.recv(1 << 16)
            except BlockingIOError:
                break
            except OSError:
                chunk = b""
            if not chunk:
                self._eof = True
            chunks.append(chunk)
        lines = b"".join(chunks).split(b"\n")
        self._rest = lines.pop()[-LARGEST_DUMP:]
        if self._eof:
            lines += self._new_lines("spill")
        for line in lines:
            self._take(line)
        if self._eof and self.trace.result is None:
            self._read_events()
            self.trace.replaced = [event[3] for event in self.trace.events[-1:] if event[0] == "effect"] == ["exec"]

    def _read_events(self) -> None:
        for line in self._new_lines("events"):
            self._take(line)

    def _new_lines(self, name: str) -> list[bytes]:
        """Return the whole lines that a file has got since it was last read."""
        text = self._part(name, self._read_to[name], LARGEST_OUTPUT)
        whole = text[: text.rfind(b"\n") + 1]
        self._read_to[name] += len(whole)
        return whole.split(b"\n")[:-1]

    def _take(self, line: bytes) -> None:
        event = event_in(line)
        if event is None:
            return  # something else was written into the descriptor: this is no event
        trace, now, kind = self.trace, time.monotonic(), event[0]
        if kind == "start" and trace.started is None:
            _, trace.started, trace.thread, trace.loaded = event
            trace.start_seconds = now - self.began
            self._deadline = now + self.timeout + DUMP_GRACE
        elif kind == "setup" and trace.started is None:
            trace.thread = event[2]
            self._deadline = min(self._deadline, now + self.timeout + DUMP_GRACE)
        elif kind == "result" and trace.result is None:
            trace.result = event
            self._dumped = self._size("dump")
            self._deadline = now + LEAVING_LIMIT
        elif kind in ("threads", "stage"):
            setattr(trace, kind, event[1])
        elif kind in ("left", "doubtful"):
            setattr(trace, kind, True)
        elif kind == "memory":
            trace.memory = int(event[1]) or None
        elif kind == "unseen":
            trace.unseen += event[1]
        elif kind in TIMED:
            trace.events.append(event)

    def _release(self) -> None:
        """Note what the child has started while its family is still known, then let it leave."""
        self._released = True
        self._candidates = self._family()
        self._deadline = min(self._deadline, time.monotonic() + 1.0)
        try:
            self.channel.send(b"g")
        except OSError:
            pass

    def _family(self) -> dict[int, str]:
        """Return the processes that come from the child, which has not left yet."""
        return programs.offspring(self.pid, self.token)

    def _size(self, name: str) -> int:
        try:
            return os.stat(self.directory / name).st_size
        except OSError:
            return 0

    def _bound_output(self) -> None:
        """Truncate what would fill the disk; the files are open for appending."""
        for name in ("out", "err", "events", "dump", "spill"):
            if self._size(name) > LARGEST_OUTPUT:
                os.truncate(self.directory / name, 0)

    def _survivors(self) -> dict[int, str]:
        """Return what is still there a moment after the child has left by itself."""
        deadline = time.monotonic() + SURVIVAL_GRACE
        while True:
            left = programs.offspring(self.pid, self.token)
            candidates = {pid: name for pid, name in self._candidates.items() if programs.is_alive(pid)}
            left.update(candidates)
            if not left or time.monotonic() > deadline:
                return left
            time.sleep(0.01)

    def finish(self) -> Trace:
        """End what is left of the child, reap it, and return what is known of it."""
        trace = self.trace
        try:
            exited = self._has_exited()
            self._receive()
            self._read_events()
            if exited:
                trace.survivors = self._survivors()
            self._end()
            self._reap(exited)
            end = self._size("dump")
            cut = self._dumped if trace.result is not None else end
            trace.dump = self._read("dump", cut, LARGEST_DUMP)
            trace.leaving_dump = self._read("dump", end, end - cut)
            trace.output = self._read("err", self._size("err"), TAIL) or self._read("out", self._size("out"), TAIL)
        finally:
            self.channel.close()
            if self.exit_descriptor is not None:
                os.close(self.exit_descriptor)
            shutil.rmtree(self.directory, ignore_errors=True)
        return trace

    def _end(self) -> None:
        programs.kill(self.pid, self.token, others=tuple(self.trace.survivors))

    def _reap(self, exited: bool) -> None:
        status = self.process.returncode
        if status is None:
            raw, usage = self._wait()
            status = self.process.returncode = os.waitstatus_to_exitcode(raw)
            self.trace.cpu_seconds = usage.ru_utime + usage.ru_stime
        # The status of a child that had to be killed says nothing about it.
        self.trace.status = status if exited else None

    def _wait(self) -> tuple[int, Any]:
        """Reap the killed child. Give up one that the kernel holds: that wait may have no end."""
        deadline = time.monotonic() + REAP_LIMIT
        while True:
            pid, raw, usage = os.wait4(self.process.pid, os.WNOHANG)
            if pid or time.monotonic() > deadline:
                return raw, usage
            time.sleep(0.001)

    def _read(self, name: str, end: int, most: int) -> str:
        """Return what a file has before `end`, the last `most` bytes of it."""
        return self._part(name, max(0, end - most), min(most, end)).decode(errors="replace").strip()

    def _part(self, name: str, start: int, most: int) -> bytes:
        try:
            with open(self.directory / name, "rb") as file:
                file.seek(start)
                return file.read(most)
        except OSError:
            return b""
