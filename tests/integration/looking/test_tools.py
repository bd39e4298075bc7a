"""Law 12 with the tools of others: Flask, Celery, Sphinx, rich; each in a process of its own.

The modules are those of tests/looking_zoo. LAZYGUARD_TRACE tells of whatever is built, in whichever process.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import lazyguard

ZOO = Path(__file__).parents[2] / "looking_zoo"


@pytest.fixture
def run(tmp_path):
    """Return a function that runs Python with arguments, in an empty directory; nothing may be built in it."""
    sources = (str(tmp_path), str(ZOO), str(Path(lazyguard.__file__).parents[1]))
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(sources),
        "PYTHONDONTWRITEBYTECODE": "1",
        "LAZYGUARD_TRACE": "1",
    }

    def start(*arguments: str, status: int = 0, built: tuple[str, ...] = ()) -> str:
        command = [sys.executable, *arguments]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=100)
        said = done.stdout + done.stderr
        assert done.returncode == status, said
        told = [line for line in done.stderr.splitlines() if line.startswith("lazyguard: ")]
        assert [line.split(",")[0].removeprefix("lazyguard: ") for line in told] == list(built), said
        return said

    return start


def everything(module: str) -> str:
    """Return a program text that binds all that a module of the zoo holds, pending as it is."""
    return f"import {module} as _it\nglobals().update({{n: v for n, v in vars(_it).items() if n[:2] != '__'}})\n"


def test_flask_scans_a_module(tmp_path, run):
    """`flask --app module routes` finds the application among pending objects, and builds none of these."""
    pytest.importorskip("flask")
    text = everything("pending.host") + everything("pending.jobs")
    (tmp_path / "program.py").write_text(f"{text}from flask import Flask\nsite = Flask(__name__)\ndel app, pending\n")
    assert "/static/" in run("-m", "flask", "--app", "program", "routes")


def test_flask_finds_a_lazy_application(tmp_path, run):
    """A lazy Flask application whose annotation says so is found, and is the one that is built."""
    pytest.importorskip("flask")
    lazy = "import lazyguard\n@lazyguard.lazy\ndef site() -> Flask: return Flask('program')\n"
    text = f"{everything('pending.host')}from flask import Flask\n{lazy}"
    (tmp_path / "program.py").write_text(text)
    assert "/static/" in run("-m", "flask", "--app", "program", "routes", built=("program:site",))


def test_celery_scans_a_module(tmp_path, run):
    """`celery -A module report` finds the application among pending objects, and builds none of these."""
    pytest.importorskip("celery")
    text = everything("pending.host") + everything("pending.jobs")
    (tmp_path / "program.py").write_text(
        f"{text}from celery import Celery\nsite = Celery('program')\ndel app, pending\n"
    )
    assert "celery:" in run("-m", "celery", "-A", "program", "report")


def test_celery_looks_for_tasks(run):
    """autodiscover_tasks imports the modules, and no more."""
    pytest.importorskip("celery")
    code = "import celery; celery.Celery().autodiscover_tasks(['pending'], related_name='{}', force=True)"
    for name in ("host", "jobs", "loose"):
        run("-c", code.format(name))


def test_ipython_tells_of_an_object(tmp_path, run):
    """`x?` tells of its class what it tells of the real one's; it shows the object's `str`, which builds it."""
    pytest.importorskip("IPython")
    (tmp_path / "clients.py").write_text(
        "import lazyguard\n"
        "class Client:\n"
        "    'A client.'\n"
        "    def __init__(self, url): 'Connects.'\n"
        "    def __call__(self, path, *, retries=2): 'Fetches.'\n"
        "    def __str__(self): return 'it'\n"
        "@lazyguard.lazy\n"
        "def client() -> Client: return Client('here')\n"
    )
    ask = "from clients import Client, client; real = Client(''); ip = get_ipython(); ip.run_line_magic('pinfo', {!r})"
    shown = [
        run("-m", "IPython", "--colors=NoColor", "-c", ask.format(name), built=built)
        for name, built in (("client", ("clients:client",)), ("real", ()))
    ]
    told, expected = ([line for line in text.splitlines() if not line.startswith("lazyguard: ")] for text in shown)
    assert [line.replace("lazy Client", "Client") for line in told] == [
        line.replace("real(", "client(") for line in expected
    ]
    assert "Call docstring: Fetches." in told


@pytest.mark.parametrize("name", ["host", "jobs", "loose"])
def test_sphinx_documents_a_module(tmp_path, run, name):
    """A real sphinx-build over automodule, with members, undocumented and private ones."""
    pytest.importorskip("sphinx")
    (tmp_path / "conf.py").write_text("extensions = ['sphinx.ext.autodoc']\n")
    (tmp_path / "index.rst").write_text(
        f"It\n==\n\n.. automodule:: pending.{name}\n   :members:\n   :undoc-members:\n   :private-members:\n"
    )
    run("-m", "sphinx", "-q", "-b", "html", ".", "out")
    page = (tmp_path / "out" / "index.html").read_text()
    assert "ending objects" in page or "recorded decorators" in page


@pytest.mark.parametrize("name", ["host", "jobs", "loose"])
def test_rich_shows_locals(run, name):
    """rich.traceback with show_locals, and rich's pretty printing."""
    pytest.importorskip("rich")
    code = f"""
import io
import pending.{name} as it
from rich.console import Console
from rich.pretty import pretty_repr
from rich.traceback import Traceback
console = Console(file=io.StringIO())
for value in [v for n, v in vars(it).items() if n[:2] != "__"]:
    pretty_repr([value])
    try:
        1 / 0
    except ZeroDivisionError as error:
        console.print(Traceback.from_exception(type(error), error, error.__traceback__, show_locals=True))
assert "ZeroDivisionError" in console.file.getvalue() and "pending." in console.file.getvalue()
"""
    run("-c", code)


def test_sqlalchemy_inspects(run):
    """sqlalchemy.inspect says of each that it is nothing to be inspected."""
    pytest.importorskip("sqlalchemy")
    run(
        "-c",
        "import sqlalchemy, pending.host as it; [sqlalchemy.inspect(v, raiseerr=False) for v in vars(it).values()]",
    )
