"""`lazyguard.integrations.wsgi` and `.asgi` in Flask, Django and FastAPI, and behind real servers."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import sys
import threading
import types
import urllib.error
import urllib.request
from wsgiref.simple_server import WSGIRequestHandler, make_server

import pytest

import lazyguard
from lazyguard._core import declaration
from lazyguard.integrations import asgi, wsgi

pytestmark = pytest.mark.usefixtures("limited")
ASKED = {"X-Request-Timeout": "7.5"}
SOON = {"X-Request-Timeout": "0.1"}


class Search:
    """A service's object."""

    def find(self) -> str:
        return "found"


@lazyguard.service(timeout=60.0)
def get_search() -> Search:
    """Make a search."""
    return Search()


@lazyguard.service(timeout=60.0)
async def get_client() -> Search:
    """Make a search on the loop."""
    return Search()


@lazyguard.service(timeout=60.0)
async def get_tenant(tenant: str) -> dict[str, str]:
    """Make one for each tenant."""
    return {"tenant": tenant}


@pytest.fixture(autouse=True)
def alone(monkeypatch):
    """What other tests declared is not seen here, and nothing is built before a test."""
    monkeypatch.setattr(declaration, "_registered", {})
    yield
    for get in (get_search, get_client, get_tenant):
        get.reset()


@pytest.fixture
def broken():
    """Return a critical service that has failed."""

    @lazyguard.service(name="broken", recovery=None, critical=True)
    def get() -> list[int]:
        raise OSError("hunter2")

    with pytest.raises(lazyguard.ResolutionError):
        len(get())
    return get


def left() -> str:
    """Return what is left of the deadline: whole, as the tests' clock stands still."""
    return str(lazyguard.remaining())


def served(url: str, **headers: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=60) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


# Flask


@pytest.fixture
def shop():
    """Return a Flask application with a page, a page that is streamed, and a page that fails."""
    flask = pytest.importorskip("flask", reason="the extra `flask` has it")
    app = flask.Flask("shop")

    @app.get("/left")
    def page():
        return left()

    @app.get("/parts")
    def parts():
        @flask.stream_with_context
        def lines():
            yield f"{flask.request.path} {left()}"
            yield f" {left()}"

        return flask.Response(lines())

    @app.get("/late")
    def late():
        raise lazyguard.DeadlineExceeded("late")

    @app.errorhandler(lazyguard.DeadlineExceeded)
    def exceeded(error):
        return "late", 503

    app.wsgi_app = wsgi.Middleware(app.wsgi_app, timeout_header="X-Request-Timeout")
    return app


def test_flask(shop, clock, broken):
    """In front of wsgi_app: health, deadlines in views, streams and error handlers; the rest is Flask's."""
    client = shop.test_client()
    assert (client.get("/livez").status_code, client.get("/livez").json) == (200, {"status": "pass"})
    assert client.get("/livez").mimetype == "application/health+json"
    assert (client.get("/readyz").status_code, client.get("/readyz").json["status"]) == (503, "fail")
    assert client.get("/left", headers=ASKED).text == "7.5"
    assert client.get("/left").text == "None"
    assert client.get("/parts", headers=ASKED).text == "/parts 7.5 7.5"
    assert client.get("/late", headers=ASKED).status_code == 503
    assert client.get("/nothing").status_code == 404
    assert "hunter2" not in client.get("/healthz").text
    assert lazyguard.remaining() is None


def test_flask_mounted(shop):
    """Beside the application, under a path of its own."""
    from werkzeug.middleware.dispatcher import DispatcherMiddleware

    shop.wsgi_app = DispatcherMiddleware(shop.wsgi_app, {"/health": wsgi.Middleware()})
    assert shop.test_client().get("/health/readyz").status_code == 200
    assert shop.test_client().get("/health/other").status_code == 404


def test_a_real_wsgi_server(shop):
    """As a server calls it, on a thread that serves one request after another."""

    class Quiet(WSGIRequestHandler):
        def log_message(self, *args):
            pass

    with make_server("127.0.0.1", 0, shop, handler_class=Quiet) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}"
        assert served(f"{url}/livez") == (200, '{"status": "pass"}')
        first, second = map(float, served(f"{url}/parts", **ASKED)[1].split()[1:])
        assert 0 < second <= first <= 7.5
        assert served(f"{url}/left") == (200, "None")
        server.shutdown()
        thread.join()


