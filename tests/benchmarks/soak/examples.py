"""The examples that are soaked: what serves each, what it needs, and which pages its clients ask for.

Invariants: each has servers and ports of its own, so that all run side by side. Its worker processes are those of
`served`. A client's request has its deadline by a header that the example itself reads.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.benchmarks.audit_packages import ROOT
from tests.benchmarks.load import TABLES, postgres_in
from tests.integration.conftest import RedisServer, Server

EXAMPLES = ROOT / "docs" / "examples"
WORKERS, THREADS = 2, 8


class SupplierServer(Server):
    """The supplier's API of `supplier`."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def options(self) -> list[str]:
        return [str(Path(__file__).with_name("supplier.py")), str(self.port)]

    def hello(self) -> tuple[bytes, bytes]:
        return b"GET / HTTP/1.0\r\n\r\n", b"HTTP/1."


class Example:
    """One of them; `home` is a directory of its own."""

    name = ""
    program = ""  # what is served
    needed: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    recovery = 0.0  # Within so many seconds of its servers' return a thing is itself again.
    # Of what `health` tells: the servers that it needs (all, where it is not here). A guarded function is called, and
    # so finds out that its server is back, only where what is called before it succeeds.
    needs: dict[str, tuple[str, ...]] = {}

    def __init__(self, home: Path) -> None:
        self.home = home
        makers = {"redis": self._redis, "postgres": self._postgres, "supplier": self._supplier}
        self.servers: dict[str, Server] = {}
        for name in self.needed:
            (home / name).mkdir()
            self.servers[name] = makers[name](home / name)
        (home / "notes").mkdir()
        self.web = Web(sys.executable, str(home))

    def _redis(self, directory: Path) -> Server:
        return RedisServer(str(shutil.which("redis-server")), str(directory))

    def _postgres(self, directory: Path) -> Server:
        return postgres_in(directory)

    def _supplier(self, directory: Path) -> Server:
        return SupplierServer(sys.executable, str(directory))

    def settings(self) -> dict[str, str]:
        """Return where its servers are, as the program reads it."""
        raise NotImplementedError

    def prepare(self, environment: dict[str, str]) -> None:
        """Make its tables."""

    def path(self, number: int, turn: int) -> str:
        """Return what client `number` asks for in its request `turn`."""
        raise NotImplementedError

    def command(self) -> list[str]:
        """Return the arguments of Python that serve it; gunicorn, where nothing else is said."""
        found = ["-m", "gunicorn", "tests.benchmarks.soak.served:wsgi", "--workers", str(WORKERS)]
        found += ["--threads", str(THREADS), "--bind", f"127.0.0.1:{self.web.port}", "--timeout", "15"]
        return [*found, "--log-level", "warning", "--error-logfile", str(self.home / "log")]

    def start(self) -> None:
        """Start its servers, and serve it."""
        for server in self.servers.values():
            server.start()
        path = os.pathsep.join([str(ROOT), str(ROOT / "src"), str(self.directory())])
        of = {"PYTHONPATH": path, "APP": self.program, "NOTES": str(self.home / "notes"), **self.settings()}
        self.prepare({**os.environ, **of})
        self.web.of, self.web.command = of, self.command()
        self.web.start()

    def directory(self) -> Path:
        """Return where the program is."""
        return EXAMPLES / self.name

    def end(self) -> None:
        """Stop all of them."""
        for server in (self.web, *self.servers.values()):
            server.end()


class Web(Server):
    """What serves the example."""

    patience = 60.0
    of: dict[str, str] = {}
    command: list[str] = []

    def options(self) -> list[str]:
        return self.command

    def environment(self) -> dict[str, str]:
        return self.of

    def hello(self) -> tuple[bytes, bytes]:
        return b"GET /livez HTTP/1.1\r\nHost: soak\r\nConnection: close\r\n\r\n", b"HTTP/1.1 200"


