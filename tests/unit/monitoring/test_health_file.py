"""`health_file`, and `lazyguard status`, which reads it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time

import pytest

import lazyguard
from lazyguard.cli import main
from lazyguard.testing import FakeClock

pytestmark = pytest.mark.usefixtures("limited")


def until(condition):
    """Wait until something holds that another thread does."""
    ends = time.monotonic() + 30.0
    while not condition():
        assert time.monotonic() < ends
        time.sleep(0.002)


def told(path):
    return json.loads(path.read_text())


def test_written_at_a_change_and_as_a_sign_of_life(tmp_path):
    """It is there at once, shows each change, and is renewed without one; in the end it is gone."""
    path = tmp_path / "health.json"
    with FakeClock() as clock:
        end = lazyguard.health_file(path, every=10.0)
        first = told(path)
        assert (first["pid"], first["every"]) == (os.getpid(), 10.0)

        @lazyguard.service(name="of the file", recovery=None)
        def get() -> list[int]:
            raise OSError("secret")

        with pytest.raises(lazyguard.ResolutionError):
            get().append(1)
        until(lambda: "of the file" in told(path)["checks"])
        [check] = told(path)["checks"]["of the file"]
        assert check["observedValue"] == "failed"
        assert "secret" not in path.read_text()
        for _ in range(3):
            before = told(path)["time"]
            clock.advance(10.0)
            until(lambda before=before: told(path)["time"] > before)
        end()
        assert list(tmp_path.iterdir()) == []
        end()


def test_whole_at_each_moment(tmp_path):
    """Whoever reads it while it is written again and again finds a whole one."""
    path = tmp_path / "health.json"
    end = lazyguard.health_file(str(path), every=0.001)
    thing = lazyguard.lazy(lambda: [1])
    over = threading.Event()

    def change() -> None:
        while not over.is_set():
            assert thing[0] == 1
            lazyguard.reset(thing)

    threads = [threading.Thread(target=change) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(300):
            assert told(path)["pid"] == os.getpid()
    finally:
        over.set()
        for thread in threads:
            thread.join()
        end()


def test_forks(tmp_path, in_child):
    """A child has a file of its own where the name has its number, and leaves the parent's alone else."""
    endings = [lazyguard.health_file(tmp_path / name) for name in ("{pid}.json", "one.json")]
    parent = os.getpid()

    def child() -> None:
        assert told(tmp_path / f"{os.getpid()}.json")["pid"] == os.getpid()
        assert told(tmp_path / "one.json")["pid"] == parent

    assert in_child(child) == 0
    assert {"one.json", f"{parent}.json"} <= {path.name for path in tmp_path.iterdir()}
    for end in endings:
        end()


def test_a_folder_that_goes_away(tmp_path):
    """Where it cannot be written nothing is raised; a folder that is not there is refused at once."""
    folder = tmp_path / "gone"
    folder.mkdir()
    end = lazyguard.health_file(folder / "health.json", every=0.001)
    for path in folder.iterdir():
        path.unlink(missing_ok=True)
    end()
    with pytest.raises(lazyguard.errors.ConfigurationError, match="folder"):
        lazyguard.health_file(tmp_path / "nowhere" / "health.json")
    with pytest.raises(lazyguard.errors.ConfigurationError, match="every"):
        lazyguard.health_file(tmp_path / "health.json", every=0)


def test_paths(tmp_path, monkeypatch):
    """A folder, and what no file can be called, are refused; a relative path is that of the time of the call."""
    for wrong in (tmp_path, "", "a\0b", b"a", None):
        with pytest.raises(lazyguard.errors.ConfigurationError, match="path"):
            lazyguard.health_file(wrong)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    with FakeClock() as clock:
        end = lazyguard.health_file("health.json")
        monkeypatch.chdir(tmp_path / "elsewhere")
        before = told(tmp_path / "health.json")["time"]
        clock.advance(10.0)
        until(lambda: told(tmp_path / "health.json")["time"] > before)
        end()
    assert [path.name for path in tmp_path.rglob("*")] == ["elsewhere"]


def test_the_exit_removes_it(tmp_path):
    """A process that ends leaves none."""
    path = tmp_path / "health.json"
    subprocess.run(
        [sys.executable, "-c", f"import lazyguard, os; lazyguard.health_file({str(path)!r}); os.stat({str(path)!r})"],
        check=True,
        timeout=60,
    )
    assert not path.exists()


def written(path, status, **more):
    check = {"componentType": "service", "status": status, "observedValue": "ready", **more.pop("check", {})}
    path.write_text(json.dumps({"status": status, "checks": {"db": [check]}, **more}))
    return str(path)


@pytest.mark.parametrize(("statuses", "exit_status"), [(["pass"], 0), (["pass", "warn"], 1), (["warn", "fail"], 2)])
def test_status_is_the_worst_of_all(tmp_path, capsys, statuses, exit_status):
    """The exit status is that of the worst process; each has a row."""
    files = [written(tmp_path / f"{status}.json", status) for status in statuses]
    assert main(["status", *files]) == exit_status
    out = capsys.readouterr().out
    assert all(file in out for file in files)
    assert main(["status", "--json", *files]) == exit_status
    assert json.loads(capsys.readouterr().out)[files[0]]["status"] == statuses[0]


