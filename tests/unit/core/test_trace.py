"""LAZYGUARD_TRACE: one line for each build and each import, which names what, where, by whom, how long and how."""

from __future__ import annotations

import asyncio
import importlib
import re
import sys

import pytest

import lazyguard
from lazyguard._core import trace

SECRET = "redis://user:password@host"


@pytest.fixture
def lines(monkeypatch, capsys):
    """Return a function that gives the lines which were written since it was asked last; tracing is on."""
    monkeypatch.setenv("LAZYGUARD_TRACE", "1")
    return lambda: capsys.readouterr().err.splitlines()


def next_line() -> str:
    """Return file:line of the line below the call."""
    frame = sys._getframe(1)
    return f"{frame.f_code.co_filename}:{frame.f_lineno + 1}"


def line_of(what: str, asked_by: str, end: str) -> str:
    return rf"lazyguard: {what}, declared at .+:\d+, asked for by {re.escape(asked_by)}: \d+\.\d\d\d s, {end}"


def test_a_build(lines):
    """Name, place, the line that asked, seconds, ok; one line, and none for what is there."""
    thing = lazyguard.lazy(lambda: [1], name="thing")
    assert lines() == []
    asked_by = next_line()
    len(thing)
    (line,) = lines()
    assert re.fullmatch(line_of("thing", asked_by, "ok"), line)
    thing.append(2)
    assert lines() == []


def test_a_failure_tells_its_type_and_no_more(lines):
    """The exception's type and place, and nothing of what it says; every try is a line."""

    def make():
        raise ConnectionError(SECRET)

    thing = lazyguard.lazy(make, name="thing")
    for _ in range(2):
        with pytest.raises(lazyguard.ResolutionError):
            thing.x
        (line,) = lines()
        assert re.search(r" s, ConnectionError at .+test_trace\.py:\d+$", line)
        assert SECRET not in line


def test_an_interruption(lines):
    """What is no failure of the factory is told as well."""

    def make():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        len(lazyguard.lazy(make, name="thing"))
    assert re.search(r" s, KeyboardInterrupt at .+$", lines()[0])


def test_one_within_the_other(lines):
    """The inner one is told first, as asked for by the line in the factory of the outer one."""
    inner = lazyguard.lazy(lambda: [1], name="inner")

    def make():
        nonlocal asked_by
        asked_by = next_line()
        return list(inner)

    asked_by = ""
    outer = lazyguard.lazy(make, name="outer")
    len(outer)
    first, second = lines()
    assert re.fullmatch(line_of("inner", asked_by, "ok"), first)
    assert second.startswith("lazyguard: outer, ")


def test_a_service_with_a_timeout(lines):
    """A thread of ours builds it, and the line of whoever asked is told; the fallback has a line of its own."""

    @lazyguard.service(timeout=30.0, name="service", recovery=None)
    def get_list() -> list[int]:
        raise OSError(SECRET)

    @get_list.fallback
    def _() -> list[int]:
        return []

    asked_by = next_line()
    len(get_list())
    failed, fallback = lines()
    assert re.fullmatch(line_of("service", asked_by, r"OSError at .+"), failed)
    assert re.fullmatch(line_of("the fallback of service", asked_by, "ok"), fallback)


def test_a_task(lines):
    """In a coroutine too it is the line of the program."""

    @lazyguard.service(name="service")
    async def get_list() -> list[int]:
        return []

    asked_by = ""

    async def main() -> None:
        nonlocal asked_by
        asked_by = next_line()
        await get_list.aget()

    asyncio.run(main())
    assert re.fullmatch(line_of("service", asked_by, "ok"), lines()[0])


def test_imports(lines, program):
    """attach, load and optional_import have a line for each import, the import system's own frames left out."""
    program(
        {
            "core/__init__.py": "import lazyguard\n__getattr__, *_ = lazyguard.attach(__name__, ['sub'])\n",
            "core/sub.py": "",
            "other.py": "import no_such_module",
        }
    )
    importlib.import_module("core")
    assert lines() == []
    asked_by = next_line()
    from core import sub  # noqa: F401

    assert re.fullmatch(line_of("core:sub", asked_by, "ok"), lines()[0])
    loaded, optional = lazyguard.load("other"), lazyguard.optional_import("no_such_module_")
    with pytest.raises(ImportError):
        loaded.x
    (line,) = lines()
    assert line.startswith("lazyguard: other, declared at ")
    assert re.search(r", ModuleNotFoundError at .+$", line)
    assert not optional
    assert ", lazyguard.errors.MissingModuleError at " in lines()[0]


@pytest.mark.parametrize("value", [None, "", "0"])
def test_off(monkeypatch, capsys, value):
    """Without the variable, or with 0, nothing is written."""
    monkeypatch.delenv("LAZYGUARD_TRACE", raising=False)
    if value is not None:
        monkeypatch.setenv("LAZYGUARD_TRACE", value)
    assert len(lazyguard.lazy(lambda: [1])) == 1
    assert trace.traced("a", "b", lambda: 5) == 5
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("stderr", [None, "closed"])
def test_without_a_stderr(monkeypatch, stderr):
    """Where nothing can be written the object is built all the same."""

    class Closed:
        def write(self, text: str) -> None:
            raise ValueError("I/O operation on closed file")

    monkeypatch.setenv("LAZYGUARD_TRACE", "1")
    monkeypatch.setattr(sys, "stderr", Closed() if stderr else None)
    assert len(lazyguard.lazy(lambda: [1])) == 1