class Flask(Example):
    """mediahost: three in four ask for what Redis has, which has fallbacks; one for what PostgreSQL has."""

    name, program, needed = "flask", "core.wsgi:application", ("redis", "postgres")
    packages = ("gunicorn", "Flask", "redis", "SQLAlchemy", "psycopg")
    recovery = 8.0  # SOON.maximum, and the two seconds of a try that began before
    needs = {f"core.services:get_{name}_service": ("redis",) for name in ("transcription", "summary", "queue")}

    def directory(self) -> Path:
        return EXAMPLES / "mediahost" / "after"

    def settings(self) -> dict[str, str]:
        return {
            "MEDIAHOST_REDIS_URL": f"redis://127.0.0.1:{self.servers['redis'].port}/0",
            "MEDIAHOST_DATABASE_URL": f"postgresql+psycopg://postgres@127.0.0.1:{self.servers['postgres'].port}/postgres",
            "MEDIAHOST_DATA_DIR": str(self.home),
        }

    def prepare(self, environment: dict[str, str]) -> None:
        (self.home / "talk.vtt").write_text("WEBVTT\n\n1\n00:00.000 --> 00:01.000\nGood morning to all of you.\n")
        subprocess.run([sys.executable, "-c", TABLES], cwd=self.home, env=environment, check=True)

    def path(self, number: int, turn: int) -> str:
        return ("/admin/meetings", "/admin/meetings/1/preview", "/health", "/admin/meetings/1/preview")[turn % 4]


class Django(Example):
    """A shop: teas by the cache, the database and the supplier; sessions in the cache and the database."""

    name, program, needed = "django", "shop.wsgi:application", ("redis", "postgres", "supplier")
    packages = ("gunicorn", "Django", "redis", "psycopg", "httpx")
    recovery = 5.0  # the longest time that a breaker is open, and some requests
    needs = {"cache default": ("redis",), "shop.supplier:price_of": ("supplier", "postgres")}

    def settings(self) -> dict[str, str]:
        return {
            "DJANGO_SETTINGS_MODULE": "settings",
            "CACHE": f"redis://127.0.0.1:{self.servers['redis'].port}/0",
            "PORT": str(self.servers["postgres"].port),
            "SUPPLIER": f"http://127.0.0.1:{self.servers['supplier'].port}",
        }

    def prepare(self, environment: dict[str, str]) -> None:
        migrate = [sys.executable, "-m", "django", "migrate", "--run-syncdb", "--verbosity", "0"]
        subprocess.run(migrate, cwd=self.home, env=environment, check=True)

    def path(self, number: int, turn: int) -> str:
        return (f"/teas/{number}-{turn % 400}", "/visits", f"/teas/{number}-{turn % 40}", "/seen")[turn % 4]


class FastAPI(Example):
    """A shop: each tea is in no cache, so that it touches the cache, the database and the supplier."""

    name, program, needed = "fastapi", "teas:app", ("redis", "postgres", "supplier")
    packages = ("uvicorn", "uvloop", "fastapi", "redis", "asyncpg", "httpx")
    recovery = 5.0  # QUICK.maximum, a try that began before, the breakers' longest time
    needs = {
        "teas:get_database": ("postgres",),
        "teas:get_cache": ("redis",),
        "teas:kept": ("redis", "postgres"),
        "teas:keep": ("redis", "postgres"),
        "teas:get_supplier": ("supplier",),
        "teas:price_of": ("supplier", "postgres"),
    }

    def settings(self) -> dict[str, str]:
        return {
            "CACHE": f"redis://127.0.0.1:{self.servers['redis'].port}/0",
            "DATABASE": f"postgresql://postgres@127.0.0.1:{self.servers['postgres'].port}/postgres",
            "SUPPLIER": f"http://127.0.0.1:{self.servers['supplier'].port}",
        }

    def path(self, number: int, turn: int) -> str:
        return f"/teas/{number}-{turn}" if turn % 4 else "/readyz"

    def command(self) -> list[str]:
        found = ["-m", "uvicorn", "tests.benchmarks.soak.served:asgi", "--workers", str(WORKERS), "--loop", "uvloop"]
        return [*found, "--port", str(self.web.port), "--log-level", "critical"]


KINDS: dict[str, type[Example]] = {one.name: one for one in (Flask, Django, FastAPI)}
