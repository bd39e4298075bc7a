"""For tests of faults: a front that stands between a client and its server, and an event loop on its own thread."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable

import pytest


class Front:
    """A small TCP proxy on a port of its own, which can be silent, slow, or cut what connects.

    Attributes:
        manner: What becomes of the n-th connection: "pass" (to the server), "hold" (accepted, and that is all), "cut".
        connections: How many there were.
    """

    def __init__(self, port: int) -> None:
        self._behind = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.manner: Callable[[int], str] = lambda number: "pass"
        self.connections = 0
        self._answers = threading.Event()
        self._answers.set()
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, name="front", daemon=True).start()

    def silence(self) -> None:
        """Accept and never answer, whoever is or gets connected."""
        self.manner = lambda number: "hold"
        self._answers.clear()

    def slow(self) -> None:
        """Let answers take their time: until `speed`."""
        self._answers.clear()

    def speed(self) -> None:
        self._answers.set()

    def replace(self) -> None:
        """Be another that serves: whoever was connected is cut off."""
        self.manner = lambda number: "pass"
        self.cut()
        self._answers.set()

    def cut(self) -> None:
        for connection in self._open:
            end(connection)
        self._open = []

    def close(self) -> None:
        end(self._listener)
        self.cut()
        self._answers.set()

    def _accept(self) -> None:
        while True:
            try:
                client = self._listener.accept()[0]
            except OSError:
                return
            self.connections += 1
            manner = self.manner(self.connections)
            if manner == "cut":
                end(client)
                continue
            self._open.append(client)
            if manner == "hold":
                continue
            try:
                server = socket.create_connection(("127.0.0.1", self._behind))
            except OSError:
                end(client)
                continue
            self._open.append(server)
            threading.Thread(target=self._pump, args=(client, server, None), daemon=True).start()
            threading.Thread(target=self._pump, args=(server, client, self._answers), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, gate: threading.Event | None) -> None:
        try:
            while data := source.recv(65536):
                if gate is not None:
                    gate.wait()
                sink.sendall(data)
        except OSError:
            pass
        end(source)
        end(sink)


def end(connection: socket.socket) -> None:
    """Close it, also for the thread that waits in it."""
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass
    connection.close()


@pytest.fixture
def make_front():
    """Return a function that puts a front before a port; all are closed at the end of the test."""
    made: list[Front] = []

    def make(port: int) -> Front:
        made.append(Front(port))
        return made[-1]

    yield make
    for front in made:
        front.close()


@pytest.fixture
def on_loop():
    """Return a function that runs a coroutine on an event loop of its own thread and returns its result."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="loop", daemon=True)
    thread.start()

    async def rest() -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    def run(coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, loop).result(60)

    yield run
    run(rest())
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()
