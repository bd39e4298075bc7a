"""Breakers of several processes know nothing of each other: what that costs the side that was away."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading

import pytest

WORKER = """
import socket, sys, threading
import lazyguard

@lazyguard.guarded(breaker=lazyguard.Breaker(failure_threshold=1, open_time=0.2, max_open_time=0.2))
def call():
    with socket.create_connection(("127.0.0.1", int(sys.argv[1])), 5) as connection:
        if connection.recv(1) != b"1": raise ConnectionError

def work():
    while True:
        try: return call()
        except (lazyguard.CircuitOpen, ConnectionError): pass

try: call()
except ConnectionError: pass
print("open", flush=True)
sys.stdin.readline()
threads = [threading.Thread(target=work) for _ in range(20)]
for each in threads: each.start()
for each in threads: each.join()
"""


@pytest.mark.parametrize("count", [1, 4])
def test_each_process_has_one_first_contact_at_half_open(count):
    """Of N workers with 20 callers each, N reach a server that holds each of them until it has been counted."""
    with socket.create_server(("127.0.0.1", 0), backlog=128) as server:
        workers = [
            subprocess.Popen(
                [sys.executable, "-c", WORKER, str(server.getsockname()[1])],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            )
            for _ in range(count)
        ]  # fmt: skip
        try:
            for _ in workers:
                connection, _address = server.accept()
                connection.close()  # a failure, which opens that one's breaker
            assert [worker.stdout.readline() for worker in workers] == ["open\n"] * count
            for worker in workers:
                worker.stdin.write("\n")
                worker.stdin.flush()
            contacts = [server.accept()[0] for _ in workers]  # all are at half-open by now, each with its one probe
            server.settimeout(0.3)
            with pytest.raises(TimeoutError):
                server.accept()
            server.settimeout(None)
            accepting = threading.Thread(target=answer, args=(server, contacts), daemon=True)
            accepting.start()
            assert [worker.wait(60) for worker in workers] == [0] * count
        finally:
            for worker in workers:
                worker.kill()
                worker.communicate()


def answer(server: socket.socket, waiting: list[socket.socket]) -> None:
    """Let those go well that wait, and all that come."""
    for connection in waiting:
        with connection:
            connection.send(b"1")
    while True:
        try:
            with server.accept()[0] as connection:
                connection.send(b"1")
        except OSError:
            return  # closed
