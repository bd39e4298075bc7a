"""The example of the page on FastAPI against real servers that stop, fall silent and come back."""

from __future__ import annotations

import http.server
import importlib.util
import threading
import time
from pathlib import Path

import pytest

for _needed in ("fastapi", "uvicorn", "asyncpg", "httpx", "redis"):
    pytest.importorskip(_needed, reason="the group `integration` has it")

import httpx  # noqa: E402
import uvicorn  # noqa: E402

pytestmark = pytest.mark.usefixtures("limited")
EXAMPLE = Path(__file__).parents[2] / "docs/examples/fastapi/teas.py"
LONGEST, SLACK = 2.0, 8.0


class Supplier(http.server.BaseHTTPRequestHandler):
    """Answers with a price."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"3")

    def log_message(self, *_: object) -> None: ...


class Shop:
    """The example under uvicorn, with its servers."""

    def __init__(self, postgres, redis) -> None:
        self.postgres, self.redis = postgres, redis
        self.supplier = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Supplier)
        threading.Thread(target=self.supplier.serve_forever, daemon=True).start()

    def get(self, path: str) -> httpx.Response:
        start = time.monotonic()
        answer = self.client.get(path, timeout=60.0)
        assert time.monotonic() - start < LONGEST + SLACK
        return answer

    def tea(self, name: str) -> object:
        answer = self.get(f"/teas/{name}")
        return answer.json() if answer.status_code == 200 else answer.status_code


@pytest.fixture
def shop(make_postgres, make_redis, monkeypatch, eventually):
    """Return the shop, all of whose servers run."""
    made = Shop(make_postgres(), make_redis())
    made.postgres.start()
    made.redis.start()
    monkeypatch.setenv("DATABASE", f"postgresql://postgres@127.0.0.1:{made.postgres.port}/postgres")
    monkeypatch.setenv("CACHE", made.redis.url)
    monkeypatch.setenv("SUPPLIER", f"http://127.0.0.1:{made.supplier.server_port}")
    spec = importlib.util.spec_from_file_location("teas", EXAMPLE)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(__import__("sys").modules, "teas", module)
    spec.loader.exec_module(module)
    server = uvicorn.Server(uvicorn.Config(module.app, port=0, log_config=None, ws="none"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    eventually(lambda: server.started)
    url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    with httpx.Client(base_url=url) as made.client:
        yield made
    server.should_exit = True
    thread.join()
    made.supplier.shutdown()
    made.supplier.server_close()


def test_it_lives_through_outages(shop, eventually):
    """Each of its servers stops and comes back; what has a fallback answers, nothing is restarted."""
    eventually(lambda: shop.get("/startupz").status_code == 200)
    assert shop.tea("green") == {"name": "GREEN", "cached": False, "price": 3}
    assert shop.tea("green") == {"name": "GREEN", "cached": True, "price": 3}

    shop.redis.freeze()
    eventually(lambda: shop.tea("green") == {"name": "GREEN", "cached": False, "price": 3})
    assert shop.get("/readyz").status_code == 200
    shop.redis.thaw()
    eventually(lambda: shop.tea("green") == {"name": "GREEN", "cached": True, "price": 3})

    shop.redis.stop()
    for number in range(20):
        assert shop.tea(f"black {number}") == {"name": f"BLACK {number}", "cached": False, "price": 3}
    shop.redis.start()
    eventually(lambda: shop.tea("black") == {"name": "BLACK", "cached": True, "price": 3})

    shop.supplier.shutdown()
    shop.supplier.server_close()
    assert shop.tea("green")["price"] is None

    shop.postgres.stop()
    eventually(lambda: (shop.tea("white"), shop.get("/readyz").status_code) == (503, 503))
    assert shop.get("/livez").status_code == 200
    shop.postgres.start()
    eventually(lambda: isinstance(shop.tea("white"), dict))
    eventually(lambda: shop.get("/readyz").status_code == 200)
