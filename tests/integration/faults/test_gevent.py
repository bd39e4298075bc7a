"""A service under gevent: greenlets wait for a silent server without blocking the hub, and for so long as agreed."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

import lazyguard

pytest.importorskip("gevent", reason="the group `stress` has gevent")
pytestmark = pytest.mark.usefixtures("limited")

PROGRAM = """
from gevent import monkey
monkey.patch_all()
import socket, sys, threading
import gevent
import lazyguard

port = int(sys.argv[1])
begun = most = running = 0

@lazyguard.service(
    name="db", timeout=3.0, abandon_after=0.6, recovery=lazyguard.Recovery(initial=0.05, maximum=0.1)
)
def get():
    global begun, most, running
    begun, running = begun + 1, running + 1
    most = max(most, running)
    try:
        with socket.create_connection(("127.0.0.1", port)) as connection:
            return connection.recv(5)  # nothing bounds it but the server
    finally:
        running -= 1

@get.fallback(timeout=2.7)
def _():
    return b"fallback"

kinds = []
lazyguard.subscribe(lambda event: kinds.append(event.kind))
ticks = 0

def tick():
    global ticks
    while True:
        gevent.sleep(0.001)
        ticks += 1

ticker = gevent.spawn(tick)

def ask():
    before = ticks
    answer = get().decode()
    return answer, ticks - before

asked = [gevent.spawn(ask) for _ in range(200)]
gevent.joinall(asked, timeout=50)
answers = [greenlet.value for greenlet in asked]
assert {answer for answer, _ in answers} == {"fallback"}, answers
# Who asked first waits, and the ticker runs meanwhile. Were the hub blocked, it would not have.
assert answers[0][1] > 0, answers
assert lazyguard.is_fallback(get()) and get.health().state == "degraded"
assert kinds.count("degraded") == 1, kinds
assert most <= 2, (begun, most)
print("degraded", flush=True)

assert sys.stdin.readline() == "there\\n"
with gevent.Timeout(50):
    while lazyguard.is_fallback(get()):
        gevent.sleep(0.001)
assert get().decode() == "there"
assert most <= 2, most
print("recovered", flush=True)
assert sys.stdin.readline() == "hang again\\n"
get.reset()
asked = [gevent.spawn(ask) for _ in range(200)]
gevent.joinall(asked, timeout=50)
assert {greenlet.value[0] for greenlet in asked} == {"fallback"}
print("leaving", flush=True)
"""


def test_greenlets(limited):
    """A hanging factory blocks no hub; recovery needs no traffic; the process exits while another attempt hangs."""
    waiting: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0), backlog=64) as server:
        environment = {**os.environ, "PYTHONPATH": str(Path(lazyguard.__file__).parents[1])}
        with subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(server.getsockname()[1])],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            try:
                assert process.stdout.readline() == "degraded\n"
                waiting.append(server.accept()[0])
                waiting[0].sendall(b"there")
                process.stdin.write("there\n")
                process.stdin.flush()
                assert process.stdout.readline() == "recovered\n"
                process.stdin.write("hang again\n")
                process.stdin.flush()
                assert process.stdout.readline() == "leaving\n"
                assert process.wait(30) == 0  # it waits for no attempt
                assert process.stdout.read() == ""
            finally:
                process.kill()
                for connection in waiting:
                    connection.close()
