"""`drain` under real servers: SIGTERM amid requests fails none of them, and targets are closed in order."""

from __future__ import annotations

import http.client
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from textwrap import dedent

import pytest

import lazyguard

pytestmark = pytest.mark.usefixtures("limited")

SERVICES = """
    import os, signal, sys, time
    import lazyguard
    from lazyguard.integrations import asgi, wsgi

    def closing(what):
        with open(f"{os.getpid()}.closed", "a") as log:
            log.write(f"{what} ")

    @lazyguard.service(close=lambda _: closing("first"))
    def get_first() -> list: return [1]

    @lazyguard.service(close=lambda _: closing("second"))
    def get_second() -> list: return [get_first()[0]]

    def drain_first(delay):
        before = signal.getsignal(signal.SIGTERM)

        def on_term(*_):
            signal.signal(signal.SIGTERM, before)
            lazyguard.drain(delay=delay, then=lambda: os.kill(os.getpid(), signal.SIGTERM))

        signal.signal(signal.SIGTERM, on_term)

    def pages(environ, start_response):
        time.sleep(0.05)
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [str(get_second()[0]).encode()]

    application = wsgi.Middleware(pages)

    async def apages(scope, receive, send):
        if scope["type"] == "lifespan":
            assert (await receive())["type"] == "lifespan.startup"
            drain_first(1.0)
            await send({"type": "lifespan.startup.complete"})
            await receive()
            lazyguard.close()
            await send({"type": "lifespan.shutdown.complete"})
            return
        import asyncio
        await asyncio.sleep(0.05)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": str(get_second()[0]).encode()})

    aapplication = asgi.Middleware(apages)
"""
GUNICORN = """
    def post_worker_init(worker):
        import drained
        drained.drain_first(1.0)

    def worker_exit(server, worker):
        import lazyguard
        lazyguard.close()
"""
SERVERS = {
    "gunicorn": ["-w", "2", "-b", "127.0.0.1:0", "-c", "conf.py", "drained:application"],
    "uvicorn": ["--port", "0", "drained:aapplication"],
}


def get(port: int, path: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    finally:
        connection.close()


@pytest.mark.parametrize("server", SERVERS)
def test_no_request_fails(tmp_path, server):
    """Whoever asks the ready path before each request, as a load balancer does, meets no failure."""
    pytest.importorskip(server, reason=f"{server} is not installed")
    (tmp_path / "drained.py").write_text(dedent(SERVICES))
    (tmp_path / "conf.py").write_text(dedent(GUNICORN))
    log = tmp_path / "server.log"
    path = os.pathsep.join((str(tmp_path), str(Path(lazyguard.__file__).parents[1])))
    with log.open("w") as written:
        process = subprocess.Popen(
            [sys.executable, "-m", server, *SERVERS[server]],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": path},
            stdin=subprocess.DEVNULL,
            stdout=written,
            stderr=written,
        )
    try:
        until = time.monotonic() + 30
        while (found := re.search(r"http://127\.0\.0\.1:(\d+)", log.read_text())) is None:
            assert time.monotonic() < until, log.read_text()
            time.sleep(0.02)
        port, failed, answered, stopped = int(found[1]), [], [], threading.Event()

        def ask() -> None:
            while True:
                try:
                    if get(port, "/readyz") == 503:
                        stopped.set()
                    if stopped.is_set():
                        return
                    answered.append(get(port, "/"))
                except OSError as error:
                    failed.append(error)
                    return

        clients = [threading.Thread(target=ask) for _ in range(4)]
        for client in clients:
            client.start()
        until = time.monotonic() + 30
        while len(answered) < 40:
            assert time.monotonic() < until, (failed, log.read_text())
            time.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        assert stopped.wait(30)
        for client in clients:
            client.join(30)
        assert process.wait(30) in (0, -signal.SIGTERM), log.read_text()
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
    assert not failed
    assert set(answered) == {200}
    closed = [file.read_text().split() for file in tmp_path.glob("*.closed")]
    assert closed, log.read_text()
    assert all(one == ["second", "first"] for one in closed), closed
