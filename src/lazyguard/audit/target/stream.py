"""The ways from a child to the audit: lines of JSON on a descriptor, and in files that the audited code may close.

Invariants: imports only what every interpreter has loaded at its start, or has built in. Each line is a JSON array. A
forked copy of the child sends nothing. A descriptor that the audited code has closed or replaced is opened anew.
"""

import faulthandler
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# The number from which descriptors are taken.
HIGH = 900

_getpid, _fstat = os.getpid, os.fstat
_open, _read, _write = os.open, os.read, os.write
_dump_later, _cancel_dump = faulthandler.dump_traceback_later, faulthandler.cancel_dump_traceback_later


def encode(value: "Any") -> str:
    """Return the value as JSON, in ASCII. The json module would load re and enum, which are then not the target's."""
    if value is None or value is True or value is False:
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, (list, tuple)):
        items: list[Any] = list(value)  # pyright: ignore[reportUnknownArgumentType]
        return "[" + ",".join([encode(item) for item in items]) + "]"
    text = str(value).replace("\\", "\\\\").replace('"', '\\"')
    if not (text.isascii() and text.isprintable()):
        units = text.encode("utf-16-be", "surrogatepass")
        pairs = [units[at] << 8 | units[at + 1] for at in range(0, len(units), 2)]
        text = "".join([chr(unit) if 32 <= unit < 127 else f"\\u{unit:04x}" for unit in pairs])
    return '"' + text + '"'


def line(fields: "tuple[Any, ...]") -> bytes:
    """Return the fields as one line."""
    return (encode(fields) + "\n").encode("ascii")


def open_file(name: str) -> int:
    """Return the descriptor of a file to append to."""
    return _open(name, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)


def out_of_the_way(descriptor: int) -> int:
    """Return the descriptor under a high number, not inherited, so that the target's begin where they always do."""
    os.set_inheritable(descriptor, False)
    for number in range(HIGH, HIGH + 16):
        try:
            _fstat(number)
        except OSError:
            try:
                os.dup2(descriptor, number, inheritable=False)
            except OSError:
                return descriptor
            os.close(descriptor)
            return number
    return descriptor


class Outlet:
    """A descriptor to write lines to, and the file that is opened when the audited code has closed it."""

    def __init__(self, descriptor: int, file: str) -> None:
        self.file = file
        self._take(out_of_the_way(descriptor))
        self.replaced: bool = False

    def _take(self, descriptor: int) -> None:
        found = _fstat(descriptor)
        self.descriptor: int = descriptor
        self.identity: tuple[int, int] = (found.st_dev, found.st_ino)

    def intact(self) -> bool:
        """Return whether the descriptor is still what it was: the number may belong to another file by now."""
        try:
            found = _fstat(self.descriptor)
        except OSError:
            return False
        return (found.st_dev, found.st_ino) == self.identity

    def write(self, text: bytes) -> bool:
        """Write, and return whether the descriptor had to be opened anew."""
        fresh = not self.intact()
        if fresh:
            self.replaced = True
            self._take(open_file(self.file))
        try:
            _write(self.descriptor, text)
        except OSError:
            pass  # the parent has gone
        return fresh


class Stream:
    """A channel for what the audit waits for, and a file for what it reads at the end.

    A parent that wakes up at every event competes with the import that it measures. That cost a tenth of the time.
    """

    def __init__(self, descriptor: int, directory: str, answer: "int | None" = None) -> None:
        self.process: int = _getpid()
        self.period: float = 0.0
        self.channel: Outlet = Outlet(descriptor, directory + "/spill")
        self.answer: Outlet = self.channel if answer is None else Outlet(answer, directory + "/spill")
        self.events: Outlet = Outlet(open_file(directory + "/events"), directory + "/events")
        self.dump: Outlet = Outlet(open_file(directory + "/dump"), directory + "/dump")

    def sample(self, period: float) -> None:
        """Have the stack dumped every period, by a thread that needs no GIL."""
        self.period = period
        if not self.dump.intact():
            self.dump.write(b"")
        _dump_later(period, repeat=True, file=self.dump.descriptor)

    def stop_sampling(self) -> None:
        """Have no more stacks dumped."""
        self.period = 0.0
        _cancel_dump()

    def _send(self, outlet: Outlet, fields: "tuple[Any, ...]") -> None:
        if _getpid() != self.process:
            return
        # What the audited code has left half a line of on this descriptor is then a line of its own.
        fresh = outlet.write(b"\n" + line(fields))
        # The dump may be lost while this outlet is not: its number may be that of a file of the target by now.
        if self.period and (fresh or not self.dump.intact()):
            self.sample(self.period)

    def send(self, *fields: "Any") -> None:
        """Send what the audit waits for."""
        self._send(self.channel, fields)

    def note(self, *fields: "Any") -> None:
        """Write down what the audit reads when the child has ended."""
        self._send(self.events, fields)

    def wait(self) -> None:
        """Return when the audit says go, or has gone."""
        if not self.answer.replaced and self.answer.intact():
            try:
                _read(self.answer.descriptor, 1)
            except OSError:
                pass
