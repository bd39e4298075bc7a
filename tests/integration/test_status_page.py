"""`/statusz` in a real browser: one page over the health path, by keyboard, in both colours, with 1,000 services."""

from __future__ import annotations

import shutil
import threading
import time
from wsgiref.simple_server import WSGIRequestHandler, make_server

import pytest

import lazyguard
from lazyguard._core import declaration
from lazyguard._lazy_imports import package
from lazyguard._services import preload
from lazyguard.integrations import wsgi

pytestmark = pytest.mark.usefixtures("limited")
EVIL = "<img src=x onerror=alert(1)>"


class Quiet(WSGIRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def browser():
    """Start a headless Chromium, and end it."""
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    driver = shutil.which("chromedriver")
    if program is None or driver is None:
        pytest.skip("chromium and its driver (Debian: chromium, chromium-driver) are not installed")
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    options = webdriver.ChromeOptions()
    options.binary_location = program
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    started = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    yield started
    started.quit()


@pytest.fixture
def url():
    """Serve the middleware alone, with details."""
    with make_server("127.0.0.1", 0, wsgi.Middleware(prefix="/health", details=True), handler_class=Quiet) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/health/statusz"
        server.shutdown()
        thread.join()


def rows(browser):
    script = (
        "return [...document.querySelectorAll('#checks tr')].map(row => [...row.cells].map(one => one.textContent))"
    )
    return browser.execute_script(script)


def until(condition):
    ends = time.monotonic() + 30.0
    while not condition():
        assert time.monotonic() < ends
        time.sleep(0.01)


@pytest.mark.parametrize("colours", ["light", "dark"])
def test_the_page(browser, url, monkeypatch, colours):
    """It shows what is not well, finds by the keyboard, renews itself, and complains of nothing."""
    # what other tests have declared, attached and preloaded
    for module, name in [
        (declaration, "_registered"),
        (package, "_known"),
        (preload, "_latest"),
    ]:
        monkeypatch.setattr(module, name, {})
    browser.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": colours}]}
    )
    services = [lazyguard.service(name=f"service {n}", recovery=None)(lambda: [1]) for n in range(1000)]

    @lazyguard.service(name=EVIL, recovery=None)
    def get() -> list[int]:
        raise OSError

    with pytest.raises(lazyguard.ResolutionError):
        get().append(1)
    browser.get_log("browser")
    browser.get(url)
    until(lambda: rows(browser))
    assert [row[0] for row in rows(browser)] == [EVIL]
    assert rows(browser)[0][2].strip() == "failed"
    assert rows(browser)[0][4] == "OSError"
    assert browser.find_element("id", "status").text == "warn"
    browser.switch_to.active_element.send_keys("service 99")  # the field has the focus
    assert len(rows(browser)) == 11
    browser.switch_to.active_element.send_keys("\ue003" * 10, "\ue004", " ")  # empty, on to the box, ticked
    assert len(rows(browser)) == 1001
    get.reset()
    until(lambda: browser.find_element("id", "status").text == "pass")
    assert browser.get_log("browser") == []
    del services


def test_only_with_details(url):
    """Without details the path is the application's."""
    status = []
    wsgi.Middleware()({"REQUEST_METHOD": "GET", "PATH_INFO": "/statusz"}, lambda said, headers: status.append(said))
    assert status == ["404 Not Found"]
    headers = []
    environ = {"REQUEST_METHOD": "HEAD", "PATH_INFO": "/statusz"}
    assert wsgi.Middleware(details=True)(environ, lambda said, told: headers.append(dict(told))) == [b""]
    assert headers[0]["Content-Security-Policy"].startswith("default-src 'none'")
    assert int(headers[0]["Content-Length"]) < 10_000