# Django


@pytest.fixture
def django(monkeypatch):
    """Set Django up with two pages, one of them async."""
    pytest.importorskip("django", reason="the group `integration` has it")
    import django
    from django.conf import settings
    from django.http import HttpResponse
    from django.urls import path

    if not settings.configured:
        settings.configure(ROOT_URLCONF="shop_urls", ALLOWED_HOSTS=["*"], SECRET_KEY="x", LOGGING_CONFIG=None)
        django.setup()

    def page(request):
        return HttpResponse(f"{left()} {get_search().find()}")

    async def apage(request):
        return HttpResponse(f"{left()} {(await get_client.aget()).find()}")

    urls = types.ModuleType("shop_urls")
    urls.urlpatterns = [path("page", page), path("apage", apage)]
    monkeypatch.setitem(sys.modules, "shop_urls", urls)
    from django.urls import clear_url_caches

    yield clear_url_caches()
    clear_url_caches()


def test_django_over_wsgi(django, clock):
    """Around get_wsgi_application(), for sync views and async ones."""
    from django.core.wsgi import get_wsgi_application

    werkzeug = pytest.importorskip("werkzeug.test", reason="it calls WSGI applications")
    client = werkzeug.Client(
        wsgi.Middleware(get_wsgi_application(), prefix="/health", timeout_header="X-Request-Timeout")
    )
    assert client.get("/health/readyz").status_code == 200
    assert client.get("/readyz").status_code == 404
    for page in ("/page", "/apage"):
        assert client.get(page, headers=ASKED).text == "7.5 found"
        assert client.get(page).text == "None found"
    assert lazyguard.remaining() is None


def test_django_over_asgi(django, clock, broken):
    """Around get_asgi_application(): the deadline reaches the thread of a sync view."""
    from django.core.asgi import get_asgi_application

    async def look(client):
        assert (await client.get("/readyz")).status_code == 503
        for page in ("/page", "/apage"):
            assert (await client.get(page, headers=ASKED)).text == "7.5 found"
            assert (await client.get(page)).text == "None found"

    over_asgi(asgi.Middleware(get_asgi_application(), timeout_header="X-Request-Timeout"), look)


# FastAPI


def over_asgi(app, look):
    httpx = pytest.importorskip("httpx", reason="the group `integration` has it")

    async def main():
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://shop") as client:
            await look(client)
        await lazyguard.aclose()

    asyncio.run(main())


@pytest.fixture
def api():
    """Return a FastAPI application whose pages depend on services, by annotations that are texts."""
    fastapi = pytest.importorskip("fastapi", reason="the group `integration` has it")
    app = fastapi.FastAPI()

    @app.get("/sync")
    def sync(search=fastapi.Depends(get_search)):
        return [left(), search.find()]

    @app.get("/async")
    async def other(search=fastapi.Depends(get_search.aget), client=fastapi.Depends(get_client.aget)):
        return [left(), search.find(), client.find()]

    @app.get("/tenant")
    async def tenant(of=fastapi.Depends(get_tenant.aget)):
        return dict(of)

    @app.get("/tenants/{tenant}")
    async def of_path(of=fastapi.Depends(get_tenant.aget)):
        return dict(of)

    @app.get("/called")
    async def called(client=fastapi.Depends(get_client)):
        return [lazyguard.is_resolved(client)]

    app.add_middleware(asgi.Middleware, timeout_header="X-Request-Timeout")
    app.mount("/health", asgi.Middleware())
    return app


def test_fastapi(api, clock, broken):
    """By add_middleware and mounted: health, deadlines in async and sync routes."""

    async def look(client):
        for prefix in ("", "/health"):
            answer = await client.get(f"{prefix}/livez")
            assert (answer.status_code, answer.json()) == (200, {"status": "pass"})
            assert (await client.get(f"{prefix}/readyz")).status_code == 503
        assert (await client.get("/health/other")).status_code == 404
        assert (await client.post("/readyz")).status_code == 405
        assert "hunter2" not in (await client.get("/healthz")).text
        assert (await client.get("/sync", headers=ASKED)).json() == ["7.5", "found"]
        assert (await client.get("/async", headers=ASKED)).json() == ["7.5", "found", "found"]
        assert (await client.get("/sync")).json() == ["None", "found"]
        assert lazyguard.remaining() is None

    over_asgi(api, look)


