"""The pytest plugin, each promise in a pytest run of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from textwrap import dedent

import pytest

HANGS = "import threading\n\nthreading.Event().wait()\n"
SERVICE = """
import lazyguard

@lazyguard.service(recovery=None)
def get_list() -> list[int]:
    if broken:
        raise ConnectionError
    return [1]

@get_list.fallback
def _empty() -> list[int]:
    return []

broken = False
"""


@pytest.fixture
def run(tmp_path):
    """Return a function that runs pytest on files (name -> text), and returns its exit status and what it printed."""

    def pytest_on(files: dict[str, str], *arguments: str, ini: str = "") -> tuple[int, str]:
        (tmp_path / "pytest.ini").write_text(f"[pytest]\n{ini}\n")
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(dedent(text))
        # not by its entry point, which an installation of before this version lacks
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-p",
            "no:lazyguard",
            "-p",
            "lazyguard.pytest_plugin",
            "-p",
            "no:cacheprovider",
        ]
        env = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
        done = subprocess.run(
            [*command, *arguments],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=120,
            env={**env, "PYTHONPATH": os.pathsep.join([".", *sys.path])},
        )
        return done.returncode, done.stdout + done.stderr

    return pytest_on


class TestCollection:
    def test_an_import_that_hangs_is_ended_with_its_line(self, run):
        """The report has the line that hangs and the chain to it; other modules are collected and run."""
        files = {
            "app/__init__.py": "from app import client\n",
            "app/client.py": HANGS,
            "test_hangs.py": "\nimport app\n\ndef test_a(): ...\n",
            "test_fine.py": "def test_b(): ...\n",
        }
        status, out = run(files, "--continue-on-collection-errors", ini="lazyguard_collect_timeout = 0.5")
        assert status == 1, out
        assert "test_hangs.py: its import did not end within 0.5 s: it hangs at app/client.py:3, in " in out
        assert "threading.py:" in out
        assert "reached by test_hangs.py:2 > app/__init__.py:1 > app/client.py:3" in out
        assert "1 passed, 1 error" in out

    def test_what_catches_everything_is_ended_too(self, run):
        """Neither `except Exception` nor a bare `except` in a loop holds up the run."""
        looping = """
        import threading
        for _ in range(2):
            try:
                threading.Event().wait()
            except:
                pass
        threading.Event().wait()
        """
        status, out = run({"test_hangs.py": looping}, ini="lazyguard_collect_timeout = 0.3")
        assert status == 2, out
        assert "it hangs at test_hangs.py:8" in out

    def test_a_conftest_that_hangs(self, run):
        """The first conftest, which is imported before the collection, and one in a folder, are held to the limit."""
        status, out = run(
            {"conftest.py": HANGS, "test_a.py": "def test_a(): ...\n"}, ini="lazyguard_collect_timeout = 0.5"
        )
        assert status == 4, out
        assert "it hangs at conftest.py:3" in out

    def test_a_conftest_below_that_hangs(self, run):
        """A conftest in a folder is held to the limit as well."""
        files = {"below/conftest.py": HANGS, "below/test_a.py": "def test_a(): ...\n"}
        status, out = run(files, ini="lazyguard_collect_timeout = 0.5")
        assert status == 2, out
        assert "it hangs at below/conftest.py:3" in out

    def test_what_keeps_the_gil_ends_the_run(self, run):
        """If no signal gets through, the whole run ends some seconds later, with the stack on stderr."""
        holding = "import itertools\nsum(itertools.repeat(1))\n"
        status, out = run({"test_hangs.py": holding}, ini="lazyguard_collect_timeout = 0.3")
        assert status == 1, out
        assert "Timeout (" in out
        assert 'test_hangs.py", line 2 in <module>' in out

    def test_without_a_limit_nothing_is_set(self, run):
        """Without options nothing is set up: no timer, no handler."""
        test = """
        import signal
        here = signal.getsignal(signal.SIGALRM), signal.getitimer(signal.ITIMER_REAL)
        def test_a():
            assert here == (signal.SIG_DFL, (0.0, 0.0))
        """
        status, out = run({"test_a.py": test})
        assert status == 0, out

    def test_afterwards_the_timer_is_gone(self, run):
        """Tests run without the limit of their import."""
        test = """
        import signal
        here = signal.getitimer(signal.ITIMER_REAL)
        def test_a():
            assert here[0] > 0
            assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
        """
        status, out = run({"test_a.py": test}, ini="lazyguard_collect_timeout = 60")
        assert status == 0, out

    @pytest.mark.parametrize("said", ["soon", "0"])
    def test_a_limit_that_is_none(self, run, said):
        """A limit that is no number of seconds is refused at once."""
        status, out = run({"test_a.py": ""}, ini=f"lazyguard_collect_timeout = {said}")
        assert status == 4, out
        assert f"lazyguard_collect_timeout = {said} is invalid" in out

    def test_services_may_be_forbidden(self, run):
        """A service that is used while tests are collected is an error with its line; in a test it is not."""
        test = SERVICE + "\ndef test_a():\n    assert get_list()[0] == 1\n"
        ini = "lazyguard_collect_services = forbid"
        status, out = run({"test_a.py": test}, ini=ini)
        assert status == 0, out
        status, out = run({"test_a.py": test + "\nlen(get_list())\n"}, ini=ini)
        assert status == 2, out
        assert "test_a:get_list, declared at " in out
        assert f"test_a.py:{(test + chr(10) + 'len').count(chr(10)) + 1} while tests are collected" in out

    def test_neither_forbid_nor_allow(self, run):
        """An unknown value is refused at once."""
        status, out = run({"test_a.py": ""}, ini="lazyguard_collect_services = maybe")
        assert status == 4, out
        assert "lazyguard_collect_services = maybe is invalid" in out


class TestMarker:
    FILES = {"dear.py": "import cheap\nsum(range(2_000_000))\n", "cheap.py": ""}

    def test_over_the_budget(self, run):
        """The test fails with the slowest modules and their importing lines; one within its budget passes."""
        test = """
        import pytest

        @pytest.mark.import_budget(1e-6)
        def test_over():
            import dear

        @pytest.mark.import_budget(600)
        def test_within():
            import wave
        """
        status, out = run({**self.FILES, "test_a.py": test})
        assert status == 1, out
        assert "and its import_budget is 1e-06 s. The slowest modules:" in out
        assert "dear, by " in out
        assert "1 failed, 1 passed" in out

    def test_forbidden(self, run):
        """A forbidden module is named with its importing line."""
        test = """
        import pytest

        @pytest.mark.import_budget(600, forbid=["cheap"])
        def test_a():
            import dear
        """
        status, out = run({**self.FILES, "test_a.py": test})
        assert status == 1, out
        assert "it imports cheap, which its import_budget forbids, at " in out
        assert "dear.py:1" in out

    def test_a_test_that_fails_fails_for_its_own_reason(self, run):
        """A failed test reports its own failure, not its budget."""
        test = """
        import pytest

        @pytest.mark.import_budget(1e-6)
        def test_a():
            import dear
            assert not dear
        """
        status, out = run({**self.FILES, "test_a.py": test})
        assert status == 1, out
        assert "The slowest modules" not in out

    def test_a_marker_that_is_none(self, run):
        """A bad marker is an error that shows a valid one."""
        markers = ["()", "(0)", "('1')", "(1, 2)", "(1, forbid='x')", "(1, second=1)"]
        tests = [f"@pytest.mark.import_budget{marker}\ndef test_{at}(): ...\n" for at, marker in enumerate(markers)]
        status, out = run({"test_a.py": "import pytest\n" + "".join(tests)})
        assert status != 0, out
        assert f"{len(markers)} failed" in out
        assert out.count("write @pytest.mark.import_budget(seconds, *, forbid=())") >= len(markers)


class TestFixtures:
    def test_reset_services(self, run):
        """A service that one test has built is pending in the next."""
        test = (
            SERVICE
            + """