def test_what_is_shown(tmp_path, capsys):
    """What is not well has a row with its state, since when, why, and how often fallbacks have answered."""
    check = {"observedValue": "degraded", "time": "2026-01-01T00:00:00Z", "output": "OSError",
             "answeredByFallback": {"get": 3, "put": 4}}  # fmt: skip
    assert main(["status", written(tmp_path / "a.json", "warn", check=check)]) == 1
    [row] = [line for line in capsys.readouterr().out.splitlines() if " db " in line]
    assert row.split() == ["db", "degraded", "2026-01-01T00:00:00Z", "OSError", "7"]
    well = written(tmp_path / "b.json", "pass")
    assert main(["status", well]) == 0
    assert " db " not in capsys.readouterr().out
    assert main(["status", "--all", well]) == 0
    assert " db " in capsys.readouterr().out


@pytest.mark.parametrize("text", [None, "", "{", "[]", '{"status": "well"}', "\xff"])
def test_what_cannot_be_read_fails(tmp_path, capsys, text):
    """A file that is missing or no health+json is a process that fails."""
    path = tmp_path / "a.json"
    if text is not None:
        path.write_bytes(text.encode("latin-1"))
    assert main(["status", str(path), written(tmp_path / "b.json", "pass")]) == 2
    assert "b.json" in capsys.readouterr().out


@pytest.mark.parametrize(
    "found",
    [
        {"status": ["pass"]},
        {"status": "pass", "checks": []},
        {"status": "pass", "checks": None},
        {"status": "pass", "checks": {"db": {"status": "warn"}}},
        {"status": "pass", "checks": {"db": ["warn"]}},
        {"status": "pass", "checks": {"db": [{"status": "warn", "answeredByFallback": 3}]}},
    ],
)
def test_json_of_another_form_fails(tmp_path, capsys, found):
    """Any JSON that is no health+json is a process that fails, and never a traceback with another exit status."""
    path = tmp_path / "a.json"
    path.write_text(json.dumps(found))
    assert main(["status", str(path)]) == 2
    assert "no health+json" in capsys.readouterr().out


def test_what_other_programs_say(tmp_path, capsys):
    """In health+json of another program only the status is required; control characters are shown as such."""
    path = tmp_path / "a.json"
    check = {"status": "warn", "output": "one\n\x1b[2Jtwo"}
    path.write_text(json.dumps({"status": "warn", "output": None, "checks": {"cpu": [check, {}]}}))
    assert main(["status", "--all", str(path)]) == 1
    out = capsys.readouterr().out
    assert r"one\n\x1b[2Jtwo" in out
    assert out.count("cpu") == 2


def test_what_does_not_speak_http(capsys):
    """A port that answers with anything else, and an address that is none, are processes that fail."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            client, _ = server.accept()
            with client:
                client.recv(1000)
                client.sendall(b"220 mail ready\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        assert main(["status", f"http://127.0.0.1:{server.getsockname()[1]}/healthz"]) == 2
        thread.join()
    assert "BadStatusLine" in capsys.readouterr().out
    assert main(["status", "http://a b/healthz"]) == 2


def test_the_age_of_a_file(tmp_path, capsys):
    """A file that is too old, or does not say how old it is, fails; without `--max-age` it does not."""
    for told_at, exit_status in ((time.time(), 0), (time.time() - 60, 2), (float("nan"), 2), (None, 2)):
        path = written(tmp_path / "a.json", "pass", **({} if told_at is None else {"time": told_at}))
        assert main(["status", path, "--max-age", "30"]) == exit_status
        assert main(["status", path]) == 0


def test_wait(tmp_path):
    """`--wait` looks again until nothing fails, or the time is up."""
    path = tmp_path / "a.json"
    threading.Timer(0.1, written, [path, "pass"]).start()
    assert main(["status", str(path), "--wait", "30"]) == 0
    assert main(["status", str(tmp_path / "never.json"), "--wait", "0.05"]) == 2


@pytest.mark.parametrize("option", [["--wait", "0"], ["--max-age", "-1"], ["--watch", "x"], []])
def test_bad_arguments(option, capsys):
    """Arguments that cannot be right exit with 2 and a sentence."""
    assert main(["status", *option, *(["a.json"] if option else [])]) == 2
    assert "usage" in capsys.readouterr().err


def test_a_probe_loads_nothing_of_the_audit(tmp_path):
    """As a probe it imports neither the audit nor rich nor the core."""
    path = written(tmp_path / "a.json", "pass")
    program = (
        "import sys, lazyguard.cli; status = lazyguard.cli.main(['status', sys.argv[1]]);"
        "heavy = [n for n in sys.modules if n.startswith(('lazyguard.audit', 'lazyguard._core', 'rich', 'asyncio'))];"
        "sys.exit(str(heavy) if heavy else status)"
    )
    subprocess.run([sys.executable, "-c", program, path], check=True, timeout=60, stdout=subprocess.DEVNULL)
