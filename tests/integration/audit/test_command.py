"""The command itself, in a process of its own: exit statuses, streams, signals."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

App = Callable[..., Path]
HANGS = "import time\ntime.sleep(3600)\n"


def run(*arguments: str, cwd: Path, env: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Runs `python -m lazyguard audit`."""
    command = [sys.executable, "-m", "lazyguard", "audit", *arguments]
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=120, check=False)


def test_nothing_found_is_status_0(app: App, environment: Mapping[str, str]) -> None:
    """The table on stdout, a plain line a module on stderr."""
    ran = run("core", "--jobs", "1", cwd=app(a=""), env=environment)
    assert ran.returncode == 0, ran.stderr
    assert "core.a  ok" in ran.stdout
    assert "[2/2] core.a ok" in ran.stderr
    assert "\x1b" not in ran.stdout + ran.stderr


def test_findings_are_status_1_and_json_has_them(app: App, environment: Mapping[str, str]) -> None:
    """--json writes the report beside the table; - writes it to stdout alone."""
    path = app(bad="import nosuch\n")
    ran = run("core", "--json", "out.json", "-q", cwd=path, env=environment)
    assert (ran.returncode, ran.stderr) == (1, "")
    written = json.loads((path / "out.json").read_text())
    assert [module["verdict"] for module in written["modules"]] == ["ok", "fails"]
    ran = run("core.bad", "--json", "-", "-q", cwd=path, env=environment)
    assert json.loads(ran.stdout)["causes"][0]["text"] == "1 of 1 fails in core/bad.py:1"


def test_compare_stands_beside_and_the_present_run_decides(app: App, environment: Mapping[str, str]) -> None:
    """Before hangs, after ok: status 0, and both are printed."""
    path = app(a=HANGS)
    assert run("core", "--json", "before.json", "--timeout", "0.3", "-q", cwd=path, env=environment).returncode == 1
    app(a="")
    ran = run("core", "--compare", "before.json", "-q", cwd=path, env=environment)
    assert ran.returncode == 0
    assert "core.a  hangs" in ran.stdout
    (path / "broken.json").write_text("{")
    for file, said in (("broken.json", "is not JSON"), ("none.json", "cannot be read"), ("core/a.py", "is not JSON")):
        ran = run("core", "--compare", file, cwd=path, env=environment)
        assert ran.returncode == 2
        assert said in ran.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["cor"], "did you mean core?"),
        (["core", "--path", "nowhere"], "does not exist"),
        (["core", "--timeout", "0"], "timeout=0"),
        (["core", "--timeout", "soon"], "invalid float value"),
        (["core", "--python", "nopython"], "cannot be started"),
        (["core", "--json", "no/where.json"], "make it first"),
        ([], "name what to audit"),
        (["core", "--frobnicate"], "unrecognized arguments"),
    ],
)
def test_unusable_arguments_are_status_2(
    app: App, environment: Mapping[str, str], arguments: list[str], said: str
) -> None:
    """One sentence on stderr, no traceback, nothing on stdout."""
    ran = run(*arguments, cwd=app(), env=environment)
    assert ran.returncode == 2
    assert said in ran.stderr
    assert "Traceback" not in ran.stderr
    assert ran.stdout == ""


@pytest.mark.skipif(sys.version_info < (3, 11), reason="reading TOML needs tomli before 3.11")
def test_defaults_come_from_pyproject(app: App, environment: Mapping[str, str]) -> None:
    """[tool.lazyguard.audit] is read, arguments win over it."""
    path = app(a=HANGS, b="")
    (path / "pyproject.toml").write_text('[tool.lazyguard.audit]\ntargets = ["core.a"]\ntimeout = 0.3\nwalk = false\n')
    assert run("-q", cwd=path, env=environment).returncode == 1
    assert run("core", "-q", cwd=path, env=environment).returncode == 0
    (path / "pyproject.toml").write_text("[tool.lazyguard.audit]\ntimout = 0.3\n")
    ran = run("core", cwd=path, env=environment)
    assert ran.returncode == 2
    assert "did you mean timeout?" in ran.stderr