import pytest
pytestmark = pytest.mark.usefixtures("reset_services")

def test_a():
    assert get_list()[0] == 1

def test_b():
    assert get_list.health().state == "pending"
"""
        )
        status, out = run({"test_a.py": test})
        assert status == 0, out

    def test_reset_services_closes_async_ones(self, run):
        """What a test's loop made is closed on it, or on a new loop where the test has closed it."""
        test = """
import asyncio
import pytest
import lazyguard
closed, failed = [], []
lazyguard.subscribe(lambda event: failed.append(event.kind) if event.kind == "close-failed" else None)

async def close(client):
    await asyncio.sleep(0)
    closed.append(asyncio.get_running_loop())

@lazyguard.service(close=close)
async def get_client() -> object:
    return object()

@pytest.mark.usefixtures("reset_services")
def test_a():
    asyncio.run(get_client.aget())

standing = asyncio.new_event_loop()

@pytest.mark.usefixtures("reset_services")
def test_b():
    assert len(closed) == 1
    standing.run_until_complete(get_client.aget())

def test_c():
    assert closed[1:] == [standing]
    assert not failed
    standing.close()
"""
        status, out = run({"test_a.py": test})
        assert status == 0, out

    def test_no_degraded_services(self, run):
        """A test that leaves a service degraded fails with its name; one that resets the service does not."""
        test = (
            SERVICE
            + """
import pytest
pytestmark = pytest.mark.usefixtures("no_degraded_services")

def test_leaves(monkeypatch):
    monkeypatch.setitem(globals(), "broken", True)
    assert len(get_list()) == 0

def test_mends(monkeypatch):
    get_list.reset()
    monkeypatch.setitem(globals(), "broken", True)
    assert len(get_list()) == 0
    get_list.reset()

def test_overrides():
    with get_list.override([2]):
        assert len(get_list()) == 1
"""
        )
        _, out = run({"test_a.py": test})
        assert "test_a:get_list, declared at " in out
        assert "is degraded. Override it, or reset it." in out
        assert "3 passed, 1 error" in out

    def test_import_budget(self, run):
        """A module is imported in a fresh interpreter; if it fails or exceeds its budget, the test fails."""
        test = """
        import pytest

        def test_within(import_budget):
            import_budget("cheap", seconds=30)

        def test_over(import_budget):
            import_budget("dear", seconds=1e-6, repeat=1)

        def test_fails(import_budget):
            import_budget("broken", seconds=30, repeat=1)

        def test_missing(import_budget):
            import_budget("nowhere", seconds=30)
        """
        files = {**self.files(), "test_a.py": test}
        _, out = run(files)
        assert "1 passed" in out
        assert "3 failed" in out
        assert "dear does not keep its import_budget of 1e-06 s" in out
        assert "broken.py:1" in out
        assert "there is no module nowhere" in out

    @staticmethod
    def files():
        return {**TestMarker.FILES, "broken.py": "1 / 0\n"}