def test_fastapi_depends(api):
    """`Depends(get_service)` is the live reference, `.aget` builds it first; parameters are the request's."""

    async def look(client):
        assert (await client.get("/called")).json() == [False]
        assert get_client.health().state == "pending"
        assert (await client.get("/tenant", params={"tenant": "a"})).json() == {"tenant": "a"}
        assert (await client.get("/tenants/b")).json() == {"tenant": "b"}
        assert (await client.get("/tenant")).status_code == 422
        api.dependency_overrides[get_tenant.aget] = lambda: {"tenant": "fake"}
        assert (await client.get("/tenant")).json() == {"tenant": "fake"}
        schema = (await client.get("/openapi.json")).json()
        [parameter] = schema["paths"]["/tenants/{tenant}"]["get"]["parameters"]
        assert (parameter["name"], parameter["in"]) == ("tenant", "path")

    over_asgi(api, look)


@pytest.fixture
def uvicorn(eventually):
    """Return a function that serves an application with uvicorn, and returns its URL."""
    found = pytest.importorskip("uvicorn", reason="the group `integration` has it")
    running = []

    def serve(app) -> str:
        server = found.Server(found.Config(app, port=0, log_config=None, ws="none", loop="asyncio"))
        running.append((server, threading.Thread(target=server.run, daemon=True)))
        running[-1][1].start()
        eventually(lambda: server.started)
        return f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"

    yield serve
    for server, thread in running:
        server.should_exit = True
        thread.join()


def is_late(url: str) -> None:
    """Ask for a page that takes longer than its request allows."""
    status, body = served(url, **SOON)
    assert (status, json.loads(body)) == (504, {"status": "fail", "output": "DeadlineExceeded"})


@pytest.fixture
def slow(api):
    """Give the application a slow route, and return the list of those that have ended."""
    ended = []

    @api.get("/slow")
    async def slow():
        try:
            await asyncio.sleep(60)
        finally:
            ended.append("slow")

    return ended


async def begins(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]})
    await asyncio.sleep(60)


def test_a_request_that_takes_too_long(api, slow, uvicorn):
    """504 in time from async and sync routes, whose thread goes on; a begun answer is cut off."""
    leave = threading.Event()

    @api.get("/slow-sync")
    def slow_sync():
        leave.wait(60)
        slow.append("slow-sync")

    api.mount("/begins", begins)
    url = uvicorn(api)
    try:
        is_late(f"{url}/slow")
        is_late(f"{url}/slow-sync")
        with pytest.raises((http.client.HTTPException, OSError)):
            served(f"{url}/begins", **SOON)
        assert slow == ["slow"]
    finally:
        leave.set()


def test_a_request_that_takes_too_long_below_another_middleware(api, slow, uvicorn, eventually):
    """The same below one of Starlette's, which lets a sync route end: the client has its answer before that."""
    from starlette.middleware.base import BaseHTTPMiddleware

    @api.get("/slow-sync")
    def slow_sync():
        with contextlib.suppress(lazyguard.DeadlineExceeded):
            while True:
                lazyguard.remaining()
        slow.append("slow-sync")

    async def passed_on(request, call_next):
        return await call_next(request)

    inner = api.user_middleware.pop()
    api.add_middleware(BaseHTTPMiddleware, dispatch=passed_on)
    api.user_middleware.insert(0, inner)  # the outermost again
    api.mount("/begins", begins)
    url = uvicorn(api)
    is_late(f"{url}/slow")
    is_late(f"{url}/slow-sync")
    eventually(lambda: slow == ["slow", "slow-sync"])  # its thread ends by itself
    with pytest.raises((http.client.HTTPException, OSError)):
        served(f"{url}/begins", **SOON)


def test_a_real_asgi_server(api, uvicorn):
    """As uvicorn calls it, its lifespan included."""
    url = uvicorn(api)
    assert served(f"{url}/livez") == (200, '{"status": "pass"}')
    seconds, *found = json.loads(served(f"{url}/async", **ASKED)[1])
    assert 0 < float(seconds) <= 7.5
    assert found == ["found", "found"]