@pytest.mark.usefixtures("leaves_nothing")
@pytest.mark.parametrize(
    ("number", "send"),
    [
        (signal.SIGINT, os.kill),
        (signal.SIGINT, os.killpg),
        (signal.SIGTERM, os.kill),
        (signal.SIGHUP, os.kill),
    ],
)
def test_a_signal_ends_all_and_prints_what_is_known(
    app: App, environment: Mapping[str, str], number: int, send: Callable[[int, int], None]
) -> None:
    """Status 128 and the number, at once, with what is known and what was not reached; a terminal tells the group."""
    command = [sys.executable, "-m", "lazyguard", "audit", "core", "--timeout", "600", "--jobs", "2"]
    with subprocess.Popen(
        command,
        cwd=app(b=HANGS, c=HANGS),
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stderr is not None
        assert "[1/3] core ok" in process.stderr.readline()
        send(process.pid, number)
        out, err = process.communicate(timeout=30)
    assert process.returncode == 128 + number
    assert "not audited: core.b, core.c" in out
    assert "Traceback" not in err


COUNTED = """
import os, time
count = os.path.join(os.path.dirname(__file__), "count")
with open(count, "a") as file:
    file.write("1")
time.sleep(3600 if os.path.getsize(count) > 2 else 0.01)
"""
"""A module that hangs from its third import on: the audit and the look of the advice end, and no run after them."""


@pytest.mark.usefixtures("leaves_nothing")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_in_the_middle_of_advising_prints_what_is_known(
    app: App, environment: Mapping[str, str], tmp_path: Path, number: int
) -> None:
    """The table, and that there is no advice; nothing is left, neither a process nor a file; on a pipe plain lines."""
    left = tmp_path / "left"
    left.mkdir()
    command = [sys.executable, "-m", "lazyguard", "audit", "core.a", "--no-walk", "--advice", "--timeout", "600"]
    with subprocess.Popen(
        [*command, "--slow", "60"],
        cwd=app(a="from core import counted\ndef f(): return counted\n", counted=COUNTED),
        env={**environment, "TMPDIR": str(left)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stderr is not None
        reported = [process.stderr.readline() for _ in range(3)]
        send = os.killpg if number == signal.SIGINT else os.kill
        send(process.pid, number)
        out, err = process.communicate(timeout=30)
    assert reported[0].startswith("[1/1] core.a ok")
    assert reported[1:] == ["advice for core.a: what it imports\n", "advice for core.a: what they register\n"]
    assert process.returncode == 128 + number
    assert "core.a  ok" in out
    assert "no advice for core.a: interrupted before anything was measured" in out
    assert err == ""
    assert os.listdir(left) == []


@pytest.mark.skipif(sys.version_info < (3, 11), reason="reading TOML needs tomli before 3.11")
def test_advice_can_be_a_default(app: App, environment: Mapping[str, str]) -> None:
    """`advice = true` in pyproject.toml is `--advice`, and `--no-advice` wins over it."""
    path = app()
    (path / "pyproject.toml").write_text('[tool.lazyguard.audit]\ntargets = ["core"]\nadvice = true\n')
    ran = run("-q", cwd=path, env=environment)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert "advice for core, whose import takes" in ran.stdout
    assert "advice" not in run("--no-advice", "-q", cwd=path, env=environment).stdout


def test_rich_is_not_needed(app: App, environment: Mapping[str, str], tmp_path: Path) -> None:
    """Without rich, on a terminal too, there are plain lines."""
    blocked = tmp_path / "blocked"
    blocked.mkdir()
    (blocked / "rich.py").write_text("raise ImportError('no rich here')\n")
    path = os.pathsep.join([str(blocked), environment["PYTHONPATH"]])
    reader, terminal = os.openpty()
    command = [sys.executable, "-m", "lazyguard", "audit", "core"]
    with subprocess.Popen(
        command, cwd=app(), env={**environment, "PYTHONPATH": path}, stdout=subprocess.PIPE, stderr=terminal
    ) as process:
        process.communicate(timeout=60)
    reported = os.read(reader, 4096).decode()
    os.close(terminal)
    os.close(reader)
    assert process.returncode == 0
    assert "[1/1] core ok" in reported


def test_help_teaches(environment: Mapping[str, str], tmp_path: Path) -> None:
    """--help has the verdicts, the meaning of the times, the exit statuses and examples."""
    ran = run("--help", cwd=tmp_path, env=environment)
    assert ran.returncode == 0
    for word in ("leaves-children", "own", "exit status", "examples", "--no-walk"):
        assert word in ran.stdout


def test_four_processes_report_what_one_does(app: App, environment: Mapping[str, str]) -> None:
    """--shard in four processes at a time and `report combine`: verdicts, causes, findings and tiers of one run."""
    path = app(
        **{f"ok{n}": "import json\n" for n in range(9)},
        bad="import core.settings\ncore.settings.of('x')\n",
        worse="import core.settings\ncore.settings.of('x')\n",
        settings="def of(name):\n    raise LookupError(name)\n",
        first="import core.second\nVALUE = 1\n",
        second="from core.first import VALUE\n",
        state="import os\nos.environ['CORE'] = '1'\n",
    )
    common = ["--slow", "20", "--timeout", "30", "-q", "--plain"]
    command = [sys.executable, "-m", "lazyguard", "audit", "core", *common]
    shards = [
        subprocess.Popen(
            [*command, "--shard", f"{n}/4", "--json", f"{n}.json"], cwd=path, env=environment, stdout=subprocess.DEVNULL
        )
        for n in (4, 2, 3, 1)
    ]
    assert {each.wait(120) for each in shards} <= {0, 1}
    assert run("core", *common, "--json", "one.json", cwd=path, env=environment).returncode == 1
    joined = [sys.executable, "-m", "lazyguard", "report", "combine", *(f"{n}.json" for n in (2, 1, 4, 3))]
    ran = subprocess.run(
        [*joined, "--json", "all.json", "--baseline", "one.json"],
        cwd=path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    assert "nothing is new against one.json" in ran.stdout
    one, four = (json.loads((path / name).read_text()) for name in ("one.json", "all.json"))
    keys = ("module", "verdict", "blame", "error", "findings", "detail")
    parts = [[{key: module[key] for key in keys} for module in each["modules"]] for each in (one, four)]
    assert parts[0] == parts[1]
    assert one["causes"] == four["causes"]
    assert {each["fresh_because"] for each in (one, four)} == {one["fresh_because"]}
    assert run("core", "--shard", "5/4", cwd=path, env=environment).returncode == 2
