"""Which server fails when, and how: a schedule that follows from a seed, and what carries it out.

Invariant: the same seed, example, length and severity give the same schedule, whatever the machine does.
"""

from __future__ import annotations

import random
import socket
import struct
import threading
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from tests.integration.conftest import Server

# stopped: SIGSTOP. silent: accepts connections, never answers. killed: refuses. flapping: stopped and well in turns.
USUAL = ("stopped", "silent", "killed", "flapping")
# resetting: accepts, and resets. babbling: answers with what no protocol knows.
HARSH = (*USUAL, "resetting", "babbling")


class Fault(NamedTuple):
    """From when until when a server is not well; seconds since the run's begin."""

    server: str
    mode: str
    begin: float
    end: float


def schedule(seed: int, example: str, servers: tuple[str, ...], seconds: float, harsh: bool) -> list[Fault]:
    """Return the faults of a run, by server and time. None ends later than `seconds`."""
    found: list[Fault] = []
    modes, well, away = (HARSH, (0.3, 10.0), (0.2, 8.0)) if harsh else (USUAL, (5.0, 25.0), (1.0, 12.0))
    for server in servers:
        draw = random.Random(f"{seed} {example} {server}")
        at = draw.uniform(0.0, well[1] / 2)
        while True:
            end = at + draw.uniform(*away)
            if end > seconds:
                break
            found.append(Fault(server, draw.choice(modes), at, end))
            at = end + draw.uniform(*well)
    return found


class Troubled:
    """A server, and what stands in its place at the same port."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self._listener: socket.socket | None = None

    def fail(self, mode: str) -> None:
        """Be in that mode from now on; `flapping` begins as stopped."""
        if mode in ("stopped", "flapping"):
            self.server.freeze()
            return
        self.server.stop()
        if mode != "killed":
            self._listener = listener = socket.socket()
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(("127.0.0.1", self.server.port))
            listener.listen(512)
            if mode != "silent":
                threading.Thread(target=_receive, args=(listener, mode), daemon=True).start()

    def be_well(self) -> None:
        """Serve again."""
        if self._listener is not None:
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes who accepts
            self._listener.close()
            self._listener = None
        if self.server.process is None:
            self.server.start()
        else:
            self.server.thaw()


def _receive(listener: socket.socket, mode: str) -> None:
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        with connection:
            if mode == "babbling":
                try:
                    connection.sendall(b"\x07\xffbabble\r\n\r\n" * 4)
                    connection.settimeout(0.05)
                    connection.recv(4096)  # what is closed unread is reset
                except OSError:
                    pass
            else:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


class Trouble:
    """Carries out a schedule, each server on a thread of its own; `done` has the faults as they were."""

    def __init__(self, servers: Mapping[str, Server], faults: list[Fault], begin: float, seed: int) -> None:
        self.done: list[Fault] = []
        self.errors: list[BaseException] = []
        self._begin, self._over = begin, threading.Event()
        self._threads = []
        for name, server in servers.items():
            mine = [fault for fault in faults if fault.server == name]
            draw = random.Random(f"{seed} {name} flapping")
            self._threads.append(threading.Thread(target=self._run, args=(Troubled(server), mine, draw)))

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def end(self) -> None:
        """Stop wherever it is."""
        self._over.set()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join()

    def _until(self, at: float) -> bool:
        """Wait until then; return False where all is over before."""
        return not self._over.wait(max(0.0, self._begin + at - time.monotonic()))

    def _run(self, troubled: Troubled, faults: list[Fault], draw: random.Random) -> None:
        try:
            for fault in faults:
                if not self._until(fault.begin):
                    return
                began = time.monotonic() - self._begin
                troubled.fail(fault.mode)
                if fault.mode == "flapping":
                    self._flap(troubled, fault.end, draw)
                over = not self._until(fault.end)
                troubled.be_well()
                self.done.append(fault._replace(begin=began, end=time.monotonic() - self._begin))
                if over:
                    return
        except BaseException as error:
            self.errors.append(error)

    def _flap(self, troubled: Troubled, end: float, draw: random.Random) -> None:
        while time.monotonic() - self._begin < end - 1.0 and not self._over.wait(draw.uniform(0.1, 1.0)):
            troubled.be_well()
            self._over.wait(draw.uniform(0.1, 0.7))
            troubled.fail("stopped")
