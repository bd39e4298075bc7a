"""What no module can do to the audit of the others: write where it should not, import in long chains."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from lazyguard.audit import audit

App = Callable[..., Path]
EVERYWHERE = """
import os
for number in range(3, 1024):
    try:
        os.write(number, {raw!r})
    except OSError:
        pass
"""


@pytest.mark.parametrize(
    "raw", [b'["result", "ok", 0.1, null]\n', b"[" * 5000 + b"\n", b'{"a": 1}\nnull\n', b"\xff\x00", b'["start"']
)
@pytest.mark.parametrize("fork", [True, False])
def test_garbage_on_every_descriptor_costs_nothing(app: App, raw: bytes, fork: bool) -> None:
    report = audit(["core"], path=app(odd=EVERYWHERE.format(raw=raw), fine="x = 1"), fork=fork, timeout=3.0)

    assert {each.module: each.verdict for each in report.modules} == dict.fromkeys(
        ("core", "core.fine", "core.odd"), "ok"
    )


@pytest.mark.parametrize("fork", [True, False])
def test_a_chain_is_as_deep_as_the_interpreter_allows(app: App, fork: bool) -> None:
    """The frames that record it are allowed for: what a plain interpreter imports is ok, and the limit is its own."""
    count = sys.getrecursionlimit() // 8 + 10
    chain = {f"c{at:03}": f"from core import c{at + 1:03}" for at in range(count)}
    path = app(**chain, **{f"c{count:03}": "x = 1"})
    names = [f"core.c{at:03}" for at in range(count + 1)]

    report = audit(["core"], path=path, fork=fork, timeout=20.0, slow=20.0)

    alone = {name: _imports(name, path) for name in names if not 12 < int(name[-3:]) < count - 5}
    seen = {each.module: each.verdict == "ok" for each in report.modules}
    assert not [name for name, passes in alone.items() if passes and not seen[name]]


def _imports(name: str, path: Path) -> bool:
    return subprocess.run([sys.executable, "-c", f"import {name}"], cwd=path, capture_output=True).returncode == 0


@pytest.mark.parametrize(
    ("call", "found"),
    [
        ('socket.gethostbyaddr("192.0.2.1")', ["the name of 192.0.2.1"]),
        ('socket.getnameinfo(("192.0.2.1", 80), 0)', ["the name of 192.0.2.1"]),
        ('socket.gethostbyname_ex("printer.invalid")', ["printer.invalid"]),
        ('socket.gethostbyaddr("127.0.0.1")', []),
        ('socket.gethostbyname("127.0.0.1")', []),
    ],
)
def test_a_look_up_of_a_name_is_a_finding_in_either_direction(app: App, call: str, found: list[str]) -> None:
    path = app(looks=f"import socket\ntry:\n    {call}\nexcept OSError:\n    pass\n")
    report = audit(["core.looks"], path=path, walk=False)

    assert [each.detail for each in report.modules[0].findings if each.kind == "dns"] == found


@pytest.mark.skipif(sys.platform != "linux", reason="no other kernel lets one process limit another")
@pytest.mark.parametrize("fork", [True, False])
def test_a_child_that_takes_memory_without_end_is_stopped(app: App, fork: bool) -> None:
    path = app(hungry="taken = []\nwhile True:\n    taken.append(bytearray(1 << 24))\n", fine="x = 1")
    report = audit(["core"], path=path, fork=fork, memory=400, timeout=30.0)

    hungry = next(each for each in report.modules if each.module == "core.hungry")
    assert hungry.error is not None
    assert (hungry.verdict, hungry.error.type, hungry.blame and hungry.blame.line) == ("fails", "MemoryError", 3)
    assert [each.verdict for each in report.modules if each.module != "core.hungry"] == ["ok", "ok"]


@pytest.mark.skipif(sys.platform != "linux", reason="no other kernel lets one process limit another")
@pytest.mark.parametrize(("most", "verdict", "told"), [(1, "exits", "of --memory"), (10**17, "ok", "")])
def test_any_limit_of_memory_is_taken_as_it_is(app: App, most: int, verdict: str, told: str) -> None:
    """One below what an interpreter takes is told of; one that no kernel knows limits nothing."""
    report = audit(["core"], path=app(), memory=most)

    assert [each.verdict for each in report.modules] == [verdict]
    assert told in (report.modules[0].detail or "")


# Exceptions of which something cannot be asked, by what is raised.
EXOTIC = {
    "str_exits": "class E(Exception):\n    def __str__(self): raise SystemExit\nraise E",
    "str_is_none": "class E(Exception):\n    __str__ = __repr__ = lambda self: None\nraise E",
    "str_is_odd": "class S(str):\n    __getitem__ = __len__ = None\n"
    "class E(Exception):\n    def __str__(self): return S()\nraise E",
    "attributes": "class E(ImportError):\n    def __getattribute__(self, name): raise RuntimeError(name)\nraise E",
    "cause": "class E(Exception):\n    __cause__ = __context__ = __traceback__ = property(lambda self: 1 / 0)\nraise E",
    "metaclass": "class M(type):\n    def __getattribute__(c, n): raise RuntimeError\n"
    "class E(Exception, metaclass=M): ...\nraise E",
    "module": "class O:\n    __format__ = __str__ = None\nclass E(Exception): ...\nE.__module__ = O()\nraise E",
    "name": "class O:\n    __str__ = __bool__ = __hash__ = None\nraise ModuleNotFoundError('x', name=O())",
    "unbound": "class O:\n    __str__ = __bool__ = __hash__ = None\nraise ImportError('x', name=O())",
    "file": "raise SyntaxError('x', (b'file', 'line', 1, 'text'))",
    "line": "raise SyntaxError('x', (__file__, -10**30, 1, 'text'))",
    "no_lines": "exec(compile('1 / 0', __file__, 'exec').replace(co_firstlineno=2**31 - 10))",
    "deep": "e = ValueError()\nfor _ in range(9000):\n    n = ValueError()\n    n.__cause__ = e\n    e = n\nraise e",
    "ring": "a, b = ValueError(), ValueError()\na.__cause__, b.__cause__ = b, a\nraise a",
    "surrogate": "raise ValueError('\\udcff\\x00\\x1b[31m')",
    "lacks": "import types\nm = types.ModuleType('m')\nm.__dict__.update({'__name__': 5, 7: 1})\n"
    "raise AttributeError(obj=m)",
}


@pytest.mark.parametrize("fork", [True, False])
def test_an_exception_of_which_nothing_can_be_asked_is_a_failure(app: App, fork: bool) -> None:
    report = audit(["core"], path=app(**EXOTIC), fork=fork)

    assert {each.module: each.verdict for each in report.modules} == {"core": "ok"} | {
        f"core.{name}": "fails" for name in EXOTIC
    }


# What a module puts in the place of what Python has, or takes away.
TAKEN_AWAY = [
    "import builtins\nbuiltins.open = builtins.str = builtins.repr = builtins.range = None",
    "import builtins\nbuiltins.getattr = builtins.dict = builtins.sorted = builtins.sum = lambda *given: 1 / 0",
    "import os, tempfile\nos.chdir(tempfile.mkdtemp())\nos.rmdir(os.getcwd())",
    "import os\nos.environ = os.getcwd = None",
    "import sys, warnings, logging\nsys.path = warnings.filters = logging.root = logging.Logger.manager = None",
    "import _signal, _locale, _socket\n_signal.getsignal = _locale.setlocale = _socket.getdefaulttimeout = None",
    "import sys\nclass M(type(sys)):\n    def __getattribute__(s, n): raise RuntimeError\n"
    "sys.modules['logging'] = M('logging')",
    "import sys\ndef hook(event, given):\n    if event == 'open': raise RuntimeError\nsys.addaudithook(hook)",
    "import _socket\n",  # asked for its time-out before it is executed, it crashes since 3.13
    "import sys\nsys.stdout = sys.stderr = sys.stdin = sys.excepthook = None",
]


@pytest.mark.parametrize("fork", [True, False])
def test_what_a_module_takes_away_from_python_it_does_not_take_from_us(app: App, fork: bool) -> None:
    report = audit(["core"], path=app(**{f"m{at}": each for at, each in enumerate(TAKEN_AWAY)}), fork=fork)

    assert [(each.module, each.error) for each in report.modules if each.verdict != "ok"] == []


@pytest.mark.parametrize("arguments", [[], ["--fork"], ["--advice"]])
def test_modules_named_as_those_of_python_hide_none_from_us(app: App, arguments: list[str]) -> None:
    """What finds the targets, and what measures without an import, has loaded its own before, or looks elsewhere."""
    path = app()
    for name in ("json", "inspect", "difflib", "platform", "token"):
        (path / f"{name}.py").write_text("x = 1\n")
    command = [sys.executable, "-m", "lazyguard", "audit", "core", "--path", str(path), "--plain", "--quiet"]
    done = subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=120)

    assert (done.returncode, done.stderr) == (0, "")
    assert "has no attribute" not in done.stdout


def test_a_link_to_a_directory_above_is_not_walked(app: App) -> None:
    path = app(fine="x = 1")
    (path / "core" / "again").symlink_to(".", target_is_directory=True)

    assert [each.module for each in audit(["core"], path=path).modules] == ["core", "core.fine"]


def test_what_is_missing_may_be_a_distribution(app: App) -> None:
    """The error over its metadata has its name, as that of a module has."""
    path = app(asks="import importlib.metadata\nimportlib.metadata.version('no-such-distribution')\n")
    report = audit(["core.asks"], path=path, walk=False)

    assert [(each.verdict, each.detail) for each in report.modules] == [("not-installed", "needs no-such-distribution")]


def test_a_module_that_loads_what_it_changes_has_changed_it(app: App) -> None:
    """What a foreign module is at the end of its own body is what is compared."""
    path = app(
        logs="import logging\nlogging.basicConfig(level=10)\n", waits="import socket\nsocket.setdefaulttimeout(3)\n"
    )
    report = audit(["core"], path=path)

    assert [[each.kind for each in module.findings] for module in report.modules] == [
        [],
        ["process-state"],
        ["process-state"],
    ]
